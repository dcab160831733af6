"""The shape of registered adder trees: which sums, how wide, and where the registers stand."""

from dataclasses import dataclass

from hwbnn.plan.pace import RELAXED
from hwbnn.plan.records import span_bits

__all__ = ["Planes", "Tree"]

CHAIN_BITS = 4  # narrower sums become plain LUTs


@dataclass(frozen=True)
class Tree:
    """Add ``count`` terms of low..high pairwise, level by level, with registers after every ``every``-th level.

    The last level is always followed by a register, so the latency is ``ceil(levels / every)`` cycles; a single
    term passes unregistered. A term without a partner passes to the next level.
    """

    count: int
    low: int
    high: int
    every: int = RELAXED.levels

    def __post_init__(self):
        if self.count < 1:
            raise ValueError(f"Tree count must be at least 1, not {self.count}")
        if self.low > self.high:
            raise ValueError(f"Tree low must be at most high, not {self.low} and {self.high}")

    @property
    def is_chained(self) -> bool:
        """Whether its adders are those of a family's cells: of terms wide enough for carry chains."""
        return self.low >= 0 and self.bits(1) >= CHAIN_BITS

    @property
    def depth(self) -> int:
        """Levels of adders."""
        return (self.count - 1).bit_length()

    @property
    def latency(self) -> int:
        """Cycles from terms to their sum."""
        return -(-self.depth // self.every)

    def registered(self, level: int) -> bool:
        """Whether registers follow adder level ``level``, counted from 0."""
        return level % self.every == self.every - 1 or level == self.depth - 1

    @property
    def levels(self) -> tuple[tuple[int, ...], ...]:
        """For each level the number of terms that each of its sums holds."""
        sizes, result = [1] * self.count, []
        while len(sizes) > 1:
            sizes = [sum(sizes[n:n + 2]) for n in range(0, len(sizes), 2)]
            result.append(tuple(sizes))
        return tuple(result)

    def bits(self, terms: int) -> int:
        """Width of a sum of ``terms`` terms."""
        return span_bits(terms * self.low, terms * self.high)

    @property
    def flip_flops(self) -> int:
        return sum(self.bits(terms) for level, sizes in enumerate(self.levels) if self.registered(level)
                   for terms in sizes)


@dataclass(frozen=True)
class Planes:
    """Add numbers of low..high, one for each of ``factors``, each times its factor: a power of two or its negative.

    Neighbours are added pairwise; what is added is shifted by the ratio of its factor to the least of the sum, so that
    no sum carries zeros along. Registers stand as in a :class:`Tree`.
    """

    factors: tuple[int, ...]
    low: int
    high: int
    every: int = RELAXED.levels

    @property
    def depth(self) -> int:
        """Levels of adders."""
        return (len(self.factors) - 1).bit_length()

    @property
    def latency(self) -> int:
        """Cycles from numbers to their sum."""
        return -(-self.depth // self.every)

    @property
    def levels(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """For each level the factors that each of its sums is made of."""
        groups, result = [(factor,) for factor in self.factors], []
        while len(groups) > 1:
            groups = [sum(groups[n:n + 2], ()) for n in range(0, len(groups), 2)]
            result.append(tuple(groups))
        return tuple(result)

    def registered(self, level: int) -> bool:
        """Whether registers follow adder level ``level``, counted from 0."""
        return level % self.every == self.every - 1 or level == self.depth - 1

    def span(self, group: tuple[int, ...]) -> tuple[int, int]:
        """Least and greatest sum of the numbers with these factors, over the least of these."""
        unit = min(map(abs, group))
        ends = [(factor // unit * self.low, factor // unit * self.high) for factor in group]
        return sum(map(min, ends)), sum(map(max, ends))

    @property
    def flip_flops(self) -> int:
        return sum(span_bits(*self.span(group)) for level, groups in enumerate(self.levels) if self.registered(level)
                   for group in groups)
