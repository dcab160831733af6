"""Layers that quantize their input and their weights, and then do what the plain layer does."""

import math

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

    The real weights ``w`` are what the optimizer moves. They start uniform in ``-limit .. limit``, are kept
    there by the optimizer (:func:`hwbnn_train.optimizers.prepare`), and their learning rate is multiplied by
    ``lr_scale = limit / c``, where ``c`` is :func:`glorot` of the layer.

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
    """

    def __init__(self, in_features: int, out_features: int, *, weight: Quantizer,
                 input: Quantizer | None = None, bias: bool = False, limit: float = 1.0):
        if not limit > 0:
            raise ValueError(f"QuantLinear limit must be positive, not {limit!r}")
        self.limit = limit
        super().__init__(in_features, out_features, bias=bias)
        self.quantize_input = input
        self.quantize_weight = weight

    @property
    def lr_scale(self) -> float:
        """Factor on the learning rate of the real weights."""
        return self.limit / glorot(self.in_features, self.out_features)

    def reset_parameters(self) -> None:
        nn.init.uniform_(self.weight, -self.limit, self.limit)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.quantize_input is not None:
            x = self.quantize_input(x)
        return functional.linear(x, self.quantize_weight(self.weight), self.bias)
