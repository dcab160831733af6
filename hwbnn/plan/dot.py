"""How one processing element adds up SIMD products: terms, a tree for each plane of them, and the sum of planes."""

from dataclasses import dataclass

from hwbnn.plan.lanes import Lane
from hwbnn.plan.pace import RELAXED, Pace
from hwbnn.plan.records import ceil_div, span_bits
from hwbnn.plan.tree import Planes, Tree

__all__ = ["Dot"]


@dataclass(frozen=True)
class Dot:
    """``simd`` products of ``lane`` and their sum, every cycle."""

    lane: Lane
    simd: int
    pace: Pace = RELAXED

    @property
    def terms(self) -> int:
        """Terms of a plane."""
        return ceil_div(self.simd, self.lane.products)

    @property
    def tree(self) -> Tree:
        """The adder tree of one plane."""
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
        """Least and greatest sum."""
        return self.simd * self.lane.low, self.simd * self.lane.high

    @property
    def bits(self) -> int:
        """Width of the sum."""
        return span_bits(*self.sums)

    @property
    def latency(self) -> int:
        """Cycles from operands to their sum."""
        return self.lane.latency + self.tree.latency + self.planes.latency

    @property
    def flip_flops(self) -> int:
        trees = len(self.lane.planes) * self.tree.flip_flops
        return self.lane.flip_flops(self.simd) + trees + self.planes.flip_flops
