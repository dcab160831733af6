"""BinaryNet on scikit-learn's 8 x 8 digits: the smallest network that is real, and the one of the demo."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hwbnn_train.recipes.networks import Network

__all__ = ["Digits"]


@dataclass(frozen=True, kw_only=True)
class Digits(Network):
    """BinaryNet (arXiv:1602.02830) on 8 x 8 digits: 64 pixels of 4 bits, two hidden layers of signs, 10 outputs.

    All weights are +1 or -1; Adam, and the learning rate scaled per layer. The pixels 0..16 are
    clipped to 0..15 by the first layer's quantizer. With 1077 training images the network would learn them by
    heart; normal noise on the pixels prevents that. The paper has no such set: loss, noise and schedule were
    chosen on the validation split.

    Parameters
    ----------
    noise : :class:`float`
        Standard deviation of the noise, in pixel levels.
    """

    name: str = "digits-mlp"
    data: str = "digits"
    epochs: int = 300
    batch: int = 25
    lr: float = 1e-2
    lr_end: float = 1e-5
    loss: str = "cross-entropy"
    hidden: tuple[int, ...] = (64, 64)
    pixel_bits: int = 4
    noise: float = 1.5

    def __post_init__(self):
        super().__post_init__()
        self.check_numbers(unsigned=("noise",))

    def augment(self, x: Tensor) -> Tensor:
        return x + self.noise * torch.randn_like(x)
