"""The trainings of two papers at their own size, for a GPU and hours or days."""

from dataclasses import dataclass

from torch import nn

from hwbnn_train.layers import Quantized
from hwbnn_train.quantizers import Dropped, Quantizer
from hwbnn_train.recipes.binarynet import BinaryNet
from hwbnn_train.recipes.gxnor import Gxnor

__all__ = ["PUBLISHED", "PublishedBinaryNet", "PublishedGxnor"]

_VGG = {"channels": (128, 128, 256, 256, 512, 512), "pool_every": 2}


@dataclass(frozen=True, kw_only=True)
class PublishedBinaryNet(BinaryNet):
    """BinaryNet (arXiv:1602.02830), as in the authors' Theano code, ``mnist.py`` and ``cifar10.py``.

    Parameters
    ----------
    input_dropout, hidden_dropout : :class:`float`
        Share of the pixels, and of the hidden activations, that are left out in training; 0: none. A pixel that is
        left out is grey, as 0 is among the authors' pixels of -1..1.
    """

    name: str = "binarynet-mnist-published"
    epochs: int = 1000
    lr: float = 3e-3
    lr_end: float = 3e-7
    hidden: tuple[int, ...] = (4096, 4096, 4096)
    input_dropout: float = 0.2
    hidden_dropout: float = 0.5
    recalibration: int = 0
    averaging: float = 0.0

    def activation(self) -> Quantizer:
        return Dropped(super().activation(), self.hidden_dropout) if self.hidden_dropout else super().activation()

    def model(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        model = super().model(shape, classes)
        if self.input_dropout:
            first = next(layer for layer in model.modules() if isinstance(layer, Quantized))
            first.quantize_input = Dropped(first.quantize_input, self.input_dropout,
                                           center=(2**self.pixel_bits - 1) / 2)
        return model


@dataclass(frozen=True, kw_only=True)
class PublishedGxnor(Gxnor):
    """GXNOR-Net: as the authors' code has it, whose activation amounts to a threshold of 1.

    Parameters
    ----------
    steps : tuple of :class:`int`
        Epochs from which on the rate is a tenth of what it would be, each.
    """

    r: float = 1.0
    momentum: float = 0.9
    steps: tuple[int, ...] = ()

    def learning_rate(self, epoch: int) -> float:
        return super().learning_rate(epoch) * 0.1 ** sum(epoch >= step for step in self.steps)


PUBLISHED = (
    PublishedBinaryNet(),
    PublishedBinaryNet(name="binarynet-cifar10-published", data="cifar10", batch=50, epochs=500, lr=1e-3, lr_end=3e-7,
                       hidden=(1024, 1024), input_dropout=0.0, hidden_dropout=0.0, **_VGG),
    PublishedGxnor(name="gxnor-mnist-published", batch=10_000, epochs=4000, lr=1e-1, lr_end=1e-7, channels=(32, 64),
                   hidden=(512,), kernel=5, padding=0),
    PublishedGxnor(name="gxnor-cifar10-published", data="cifar10", batch=1000, epochs=2000, lr=1e-2, lr_end=3e-5,
                   hidden=(1024,), steps=(1000, 1600), **_VGG),
)
