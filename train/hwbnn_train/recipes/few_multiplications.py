"""Neural networks with few multiplications: weights drawn from one bit or three values, gradients by shifts."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from hwbnn_train.descent import Descent
from hwbnn_train.optimizers import parameter_groups
from hwbnn_train.quantizers import Quantizer, StochasticPower, StochasticSign, StochasticTernary, Uniform
from hwbnn_train.recipes.networks import Network

__all__ = ["FewMultiplications"]


@dataclass(frozen=True, kw_only=True)
class FewMultiplications(Network):
    """Few multiplications (arXiv:1510.03009): binary or ternary connect with quantized back propagation.

    The weights are ``W0 = sqrt(6 / (fan_in + fan_out)) / 2`` times -1, (0,) or +1, start uniform in
    ``-2 W0 .. 2 W0`` and are clipped to ``-W0 .. W0``. Stochastic gradient descent without momentum; the paper's rate
    of 0.3 falling to 0.01 is for a loss summed over the 10 classes, and ours is their mean. The rectified
    activations are rounded for hardware. The paper evaluates with real weights, reported apart as
    ``accuracy_real_weights``.

    Convolutions are like the linear layers. The authors' code divides their ``fan_out`` by the area of the pooling
    behind them, and clips the exponents of what the gradient of their weights multiplies by.

    Parameters
    ----------
    mode : :class:`str`
        ``binary`` or ``ternary``.
    activation_bits : :class:`int`
        Bits of the hidden activations, unsigned.
    """

    name: str = "few-multiplications-mlp"
    lr: float = 3.0
    lr_end: float = 0.1
    mode: str = "ternary"
    activation_bits: int = 4
    recalibration: int = 5000
    real_weights: bool = True

    def __post_init__(self):
        super().__post_init__()
        if self.mode not in ("binary", "ternary"):
            raise ValueError(f"FewMultiplications mode must be binary or ternary, not {self.mode!r}")

    def activation(self) -> Quantizer:
        return Uniform(self.activation_bits, scale=4.0 / 2**self.activation_bits)

    def layer_options(self, fan_in: int, fan_out: int) -> dict:
        scale = math.sqrt(6.0 / (fan_in + fan_out)) / 2.0
        weight = StochasticTernary(scale) if self.mode == "ternary" else StochasticSign(scale)
        return {"weight": weight, "gradient": StochasticPower(), "limit": scale, "spread": 2.0 * scale, "lr_scale": 1.0}

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return Descent(parameter_groups(model), lr=self.lr)
