"""Ternary weight networks: weights -1, 0 and +1 with a scale, rectified activations of a few bits."""

from dataclasses import dataclass

from hwbnn_train.quantizers import Quantizer, TernaryWeights, Uniform
from hwbnn_train.recipes.networks import Network

__all__ = ["TernaryWeightNetwork"]


@dataclass(frozen=True, kw_only=True)
class TernaryWeightNetwork(Network):
    """Ternary Weight Networks (arXiv:1605.04711), or per filter as in TernaryNet (arXiv:1801.09449).

    The papers' activations are real; hardware wants a few bits, so the rectified values 0 .. 3.75 are rounded. Adam
    and the learning rate scaled per layer are BinaryNet's, not the paper's (SGD on a convolutional network).

    Parameters
    ----------
    per_filter : :class:`bool`
        A scale for each output instead of one for the layer.
    activation_bits : :class:`int`
        Bits of the hidden activations, unsigned.
    """

    name: str = "twn-mlp"
    per_filter: bool = False
    activation_bits: int = 4

    def weight(self, outputs: int) -> Quantizer:
        return TernaryWeights(per_filter=self.per_filter)

    def activation(self) -> Quantizer:
        return Uniform(self.activation_bits, scale=4.0 / 2**self.activation_bits)
