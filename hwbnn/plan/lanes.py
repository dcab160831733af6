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

from hwbnn.ir import BIPOLAR, TERNARY, Levels
from hwbnn.plan.records import span_bits

__all__ = [
    "ChoiceLane", "ConditionalLane", "GatedConditionalLane", "GatedLane", "Lane", "MaskLane", "MismatchLane",
    "MultiplierLane", "PlanesLane", "ProductLane", "StillLane", "datapaths", "lane_for", "weight_levels",
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


class _Plainly(Lane):
    """A term that is the product itself: zeros add nothing, and the dot product is S."""

    @property
    def idle_weight(self):
        return 0

    @property
    def idle_activation(self):
        return 0

    def offsets(self, weights):
        return np.zeros(len(weights), np.int64)


class StillLane(_Plainly):
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


def _are_integers(x: Levels, w: Levels) -> bool:
    return not any(one.is_bipolar or one.is_ternary for one in (x, w))


class PlanesLane(Lane):
    """k bits times m bits by the bits of the narrower: for each of them a plane of the other operand, or of zeros.

    With u = x + h, h as in :class:`ConditionalLane`, dot = sum over planes of 2^j · (sum of u where bit j of the weight
    is set), the sign bit of the weights counting negative, less h · (sum of weights). Where activations are the
    narrower operand, the planes are theirs, and hold weights. Each plane has an adder tree; what the planes count for
    is applied to the sums.
    """

    requirement = "k-bit integers times k-bit integers"

    @classmethod
    def fits(cls, x, w):
        return _are_integers(x, w)

    @property
    def idle_weight(self):
        return 0

    @property
    def idle_activation(self):
        return None if self.half else 0

    @property
    def splits_weights(self) -> bool:
        """Whether the planes are of the weights' bits."""
        return self.w.bits <= self.x.bits

    @property
    def planes(self):
        if not self.splits_weights:
            return tuple(1 << i for i in range(self.x.bits))
        top = self.w.bits - 1
        return (*(1 << j for j in range(top)), -(1 << top) if self.w.is_signed else 1 << top)

    @property
    def bounds(self):
        if self.splits_weights:
            return 0, 2**self.x.bits - 1
        return min(0, self.w.low), max(0, self.w.high)

    def offsets(self, weights):
        return -self.half * weights.sum(axis=1)


class MaskLane(PlanesLane):
    """Binary times k bits or k bits times binary: a single plane."""

    requirement = "binary levels times k-bit integers"

    @classmethod
    def fits(cls, x, w):
        return _are_integers(x, w) and min(x.bits, w.bits) == 1


class ProductLane(_Plainly):
    """Any integers: the term is the product itself, in a register, made of look-up tables."""

    latency = 1

    @property
    def bounds(self):
        corners = [x * w for x in (self.x.low, self.x.high) for w in (self.w.low, self.w.high)]
        return min(corners), max(corners)

    def flip_flops(self, count):
        return count * span_bits(*self.bounds)


class MultiplierLane(Lane):
    """k bits times m bits in the chip's multipliers, two products at a time where they are small.

    With u and h as in :class:`ConditionalLane` a term is u w, or of two neighbours (u1 2^s + u0) (w0 2^s + w1), in
    the middle of which stands u0 w0 + u1 w1; where the part below is negative it has borrowed 1. dot = S - h · (sum
    of weights).
    """

    requirement = "k-bit integers times k-bit integers, of 2 bits and more"
    operand_bits = 16  # of the narrowest signed multiplier among the families, SB_MAC16

    @classmethod
    def fits(cls, x, w):
        return _are_integers(x, w) and min(x.bits, w.bits) > 1

    @property
    def idle_weight(self):
        return 0

    @property
    def idle_activation(self):
        return None if self.half else 0

    @property
    def shift(self) -> int:
        """From one product to the next within a multiplier, so that the sum of two fits."""
        return self.x.bits + self.w.bits + 1

    @property
    def operands(self) -> tuple[int, int]:
        """Bits of the multiplier's operands, both signed."""
        if self.products > 1:
            return self.shift + self.x.bits + 1, self.shift + self.w.bits + 1
        return self.x.bits + 1, self.w.bits + (not self.w.is_signed)

    @property
    def products(self):
        return 2 if self.shift + max(self.x.bits, self.w.bits) + 1 <= self.operand_bits else 1

    @property
    def latency(self):
        return self.products

    @property
    def bounds(self):
        most = 2**self.x.bits - 1
        return min(0, most * self.w.low), max(0, most * self.w.high)

    @property
    def term_bits(self) -> int:
        """Width of a term."""
        return span_bits(*(self.products * bound for bound in self.bounds))

    @property
    def product_bits(self) -> int:
        """Bits of a multiplier's product that are used."""
        return self.term_bits + (self.shift if self.products > 1 else 0)

    def flip_flops(self, count):
        terms = -(-count // self.products)
        if self.products == 1:
            return terms * self.term_bits
        return terms * (2 * self.term_bits + 1)  # with the bit below, then the sum of both

    def offsets(self, weights):
        return -self.half * weights.sum(axis=1)


_DATAPATHS: dict[str, tuple[type[Lane], ...]] = {
    "lanes": (MismatchLane, ConditionalLane, GatedConditionalLane, GatedLane, ChoiceLane, MaskLane,
              ProductLane),
    "planes": (PlanesLane,),
    "multipliers": (MultiplierLane,),
}


def weight_levels(weights: NDArray[np.int64]) -> Levels:
    """The cheapest levels that hold the weights actually present."""
    for levels in (BIPOLAR, TERNARY):
        if levels.holds(weights):
            return levels
    return Levels(int(weights.min()), int(weights.max()))


def datapaths(x: Levels, w: Levels) -> tuple[str, ...]:
    """Which datapaths multiply these levels, ``lanes`` first."""
    return tuple(name for name, kinds in _DATAPATHS.items() if any(kind.fits(x, w) for kind in kinds))


def lane_for(x: Levels, w: Levels, datapath: str = "auto") -> Lane:
    """The cheapest lane of ``datapath`` that multiplies these levels; ``auto`` is ``lanes``.

    Raises ``ValueError`` where it cannot.
    """
    name = "lanes" if datapath == "auto" else datapath
    for kind in _DATAPATHS[name]:
        if kind.fits(x, w):
            return kind(x, w)
    kind = _DATAPATHS[name][0]
    raise ValueError(f"Datapath {name} must have {kind.requirement}, not {x} times {w}")
