"""QNN: linear quantization of weights and activations to a few bits."""

from dataclasses import dataclass

from hwbnn_train.quantizers import Quantizer, Sign, Uniform
from hwbnn_train.recipes.networks import Network

__all__ = ["QuantizedNeuralNetwork"]


@dataclass(frozen=True, kw_only=True)
class QuantizedNeuralNetwork(Network):
    """Quantized Neural Networks (arXiv:1609.07061): ``k`` bits, one of which is BinaryNet's sign.

    Weights and activations of ``k > 1`` bits are ``clip(round(x 2^(k-1)) / 2^(k-1), -1, 1 - 2^-(k-1))``.

    Parameters
    ----------
    weight_bits, activation_bits : :class:`int`
        1 and 2 as in the paper's AlexNet, and up to 8.
    """

    name: str = "qnn-mlp"
    weight_bits: int = 1
    activation_bits: int = 2

    def weight(self, outputs: int) -> Quantizer:
        return _linear(self.weight_bits, window=float("inf"))

    def activation(self) -> Quantizer:
        return _linear(self.activation_bits, window=1.0)


def _linear(bits: int, window: float) -> Quantizer:
    return Sign(window) if bits == 1 else Uniform(bits, scale=2.0**(1 - bits), signed=True, window=window)
