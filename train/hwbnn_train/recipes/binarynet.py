"""BinaryNet: weights and hidden activations of one bit."""

from dataclasses import dataclass

import torch
from torch import nn

from hwbnn_train.optimizers import parameter_groups
from hwbnn_train.recipes.networks import Network
from hwbnn_train.shift import ShiftAdaMax, ShiftBatchNorm

__all__ = ["BinaryNet", "ShiftBinaryNet"]


@dataclass(frozen=True, kw_only=True)
class BinaryNet(Network):
    """BinaryNet (arXiv:1602.02830): Adam, squared hinge loss and the learning rate scaled per layer.

    The authors' ``mnist.py`` has 3 x 4096 hidden units, dropout 0.2 and 0.5, and 1000 epochs from 3e-3 to 3e-7. The
    small convolutional network is ours.

    What is deployed is the mean of the real weights over about the last four epochs (2,000 steps), binarized: on the
    validation split the loss falls by about 5 %. Where a network is too small for its task it lets the rate stay high:
    that of ``mnist-conv`` falls to a tenth only; in ten epochs the validation loss came to 0.0105 instead of 0.0133.

    Parameters
    ----------
    averaging : :class:`float`
        See :class:`hwbnn_train.averaging.Average`; 0: the weights as they are, the authors' way.
    """

    name: str = "mnist-mlp"
    recalibration: int = 5000
    averaging: float = 0.9995


@dataclass(frozen=True, kw_only=True)
class ShiftBinaryNet(Network):
    """Shift-based BinaryNet (arXiv:1602.02830): batch normalization and AdaMax by shifts.

    As in the authors' Torch code the last layer has plain batch normalization; its rate is 2^-6, halved every 20
    epochs. Here the rate falls exponentially, like everywhere, and is rounded to a power of two with each
    layer's scale in it.
    """

    name: str = "shift-mlp"
    lr: float = 2**-6
    lr_end: float = 2**-13

    def norm(self, channels: int, axes: int) -> nn.Module:
        return ShiftBatchNorm(channels)

    def model(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        model = super().model(shape, classes)
        model[-1] = super().norm(classes, 0)
        return model

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return ShiftAdaMax(parameter_groups(model), lr=self.lr)
