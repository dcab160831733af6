"""Bitwise neural networks: one bit for every weight, bias and activation, and no batch normalization."""

from dataclasses import dataclass

from torch import nn

from hwbnn.ir import BINARY, BIPOLAR, Levels
from hwbnn_train.quantizers import BitwiseActivation, BitwiseWeights, Cuts, Quantizer
from hwbnn_train.recipes.networks import Network

__all__ = ["Bitwise"]

_INPUTS = {"bipolar": BIPOLAR, "binary": BINARY, "fixed-point": Levels(-3, 3, 2)}


@dataclass(frozen=True, kw_only=True)
class Bitwise(Network):
    """Bitwise Neural Networks (arXiv:1601.06071): weight compression, then noisy back propagation.

    Widths, rates, the initial weights and the sparsity of the paper are not known to us. Its pixels of two bits are
    said to be two bipolar inputs each; here the two bits, of weights 1 and 1/2, share one weight of the layer. Adam,
    the clipping of the real weights to -1..1 and the rates, times the inverse of Glorot's coefficient for each layer's
    weights, are ours, as in BinaryNet.

    Parameters
    ----------
    input : :class:`str`
        ``bipolar``, ``binary`` (0 and 1) or ``fixed-point`` (2 bits).
    compression : :class:`int`
        Epochs of the first round. Half of them all where none would be left for the second, to which the best epoch
        belongs.
    sparsity : :class:`float`
        Share of deactivated weights, and of deactivated biases, in each layer.
    window : :class:`float`
        Half-width of the range, of sums times a layer's scale, in which errors pass a bipolar activation; the paper
        lets them pass everywhere.
    """

    name: str = "bitwise-mlp"
    loss: str = "cross-entropy"
    input: str = "bipolar"
    compression: int = 5
    sparsity: float = 0.0
    window: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.pixel_bits, int) or not 1 <= self.pixel_bits <= 16:
            raise ValueError(f"Bitwise pixel_bits must be an integer from 1 to 16, not {self.pixel_bits!r}")
        if self.input not in _INPUTS:
            raise ValueError(f"Bitwise input must be one of {', '.join(_INPUTS)}, not {self.input!r}")
        if not isinstance(self.compression, int) or self.compression < 0:
            raise ValueError(f"Bitwise compression must be an integer of at least 0, not {self.compression!r}")

    def pixels(self) -> Quantizer:
        levels = _INPUTS[self.input]
        unit = 2**self.pixel_bits / len(levels)
        return Cuts([unit * k for k in range(1, len(levels))], levels, scale=1.0 if len(levels) == 2 else 0.5)

    def activation(self) -> Quantizer:
        return BitwiseActivation(self.window)

    def norm(self, channels: int, axes: int) -> None:
        return None

    def layer_options(self, fan_in: int, fan_out: int) -> dict:
        scale = 2.0 ** -(fan_in.bit_length() // 2)  # about 1 / sqrt(fan_in)
        return {"weight": BitwiseWeights(scale, sparsity=self.sparsity), "bias": True,
                "quantize_bias": BitwiseWeights(scale, sparsity=self.sparsity)}

    def ready(self, model: nn.Module) -> bool:
        return all(module.noisy for module in model.modules() if isinstance(module, BitwiseActivation | BitwiseWeights))

    def advance(self, model: nn.Module, progress: float) -> None:
        compression = self.phase(self.compression)
        for module in model.modules():
            if isinstance(module, BitwiseActivation | BitwiseWeights):
                module.noisy = progress >= compression / self.epochs
