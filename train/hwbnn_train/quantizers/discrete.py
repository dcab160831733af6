"""GXNOR-Net's discrete spaces: weights that are states, and activations of several steps."""

import math
from typing import Any

import torch
from torch import Tensor

from hwbnn.ir import BIPOLAR, Levels
from hwbnn_train.fused import fused
from hwbnn_train.quantizers.base import Grid, Quantizer

__all__ = ["States", "Steps", "TernaryTanh", "bits", "snap", "space", "step"]


def space(n: int) -> Levels:
    """Return the integers of ``Z_N``: ``2^N + 1`` states, ``-2^(N-1) .. 2^(N-1)``; for N = 0 the two of a bit.

    Times ``2^-(N-1)`` (1 for N = 0) they are ``Z_N = {k / 2^(N-1) - 1}``, of step ``2 / 2^N`` (Deng et al.,
    "GXNOR-Net", arXiv:1705.09283).
    """
    if not isinstance(n, int) or not 0 <= n <= 8:
        raise ValueError(f"GXNOR space N must be an integer from 0 to 8, not {n!r}")
    return BIPOLAR if n == 0 else Levels(-2**(n - 1), 2**(n - 1))


def step(n: int) -> float:
    """Return the distance between the states of ``Z_N``, which fill -1 to 1."""
    return 2.0 / 2**n


def bits(n: int) -> int:
    """Return how many bits tell the states of ``Z_N`` apart."""
    return (len(space(n)) - 1).bit_length()


def snap(x: Tensor, n: int) -> Tensor:
    """Return the state of ``Z_N`` nearest to each of ``x``, halves to the upper one, without a gradient."""
    x = x.detach().clamp(-1.0, 1.0)
    return torch.floor((x + 1.0) / step(n) + 0.5) * step(n) - 1.0


class States(Quantizer):
    """Weights that are always in ``Z_N``: there are no real ones behind them.

    Forward: ``q(w) = w``. Backward: ``dq/dw = 1``. The optimizer moves them from state to state
    (:func:`hwbnn_train.optimizers.prepare`): discrete state transition, arXiv:1705.09283.

    Parameters
    ----------
    n : :class:`int`
        The space: 1 is ternary, 0 binary.
    """

    short = True

    def __init__(self, n: int = 1):
        super().__init__()
        self.levels, self.n = space(n), n
        self.training_bits = bits(n)

    def forward(self, w: Tensor) -> Tensor:
        return w

    def grid(self, w: Tensor) -> Grid:
        if self.n == 0:
            return Grid(BIPOLAR, torch.ones((), dtype=w.dtype))
        return Grid(self.levels, torch.tensor(step(self.n), dtype=w.dtype))

    def initialize(self, x: Tensor) -> None:
        x.copy_(snap(x, self.n))

    def group(self) -> dict[str, Any]:
        return {"states": self.n}

    def extra_repr(self) -> str:
        return f"n={self.n}"


def _reached(x: Tensor, thresholds: Tensor) -> Tensor:
    """Return how many thresholds each of ``x`` has reached, in the type of ``x``."""
    if len(thresholds) > 8:
        return torch.bucketize(x, thresholds, right=True).to(x.dtype)
    first, *others = thresholds.tolist()  # a few comparisons are 20 times faster than a search
    count = torch.ge(x, first, out=torch.empty_like(x))
    for threshold in others:
        count.add_(torch.ge(x, threshold, out=torch.empty_like(x)))
    return count


@fused("ternary", elementwise=True)
def _three_steps(x: Tensor, thresholds: Tensor) -> Tensor:
    """Return -1, 0 or 1 for none, one or both of two thresholds."""
    return _reached(x, thresholds).sub_(1.0)


@fused("ternary", elementwise=True)
def _three_steps_gradient(grad: Tensor, x: Tensor, jump: float, a: float, triangular: bool) -> Tensor:
    """Return the gradient behind windows of half-width ``a`` around ``-jump`` and ``jump``, each of area 1."""
    return _window(x.abs() - jump, a, triangular, 1.0).mul_(grad)


def _window(offset: Tensor, a: float, triangular: bool, scale: float) -> Tensor:
    """Return the slope that the step at this offset adds, in the memory of ``offset``."""
    distance = offset.abs_()
    if triangular:
        return distance.neg_().add_(a).clamp_(min=0).mul_(scale / a**2)
    return torch.le(distance, a, out=distance).mul_(scale / (2 * a))


class _ThreeSteps(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, thresholds, *window):
        ctx.save_for_backward(x)
        ctx.window = window
        return _three_steps(x, thresholds)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return _three_steps_gradient(grad, x, *ctx.window), None, None, None, None


class _Steps(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, thresholds, scale, low, slope):
        ctx.save_for_backward(x)
        ctx.slope = slope
        x = x.detach()
        return torch.add(torch.tensor(low * scale), _reached(x, thresholds), alpha=scale)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return ctx.slope(x).mul_(grad), None, None, None, None


class Steps(Quantizer):
    """Activations in ``Z_N``, N >= 1: 0 in the middle, and ``2^(N-1)`` steps up and down.

    Forward: ``phi(x) = sign(x) 2^-(N-1) #{k : |x| > t_k}`` with the thresholds
    ``t_k = r + k (1 - r) / 2^(N-1)``, ``k = 0 .. 2^(N-1) - 1``; for N = 1 that is -1, 0, 1 with 0 where
    ``|x| <= r``. Backward: the sum of windows around the jumps, each of area ``2^-(N-1)`` and half-width ``a``:
    rectangular ``1 / (2a)`` or triangular ``(a - d) / a^2`` at distance ``d <= a`` from a jump, times the height of
    the jump. GXNOR-Net (arXiv:1705.09283). The authors' code amounts to r = 1 and a rectangular
    window with a = 0.5; the paper's default is said to be r = a = 0.5.

    Parameters
    ----------
    n : :class:`int`
        The space.
    r : :class:`float`
        Where the first step is, from 0 to 1 (1 only for N = 1).
    a : :class:`float`
        Half-width of a window.
    window : :class:`str`
        ``rectangular`` or ``triangular``.
    """

    short = True

    def __init__(self, n: int = 1, *, r: float = 0.5, a: float = 0.5, window: str = "rectangular"):
        levels = space(n)
        if n == 0:
            raise ValueError("Steps n must be at least 1, not 0: for two states use Sign")
        if not 0 < r <= 1 or (r == 1 and n > 1):
            raise ValueError(f"Steps r must lie in 0..1, below 1 for n > 1, not {r!r}")
        if not 0 < a < math.inf:
            raise ValueError(f"Steps a must be positive and finite, not {a!r}")
        if window not in ("rectangular", "triangular"):
            raise ValueError(f"Steps window must be rectangular or triangular, not {window!r}")
        super().__init__()
        self.levels, self.n, self.r, self.a, self.window = levels, n, r, a, window
        up = torch.tensor([r + k * (1 - r) / levels.high for k in range(levels.high)], dtype=torch.float32)
        # |x| > t: going up the step is reached just above t, coming from below at -t itself
        above = torch.nextafter(up, torch.tensor(math.inf))
        self.register_buffer("jumps", up, persistent=False)
        self.register_buffer("thresholds", torch.cat([-up.flip(0), above]), persistent=False)

    @property
    def scale(self) -> float:
        """Height of a step."""
        return 1.0 / self.levels.high

    def forward(self, x: Tensor) -> Tensor:
        if self.n == 1:
            return _ThreeSteps.apply(x, self.thresholds, self.r, self.a, self.window == "triangular")
        return _Steps.apply(x, self.thresholds, self.scale, self.levels.low, self._slope)

    def _slope(self, x: Tensor) -> Tensor:
        magnitude = x.abs()
        return sum(_window(magnitude - jump, self.a, self.window == "triangular", self.scale)
                   for jump in self.jumps.tolist())

    def grid(self, x: Tensor) -> Grid:
        return Grid(self.levels, torch.tensor(self.scale), self.thresholds)

    def extra_repr(self) -> str:
        return f"n={self.n}, r={self.r}, a={self.a}, window={self.window!r}"


@fused("ternary", elementwise=True)
def _soft_steps(x: Tensor, beta: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return half the sum of two hyperbolic tangents, and the logistic functions (faster on a CPU) it is made of."""
    lower, upper = ((x * (4.0 * beta)).add_(2.0 * side * beta).sigmoid_() for side in (-1, 1))
    return (lower + upper).sub_(1.0), lower, upper


@fused("ternary", elementwise=True)
def _soft_steps_gradient(grad: Tensor, lower: Tensor, upper: Tensor, beta: float) -> Tensor:
    slope = torch.addcmul(lower, lower, lower, value=-1).add_(torch.addcmul(upper, upper, upper, value=-1))
    return slope.mul_(grad).mul_(4.0 * beta)


class _SoftSteps(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, beta):
        ctx.beta = beta
        y, *parts = _soft_steps(x, beta)
        ctx.save_for_backward(*parts)
        return y

    @staticmethod
    def backward(ctx, grad):
        return _soft_steps_gradient(grad, *ctx.saved_tensors, ctx.beta), None


class TernaryTanh(Steps):
    """Activations -1, 0 and 1 that are soft in training and ever less so.

    Forward in training: ``y = tanh(2 beta x - beta) / 2 + tanh(2 beta x + beta) / 2``. Backward: its derivative.
    Forward in evaluation: ``sign(x)`` where ``|x| > 0.5``, else 0. TernaryNet (Heinrich et al., arXiv:1801.09449),
    where ``beta`` grows from 3 to 8; in the authors' code the growing value is never read.

    Parameters
    ----------
    beta : :class:`float`
        Steepness to begin with; training changes the buffer of that name.
    """

    beta: Tensor
    short = False  # while it is soft

    def __init__(self, beta: float = 3.0):
        if not 0 < beta < math.inf:
            raise ValueError(f"TernaryTanh beta must be positive and finite, not {beta!r}")
        super().__init__(1, r=0.5)
        self.register_buffer("beta", torch.tensor(beta))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        return _SoftSteps.apply(x, float(self.beta))

    def extra_repr(self) -> str:
        return f"beta={float(self.beta)}"
