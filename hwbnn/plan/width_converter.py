"""Between streams of different numbers of lanes, by an integer ratio; lane order is kept."""

from dataclasses import dataclass

from hwbnn.plan.channel import freed, taken
from hwbnn.plan.records import PipelineStage, Stage, index_bits

__all__ = ["JoinStage", "PartStage", "WidthConverterStage"]


@dataclass(frozen=True, eq=False, kw_only=True)
class WidthConverterStage(Stage):
    """What joining and parting have in common: ``ratio`` narrow beats are one wide beat."""

    def __post_init__(self):
        narrow, wide = self._narrow_and_wide
        if wide.lanes % narrow.lanes or wide.lanes == narrow.lanes:
            raise ValueError(f"{self.name} lanes must be in an integer ratio above 1, not {self.i.lanes} to "
                             f"{self.o.lanes}")
        if narrow.levels != wide.levels or narrow.beats * narrow.lanes != wide.beats * wide.lanes:
            raise ValueError(f"{self.name} must keep levels and values, not turn {self.i} into {self.o}")

    @property
    def _narrow_and_wide(self):
        raise NotImplementedError(type(self).__name__)

    @property
    def ratio(self) -> int:
        narrow, wide = self._narrow_and_wide
        return wide.lanes // narrow.lanes

    @property
    def ii(self):
        return max(self.i.beats, self.o.beats)


@dataclass(frozen=True, eq=False, kw_only=True)
class JoinStage(WidthConverterStage, PipelineStage):
    """``ratio`` beats become one: all but the last wait in registers, then enter the FIFO as one word.

    The others are taken before there is room for the word, so that a FIFO of a single entry keeps the pace.
    """

    def __post_init__(self):
        WidthConverterStage.__post_init__(self)
        PipelineStage.__post_init__(self)

    @property
    def _narrow_and_wide(self):
        return self.i, self.o

    @property
    def group_beats(self):
        return self.ratio

    @property
    def delay(self):
        return 1

    @property
    def least_fifo_depth(self):
        return 1

    @property
    def latency(self):
        return self.ratio

    def moves(self, inputs, outputs, begun, depth):
        (i,), (o,), group, now = inputs, outputs, 0, -1
        while True:
            for _ in range(self.ratio - 1):
                now = yield from taken(i, now + 1)
            earliest = now + 1
            if group >= depth:
                earliest = yield from freed(o, group - depth, earliest)
            now = yield from taken(i, earliest)
            begun.append(now)
            o.offer(now + 1)
            group += 1

    @property
    def flip_flops(self):
        """The beats that wait, their number, and whether the last is next."""
        return (self.ratio - 1) * self.i.bits + index_bits(self.ratio) + 1 + self.fifo_flip_flops

    @property
    def memories(self):
        return self.fifo_memories


@dataclass(frozen=True, eq=False, kw_only=True)
class PartStage(WidthConverterStage):
    """One beat is given out in ``ratio`` parts, lowest lanes first, by a multiplexer: no data registers.

    Both directions are combinational: ``i.valid`` to ``o.valid`` and ``o.ready`` to ``i.ready``. A beat is taken
    with its last part; the latency is counted from when it is offered.
    """

    @property
    def _narrow_and_wide(self):
        return self.o, self.i

    @property
    def is_combinational(self):
        return True

    def moves(self, inputs, outputs, begun, depth):
        (i,), (o,), now = inputs, outputs, -1
        while True:
            while not i.ready():
                yield i
            seen = i.visible()
            for _ in range(self.ratio):
                o.offer(max(seen, now + 1))
                while len(o.moved) < len(o.offered):
                    yield o
                now = o.moved[-1]
            i.take(now)

    @property
    def latency(self):
        return 0

    @property
    def flip_flops(self):
        return index_bits(self.ratio)
