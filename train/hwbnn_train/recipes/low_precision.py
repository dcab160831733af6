"""Low precision multiplications: each tensor of the training in float16, fixed or dynamic fixed point."""

import math
from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn

from hwbnn_train.descent import Descent
from hwbnn_train.formats import DynamicFixed, Fixed, Format, Half, Single
from hwbnn_train.layers import Quantized, QuantLinear, glorot
from hwbnn_train.low_precision import Maxout, Multiply, Rounded, RoundedParameter, rounded_parameters
from hwbnn_train.quantizers import Quantizer, Uniform
from hwbnn_train.recipes.networks import Network

__all__ = ["LowPrecision"]

_FORMATS = ("float", "half", "fixed", "dynamic")


@dataclass(frozen=True, kw_only=True)
class LowPrecision(Network):
    """Low precision (arXiv:1412.7024), in all multiplications, of the training of a maxout or a rectifier network.

    Rounded are, in each layer with a format of its own: weights and biases as they are used, the sums, the activations,
    the gradients of all four, the updates of weights and biases (all of ``bits``), and what is stored of weights and
    biases (``storage_bits``). Ranges of dynamic fixed point are found in the first epochs, at high precision; then
    the weights start anew. No batch normalization. The paper's network has 2 x 240 maxout units of 5 pieces and is
    trained for 800 epochs with dropout; momentum rises from 0.5 to 0.7 there.

    Parameters
    ----------
    format : :class:`str`
        ``float``, ``half``, ``fixed`` or ``dynamic``.
    bits, storage_bits : :class:`int`
        With the sign; the paper's 10 and 12 are for dynamic, 20 and 20 for fixed point.
    integer : :class:`int`
        Bits before the point, of fixed point, and of dynamic fixed point to begin with.
    pieces : :class:`int`
        Of each maxout unit; 1: rectifiers, which can become hardware.
    search : :class:`int`
        Epochs, of all of them, in which dynamic ranges are found, and weights are thrown away in the end; at least one
        is left for the training, to which the best one belongs.
    momentum : :class:`float`
        Of stochastic gradient descent.
    max_norm : :class:`float`
        Greatest norm of the weights of a unit.
    """

    mixed: ClassVar[bool] = False

    name: str = "low-precision-mlp"
    loss: str = "cross-entropy"
    lr: float = 0.1
    lr_end: float = 0.001
    format: str = "dynamic"
    bits: int = 10
    storage_bits: int = 12
    integer: int = 5
    pieces: int = 1
    search: int = 2
    momentum: float = 0.7
    max_norm: float = 1.9365

    def __post_init__(self):
        super().__post_init__()
        if self.format not in _FORMATS:
            raise ValueError(f"LowPrecision format must be one of {', '.join(_FORMATS)}, not {self.format!r}")
        if self.channels:
            raise ValueError(f"LowPrecision channels must be (), not {self.channels!r}: its networks are perceptrons")
        if not isinstance(self.pieces, int) or self.pieces < 1:
            raise ValueError(f"LowPrecision pieces must be a positive integer, not {self.pieces!r}")
        self.check_numbers(positive=("max_norm",))
        if not isinstance(self.search, int) or self.search < 0:
            raise ValueError(f"LowPrecision search must be an integer of at least 0, not {self.search!r}")

    def numbers(self, bits: int) -> Format:
        """Return a new format of so many bits."""
        match self.format:
            case "float":
                return Single()
            case "half":
                return Half()
            case "fixed":
                return Fixed(bits, self.integer)
        return DynamicFixed(bits, self.integer)

    def rounded(self, *, rectified: bool = False) -> Rounded:
        """Return what rounds a value and its gradient."""
        return Rounded(self.numbers(self.bits), self.numbers(self.bits), rectified=rectified)

    def parameter(self) -> RoundedParameter:
        """Return what rounds a parameter in all its uses."""
        return RoundedParameter(*(self.numbers(self.bits) for _ in range(3)), self.numbers(self.storage_bits))

    def model(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if len(shape) > 1:
            layers["flatten"] = nn.Flatten()
        layers["pixels"] = self.pixels()
        layers["unit"] = Multiply(2.0**-self.pixel_bits)
        widths = [math.prod(shape), *self.hidden, classes]
        for number, (fan_in, fan_out) in enumerate(pairwise(widths), 1):
            hidden = number <= len(self.hidden)
            rows = fan_out * (self.pieces if hidden else 1)
            layers[f"fc{number}"] = QuantLinear(
                fan_in, rows, weight=self.parameter(), bias=True, quantize_bias=self.parameter(), limit=math.inf,
                input=None if number == 1 else self.rounded(rectified=self.pieces == 1),
                spread=2.0 * glorot(fan_in, rows), lr_scale=1.0)
            layers[f"sum{number}"] = self.rounded()
            if hidden and self.pieces > 1:
                layers[f"maxout{number}"] = Maxout(self.pieces)
        model = nn.Sequential(layers)
        self._search(model, self._searched > 0)
        return model

    def quantizers(self) -> tuple[Quantizer, Quantizer]:
        return self.parameter(), self.rounded(rectified=self.pieces == 1)

    @property
    def _searched(self) -> int:
        return min(self.search, self.epochs - 1) if self.format == "dynamic" else 0

    def pixels(self) -> Uniform:
        return Uniform(self.pixel_bits)

    @staticmethod
    def _search(model: nn.Module, searching: bool) -> bool:
        """Let ranges be searched, or not, all of them; return whether something changed."""
        formats = (module for module in model.modules() if isinstance(module, DynamicFixed))
        first = next(formats, None)
        if first is None or first.is_searching == searching:  # in every step but two
            return False
        for found in (first, *formats):
            found.searching.fill_(searching)
        return True

    def ready(self, model: nn.Module) -> bool:
        return not any(found.is_searching for found in model.modules() if isinstance(found, DynamicFixed))

    def advance(self, model: nn.Module, progress: float) -> None:
        if progress >= self._searched / self.epochs and self._search(model, False):
            for layer in model.modules():
                if isinstance(layer, Quantized):
                    layer.reset_parameters()

    def learning_rate(self, epoch: int) -> float:
        """Fall linearly from the end of the search on."""
        share = max(0, epoch - self._searched) / max(1, self.epochs - self._searched - 1)
        return self.lr + (self.lr_end - self.lr) * share

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        groups = [{"params": list(model.parameters()), "lr_scale": 1.0}]
        return Descent(groups, lr=self.lr, momentum=self.momentum, rounded=rounded_parameters(model),
                       max_norm=self.max_norm)
