"""Learned bitlengths: quantizers whose number of bits is a parameter, between integers while it is learned."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from hwbnn.ir import BIPOLAR, Levels
from hwbnn_train.quantizers.base import Grid, Quantizer, largest, levels, passing, sign

__all__ = ["LearnedActivationBits", "LearnedBits", "LearnedWeightBits"]


class _Between(torch.autograd.Function):
    """``(1 - a) low + a high``, in their memory; by ``x`` the gradient passes within ``passed``, by the bits it is
    that times ``high - low``.
    """

    @staticmethod
    def forward(ctx, x, bits, low, high, passed):
        ctx.passed, difference = passed, high.sub_(low)
        ctx.save_for_backward(x, difference)
        return low.add_(difference, alpha=float(bits - bits.floor()))

    @staticmethod
    def backward(ctx, grad):
        x, difference = ctx.saved_tensors
        by_x = grad if ctx.passed is None else passing(grad, x, *ctx.passed)
        return by_x, torch.dot(grad.flatten(), difference.flatten()), None, None, None


class _Passing(torch.autograd.Function):
    """``value``, whose gradient goes to ``x`` where ``passed``."""

    @staticmethod
    def forward(ctx, x, value, passed):
        ctx.passed = passed
        ctx.save_for_backward(x)
        return value

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad if ctx.passed is None else passing(grad, x, *ctx.passed), None, None


class LearnedBits(Quantizer):
    """Evenly spaced levels whose number of bits ``n`` is learned (BitPruning).

    Forward in training, with ``b = floor(n)`` and ``a = n - b``: ``q(x) = (1 - a) Q(x, b) + a Q(x, b + 1)``, where
    ``Q(x, b)`` are the nearest of the ``2^b`` levels over a range. Backward: straight through for ``x``, and
    ``dq/dn = Q(x, b + 1) - Q(x, b)``. Once :meth:`freeze` has rounded ``n`` up it stays, and ``q(x) = Q(x, n)``; so it
    is in evaluation, too. "Training for minimal bitlength" (Nikolić et al., arXiv:2002.03090), which has levels
    from the least value to the greatest. Hardware here has no offsets, so the subclasses' levels hold 0.

    Parameters
    ----------
    start, most : :class:`float`
        Bits to begin with, and never to be exceeded; they never fall below 1.
    lr_scale : :class:`float`
        Factor on the learning rate of the bits.
    """

    bits: nn.Parameter
    frozen: Tensor

    def __init__(self, *, start: float = 8.0, most: int = 8, lr_scale: float = 1.0):
        if not isinstance(most, int) or not 1 <= most <= 16:
            raise ValueError(f"{type(self).__name__} most must be an integer from 1 to 16, not {most!r}")
        if not 1 <= start <= most:
            raise ValueError(f"{type(self).__name__} start must lie in 1..{most}, not {start!r}")
        if not 0 < lr_scale < math.inf:
            raise ValueError(f"{type(self).__name__} lr_scale must be positive and finite, not {lr_scale!r}")
        super().__init__()
        self.most, self.lr_scale = most, lr_scale
        self.bits = nn.Parameter(torch.tensor(float(start)))
        self.register_buffer("frozen", torch.zeros((), dtype=torch.long))  # 0: still learned

    @property
    def whole(self) -> int:
        """The bits that hardware has: the learned ones rounded up."""
        return int(self.frozen) or math.ceil(self.current)

    @property
    def current(self) -> float:
        """The bits as learned so far."""
        return float(self.frozen) or float(self.bits.detach().clamp(1.0, float(self.most)))

    def freeze(self) -> None:
        """Round the bits up and learn them no longer."""
        with torch.no_grad():
            self.frozen.fill_(self.whole)
            self.bits.fill_(self.whole)

    def exact(self, x: Tensor, bits: int) -> Tensor:
        """Return the nearest of the levels of so many bits."""
        raise NotImplementedError  # every subclass defines it

    def passed(self) -> tuple[float, float] | None:
        """Return the range in which the gradient passes; None for everywhere."""
        return None

    def forward(self, x: Tensor) -> Tensor:
        fixed = not self.training or bool(self.frozen)
        with torch.no_grad():
            if not fixed:
                self.bits.clamp_(1.0, float(self.most))
            below = self.whole if fixed else math.floor(self.current)
            low = self.exact(x, below)
        if fixed:
            return _Passing.apply(x, low, self.passed())
        with torch.no_grad():
            high = low.clone() if below == self.most else self.exact(x, below + 1)
        return _Between.apply(x, self.bits, low, high, self.passed())

    def extra_repr(self) -> str:
        return f"bits={self.current:.3g}, most={self.most}, lr_scale={self.lr_scale}"


class LearnedWeightBits(LearnedBits):
    """Weights of two's complement levels; see :class:`LearnedBits`.

    ``Q(w, b) = s clip(round(w / s), -2^(b-1), 2^(b-1) - 1)`` with ``s = max |w| / 2^(b-1)``, the range being that of
    the layer's weights; for one bit ``mean |w| sign(w)``, as two levels at the ends of the range would be far off.
    BitPruning (arXiv:2002.03090) has ``Q(w, b) = l + round((w - l) s) / s`` from the least weight ``l`` on.
    """

    @staticmethod
    def _scale(w: Tensor, bits: int) -> Tensor:
        w = w.detach()
        if bits == 1:
            return w.abs().mean().clamp(min=1e-12)
        return (largest(w) / 2**(bits - 1)).clamp(min=1e-12)

    def exact(self, x: Tensor, bits: int) -> Tensor:
        scale = self._scale(x, bits)
        if bits == 1:
            return sign(x) * scale
        return levels(x.detach(), float(scale), -(2**(bits - 1)), 2**(bits - 1) - 1)

    def grid(self, x: Tensor) -> Grid:
        bits = self.whole
        return Grid(BIPOLAR if bits == 1 else Levels.signed(bits), self._scale(x, bits))


class LearnedActivationBits(LearnedBits):
    """Rectified activations of ``0 .. 2^b - 1`` steps; see :class:`LearnedBits`.

    ``Q(x, b) = s clip(round(x / s), 0, 2^b - 1)`` with ``s = range / (2^b - 1)``. The gradient passes where
    ``0 <= x <= range``. The range follows the greatest value of each training batch, of which a share of ``momentum``
    enters; how the paper (BitPruning, arXiv:2002.03090) tracks it is not known to us.
    """

    range: Tensor

    def __init__(self, *, momentum: float = 0.01, **options):
        if not 0 < momentum <= 1:
            raise ValueError(f"LearnedActivationBits momentum must lie above 0 and up to 1, not {momentum!r}")
        super().__init__(**options)
        self.momentum = momentum
        self.register_buffer("range", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                most = x.detach().max().clamp_(min=1e-6).float()
                self.range.lerp_(most, self.momentum if self.range > 0 else 1.0)
        return super().forward(x)

    def _scale(self, bits: int) -> float:
        return float(np.float32(float(self.range) or 1.0) / np.float32(2**bits - 1))

    def exact(self, x: Tensor, bits: int) -> Tensor:
        return levels(x.detach(), self._scale(bits), 0, 2**bits - 1)

    def passed(self) -> tuple[float, float]:
        return 0.0, float(self.range)

    def grid(self, x: Tensor) -> Grid:
        return Grid(Levels.unsigned(self.whole), torch.tensor(self._scale(self.whole)))
