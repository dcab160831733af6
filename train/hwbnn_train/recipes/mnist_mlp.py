"""BinaryNet on MNIST: 784 pixels of 8 bits, hidden layers of signs, 10 outputs."""

import math
from dataclasses import dataclass

from torch import nn

from hwbnn_train.models import mlp
from hwbnn_train.quantizers import Sign, Uniform
from hwbnn_train.recipe import Recipe

__all__ = ["MnistMLP"]


@dataclass(frozen=True, kw_only=True)
class MnistMLP(Recipe):
    """A multi-layer perceptron with weights and hidden activations of one bit.

    BinaryNet (arXiv:1602.02830) with Adam, squared hinge loss and the learning rate scaled per layer, as in the
    authors' ``mnist.py``, which has 3 x 4096 hidden units, dropout, 1000 epochs and 3e-3 falling to 3e-7;
    this one is sized for minutes on two cores. Pixels enter as 0..255: the batch normalization behind the first
    layer makes that equal to the paper's -1..1, and hardware needs no offset.

    Parameters
    ----------
    hidden : tuple of :class:`int`
        Widths of the hidden layers.
    """

    name: str = "mnist-mlp"
    data: str = "mnist"
    epochs: int = 20
    batch: int = 100
    lr: float = 3e-3
    lr_end: float = 3e-5
    loss: str = "squared-hinge"
    hidden: tuple[int, ...] = (512, 512, 512)

    def model(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return mlp(math.prod(shape), self.hidden, classes, input=Uniform(8), weight=Sign,
                   activation=lambda: Sign(window=1.0), flatten=len(shape) > 1)
