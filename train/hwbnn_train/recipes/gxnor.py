"""GXNOR-Net: ternary weights without real ones behind them, ternary activations."""

from dataclasses import dataclass

import torch
from torch import nn

from hwbnn_train.optimizers import parameter_groups, prepare
from hwbnn_train.quantizers import Quantizer, States, Steps
from hwbnn_train.recipes.networks import Network

__all__ = ["Gxnor"]


@dataclass(frozen=True, kw_only=True)
class Gxnor(Network):
    """GXNOR-Net (arXiv:1705.09283) by discrete state transition.

    The paper trains with batches of 10,000 images for 4000 epochs; with batches of 100 the learning rate is what
    keeps the random transitions rare.

    Parameters
    ----------
    weight_states, activation_states : :class:`int`
        N of the discrete spaces, ``2^N + 1`` states; 1 is ternary.
    r, a : :class:`float`
        Threshold of the activation and half-width of its derivative window.
    window : :class:`str`
        ``rectangular`` or ``triangular``.
    slope : :class:`float`
        Of the transition probability, the authors' ``m``.
    """

    name: str = "gxnor-mlp"
    lr: float = 1e-1
    lr_end: float = 1e-5
    weight_states: int = 1
    activation_states: int = 1
    r: float = 0.5
    a: float = 0.5
    window: str = "rectangular"
    slope: float = 3.0

    def weight(self, outputs: int) -> Quantizer:
        return States(self.weight_states)

    def activation(self) -> Quantizer:
        return Steps(self.activation_states, r=self.r, a=self.a, window=self.window)

    def layer_options(self, fan_in: int, fan_out: int) -> dict:
        return {"lr_scale": 1.0}

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return prepare(torch.optim.Adam(parameter_groups(model), lr=self.lr, fused=True), slope=self.slope)
