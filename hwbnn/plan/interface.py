"""The accelerator's two ends: AXI4-Stream outside, stages inside."""

from dataclasses import dataclass

from hwbnn.plan.records import Stage, index_bits

__all__ = ["ERROR_BITS", "FrameInputStage", "FrameOutputStage"]

ERROR_BITS = 16  # of the saturating counter of framing errors


@dataclass(frozen=True, eq=False, kw_only=True)
class FrameInputStage(Stage):
    """Takes packets of ``i.beats`` beats; a packet of another length still becomes exactly one frame.

    Its missing beats are made up with code 0 and its excess beats dropped; each such packet counts one error.
    """

    @property
    def is_combinational(self):
        return True

    @property
    def latency(self):
        return 0

    @property
    def ii(self):
        return self.i.beats

    @property
    def flip_flops(self):
        return index_bits(self.i.beats) + (self.i.beats > 1) + 1 + ERROR_BITS  # count, pad, drop, errors


@dataclass(frozen=True, eq=False, kw_only=True)
class FrameOutputStage(Stage):
    """Marks the last beat of each frame."""

    @property
    def is_combinational(self):
        return True

    @property
    def latency(self):
        return 0

    @property
    def ii(self):
        return self.o.beats

    @property
    def flip_flops(self):
        return index_bits(self.o.beats)
