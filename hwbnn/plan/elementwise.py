"""Stages that take one beat of channels after another: thresholds, affine, argmax."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwbnn.plan.pace import RELAXED, Pace
from hwbnn.plan.records import PipelineStage, Style, index_bits, span_bits
from hwbnn.plan.tables import Table, Thresholds
from hwbnn.plan.tree import Planes

__all__ = ["AffineStage", "ArgMaxStage", "ThresholdStage", "TopKStage"]


@dataclass(frozen=True, eq=False, kw_only=True)
class ThresholdStage(PipelineStage):
    """Thresholds standing alone: as many lanes leave as enter."""

    thresholds: Thresholds

    def at(self, pace):
        return replace(self, thresholds=self.thresholds.at(pace), fifo_depth=0)

    @property
    def input_latency(self) -> int:
        """Cycles from issue until values and thresholds stand in registers."""
        return max(1, self.thresholds.lead)

    @property
    def delay(self):
        return self.input_latency + self.thresholds.latency + 1

    @property
    def flip_flops(self):
        flags = self.input_latency + self.thresholds.latency
        return self.input_latency * self.i.bits + flags + self.thresholds.flip_flops + self.fifo_flip_flops

    @property
    def banks(self):
        return self.thresholds.table.banks

    @property
    def memories(self):
        return (*self.thresholds.memories, *self.fifo_memories)


@dataclass(frozen=True, eq=False, kw_only=True)
class AffineStage(PipelineStage):
    """y[c] = multipliers[c] · x[c] + offsets[c]: a register, the product, the sum.

    The product is a multiplication, or, where the pace wants a register after every adder, the sum of what the bits of
    x contribute.

    Parameters
    ----------
    multipliers, offsets : int64 array (channels,)
    style : :class:`str` or None
    spans : pair of :class:`range`
        Where both are loadable: from the least to the greatest that there is room for.
    pace : :class:`Pace`
    """

    multipliers: NDArray[np.int64]
    offsets: NDArray[np.int64]
    style: Style | None = None
    spans: tuple[range, range] | None = None
    pace: Pace = RELAXED

    def __post_init__(self):
        for name, span in zip(("multipliers", "offsets"), self.spans or (), strict=False):
            values = getattr(self, name)
            if values.min() < span.start or values.max() >= span.stop:
                raise ValueError(f"{self.name} {name} must lie in {span.start}..{span.stop - 1}, for which there is "
                                 f"room, not {values.min()}..{values.max()}")
        super().__post_init__()

    def at(self, pace):
        return replace(self, pace=pace, fifo_depth=0)

    @property
    def multiplier_span(self) -> range:
        """From the least to the greatest multiplier."""
        if self.spans is not None:
            return self.spans[0]
        return range(int(self.multipliers.min()), int(self.multipliers.max()) + 1)

    @property
    def offset_span(self) -> range:
        """From the least to the greatest offset."""
        if self.spans is not None:
            return self.spans[1]
        return range(int(self.offsets.min()), int(self.offsets.max()) + 1)

    @property
    def product_span(self) -> tuple[int, int]:
        """Least and greatest product."""
        ends = [m * x for m in (self.multiplier_span.start, self.multiplier_span.stop - 1)
                for x in (self.i.levels.low, self.i.levels.high)]
        return min(*ends, 0), max(*ends, 0)

    @property
    def planes(self) -> Planes | None:
        """What adds up the multiplier for each bit of x, two's complement; None where it is a multiplication."""
        levels = self.i.levels
        bits = span_bits(levels.low, levels.high)
        if self.pace.levels > 1 or bits < 2:
            return None
        factors = [1 << bit for bit in range(bits)]
        if levels.low < 0:
            factors[-1] *= -1
        span = self.multiplier_span
        return Planes(tuple(factors), min(span.start, 0), max(span.stop - 1, 0), self.pace.levels)

    @property
    def product_latency(self) -> int:
        """Cycles from x and its multiplier to their product."""
        return 1 if self.planes is None else 1 + self.planes.latency

    @cached_property
    def table(self) -> Table:
        """Per channel the multiplier, then the offset."""
        return Table.of(f"{self.name}.constants",
                        [(self.multipliers, _bits(self.multiplier_span)), (self.offsets, _bits(self.offset_span))],
                        self.i.lanes, self.style, loadable=self.spans is not None).at(self.pace)

    @property
    def banks(self):
        return self.table.banks

    @property
    def input_latency(self) -> int:
        return max(1, self.table.latency)

    @property
    def delay(self):
        return self.input_latency + self.product_latency + 2

    @property
    def flip_flops(self):
        total = self.input_latency * self.i.bits + self.table.flip_flops
        product = span_bits(*self.product_span)
        if self.planes is not None:  # the multiplier or nothing for each bit of x, and their sums
            product = len(self.planes.factors) * _bits(self.multiplier_span) + self.planes.flip_flops
        total += self.i.lanes * product + self.o.bits
        if not self.table.is_constant:
            total += self.product_latency * self.i.lanes * _bits(self.offset_span)  # offsets wait for the product
        return total + self.input_latency + self.product_latency + 1 + self.fifo_flip_flops

    @property
    def memories(self):
        return (*self.table.memories, *self.fifo_memories)


def _bits(span: range) -> int:
    return span_bits(span.start, span.stop - 1)


@dataclass(frozen=True, eq=False, kw_only=True)
class ArgMaxStage(PipelineStage):
    """The number of the greatest channel, the lowest among equals; one output per vector.

    The lanes of a beat are compared pairwise, with a register after each level, then with the best so far. Where the
    pace wants a register after every adder, another stands between a comparison of lanes and what it chooses, and wide
    numbers are compared with the best so far in two cycles: first their upper bits, then those below.
    """

    channels: int
    pace: Pace = RELAXED

    def at(self, pace):
        return replace(self, pace=pace, fifo_depth=0)

    @property
    def level_latency(self) -> int:
        """Cycles of a level of comparisons."""
        return 1 if self.pace.levels > 1 else 2

    @property
    def group_beats(self):
        return self.channels // self.i.lanes

    @property
    def lane_levels(self) -> int:
        """Levels of pairwise comparisons within a beat."""
        return (self.i.lanes - 1).bit_length()

    @property
    def value_bits(self) -> int:
        return span_bits(self.i.levels.low, self.i.levels.high)

    @property
    def is_offset(self) -> bool:
        """Whether numbers come in two's complement, which is compared without a sign."""
        levels = self.i.levels
        return levels.low < 0 and not (levels.is_bipolar or levels.is_ternary)

    @property
    def split(self) -> int:
        """Bits that are compared with the best so far a cycle after the others."""
        wide = self.pace.levels == 1 and self.group_beats > 1 and self.value_bits >= 8
        return self.value_bits // 2 if wide else 0

    @property
    def delay(self):
        return 1 + self.lane_levels * self.level_latency + (2 if self.split else 1) + 1

    @property
    def flip_flops(self):
        lanes, total = self.i.lanes, self.i.bits
        for level in range(self.lane_levels):
            if self.level_latency > 1:  # what is chosen from, and which
                total += lanes * (self.value_bits + level) + lanes // 2
            lanes = -(-lanes // 2)
            total += lanes * (self.value_bits + level + 1)
        total += self.value_bits + index_bits(self.channels)  # the best so far
        beats = self.group_beats
        if beats > 1:
            total += index_bits(beats) + index_bits(self.channels)  # counters at issue and beside the best
        if self.split:  # what waits, and how the upper bits compare; the flag that the output is there
            total += self.split + index_bits(self.channels) + 2 + 1
        steps = 1 + self.lane_levels * self.level_latency
        total += (3 if beats > 1 else 1) * steps + 1  # flags along the pipeline
        return total + self.fifo_flip_flops

    @property
    def memories(self):
        return self.fifo_memories


@dataclass(frozen=True, eq=False, kw_only=True)
class TopKStage(PipelineStage):
    """The numbers of the ``o.lanes`` greatest channels, greatest first, the lowest first among equals.

    Channels come one by one and are inserted into a sorted list, whose numbers leave in one beat per vector.
    """

    channels: int

    def __post_init__(self):
        if self.i.lanes != 1:
            raise ValueError(f"{self.name} must take one lane, not {self.i.lanes}")
        if not 1 < self.k <= self.channels:
            raise ValueError(f"{self.name} must give out 2..{self.channels} lanes, not {self.k}")
        super().__post_init__()

    @property
    def k(self) -> int:
        """Entries of the list."""
        return self.o.lanes

    @property
    def group_beats(self):
        return self.channels

    @property
    def value_bits(self) -> int:
        return span_bits(self.i.levels.low, self.i.levels.high)

    @property
    def delay(self):
        return 3

    @property
    def flip_flops(self):
        number = index_bits(self.channels)
        entries = self.k * (self.value_bits + number)
        return self.i.bits + 2 * number + entries + 3 + self.fifo_flip_flops  # the channel twice; three flags

    @property
    def memories(self):
        return self.fifo_memories
