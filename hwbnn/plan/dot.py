"""How one processing element adds up SIMD products: a count, or terms, a tree for each plane of them, and their sum."""

from dataclasses import dataclass
from functools import cached_property

from hwbnn.plan.count import Count, GatedCount
from hwbnn.plan.lanes import GatedLane, Lane, MismatchLane
from hwbnn.plan.pace import RELAXED, Pace
from hwbnn.plan.records import ceil_div, span_bits
from hwbnn.plan.tree import Planes, Tree

__all__ = ["Dot"]


@dataclass(frozen=True)
class Dot:
    """``simd`` products of ``lane`` and their sum, every cycle.

    Parameters
    ----------
    lane : :class:`Lane`
    simd : :class:`int`
    pace : :class:`Pace`
        Where registers stand.
    spare : :class:`bool`
        Whether what takes the sum can take a bit more, as the carry of its adder.
    """

    lane: Lane
    simd: int
    pace: Pace = RELAXED
    spare: bool = False

    @cached_property
    def count(self) -> Count | GatedCount | None:
        """How terms of few values are counted; None where they are added in trees."""
        if isinstance(self.lane, MismatchLane):
            return Count(self.simd, self.spare, self.pace.levels)
        return GatedCount(self.simd, self.spare, self.pace.levels) if type(self.lane) is GatedLane else None

    @property
    def has_spare(self) -> bool:
        """Whether a bit of the sum leaves beside it."""
        return self.count is not None and self.count.has_spare

    @property
    def terms(self) -> int:
        """Terms of a plane."""
        return ceil_div(self.simd, self.lane.products)

    @property
    def tree(self) -> Tree:
        """The adder tree of one plane, where terms are not counted."""
        low, high = self.lane.bounds
        return Tree(self.terms, self.lane.products * low, self.lane.products * high, self.pace.levels)

    @property
    def planes(self) -> Planes:
        """The sum of the planes' sums."""
        low, high = self.lane.bounds
        whole = self.terms * self.lane.products
        return Planes(self.lane.planes, whole * low, whole * high, self.pace.levels)

    @property
    def sums(self) -> tuple[int, int]:
        """Least and greatest sum, without the spare bit."""
        if self.count is not None:
            return 0, self.count.high
        return self.simd * self.lane.low, self.simd * self.lane.high

    @property
    def bits(self) -> int:
        """Width of the sum."""
        return span_bits(*self.sums)

    @property
    def latency(self) -> int:
        """Cycles from operands to their sum."""
        if self.count is not None:
            return self.count.latency
        return self.lane.latency + self.tree.latency + self.planes.latency

    @property
    def flip_flops(self) -> int:
        if self.count is not None:
            return self.count.flip_flops
        trees = len(self.lane.planes) * self.tree.flip_flops
        return self.lane.flip_flops(self.simd) + trees + self.planes.flip_flops
