"""QNN: linear or logarithmic quantization of weights and activations to a few bits, and of gradients."""

from dataclasses import dataclass

from hwbnn_train.quantizers import LogActivation, LogGradient, LogWeights, Quantizer, Sign, Uniform
from hwbnn_train.recipes.networks import Network

__all__ = ["QuantizedNeuralNetwork"]


@dataclass(frozen=True, kw_only=True)
class QuantizedNeuralNetwork(Network):
    """QNN (arXiv:1609.07061), Quantized Neural Networks: ``k`` bits, one of which is BinaryNet's sign.

    Linear weights and activations of ``k > 1`` bits are ``clip(round(x 2^(k-1)) / 2^(k-1), -1, 1 - 2^-(k-1))``;
    logarithmic ones are powers of two (activations rectified, up to 2).

    Parameters
    ----------
    weight_bits, activation_bits : :class:`int`
        1 and 2 as in the paper's AlexNet, and up to 8 (logarithmic: up to 4 and 3).
    scale : :class:`str`
        ``linear`` or ``logarithmic``.
    gradient_bits : :class:`int` or None
        Bits of the gradients that come back to the layers, logarithmic; None: they are real. The paper's GoogLeNet has
        6.
    """

    name: str = "qnn-mlp"
    weight_bits: int = 1
    activation_bits: int = 2
    scale: str = "linear"
    gradient_bits: int | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.scale not in ("linear", "logarithmic"):
            raise ValueError(f"QNN scale must be linear or logarithmic, not {self.scale!r}")

    def weight(self, outputs: int) -> Quantizer:
        if self.scale == "logarithmic" and self.weight_bits > 1:
            return LogWeights(self.weight_bits)
        return _linear(self.weight_bits, window=float("inf"))

    def activation(self) -> Quantizer:
        if self.scale == "logarithmic" and self.activation_bits > 1:
            return LogActivation(self.activation_bits, high=1)
        return _linear(self.activation_bits, window=1.0)

    def layer_options(self, fan_in: int, fan_out: int) -> dict:
        return {} if self.gradient_bits is None else {"error": LogGradient(self.gradient_bits)}


def _linear(bits: int, window: float) -> Quantizer:
    return Sign(window) if bits == 1 else Uniform(bits, scale=2.0**(1 - bits), signed=True, window=window)
