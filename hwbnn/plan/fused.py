"""Thresholds that cost no compare: the accumulator starts below 0 by the threshold, and its sign is the answer."""

from dataclasses import dataclass

from hwbnn.plan.records import span_bits
from hwbnn.plan.tables import Table, Thresholds

__all__ = ["FusedThresholds"]


@dataclass(frozen=True, eq=False)
class FusedThresholds(Thresholds):
    """The same for one threshold T per channel and one polarity: S >= T where S - T is not negative.

    The table holds -T, in two's complement, from which accumulators start. The unit reads it with the first beat.
    """

    @classmethod
    def like(cls, t: Thresholds) -> "FusedThresholds":
        """``t`` with the starts of accumulators instead of thresholds. Raises ``ValueError`` where it is not such."""
        if not cls.fits(t):
            raise ValueError(f"Thresholds {t.table.name} must be one per channel, of one polarity and compared, to be "
                             "fused")
        unit = cls(t.constants, t.inverts, t.low, t.high, t.levels, t.lanes, t.table)
        table = Table.of(t.table.name, [(-t.constants, unit.start_bits)], t.lanes, t.table.style, t.table.borders,
                         loadable=t.table.loadable).at(t.table.pace)
        return cls(t.constants, t.inverts, t.low, t.high, t.levels, t.lanes, table)

    @staticmethod
    def fits(t: Thresholds) -> bool:
        """Tell whether accumulators can start from these thresholds."""
        return type(t) is Thresholds and t.count == 1 and not t.is_mixed

    @property
    def limits(self) -> tuple[int, int]:
        """Least and greatest threshold; of any that may be loaded, where they are loadable."""
        if self.table.loadable:
            return self.low, self.high + 1
        return int(self.constants.min()), int(self.constants.max())

    @property
    def start_bits(self) -> int:
        """Width of the start of an accumulator, in two's complement."""
        least, most = self.limits
        return span_bits(min(-1, -most), -least)

    @property
    def total_bits(self) -> int:
        """Width of an accumulator, whose highest bit is the sign. What it holds before the last beat may wrap."""
        least, most = self.limits
        return max(self.start_bits, span_bits(min(-1, self.low - most), self.high - least))

    @property
    def latency(self):
        return 0

    @property
    def lead(self):
        return self.table.latency + 1  # accumulators start a cycle before they may be complete

    @property
    def flip_flops(self):
        return self.table.flip_flops
