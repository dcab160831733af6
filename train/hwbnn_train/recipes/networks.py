"""What recipes share: the networks, their schedules, and how a method says what its weights and activations are."""

import math
from dataclasses import dataclass

from torch import nn

from hwbnn.errors import UserError
from hwbnn_train.layers import QuantConv2d, QuantLinear
from hwbnn_train.models import batch_norm, convnet, mlp
from hwbnn_train.quantizers import Quantizer, Sign, Uniform
from hwbnn_train.recipe import Recipe

__all__ = ["Network"]


@dataclass(frozen=True, kw_only=True)
class Network(Recipe):
    """A perceptron, or a small convolutional network, with batch normalization; without a method, BinaryNet.

    The schedule and the sizes are for minutes on two cores; the papers' are up to 3 x 4096 units and 1000
    epochs. Pixels enter as 0..255: the batch normalization behind the first layer makes that equal to the papers'
    -1..1 (up to the border of a padded convolution), and hardware needs no offset.

    Parameters
    ----------
    channels : tuple of :class:`int`
        Outputs of the convolutions; none: a perceptron.
    hidden : tuple of :class:`int`
        Widths of the hidden linear layers.
    pixel_bits : :class:`int`
        Bits of the input, unsigned.
    kernel, padding : :class:`int`
        Size of the convolutions' kernels, and zeros at each border of what they read.
    pool_every : :class:`int`
        How many convolutions stand before each 2 x 2 max pooling.
    """

    data: str = "mnist"
    epochs: int = 20
    batch: int = 100
    lr: float = 3e-3
    lr_end: float = 3e-5
    loss: str = "squared-hinge"
    channels: tuple[int, ...] = ()
    hidden: tuple[int, ...] = (512, 512, 512)
    pixel_bits: int = 8
    kernel: int = 3
    padding: int = 1
    pool_every: int = 1

    def __post_init__(self):
        super().__post_init__()
        for field, least in (("channels", 1), ("hidden", 1), ("kernel", 1), ("padding", 0), ("pool_every", 1)):
            value = getattr(self, field)
            if any(number < least for number in (value if isinstance(value, tuple) else [value])):
                raise ValueError(f"Network {field} must be at least {least}, not {value!r}")

    def pixels(self) -> Quantizer:
        """Return the quantizer of the images."""
        return Uniform(self.pixel_bits)

    def weight(self, outputs: int) -> Quantizer:
        """Return the quantizer of the weights of a layer with so many outputs."""
        return Sign()

    def activation(self) -> Quantizer:
        """Return the quantizer of a hidden layer's outputs."""
        return Sign(window=1.0)

    def norm(self, channels: int, axes: int) -> nn.Module | None:
        """Return the normalization of so many channels with so many axes behind them, or None for none."""
        return batch_norm(channels, axes)

    def layer_options(self, fan_in: int, fan_out: int) -> dict:
        """Return what else the layers of a method are made with; a ``weight`` where it depends on the fans."""
        return {}

    def linear(self, fan_in: int, fan_out: int, input: Quantizer) -> QuantLinear:
        """Return a linear layer."""
        return QuantLinear(fan_in, fan_out, input=input, **self._options(fan_out, fan_in, fan_out))

    def quantizers(self) -> tuple[Quantizer, Quantizer]:
        activation = self.activation()
        return self.linear(2, 2, activation).quantize_weight, activation

    def convolution(self, fan_in: int, fan_out: int, input: Quantizer) -> QuantConv2d:
        """Return a convolution."""
        taps = self.kernel**2
        return QuantConv2d(fan_in, fan_out, self.kernel, padding=self.padding, input=input,
                           **self._options(fan_out, taps * fan_in, taps * fan_out))

    def _options(self, outputs: int, fan_in: int, fan_out: int) -> dict:
        return {"weight": self.weight(outputs), **self.layer_options(fan_in, fan_out)}

    def model(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        if not self.channels:
            return mlp(math.prod(shape), self.hidden, classes, input=self.pixels(), layer=self.linear,
                       activation=self.activation, norm=self.norm, flatten=len(shape) > 1)
        if len(shape) != 3:
            raise UserError(f"Recipe {self.name} must have images of channels, height and width, and those of "
                            f"{self.data} have shape {shape}")
        return convnet(shape, self.channels, self.hidden, classes, input=self.pixels(), convolution=self.convolution,
                       layer=self.linear, activation=self.activation, norm=self.norm,
                       pooled=range(self.pool_every, len(self.channels) + 1, self.pool_every),
                       shrink=self.kernel - 1 - 2 * self.padding)
