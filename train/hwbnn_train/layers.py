"""Layers that quantize their input and their weights, and then do what the plain layer does."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from hwbnn_train.quantizers import Quantizer

__all__ = ["QuantLinear", "glorot"]


def glorot(fan_in: int, fan_out: int) -> float:
    """Return ``c = sqrt(1.5 / (fan_in + fan_out))``, the coefficient that scales learning rates by ``1 / c``.

    From Glorot and Bengio (2010) as BinaryConnect uses it (arXiv:1511.00363, section 2.5, and the authors'
    ``binary_connect.py``).
    """
    return math.sqrt(1.5 / (fan_in + fan_out))


class QuantLinear(nn.Linear):
    """``y = q_input(x) @ q_weight(w).T + bias``.

    The real weights ``w`` are what the optimizer moves. They start uniform in ``-spread .. spread``, are kept in
    ``-limit .. limit`` by the optimizer (:func:`hwbnn_train.optimizers.prepare`), and their learning rate is
    multiplied by ``lr_scale``.

    In evaluation mode the product is taken with the integers of the weights and the scale multiplied in
    afterwards, as hardware and the exported graph do, so that sums of integers stay exact.

    Parameters
    ----------
    in_features, out_features : :class:`int`
        Columns and rows of the weights, ``out_features x in_features``.
    weight : :class:`~hwbnn_train.quantizers.Quantizer`
        Applied to the weights.
    input : :class:`~hwbnn_train.quantizers.Quantizer` or None
        Applied to the input; None where it has its values already.
    bias : :class:`bool`
        Whether there is one. None is needed before batch normalization.
    limit : :class:`float`
        Bound of the real weights.
    spread : :class:`float` or None
        Bound of the initial weights; None: ``limit``.
    lr_scale : :class:`float` or None
        Factor on the learning rate; None: ``limit / glorot(in_features, out_features)``.
    """

    def __init__(self, in_features: int, out_features: int, *, weight: Quantizer,
                 input: Quantizer | None = None, bias: bool = False, limit: float = 1.0,
                 spread: float | None = None, lr_scale: float | None = None):
        if not limit > 0:
            raise ValueError(f"QuantLinear limit must be positive, not {limit!r}")
        if spread is not None and not 0 < spread <= limit:
            raise ValueError(f"QuantLinear spread must be positive and at most the limit {limit!r}, not {spread!r}")
        self.limit = limit
        self.spread = limit if spread is None else spread
        self.lr_scale = limit / glorot(in_features, out_features) if lr_scale is None else lr_scale
        super().__init__(in_features, out_features, bias=bias)
        self.quantize_input = input
        self.quantize_weight = weight
        with torch.no_grad():
            weight.initialize(self.weight)

    def reset_parameters(self) -> None:
        nn.init.uniform_(self.weight, -self.spread, self.spread)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.quantize_input is not None:
            x = self.quantize_input(x)
        weights = self.quantize_weight(self.weight)
        if self.training:
            return functional.linear(x, weights, self.bias)
        scale = self.quantize_weight.grid(self.weight).scale
        y = functional.linear(x, weights / scale) * (scale.reshape(-1) if scale.ndim else scale)
        return y if self.bias is None else y + self.bias
