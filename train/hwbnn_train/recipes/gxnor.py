"""GXNOR-Net: ternary weights without real ones behind them, ternary activations."""

from dataclasses import dataclass

import torch
from torch import nn

from hwbnn_train.adam import Adam
from hwbnn_train.optimizers import parameter_groups
from hwbnn_train.quantizers import Quantizer, States, Steps
from hwbnn_train.recipes.networks import Network

__all__ = ["Gxnor"]


@dataclass(frozen=True, kw_only=True)
class Gxnor(Network):
    """GXNOR-Net (arXiv:1705.09283), discrete state transition: no real weights.

    The paper trains with batches of 10,000 images for 4000 epochs. Batches of 100 have noisy gradients, and every move
    of a weight without a real one behind it is final; Adam's mean over 50 steps (``momentum``) instead of 10 is what
    larger batches would do.

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
    momentum : :class:`float`
        Adam's share of the mean gradient that stays in a step.
    """

    name: str = "gxnor-mlp"
    lr: float = 1e-2
    lr_end: float = 1e-4
    weight_states: int = 1
    activation_states: int = 1
    r: float = 0.5
    a: float = 0.5
    window: str = "rectangular"
    slope: float = 3.0
    momentum: float = 0.98

    def __post_init__(self):
        super().__post_init__()
        self.check_numbers(positive=("slope",))

    def weight(self, outputs: int) -> Quantizer:
        return States(self.weight_states)

    def activation(self) -> Quantizer:
        return Steps(self.activation_states, r=self.r, a=self.a, window=self.window)

    def layer_options(self, fan_in: int, fan_out: int) -> dict:
        return {"lr_scale": 1.0}

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return Adam(parameter_groups(model), lr=self.lr, betas=(self.momentum, 0.999), slope=self.slope)
