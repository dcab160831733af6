"""The greatest, the least or the sum of successive beats."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hwbnn.plan.records import PipelineStage, index_bits, span_bits

__all__ = ["Pooling", "PoolStage"]

Pooling = Literal["max", "sum"]


@dataclass(frozen=True, eq=False, kw_only=True)
class PoolStage(PipelineStage):
    """Every ``taps`` beats become one, lane by lane: their maximum, or minimum where the sign is -1, or their sum.

    Groups carry the channels in order, over and over. On bipolar values a maximum is OR, a minimum AND.

    Parameters
    ----------
    kind : "max" or "sum"
    taps : :class:`int`
    signs : int64 array (channels,)
        Of -1 and +1; without meaning for a sum.
    """

    kind: Pooling
    taps: int
    signs: NDArray[np.int64]

    def __post_init__(self):
        if self.kind not in ("max", "sum"):
            raise ValueError(f"{self.name} kind must be max or sum, not {self.kind}")
        if self.taps < 2:
            raise ValueError(f"{self.name} taps must be at least 2, not {self.taps}")
        if len(self.signs) % self.i.lanes or self.i.lanes != self.o.lanes:
            raise ValueError(f"{self.name} must keep lanes that divide {len(self.signs)} channels, not turn "
                             f"{self.i.lanes} into {self.o.lanes}")
        if self.i.beats != self.o.beats * self.taps:
            raise ValueError(f"{self.name} must turn {self.taps} beats into one, not {self.i.beats} into "
                             f"{self.o.beats}")
        super().__post_init__()

    @property
    def group_beats(self):
        return self.taps

    @property
    def is_mixed(self) -> bool:
        """Whether some channels take the maximum and others the minimum."""
        return self.kind == "max" and len(set(self.signs.tolist())) > 1

    @property
    def channel_groups(self) -> int:
        """Groups per pixel."""
        return len(self.signs) // self.i.lanes

    @property
    def sums(self) -> tuple[int, int]:
        """Least and greatest partial sum."""
        low, high = self.i.levels.low, self.i.levels.high
        return min(low, self.taps * low), max(high, self.taps * high)

    @property
    def value_bits(self) -> int:
        """Width of one lane's register."""
        return span_bits(*self.sums) if self.kind == "sum" else self.i.levels.bits

    @property
    def delay(self):
        return 2

    @property
    def flip_flops(self):
        total = self.i.lanes * self.value_bits + index_bits(self.taps) + 1
        return total + (index_bits(self.channel_groups) if self.is_mixed else 0) + self.fifo_flip_flops

    @property
    def memories(self):
        return self.fifo_memories
