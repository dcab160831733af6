"""Beats of a frame in another order, through a circular buffer: sliding windows, and all that only moves values."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwbnn.plan.pace import RELAXED, Pace
from hwbnn.plan.records import Memory, PipelineStage, Style, ceil_div, index_bits, span_bits
from hwbnn.plan.storage import buffer_style

__all__ = ["Loop", "WindowStage"]


@dataclass(frozen=True)
class Loop:
    """One level of a nest of counters: ``count`` steps, each ``stride`` input beats further."""

    count: int
    stride: int

    def __post_init__(self):
        if self.count < 1 or self.stride < 0:
            raise ValueError(f"Loop must have a count of at least 1 and a stride of at least 0, not {self.count} and "
                             f"{self.stride}")

    @property
    def extent(self) -> int:
        """Input beats from its first step to its last."""
        return (self.count - 1) * self.stride


@dataclass(frozen=True, eq=False, kw_only=True)
class WindowStage(PipelineStage):
    """Output beat (n0, n1, ...) of a frame is input beat ``start + sum of n_l · stride_l``.

    ``outer`` loops move the window, ``inner`` loops walk through it; the last runs fastest. Input beats are kept
    in a circular buffer until the window has passed them, and enter it ahead of the window as far as it holds
    them, also those of the next frame. The buffer holds a window and the farthest step of the window, so that
    neither side waits for the other for lack of room.

    Parameters
    ----------
    outer, inner : tuple of :class:`Loop`
    start : :class:`int`
        First input beat within the window.
    style : :class:`str` or None
        What the buffer is made of; None: as its size asks for.
    pace : :class:`Pace`
    """

    outer: tuple[Loop, ...]
    inner: tuple[Loop, ...]
    start: int = 0
    style: Style | None = None
    pace: Pace = RELAXED

    def __post_init__(self):
        if (self.i.levels, self.i.lanes) != (self.o.levels, self.o.lanes):
            raise ValueError(f"{self.name} must keep levels and lanes, not turn {self.i} into {self.o}")
        if math.prod(loop.count for loop in (*self.outer, *self.inner)) != self.o.beats:
            raise ValueError(f"{self.name} loops must give out {self.o.beats} beats, not "
                             f"{math.prod(loop.count for loop in (*self.outer, *self.inner))}")
        if self.start < 0 or self.span + sum(loop.extent for loop in self.outer) > self.i.beats:
            raise ValueError(f"{self.name} windows must lie within {self.i.beats} beats, not reach "
                             f"{self.span + sum(loop.extent for loop in self.outer)}")
        if min(self.jumps) < 0:
            raise ValueError(f"{self.name} windows must move forward only, not by {min(self.jumps)}")
        super().__post_init__()
        if self.holds:
            object.__setattr__(self, "fifo_depth", 1)

    def at(self, pace):
        return replace(self, pace=pace, fifo_depth=0)

    @property
    def loops(self) -> tuple[Loop, ...]:
        """The loops that have a counter, outermost first. Those of the inner ones that go on in step are one."""
        return (*(loop for loop in self.outer if loop.count > 1), *self._walk)

    @cached_property
    def _walk(self) -> tuple[Loop, ...]:
        walk: list[Loop] = []
        for loop in self.inner:
            if walk and loop.count > 1 and walk[-1].stride == loop.count * loop.stride:
                loop = Loop(walk.pop().count * loop.count, loop.stride)
            walk += [loop] if loop.count > 1 else []
        return tuple(walk)

    @property
    def steps(self) -> tuple[int, ...]:
        """For each of :attr:`loops` how far the source moves when it steps and all within it start again.

        The last is the step from frame to frame.
        """
        loops = self.loops
        back = [sum(loop.extent for loop in loops[n + 1:]) for n in range(len(loops))]
        return (*(loop.stride - b for loop, b in zip(loops, back, strict=True)),
                self.i.beats - sum(loop.extent for loop in loops))

    @cached_property
    def jumps(self) -> tuple[int, ...]:
        """For each of :attr:`loops` how far the window moves, that is, how many beats are given up; then per frame."""
        outer = tuple(loop for loop in self.outer if loop.count > 1)
        back = [sum(loop.extent for loop in outer[n + 1:]) for n in range(len(outer))]
        return (*(loop.stride - b for loop, b in zip(outer, back, strict=True)),
                *(0 for _ in self._walk),
                self.i.beats - sum(loop.extent for loop in outer))

    @property
    def span(self) -> int:
        """Input beats from the window's position to its last beat."""
        return self.start + 1 + sum(loop.extent for loop in self.inner)

    @cached_property
    def depth(self) -> int:
        """Beats that the buffer holds."""
        return self.span + max(self.jumps)

    @property
    def lead_range(self) -> range:
        """How many beats were written from the next source on; the source is there when it is above 0."""
        return range(min(-self.start, 1 - max(*self.steps, 0)), self.depth + 1)

    @property
    def held_range(self) -> range:
        """How many beats were written from the window's position on; below 0 where it moved past what has come."""
        return range(min(0, self.span - max(self.jumps)), self.depth + 1)

    @cached_property
    def buffer(self) -> Memory:
        style = self.style or buffer_style(self.i.bits, self.depth)
        depth = 1 << index_bits(self.depth) if style == "block" and self.pace.levels > 1 else self.depth
        return Memory(f"{self.name}.buffer", self.i.bits, depth, style, written=True)

    @property
    def holds(self) -> bool:
        """Whether the memory's own register holds the beat that is offered, so that there is no FIFO.

        A place is then free in the cycle in which its beat leaves. Where there is time for it: ready goes to the
        counters.
        """
        return self.buffer.style == "block" and self.pace.levels > 1

    @property
    def wraps(self) -> bool:
        """Whether addresses wrap by themselves, so that the place to read is a difference.

        Where there is time for it, block memory is as deep as its address can say: what is beyond :attr:`depth` would
        mostly stay empty.
        """
        return self.buffer.depth == 1 << index_bits(self.depth) and self.pace.levels > 1

    @cached_property
    def sources(self) -> NDArray[np.int64]:
        """The input beat of each output beat of a frame."""
        return self._positions((*self.outer, *self.inner)) + self.start

    @cached_property
    def releases(self) -> NDArray[np.int64]:
        """Beats that are given up with each output beat of a frame."""
        walk = math.prod(loop.count for loop in self.inner)
        positions = np.append(self._positions(self.outer), self.i.beats)
        released = np.zeros(self.o.beats, np.int64)
        released[walk - 1::walk] = np.diff(positions)
        return released

    @staticmethod
    def _positions(loops: tuple[Loop, ...]) -> NDArray[np.int64]:
        positions = np.zeros(1, np.int64)
        for loop in loops:
            positions = (positions[:, None] + np.arange(loop.count) * loop.stride).ravel()
        return positions

    def rearranged(self, values):
        beats = values.reshape(len(values), self.i.beats, self.i.lanes)
        return beats[:, self.sources].reshape(len(values), -1)

    def moves(self, inputs, outputs, begun, depth):
        (i,), (o,), size, delay = inputs, outputs, self.depth, self.delay
        written: list[int] = []  # when each input beat was taken
        freed: list[tuple[int, int]] = []  # beats given up so far, and when
        seen = 0  # of freed

        def fill():
            """Take what is known to be offered and to have room."""
            nonlocal seen
            while i.ready():
                earliest = written[-1] + 1 if written else 0
                if len(written) >= size:
                    while seen < len(freed) and freed[seen][0] <= len(written) - size:
                        seen += 1
                    if seen == len(freed):
                        return
                    earliest = max(earliest, freed[seen][1] + 1)
                earliest = max(earliest, i.visible())
                written.append(earliest)
                i.take(earliest)

        walk = list(zip(self.sources.tolist(), self.releases.tolist(), strict=True))
        group, now, given, first = 0, -1, 0, 0
        while True:
            for source, release in walk:
                while len(written) <= first + source:
                    fill()
                    if len(written) <= first + source:
                        yield i
                now = max(now, written[first + source]) + 1
                if group >= depth:
                    while len(o.moved) <= group - depth:
                        fill()
                        if len(o.moved) <= group - depth:
                            yield o, i
                    now = max(now, o.moved[group - depth] + (not self.holds))
                begun.append(now)
                o.offer(now + delay)
                group += 1
                if release:
                    given += release
                    freed.append((given, now))
            first += self.i.beats

    @property
    def is_identity(self) -> bool:
        """Whether the beats leave as they enter, so that no hardware is needed."""
        return self.i.beats == self.o.beats and np.array_equal(self.sources, np.arange(self.i.beats))

    @property
    def delay(self):
        return 2 + self.pace.output if self.buffer.style == "block" and not self.holds else 1

    @property
    def least_fifo_depth(self):
        return 1 if self.holds else super().least_fifo_depth

    @property
    def memory(self):
        return max(super().memory, 1 + ceil_div(self.depth, self.i.beats))

    @property
    def latency(self):
        return self.start + 1 + self.delay

    @property
    def ii(self):
        return max(self.i.beats, self.o.beats)

    @property
    def flip_flops(self):
        total = sum(index_bits(loop.count) + 1 for loop in self.loops)
        total += (1 if self.wraps else 2) * index_bits(self.depth)
        total += span_bits(self.lead_range.start, self.depth) + span_bits(self.held_range.start, self.depth)
        total += 2  # whether the source is there, and whether there is room
        waiting = self.pace.output * self.i.bits if self.buffer.style == "block" else 0
        return total + (1 if self.holds else self.delay - 1 + waiting + self.fifo_flip_flops)

    @property
    def memories(self):
        return (self.buffer,) if self.holds else (self.buffer, *self.fifo_memories)
