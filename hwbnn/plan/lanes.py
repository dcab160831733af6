"""What one lane computes: an activation and a weight become a term, and terms add up to the dot product.

Where a datapath is asked for (:class:`~hwbnn.plan.UnitOptions`), it names a kind of lanes: ``lanes`` made of look-up
tables, ``planes`` of one operand's bits, or the chip's ``multipliers``.

The sum S of the terms over all columns gives ``dot[row] = scale · S + offset[row]``, where the offsets depend
on the weights alone and are folded into thresholds or added at the very end. Terms are chosen to be small
and, where possible, unsigned: mismatches are counted, never matches.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwbnn.ir import Levels

__all__ = [
    "ChoiceLane", "ConditionalLane", "GatedConditionalLane", "GatedLane", "Lane", "MismatchLane", "PlainLane",
    "StillLane",
]


@dataclass(frozen=True)
class Lane:
    """Activations of levels ``x`` times weights of levels ``w``."""

    x: Levels
    w: Levels

    def __post_init__(self):
        if not self.fits(self.x, self.w):
            raise ValueError(f"{type(self).__name__} must have {self.requirement}, not {self.x} times {self.w}")

    requirement = "any levels"
    latency = 0  # registers between the operands and the term
    products = 1  # that one term is the sum of

    @classmethod
    def fits(cls, x: Levels, w: Levels) -> bool:
        """Tell whether the lane can multiply these levels."""
        return True

    @property
    def scale(self) -> int:
        """What S counts for: 1, 2, -1 or -2."""
        return 1

    @property
    def planes(self) -> tuple[int, ...]:
        """What each plane of a term counts for: powers of two, the last perhaps negative. Mostly there is one plane."""
        return (1,)

    @property
    def bounds(self) -> tuple[int, int]:
        """Least and greatest value that a product adds to one plane."""
        raise NotImplementedError(type(self).__name__)  # every lane defines it

    @property
    def low(self) -> int:
        """The least that a product adds to S."""
        return sum(min(factor * bound for bound in self.bounds) for factor in self.planes)

    @property
    def idle_weight(self) -> int | None:
        """What a zero weight adds to S with any activation; None where there is no zero or it depends on that."""
        return None

    @property
    def idle_activation(self) -> int | None:
        """What a zero activation adds to S with any weight; None where it depends on the weight."""
        return None

    @property
    def high(self) -> int:
        """The greatest that a product adds to S."""
        return sum(max(factor * bound for bound in self.bounds) for factor in self.planes)

    def flip_flops(self, count: int) -> int:
        """Bits of the registers between ``count`` pairs of operands and their terms."""
        return 0

    @property
    def half(self) -> int:
        """What is added to signed activations to count from 0, by turning their sign bit: 2^(bits - 1)."""
        return 2 ** (self.x.bits - 1) if self.x.is_signed else 0

    def offsets(self, weights: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return ``dot - scale · S`` of each row of ``weights`` (rows, columns)."""
        raise NotImplementedError(type(self).__name__)


class MismatchLane(Lane):
    """Bipolar times bipolar: the term is ``x XOR w``, dot = K - 2 S."""

    requirement = "bipolar times bipolar"
    scale = -2  # pyright: ignore[reportAssignmentType]  # of this kind it is one for all

    @classmethod
    def fits(cls, x, w):
        return x.is_bipolar and w.is_bipolar

    @property
    def bounds(self):
        return 0, 1

    def offsets(self, weights):
        return np.full(len(weights), weights.shape[1], np.int64)


class ConditionalLane(Lane):
    """b bits times bipolar: the term is the code of x, complemented where the weight is +1: each bit XOR the weight.

    With u = x + h in 0..2^b - 1 (h = 2^(b-1) for signed x, the sign bit turned; else 0) the term is u or
    2^b - 1 - u, so dot = N(2^b - 1) - S - h · (sum of weights), N the number of weights +1.
    """

    requirement = "k-bit integers times bipolar"
    scale = -1  # pyright: ignore[reportAssignmentType]  # of this kind it is one for all

    @classmethod
    def fits(cls, x, w):
        return w.is_bipolar and not x.is_bipolar and not x.is_ternary

    @property
    def bounds(self):
        return 0, 2**self.x.bits - 1

    def offsets(self, weights):
        positive = (weights > 0).sum(axis=1)
        return (positive * self.high - self.half * weights.sum(axis=1)).astype(np.int64)


class GatedConditionalLane(ConditionalLane):
    """b bits times ternary: the term is the code of x, complemented where the weight is -1, and 0 where it is 0.

    So dot = S - N(2^b - 1) - h · (sum of weights), N the number of weights -1.
    """

    requirement = "k-bit integers times ternary"
    scale = 1  # pyright: ignore[reportAssignmentType]  # of this kind it is one for all

    @classmethod
    def fits(cls, x, w):
        return w.is_ternary and not x.is_bipolar and not x.is_ternary

    @property
    def idle_weight(self):
        return 0

    def offsets(self, weights):
        negative = (weights < 0).sum(axis=1)
        return (-negative * self.high - self.half * weights.sum(axis=1)).astype(np.int64)


class GatedLane(Lane):
    """Ternary times ternary: the term is 1 - x w in {0, 1, 2}, dot = K - S.

    Where one of both is bipolar it is 1 + x w, dot = S - K: so the bit of the bipolar one, 1 for +1, is the sign that
    carry logic takes, which knows no complement.
    """

    requirement = "ternary or bipolar levels"

    @classmethod
    def fits(cls, x, w):
        return all(one.is_ternary or one.is_bipolar for one in (x, w))

    @property
    def bounds(self):
        return 0, 2

    @property
    def scale(self):
        return 1 if self.x.is_bipolar != self.w.is_bipolar else -1

    @property
    def idle_weight(self):
        return 1

    @property
    def idle_activation(self):
        return 1

    def offsets(self, weights):
        return np.full(len(weights), -self.scale * weights.shape[1], np.int64)


class PlainLane(Lane):
    """A term that is the product itself: zeros add nothing, and the dot product is S."""

    @property
    def idle_weight(self):
        return 0

    @property
    def idle_activation(self):
        return 0

    def offsets(self, weights):
        return np.zeros(len(weights), np.int64)


class StillLane(PlainLane):
    """The levels of a :class:`GatedLane`, and the term is x w itself: what rests adds nothing to S, so sums keep still.

    A zero activation may have either sign, as a zero weight may, so that signs need not change for it.
    """

    requirement = GatedLane.requirement

    @classmethod
    def fits(cls, x, w):
        return GatedLane.fits(x, w)

    @property
    def bounds(self):
        return -1, 1


class ChoiceLane(Lane):
    """Bipolar or ternary times k bits: with n = 0, 1 or 2 for the least level of x, the next, and the last, the term
    is n w: nothing, the weight or twice the weight. No sum is needed, since x = low + step n, dot = step S + low · (sum
    of weights).
    """

    requirement = "bipolar or ternary times k-bit integers"

    @classmethod
    def fits(cls, x, w):
        return (x.is_bipolar or x.is_ternary) and not w.is_bipolar and not w.is_ternary

    @property
    def scale(self):
        return self.x.step

    @property
    def idle_weight(self):
        return 0

    @property
    def bounds(self):
        most = len(self.x) - 1
        return min(0, most * self.w.low), max(0, most * self.w.high)

    def offsets(self, weights):
        return self.x.low * weights.sum(axis=1)
