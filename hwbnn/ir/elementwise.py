"""Operations on each pixel by itself: thresholds, gains and biases, sums of tensors, the greatest channels."""

from dataclasses import dataclass
from math import gcd
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hwbnn.ir.levels import Levels
from hwbnn.ir.node import Node, Tensor, channel_signs, check_channels, frozen

__all__ = ["Add", "Affine", "Threshold", "TopK"]


@dataclass(frozen=True, eq=False)
class Threshold(Node):
    """y = levels.low + levels.step · #{k : signs[c] · x >= thresholds[c, k]} for channel c.

    ``thresholds`` is int64 of shape (channels, n), or (1, n) for all channels alike, each row ascending;
    equality counts as reached. ``levels`` has n + 1 members. ``signs`` (channels or 1) is +1 but for
    falling channels whose weights could not be negated instead.
    """

    thresholds: NDArray[np.int64]
    levels: Levels
    signs: NDArray[np.int64] = (1,)  # pyright: ignore[reportAssignmentType]  # becomes an array below

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "thresholds", frozen(self.thresholds, np.int64))
        object.__setattr__(self, "signs", channel_signs(self, self.signs))
        if self.thresholds.ndim != 2 or 0 in self.thresholds.shape:
            self._fail(f"thresholds must have shape (channels, n), not {self.thresholds.shape}")
        if np.any(np.diff(self.thresholds, axis=1) < 0):
            channel = int(np.nonzero(np.any(np.diff(self.thresholds, axis=1) < 0, axis=1))[0][0])
            self._fail(f"thresholds of channel {channel} must ascend")
        if len(self.levels) != self.thresholds.shape[1] + 1:
            self._fail(f"must have {len(self.levels) - 1} thresholds for {len(self.levels)} levels, "
                       f"not {self.thresholds.shape[1]}")

    def infer(self, x: Tensor) -> Tensor:
        check_channels(self, "thresholds", len(self.thresholds), x)
        check_channels(self, "signs", len(self.signs), x)
        return Tensor(x.shape, self.levels)


@dataclass(frozen=True, eq=False)
class Affine(Node):
    """y[c] = multipliers[c] · x[c] + offsets[c], in integers; both are vectors of channels or of 1."""

    multipliers: NDArray[np.int64]
    offsets: NDArray[np.int64]

    def __post_init__(self):
        super().__post_init__()
        for name in ("multipliers", "offsets"):
            array = frozen(getattr(self, name), np.int64)
            if array.ndim != 1 or not array.size:
                self._fail(f"{name} must be a vector, not of shape {array.shape}")
            object.__setattr__(self, name, array)

    def infer(self, x: Tensor) -> Tensor:
        check_channels(self, "multipliers", len(self.multipliers), x)
        check_channels(self, "offsets", len(self.offsets), x)
        pairs = {(int(m), int(o)) for m, o in np.broadcast(self.multipliers, self.offsets)}
        ends = [Levels(min(m * x.levels.low, m * x.levels.high) + o, max(m * x.levels.low, m * x.levels.high) + o,
                       x.levels.step * abs(m) or 1) for m, o in pairs]
        return Tensor(x.shape, ends[0].hull(*ends[1:]))


@dataclass(frozen=True, eq=False)
class Add(Node):
    """y = a + b, of equal shapes (a residual connection; unequal scales are made equal by Affine)."""

    arity: ClassVar[int | None] = 2

    def infer(self, a: Tensor, b: Tensor) -> Tensor:
        if a.shape != b.shape:
            self._fail(f"must add equal shapes, not {a.shape} and {b.shape}")
        steps = [t.levels.step for t in (a, b) if len(t.levels) > 1]
        return Tensor(a.shape, Levels(a.levels.low + b.levels.low, a.levels.high + b.levels.high,
                                      gcd(*steps) or 1))


@dataclass(frozen=True, eq=False)
class TopK(Node):
    """Channel numbers of the k greatest values, greatest first, the lower number first among equals.

    ``k = 1`` is argmax. The output has k channels.
    """

    k: int = 1

    def infer(self, x: Tensor) -> Tensor:
        if not 1 <= self.k <= x.channels:
            self._fail(f"k must lie in 1..{x.channels}, not {self.k}")
        return Tensor((*x.shape[:-1], self.k), Levels(0, x.channels - 1))
