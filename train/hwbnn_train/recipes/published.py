"""The trainings of two papers at their own size, for a GPU and hours or days."""

from dataclasses import dataclass

from torch import nn

from hwbnn_train.layers import Quantized
from hwbnn_train.quantizers import Dropped, Quantizer
from hwbnn_train.recipes.binarynet import BinaryNet
from hwbnn_train.recipes.gxnor import Gxnor

__all__ = ["PUBLISHED", "PublishedBinaryNet"]

_VGG = {"channels": (128, 128, 256, 256, 512, 512), "pool_every": 2}


@dataclass(frozen=True, kw_only=True)
class PublishedBinaryNet(BinaryNet):
    """BinaryNet (arXiv:1602.02830), as in the authors' Theano code, ``mnist.py`` and ``cifar10.py``.

    Parameters
    ----------
    input_dropout, hidden_dropout : :class:`float`
        Share of the pixels, and of the hidden activations, that are left out in training; 0: none.
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
            first.quantize_input = Dropped(first.quantize_input, self.input_dropout)
        return model


PUBLISHED = (
    PublishedBinaryNet(),
    PublishedBinaryNet(name="binarynet-cifar10-published", data="cifar10", batch=50, epochs=500, lr=1e-3, lr_end=3e-7,
                       hidden=(1024, 1024), input_dropout=0.0, hidden_dropout=0.0, **_VGG),
    # no padding in the first; the rate of the second falls tenfold at epochs 1000 and 1600 besides, which is left out
    Gxnor(name="gxnor-mnist-published", batch=10_000, epochs=4000, lr=1e-1, lr_end=1e-7, momentum=0.9,
          channels=(32, 64), hidden=(512,), kernel=5, padding=0),
    Gxnor(name="gxnor-cifar10-published", data="cifar10", batch=1000, epochs=2000, lr=1e-2, lr_end=3e-5, momentum=0.9,
          hidden=(1024,), **_VGG),
)
