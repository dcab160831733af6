"""Trained ternary quantization: weights of three values, the two that are not 0 trained."""

from dataclasses import dataclass

from hwbnn_train.quantizers import Quantizer, TrainedTernary, Uniform
from hwbnn_train.recipes.networks import Network

__all__ = ["TrainedTernaryQuantization"]


@dataclass(frozen=True, kw_only=True)
class TrainedTernaryQuantization(Network):
    """Trained ternary quantization (arXiv:1612.01064), both magnitudes of a layer being rounded to a few bits.

    Hardware can have no others. The paper keeps activations and the first and the last layer real; here activations are
    rectified and rounded, and all layers ternary.

    Parameters
    ----------
    scale_bits : :class:`int` or None
        Bits of the magnitudes with their sign; None: real ones, as in the paper, and no hardware (set ``exported`` to
        false).
    threshold : :class:`float`
        Over the largest magnitude of a layer.
    activation_bits : :class:`int`
        Bits of the hidden activations, unsigned.
    """

    name: str = "ttq-mlp"
    scale_bits: int | None = 4
    threshold: float = 0.05
    activation_bits: int = 4

    def weight(self, outputs: int) -> Quantizer:
        return TrainedTernary(self.threshold, bits=self.scale_bits)

    def activation(self) -> Quantizer:
        return Uniform(self.activation_bits, scale=4.0 / 2**self.activation_bits)
