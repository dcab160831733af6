"""The shape of counting trees: groups of lanes, adders that take another lane as their carry, and their registers."""

from dataclasses import dataclass
from functools import cached_property

from hwbnn.plan.pace import RELAXED

__all__ = ["GROUP", "QUAD", "Count", "GatedCount"]

GROUP = 7  # lanes that are counted at once: 3 bits, on every family two adders deep
QUAD = 4  # gated lanes that are added at once


@dataclass(frozen=True)
class Count:
    """Count the ones among ``lanes`` bits: groups of at most :data:`GROUP`, then adders of two sums and a bit each.

    The first bits are those of the groups, then come the carries of the adders, level by level; where there is a
    ``spare`` one the last bit is not counted but left to the adder that takes the sum, as its carry. So a group stands
    for 8 lanes. Registers follow the groups, every ``every``-th level and the last; carries wait in registers for their
    level. Only one or two bits, which need no adder, pass unregistered.

    Parameters
    ----------
    lanes : :class:`int`
        At least 1.
    spare : :class:`bool`
        Whether what takes the sum can take a carry with it.
    every : :class:`int`
        Levels of adders between registers.
    """

    lanes: int
    spare: bool = False
    every: int = RELAXED.levels

    def __post_init__(self):
        if self.lanes < 1:
            raise ValueError(f"Count lanes must be at least 1, not {self.lanes}")

    @cached_property
    def groups(self) -> tuple[int, ...]:
        """Lanes of each group: as few groups as the carries allow, full ones first."""
        count = -(-(self.lanes + (not self.spare)) // (GROUP + 1))
        left = max(self.lanes - count + (not self.spare), count) - count  # but for one in each group
        sizes = []
        for _ in range(count):
            sizes.append(1 + min(left, GROUP - 1))
            left -= sizes[-1] - 1
        return tuple(sizes)

    @property
    def has_spare(self) -> bool:
        """Whether a bit is left to what takes the sum."""
        return self.spare and self.lanes > 1

    @cached_property
    def levels(self) -> tuple[tuple[int, ...], ...]:
        """The greatest value of each sum: of the groups, then of each level of adders."""
        result = [self.groups]
        while len(result[-1]) > 1:
            pairs = [result[-1][n:n + 2] for n in range(0, len(result[-1]), 2)]
            result.append(tuple(sum(pair) + (len(pair) == 2) for pair in pairs))
        return tuple(result)

    def carries(self, level: int) -> int:
        """Bits that stand beside the sums of a level and are still to be added."""
        return len(self.levels[level]) - 1 + self.has_spare

    @property
    def high(self) -> int:
        """The greatest sum, without the spare bit."""
        return self.lanes - self.has_spare

    def registered(self, level: int) -> bool:
        """Whether registers follow a level, the groups being level 0."""
        return self.groups != (1,) and (level % self.every == 0 or level == len(self.levels) - 1)

    @property
    def latency(self) -> int:
        """Cycles from lanes to their sum."""
        return sum(map(self.registered, range(len(self.levels))))

    @property
    def flip_flops(self) -> int:
        return sum(self.carries(level) + sum(high.bit_length() for high in sums)
                   for level, sums in enumerate(self.levels) if self.registered(level))


@dataclass(frozen=True)
class GatedCount:
    """Add up ``lanes`` terms of 0, 1 or 2: groups of at most :data:`QUAD` make a one and a two for each lane.

    A register follows them where there are more than two lanes; ones and twos are counted, and added where the ones are
    more than a bit. The ones wait for the twos. A single term passes unregistered.

    Parameters
    ----------
    lanes, spare, every : as of :class:`Count`
    """

    lanes: int
    spare: bool = False
    every: int = RELAXED.levels

    @cached_property
    def groups(self) -> tuple[int, ...]:
        """Lanes of each group."""
        return tuple(min(QUAD, self.lanes - start) for start in range(0, self.lanes, QUAD))

    @cached_property
    def ones(self) -> Count:
        """Counts the bits of weight 1, one of each group."""
        return Count(len(self.groups), self.spare, self.every)

    @cached_property
    def twos(self) -> Count:
        """Counts the bits of weight 2, one of each lane."""
        return Count(self.lanes, self.joins, self.every)

    @property
    def is_registered(self) -> bool:
        """Whether a register follows the groups."""
        return self.lanes > 2

    @property
    def joins(self) -> bool:
        """Whether the sum of the ones reaches into that of the twos."""
        return self.ones.high > 1

    @property
    def has_spare(self) -> bool:
        """Whether a bit is left to what takes the sum."""
        return self.ones.has_spare

    @property
    def high(self) -> int:
        """The greatest sum, without the spare bit."""
        return 2 * self.lanes - self.has_spare

    @property
    def waiting(self) -> int:
        """Cycles that ones wait for twos."""
        return self.twos.latency - self.ones.latency

    @property
    def latency(self) -> int:
        """Cycles from lanes to their sum."""
        return 0 if self.lanes == 1 else self.is_registered + self.twos.latency + self.joins

    @property
    def flip_flops(self) -> int:
        if self.lanes == 1:
            return 0
        ones = self.ones.high.bit_length() + self.has_spare
        total = self.ones.flip_flops + self.twos.flip_flops + self.waiting * ones
        if self.is_registered:
            total += self.lanes + len(self.groups)
        if self.joins:
            total += self.lanes.bit_length() + 1 + self.has_spare
        return total
