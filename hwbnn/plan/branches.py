"""Stages where streams part and meet: forks, buffers, sums, channels joined and chosen."""

from dataclasses import dataclass

from hwbnn.plan.channel import freed, taken
from hwbnn.plan.records import Memory, PipelineStage, Stage, Stream, Style, index_bits, span_bits

__all__ = ["AddStage", "ConcatStage", "FifoStage", "ForkStage", "SliceStage"]


@dataclass(frozen=True, eq=False, kw_only=True)
class ForkStage(Stage):
    """Offers each beat on ``count`` outputs, ``o_0`` and on, which take it independently; no data registers.

    A beat is taken in the cycle in which the last output took its copy. Valid passes forwards and ready
    backwards in the same cycle; a flag per output remembers that it has its copy.
    """

    count: int

    def __post_init__(self):
        if self.count < 2:
            raise ValueError(f"{self.name} count must be at least 2, not {self.count}")
        if self.o != self.i:
            raise ValueError(f"{self.name} must give out what it takes, not turn {self.i} into {self.o}")

    @property
    def outputs(self):
        return {f"o_{n}": self.o for n in range(self.count)}

    @property
    def is_combinational(self):
        return True

    def moves(self, inputs, outputs, begun, depth):
        (i,) = inputs
        while True:
            while not i.ready():
                yield i
            seen = i.visible()
            for o in outputs:
                o.offer(seen)
            for o in outputs:
                while len(o.moved) < len(o.offered):
                    yield o
            i.take(max(o.moved[-1] for o in outputs))

    @property
    def latency(self):
        return 0

    @property
    def ii(self):
        return self.i.beats

    @property
    def flip_flops(self):
        return self.count


@dataclass(frozen=True, eq=False, kw_only=True)
class FifoStage(PipelineStage):
    """Holds up to ``fifo_depth`` beats of a branch while others are waited for.

    Of ``style`` "distributed" a beat is offered one cycle after it came; of style "block" two, from the block
    memory's output register, which holds one of the beats: the memory has one word less.
    """

    style: Style = "distributed"

    def __post_init__(self):
        if self.style not in ("block", "distributed"):
            raise ValueError(f"{self.name} style must be block or distributed, not {self.style}")
        if self.o != self.i:
            raise ValueError(f"{self.name} must give out what it takes, not turn {self.i} into {self.o}")
        super().__post_init__()
        if self.style == "block" and self.fifo_depth < 3:
            raise ValueError(f"{self.name} fifo_depth must be at least 3 in block memory, not {self.fifo_depth}")

    @property
    def delay(self):
        return 2 if self.style == "block" else 1

    @property
    def words(self) -> int:
        """Words of the memory."""
        return self.fifo_depth - (self.style == "block")

    @property
    def fifo(self):
        return Memory(f"{self.name}.fifo", self.o.bits, self.words, self.style, written=True)

    @property
    def fifo_flip_flops(self):
        """Pointers, level, the flag that there is room; in block memory also the output's flag and a second level."""
        total = 2 * index_bits(self.words) + self.fifo_depth.bit_length() + 1
        return total + (1 + self.words.bit_length() if self.style == "block" else 0)

    @property
    def flip_flops(self):
        return self.fifo_flip_flops

    @property
    def memories(self):
        return (self.fifo,)


@dataclass(frozen=True, eq=False, kw_only=True)
class JoiningStage(PipelineStage):
    """A stage with several inputs: ``i`` is the first, ``others`` are the rest; ports ``i_0``, ``i_1`` and on."""

    others: tuple[Stream, ...]

    @property
    def inputs(self):
        return {f"i_{n}": stream for n, stream in enumerate((self.i, *self.others))}


@dataclass(frozen=True, eq=False, kw_only=True)
class AddStage(JoiningStage):
    """Lane by lane the sum of two streams of as many beats, whose levels may differ.

    A beat is taken from both in the same cycle: ready of either follows valid of the other.
    """

    def __post_init__(self):
        streams = (self.i, *self.others, self.o)
        if len(streams) != 3:
            raise ValueError(f"{self.name} must add 2 streams, not {len(streams) - 1}")
        if len({(s.lanes, s.beats) for s in streams}) > 1:
            raise ValueError(f"{self.name} must have equal lanes and beats, not "
                             f"{', '.join(f'{s.lanes} x {s.beats}' for s in streams)}")
        super().__post_init__()

    @property
    def is_combinational(self):
        return True

    @property
    def sum_bits(self) -> int:
        """Width of a sum."""
        return span_bits(*self.sums)

    @property
    def sums(self) -> tuple[int, int]:
        """Least and greatest sum."""
        (other,) = self.others
        return self.i.levels.low + other.levels.low, self.i.levels.high + other.levels.high

    @property
    def delay(self):
        return 2  # through a register, into the FIFO

    @property
    def flip_flops(self):
        return self.o.bits + 1 + self.fifo_flip_flops

    @property
    def memories(self):
        return self.fifo_memories


@dataclass(frozen=True, eq=False, kw_only=True)
class ConcatStage(JoiningStage):
    """The channels of each pixel of one stream after those of another.

    Either all streams have as many lanes, and the beats of a pixel follow each other; or each beat of every stream
    is a whole pixel, and they are put side by side. ``channels`` are those of each input.
    """

    channels: tuple[int, ...]

    def __post_init__(self):
        streams = (self.i, *self.others)
        if len(streams) < 2 or len(streams) != len(self.channels):
            raise ValueError(f"{self.name} must join at least 2 streams, not {len(streams)} with channels "
                             f"{self.channels}")
        if not self.is_parallel and any(s.lanes != self.o.lanes or c % s.lanes
                                        for s, c in zip(streams, self.channels, strict=True)):
            raise ValueError(f"{self.name} must have equal lanes that divide channels {self.channels}, or whole "
                             f"pixels, not lanes {', '.join(str(s.lanes) for s in (*streams, self.o))}")
        pixels = {s.lanes * s.beats // c for s, c in zip((*streams, self.o), (*self.channels, sum(self.channels)),
                                                         strict=True)}
        if len(pixels) > 1:
            raise ValueError(f"{self.name} must have as many pixels in each stream, not {sorted(pixels)}")
        super().__post_init__()

    @property
    def is_parallel(self) -> bool:
        """Whether each beat is a whole pixel."""
        return all(s.lanes == c for s, c in zip((self.i, *self.others), self.channels, strict=True)) \
            and self.o.lanes == sum(self.channels)

    @property
    def is_combinational(self):
        return self.is_parallel

    @property
    def turns(self) -> tuple[int, ...]:
        """Beats per pixel of each input."""
        return tuple(c // s.lanes for s, c in zip((self.i, *self.others), self.channels, strict=True))

    def moves(self, inputs, outputs, begun, depth):
        if self.is_parallel:
            yield from super().moves(inputs, outputs, begun, depth)
        (o,), group, now = outputs, 0, -1
        while True:
            for i, turns in zip(inputs, self.turns, strict=True):
                for _ in range(turns):
                    earliest = now + 1
                    if group >= depth:
                        earliest = yield from freed(o, group - depth, earliest)
                    now = yield from taken(i, earliest)
                    begun.append(now)
                    o.offer(now + 1)
                    group += 1

    @property
    def delay(self):
        return 1

    @property
    def flip_flops(self):
        return self.fifo_flip_flops + (0 if self.is_parallel else index_bits(sum(self.turns)))

    @property
    def memories(self):
        return self.fifo_memories


@dataclass(frozen=True, eq=False, kw_only=True)
class SliceStage(PipelineStage):
    """Channels ``start`` up to and without ``stop`` of each pixel of ``channels``; other beats are dropped.

    Either whole beats are kept, or each beat is a whole pixel, of which lanes are kept.
    """

    channels: int
    start: int
    stop: int

    def __post_init__(self):
        kept = self.stop - self.start
        if not 0 <= self.start < self.stop <= self.channels:
            raise ValueError(f"{self.name} must lie within {self.channels} channels, not {self.start}:{self.stop}")
        if not self.is_parallel and (self.channels % self.i.lanes or self.start % self.i.lanes
                                     or self.stop % self.i.lanes or self.o.lanes != self.i.lanes):
            raise ValueError(f"{self.name} must keep whole beats of {self.i.lanes} lanes, or have whole pixels, not "
                             f"keep {self.start}:{self.stop} of {self.channels}")
        if self.o.levels != self.i.levels or self.i.lanes * self.i.beats * kept != \
                self.o.lanes * self.o.beats * self.channels:
            raise ValueError(f"{self.name} must keep levels and pixels, not turn {self.i} into {self.o}")
        super().__post_init__()

    @property
    def is_parallel(self) -> bool:
        """Whether each beat is a whole pixel."""
        return self.i.lanes == self.channels and self.o.lanes == self.stop - self.start

    @property
    def turns(self) -> tuple[bool, ...]:
        """For each beat of a pixel, whether it is kept."""
        if self.is_parallel:
            return (True,)
        return tuple(self.start <= channel < self.stop for channel in range(0, self.channels, self.i.lanes))

    def moves(self, inputs, outputs, begun, depth):
        (i,), (o,), group, now = inputs, outputs, 0, -1
        while True:
            for kept in self.turns:
                earliest = now + 1
                if kept and group >= depth:
                    earliest = yield from freed(o, group - depth, earliest)
                now = yield from taken(i, earliest)
                if kept:
                    begun.append(now)
                    o.offer(now + 1)
                    group += 1

    @property
    def delay(self):
        return 1

    @property
    def latency(self):
        return self.turns.index(True) + 1

    @property
    def ii(self):
        return self.i.beats

    @property
    def flip_flops(self):
        return self.fifo_flip_flops + index_bits(len(self.turns))

    @property
    def memories(self):
        return self.fifo_memories
