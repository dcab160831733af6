"""What the recipes of multi-layer perceptrons share: the network's shape and schedule, and MNIST."""

import math
from dataclasses import dataclass

from torch import nn

from hwbnn_train.layers import QuantLinear
from hwbnn_train.models import mlp
from hwbnn_train.quantizers import Quantizer, Sign, Uniform
from hwbnn_train.recipe import Recipe

__all__ = ["Perceptron"]


@dataclass(frozen=True, kw_only=True)
class Perceptron(Recipe):
    """Linear layers with batch normalization; a method says what its weights and activations are.

    The schedule and the widths are sized for minutes on two cores; the papers' are up to 3 x 4096 units and 1000
    epochs. Pixels enter as 0..255: the batch normalization behind the first layer makes that equal to the papers'
    -1..1, and hardware needs no offset.

    Parameters
    ----------
    hidden : tuple of :class:`int`
        Widths of the hidden layers.
    pixel_bits : :class:`int`
        Bits of the input, unsigned.
    """

    data: str = "mnist"
    epochs: int = 20
    batch: int = 100
    lr: float = 3e-3
    lr_end: float = 3e-5
    loss: str = "squared-hinge"
    hidden: tuple[int, ...] = (512, 512, 512)
    pixel_bits: int = 8

    def weight(self, fan_in: int, fan_out: int) -> Quantizer:
        """Return the quantizer of the weights of a layer of this size."""
        return Sign()

    def activation(self) -> Quantizer:
        """Return the quantizer of a hidden layer's outputs."""
        return Sign(window=1.0)

    def layer(self, fan_in: int, fan_out: int, input: Quantizer) -> QuantLinear:
        """Return a layer of this size."""
        return QuantLinear(fan_in, fan_out, weight=self.weight(fan_in, fan_out), input=input)

    def model(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return mlp(math.prod(shape), self.hidden, classes, input=Uniform(self.pixel_bits), layer=self.layer,
                   activation=self.activation, flatten=len(shape) > 1)
