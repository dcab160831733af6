"""Operations with weights: matrix products, at every pixel or over windows, and the levels of their sums."""

from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from hwbnn.ir.levels import Levels
from hwbnn.ir.node import Node, Tensor, frozen
from hwbnn.ir.windows import windows

__all__ = ["Conv", "MatMul", "sum_levels"]


def sum_levels(weights: NDArray, levels: Levels, *, zero: bool) -> Levels:
    """Return the levels of ``weights @ x`` over all rows, for x in ``levels`` (``zero``: or an absent, zero x)."""
    w = weights.astype(object if _wide(weights, levels) else np.int64)
    low_x, high_x = (min(levels.low, 0), max(levels.high, 0)) if zero else (levels.low, levels.high)
    positive, negative = np.maximum(w, 0).sum(axis=1), np.minimum(w, 0).sum(axis=1)
    lows = positive * low_x + negative * high_x
    highs = positive * high_x + negative * low_x
    unit = gcd(*(int(v) for v in np.unique(np.abs(weights)))) or 1
    step = unit * levels.step
    if zero:  # an absent value moves the sum by any single product
        step = gcd(step, unit * levels.low)
    base = w.sum(axis=1) * levels.low
    step = gcd(step, *(int(b) - int(base[0]) for b in np.unique(base))) or 1
    low, high = int(lows.min()), int(highs.max())
    return Levels(low, high, step if low < high else 1)


def _wide(weights: NDArray, levels: Levels) -> bool:
    bound = int(np.abs(weights).max(initial=0)) * max(abs(levels.low), abs(levels.high), 1)
    return bound * weights.shape[-1] >= 2**62


@dataclass(frozen=True, eq=False)
class MatMul(Node):
    """acc[..., r] = sum over c of weights[r, c] · x[..., c], at every pixel.

    ``weights`` is int64 of shape (rows, columns); the input has ``columns`` channels, the output ``rows``.
    ``weight_levels`` is the set the weights were drawn from; it may be larger than what occurs.
    """

    weights: NDArray[np.int64]
    weight_levels: Levels

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "weights", frozen(self.weights, np.int64))
        if self.weights.ndim != 2 or 0 in self.weights.shape:
            self._fail(f"weights must have shape (rows, columns), not {self.weights.shape}")
        if not self.weight_levels.holds(self.weights):
            self._fail(f"weights must be {self.weight_levels}, not {Levels.of(self.weights)}")

    @property
    def rows(self) -> int:
        return self.weights.shape[0]

    @property
    def columns(self) -> int:
        return self.weights.shape[1]

    def infer(self, x: Tensor) -> Tensor:
        if x.channels != self.columns:
            self._fail(f"must read {self.columns} channels, not {x.channels}")
        return Tensor((*x.shape[:-1], self.rows), sum_levels(self.weights, x.levels, zero=False))


@dataclass(frozen=True, eq=False)
class Conv(Node):
    """Two-dimensional convolution; a padded pixel counts as 0, also for bipolar inputs.

    ``weights`` is int64 of shape (rows, ky, kx, channels / groups). Group g of ``rows / groups`` output
    channels reads group g of input channels; depthwise is ``groups == channels``. ``stride`` and
    ``dilation`` are (y, x); ``padding`` is (top, left, bottom, right) in pixels.
    """

    weights: NDArray[np.int64]
    weight_levels: Levels
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "weights", frozen(self.weights, np.int64))
        if self.weights.ndim != 4 or 0 in self.weights.shape:
            self._fail(f"weights must have shape (rows, ky, kx, channels), not {self.weights.shape}")
        if not self.weight_levels.holds(self.weights):
            self._fail(f"weights must be {self.weight_levels}, not {Levels.of(self.weights)}")
        if min(*self.stride, *self.dilation, self.groups) < 1 or min(self.padding) < 0:
            self._fail("must have stride, dilation and groups of at least 1 and padding of at least 0")
        if self.rows % self.groups:
            self._fail(f"rows must be a multiple of the {self.groups} groups, not {self.rows}")

    @property
    def rows(self) -> int:
        return self.weights.shape[0]

    @property
    def kernel(self) -> tuple[int, int]:
        return self.weights.shape[1], self.weights.shape[2]

    @property
    def columns(self) -> int:
        """Products per output: ky · kx · channels / groups."""
        return int(np.prod(self.weights.shape[1:]))

    def infer(self, x: Tensor) -> Tensor:
        height, width, channels = self._map(x)
        if channels != self.weights.shape[3] * self.groups:
            self._fail(f"must read {self.weights.shape[3] * self.groups} channels, not {channels}")
        size = windows(self, height, width, self.kernel, self.dilation)
        levels = sum_levels(self.weights.reshape(self.rows, -1), x.levels, zero=any(self.padding))
        return Tensor((*size, self.rows), levels)
