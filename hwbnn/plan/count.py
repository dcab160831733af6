"""The shape of counting trees: groups of lanes, adders that take another lane as their carry, and their registers."""

from dataclasses import dataclass
from functools import cached_property

from hwbnn.plan.pace import RELAXED

__all__ = ["GROUP", "QUAD", "Count", "GatedCount"]

GROUP = 7  # lanes that are counted at once: 3 bits, on every family two adders deep
QUAD = 4  # gated lanes that are added at once: three of them to 3 bits, and one beside them


@dataclass(frozen=True)
class Count:
    """Count the ones among ``lanes`` bits: groups of at most ``group``, then adders of two sums and a bit each.

    The first bits are those of the groups, then come the carries of the adders, level by level; where there is a
    ``spare`` one the last bit is not counted but left to the adder that takes the sum, as its carry. So a group of 7
    stands for 8 lanes. Registers follow the groups, every ``every``-th level and the last; carries wait in registers
    for their level. Only one or two bits, which need no adder, pass unregistered.

    Parameters
    ----------
    lanes : :class:`int`
        At least 1.
    spare : :class:`bool`
        Whether what takes the sum can take a carry with it.
    every : :class:`int`
        Levels of adders between registers.
    group : :class:`int`
        Lanes that are counted at once, at most.
    """

    lanes: int
    spare: bool = False
    every: int = RELAXED.levels
    group: int = GROUP

    def __post_init__(self):
        if self.lanes < 1:
            raise ValueError(f"Count lanes must be at least 1, not {self.lanes}")

    @cached_property
    def groups(self) -> tuple[int, ...]:
        """Lanes of each group: as few groups as the carries allow, full ones first."""
        count = -(-(self.lanes + (not self.spare)) // (self.group + 1))
        left = max(self.lanes - count + (not self.spare), count) - count  # but for one in each group
        sizes = []
        for _ in range(count):
            sizes.append(1 + min(left, self.group - 1))
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
    """Add up ``lanes`` terms of 0, 1 or 2: groups of up to three lanes, each with one more lane beside it, the carry.

    A group makes a one, the sum of its lanes' twos, and the two of the lane beside it, which is a carry of the adders
    that add the twos; registers follow. Ones are counted, too, and added where they are more than a bit; they wait for
    the twos. A single term passes unregistered.

    Parameters
    ----------
    lanes, spare, every : as of :class:`Count`
    """

    lanes: int
    spare: bool = False
    every: int = RELAXED.levels

    @cached_property
    def groups(self) -> tuple[tuple[int, int], ...]:
        """Lanes of each group whose twos are summed, and beside them: 1 or 0."""
        carries = self.twos.carries(0)
        return tuple((lanes, int(n < carries)) for n, lanes in enumerate(self.twos.groups))

    @cached_property
    def ones(self) -> Count:
        """Counts the bits of weight 1, one of each group."""
        return Count(len(self.twos.groups), self.spare, self.every)

    @cached_property
    def twos(self) -> Count:
        """Counts the bits of weight 2, one of each lane."""
        return self._twos(spare=self.joins)

    def _twos(self, *, spare: bool) -> Count:
        return Count(self.lanes, spare, self.every, QUAD - 1)

    @cached_property
    def joins(self) -> bool:
        """Whether the sum of the ones reaches into that of the twos, which has a carry for it then."""
        alone = Count(len(self._twos(spare=False).groups), self.spare, self.every)
        return alone.high > 1

    @property
    def has_spare(self) -> bool:
        """Whether a bit is left to what takes the sum."""
        return self.ones.has_spare

    @property
    def high(self) -> int:
        """The greatest sum, without the spare bit, which is one of the ones: there may be twos only."""
        return 2 * self.lanes

    @property
    def waiting(self) -> int:
        """Cycles that ones wait for twos, once they are counted."""
        return self.twos.latency - 1 - self.ones.latency

    @property
    def latency(self) -> int:
        """Cycles from lanes to their sum."""
        return 0 if self.lanes == 1 else self.twos.latency + self.joins

    @property
    def flip_flops(self) -> int:
        if self.lanes == 1:
            return 0
        ones = self.ones.high.bit_length() + self.has_spare
        total = len(self.groups) + self.ones.flip_flops + self.twos.flip_flops + self.waiting * ones
        if self.joins:
            total += self.lanes.bit_length() + 1 + self.has_spare
        return total
