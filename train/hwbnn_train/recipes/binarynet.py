"""BinaryNet: weights and hidden activations of one bit."""

from dataclasses import dataclass

from hwbnn_train.recipes.networks import Network

__all__ = ["BinaryNet"]


@dataclass(frozen=True, kw_only=True)
class BinaryNet(Network):
    """BinaryNet (arXiv:1602.02830): Adam, squared hinge loss and the learning rate scaled per layer.

    The authors' ``mnist.py`` has 3 x 4096 hidden units, dropout 0.2 and 0.5, and 1000 epochs from 3e-3 to 3e-7. The
    small convolutional network is ours.
    """

    name: str = "mnist-mlp"
