"""One bit: quantizers whose values are -1 and +1, or both times a positive scale."""

import math

import torch
from torch import Tensor

from hwbnn.ir import BIPOLAR
from hwbnn_train.fused import fused
from hwbnn_train.quantizers.base import Grid, Quantizer, noise, passing, sign, uniform

__all__ = ["Sign", "StochasticSign", "sign_window", "substitute"]


class _SignSTE(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, window):
        ctx.window = window
        if window != math.inf:
            ctx.save_for_backward(x)
        return sign(x)

    @staticmethod
    def backward(ctx, grad):
        if ctx.window == math.inf:
            return grad, None
        (x,) = ctx.saved_tensors
        return passing(grad, x, -ctx.window, ctx.window), None


def sign_window(x: Tensor, window: float) -> Tensor:
    """Return the sign of ``x``; the gradient passes where ``|x| <= window``."""
    return _SignSTE.apply(x, window)


class Sign(Quantizer):
    """One bit: the sign.

    Forward: ``q(x) = +1 if x >= 0 else -1``. Backward: ``dq/dx = 1`` where ``|x| <= window``, else 0: the
    straight-through estimator with saturation.

    Activations of BinaryNet use a window of 1 (Courbariaux et al., "Binarized Neural Networks",
    arXiv:1602.02830); weights use an infinite one, since there the clipping of the real weights
    does that job (arXiv:1511.00363; the authors' ``binary_net.py``).

    Parameters
    ----------
    window : :class:`float`
        Half-width of the range around 0 in which the gradient passes.
    """

    short = True

    def __init__(self, window: float = math.inf):
        if not window > 0:
            raise ValueError(f"Sign window must be positive, not {window!r}")
        super().__init__()
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        return sign_window(x, self.window)

    def grid(self, x: Tensor) -> Grid:
        return Grid(BIPOLAR, torch.ones((), dtype=x.dtype))

    def extra_repr(self) -> str:
        return f"window={self.window}"


class _Substitute(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, value):
        return value

    @staticmethod
    def backward(ctx, grad):
        return grad, None


def substitute(x: Tensor, value: Tensor) -> Tensor:
    """Return ``value`` with its gradient going to ``x`` unchanged: the plain straight-through estimator."""
    return _Substitute.apply(x, value)


@fused("binary")
def _drawn_signs(x: Tensor, by_row: Tensor, by_column: Tensor, below: Tensor, limit: float) -> Tensor:
    # +limit where x plus a number drawn from -limit .. limit is at least 0
    return sign(uniform(x, by_row, by_column, below, limit).add_(x), torch.tensor(limit, dtype=x.dtype))


class StochasticSign(Quantizer):
    """One bit times a fixed scale: drawn in training, the sign in evaluation.

    Forward in training: ``q(x) = +limit`` with probability ``clip((x / limit + 1) / 2, 0, 1)``, else ``-limit``, whose
    mean is ``x`` itself. Backward: ``dq/dx = 1``. Courbariaux et al., "BinaryConnect", arXiv:1511.00363;
    the authors' ``binary_connect.py``. The paper evaluates networks trained like this with the *real* weights;
    hardware has their signs, so both accuracies are worth reporting apart
    (:func:`hwbnn_train.evaluation.real_weights`).

    Parameters
    ----------
    limit : :class:`float`
        The magnitude, and the bound of the real weights.
    """

    def __init__(self, limit: float = 1.0):
        if not 0 < limit < math.inf:
            raise ValueError(f"StochasticSign limit must be positive and finite, not {limit!r}")
        super().__init__()
        self.limit = limit

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return substitute(x, sign(x, torch.tensor(self.limit, dtype=x.dtype)))
        return substitute(x, _drawn_signs(x.detach(), *noise(x, half=self.limit), self.limit))

    def grid(self, x: Tensor) -> Grid:
        return Grid(BIPOLAR, torch.tensor(self.limit, dtype=x.dtype))

    def extra_repr(self) -> str:
        return f"limit={self.limit}"
