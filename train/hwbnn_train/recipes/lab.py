"""Loss-aware binarization: binary weights with the scale that costs the loss least."""

from dataclasses import dataclass

import torch
from torch import nn

from hwbnn_train.layers import glorot
from hwbnn_train.optimizers import loss_aware
from hwbnn_train.quantizers import LossAware, Quantizer, Sign, Uniform
from hwbnn_train.recipes.networks import Network

__all__ = ["LossAwareBinarization"]


@dataclass(frozen=True, kw_only=True)
class LossAwareBinarization(Network):
    """Loss-aware binarization (arXiv:1611.01600), LAB; with activations of one bit, LAB2.

    Weights start uniform in the range of Glorot's coefficient and are clipped to -1 .. 1; the learning rate is not
    scaled. The paper's MNIST network is 3 x 2048, 50 epochs, rate 0.01 cut to a tenth at epochs 15 and 25; its
    activations are real, and here rectified and rounded to a few bits.

    Parameters
    ----------
    activation_bits : :class:`int`
        Bits of the hidden activations; 1 is the sign.
    """

    name: str = "lab-mlp"
    lr: float = 1e-2
    lr_end: float = 1e-4
    activation_bits: int = 4

    def weight(self, outputs: int) -> Quantizer:
        return LossAware()

    def activation(self) -> Quantizer:
        if self.activation_bits == 1:
            return Sign(window=1.0)
        return Uniform(self.activation_bits, scale=4.0 / 2**self.activation_bits)

    def layer_options(self, fan_in: int, fan_out: int) -> dict:
        return {"spread": glorot(fan_in, fan_out), "lr_scale": 1.0}

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return loss_aware(super().optimizer(model), model)
