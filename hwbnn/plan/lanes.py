"""What one lane computes: an activation and a weight become a term, and terms add up to the dot product.

The sum S of the terms over all columns gives ``dot[row] = scale · S + offset[row]``, where the offsets depend
on the weights alone and are folded into thresholds or added at the very end. Terms are chosen to be small
and, where possible, unsigned: mismatches are counted, never matches.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwbnn.ir import BIPOLAR, TERNARY, Levels

__all__ = ["ConditionalLane", "GatedLane", "Lane", "MismatchLane", "ProductLane", "lane_for", "weight_levels"]


@dataclass(frozen=True)
class Lane:
    """Activations of levels ``x`` times weights of levels ``w``."""

    x: Levels
    w: Levels

    def __post_init__(self):
        if not self.fits(self.x, self.w):
            raise ValueError(f"{type(self).__name__} must have {self.requirement}, not {self.x} times {self.w}")

    requirement = "any levels"
    scale = 1
    latency = 0  # registers between the operands and the term

    @classmethod
    def fits(cls, x: Levels, w: Levels) -> bool:
        """Tell whether the lane can multiply these levels."""
        return True

    @property
    def low(self) -> int:
        """The least term."""
        return 0

    @property
    def high(self) -> int:
        """The greatest term."""
        raise NotImplementedError(type(self).__name__)

    def offsets(self, weights: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return ``dot - scale · S`` of each row of ``weights`` (rows, columns)."""
        raise NotImplementedError(type(self).__name__)


class MismatchLane(Lane):
    """Bipolar times bipolar: the term is ``x XOR w``, dot = K - 2 S."""

    requirement = "bipolar times bipolar"
    scale = -2

    @classmethod
    def fits(cls, x, w):
        return x.is_bipolar and w.is_bipolar

    @property
    def high(self):
        return 1

    def offsets(self, weights):
        return np.full(len(weights), weights.shape[1], np.int64)


class ConditionalLane(Lane):
    """b bits times bipolar: the term is the code of x, complemented where the weight is -1.

    With u = x + h in 0..2^b - 1 (h = 2^(b-1) for signed x, the sign bit turned; else 0) the term is u or
    2^b - 1 - u, so dot = S - N(2^b - 1) - h · (sum of weights), N the number of weights -1.
    """

    requirement = "k-bit integers times bipolar"

    @classmethod
    def fits(cls, x, w):
        return w.is_bipolar and not x.is_bipolar and not x.is_ternary

    @property
    def high(self):
        return 2**self.x.bits - 1

    def offsets(self, weights):
        negative = (weights < 0).sum(axis=1)
        half = 2 ** (self.x.bits - 1) if self.x.is_signed else 0
        return (-negative * self.high - half * weights.sum(axis=1)).astype(np.int64)


class GatedLane(Lane):
    """Ternary times ternary, or either of them bipolar: the term is 1 - x w in {0, 1, 2}, dot = K - S."""

    requirement = "ternary or bipolar levels"
    scale = -1

    @classmethod
    def fits(cls, x, w):
        return all(one.is_ternary or one.is_bipolar for one in (x, w))

    @property
    def high(self):
        return 2

    def offsets(self, weights):
        return np.full(len(weights), weights.shape[1], np.int64)


class ProductLane(Lane):
    """Any integers: the term is the product itself, in a register."""

    latency = 1

    @property
    def _corners(self) -> list[int]:
        return [x * w for x in (self.x.low, self.x.high) for w in (self.w.low, self.w.high)]

    @property
    def low(self):
        return min(self._corners)

    @property
    def high(self):
        return max(self._corners)

    def offsets(self, weights):
        return np.zeros(len(weights), np.int64)


def weight_levels(weights: NDArray[np.int64]) -> Levels:
    """The cheapest levels that hold the weights actually present."""
    for levels in (BIPOLAR, TERNARY):
        if levels.holds(weights):
            return levels
    return Levels(int(weights.min()), int(weights.max()))


def lane_for(x: Levels, w: Levels) -> Lane:
    """The cheapest lane that multiplies these levels."""
    return next(kind for kind in (MismatchLane, ConditionalLane, GatedLane, ProductLane) if kind.fits(x, w))(x, w)
