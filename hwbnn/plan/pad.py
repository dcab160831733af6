"""A border around a feature map, put into the stream."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwbnn.plan.channel import freed
from hwbnn.plan.records import PipelineStage, index_bits

__all__ = ["PadStage"]


@dataclass(frozen=True, eq=False, kw_only=True)
class PadStage(PipelineStage):
    """Surround each frame of height x width pixels by constant pixels; levels may widen to hold them.

    Pixels before the first of a frame are given out once that is offered, so the latency is counted from then.

    Parameters
    ----------
    height, width : :class:`int`
        Pixels that enter.
    padding : (top, left, bottom, right)
        Pixels that are added.
    values : int64 array (channels,)
        The constant pixel.
    """

    height: int
    width: int
    padding: tuple[int, int, int, int]
    values: NDArray[np.int64]

    def __post_init__(self):
        if min(self.padding) < 0 or not any(self.padding):
            raise ValueError(f"{self.name} padding must be at least 0 and not 0 everywhere, not {self.padding}")
        if self.i.lanes != self.o.lanes or len(self.values) % self.i.lanes:
            raise ValueError(f"{self.name} must keep lanes that divide {len(self.values)} channels, not turn "
                             f"{self.i.lanes} into {self.o.lanes}")
        beats = tuple(height * width * self.channel_beats for height, width in (
            (self.height, self.width), (self.padded_height, self.padded_width)))
        if (self.i.beats, self.o.beats) != beats:
            raise ValueError(f"{self.name} must turn {beats[0]} beats into {beats[1]}, not {self.i.beats} into "
                             f"{self.o.beats}")
        if not self.o.levels.holds(self.values):
            raise ValueError(f"{self.name} values must be {self.o.levels}, not {self.values.tolist()}")
        super().__post_init__()

    @property
    def channel_beats(self) -> int:
        """Beats per pixel."""
        return len(self.values) // self.i.lanes

    @property
    def padded_height(self) -> int:
        return self.height + self.padding[0] + self.padding[2]

    @property
    def padded_width(self) -> int:
        return self.width + self.padding[1] + self.padding[3]

    @cached_property
    def taken(self) -> NDArray[np.bool_]:
        """For each output beat of a frame whether it is an input beat."""
        top, left, _, _ = self.padding
        inside = np.zeros((self.padded_height, self.padded_width), bool)
        inside[top:top + self.height, left:left + self.width] = True
        return inside.ravel().repeat(self.channel_beats)

    @property
    def leading(self) -> int:
        """Output beats of a frame before its first input beat."""
        return (self.padding[0] * self.padded_width + self.padding[1]) * self.channel_beats

    def moves(self, inputs, outputs, begun, depth):
        (i,), (o,) = inputs, outputs
        taken, leading, delay, group, now = self.taken.tolist(), self.leading, self.delay, 0, -1
        while True:
            beat, earliest = group % len(taken), now + 1
            if group >= depth:
                earliest = yield from freed(o, group - depth, earliest)
            if taken[beat] or beat < leading:
                while not i.ready():
                    yield i
                earliest = max(earliest, i.visible())
            now = earliest
            if taken[beat]:
                i.take(now)
            begun.append(now)
            o.offer(now + delay)
            group += 1

    def rearranged(self, values):
        padded = np.tile(self.values, (len(values), self.padded_height * self.padded_width))
        padded.reshape(len(values), self.o.beats, -1)[:, self.taken] = values.reshape(
            len(values), self.i.beats, self.i.lanes)
        return padded

    @property
    def delay(self):
        return 1

    @property
    def latency(self):
        return self.delay

    @property
    def flip_flops(self):
        counters = sum(index_bits(n) for n in (self.padded_height, self.padded_width, self.channel_beats))
        return counters + 5 + self.fifo_flip_flops  # where the position stands

    @property
    def memories(self):
        return self.fifo_memories
