"""Thresholds that accumulators start from: they start below 0 by the first of a channel, and the sign is its answer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hwbnn.plan.records import span_bits
from hwbnn.plan.tables import Table, Thresholds

__all__ = ["FusedThresholds"]


@dataclass(frozen=True, eq=False)
class FusedThresholds(Thresholds):
    """The same for channels of one polarity: S >= T where S - T is not negative.

    The table holds -T of the least threshold of each channel, in two's complement, from which accumulators start. The
    unit reads it with the first beat. Of other thresholds it holds how far they are above, complemented: these gaps
    wait in a register for the accumulator, which reaches them by itself or not.
    """

    @classmethod
    def like(cls, t: Thresholds) -> "FusedThresholds":
        """``t`` with the starts of accumulators instead of thresholds. Raises ``ValueError`` where it is not such."""
        if not cls.fits(t):
            raise ValueError(f"Thresholds {t.table.name} must be of one polarity and compared, to be fused")
        constants = np.sort(t.constants, axis=1)
        unit = cls(constants, t.inverts, t.low, t.high, t.levels, t.lanes, t.table)
        fields: list[tuple[ArrayLike, int]] = [(-constants[:, 0], unit.start_bits)]
        if unit.gaps:
            fields.append((~(constants[:, 1:] - constants[:, :1]), unit.gap_bits))
        table = Table.of(t.table.name, fields, t.lanes, t.table.style, t.table.borders,
                         loadable=t.table.loadable).at(t.table.pace)
        return cls(constants, t.inverts, t.low, t.high, t.levels, t.lanes, table)

    @staticmethod
    def fits(t: Thresholds) -> bool:
        """Tell whether accumulators can start from these thresholds."""
        return type(t) is Thresholds and not t.is_mixed

    @property
    def gaps(self) -> int:
        """Thresholds of a channel above the one that its accumulator starts from."""
        return self.count - 1

    @property
    def limits(self) -> tuple[int, int]:
        """Least and greatest threshold that accumulators start from; of any that may be loaded, where they are so."""
        if self.table.loadable:
            return self.low, self.high + 1
        return int(self.constants[:, 0].min()), int(self.constants[:, 0].max())

    @property
    def gap_bits(self) -> int:
        """Width of what other thresholds of a channel are above the first."""
        if self.table.loadable:
            return (self.high + 1 - self.low).bit_length()
        return int(np.max(self.constants[:, -1] - self.constants[:, 0])).bit_length()

    @property
    def start_bits(self) -> int:
        """Width of the start of an accumulator, in two's complement."""
        least, most = self.limits
        return span_bits(min(-1, -most), -least)

    @property
    def total_bits(self) -> int:
        """Width of an accumulator, whose highest bit is the sign. What it holds before the last beat may wrap."""
        least, most = self.limits
        gap = (1 << self.gap_bits) - 1 if self.gaps else 0  # which may be out of reach
        return max(self.start_bits, span_bits(min(-1, self.low - most), max(self.high - least, gap)))

    @property
    def latency(self):
        return super().latency if self.gaps else 0

    @property
    def lead(self):
        return self.table.latency + 1  # accumulators start a cycle before they may be complete

    @property
    def flip_flops(self):
        if not self.gaps:
            return self.table.flip_flops
        return super().flip_flops + self.lanes * self.gaps * self.gap_bits
