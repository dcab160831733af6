"""The two ends of an accelerator: packets of AXI4-Stream outside, frames of beats inside."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwbnn.plan import FrameInputStage, FrameOutputStage
from hwbnn.plan.interface import ERROR_BITS
from hwbnn.rtl.codes import payload

__all__ = ["FrameInput", "FrameOutput", "byte_padded", "packet"]


def byte_padded(bits: int) -> int:
    """Width of a tdata that holds ``bits`` bits: the next multiple of 8."""
    return -(-bits // 8) * 8


def packet(bits: int) -> data.StructLayout:
    """Shape of an AXI4-Stream transfer: tdata of ``bits`` padded to bytes, and tlast."""
    return data.StructLayout({"data": byte_padded(bits), "last": 1})


class FrameInput(wiring.Component):
    """Turn packets into frames: every packet becomes exactly one frame of ``stage.i.beats`` beats.

    ``last`` belongs on the final beat of a frame. A packet that ends too early is made up with beats of
    code 0; what a packet holds beyond a frame is dropped, up to and with its ``last``. Each such packet adds
    one to :py:`errors`, which stays at its greatest value. The frame after it is whole again.

    Latency is 0, II one cycle per beat. Combinational paths lead from :py:`i` to :py:`o` and from
    ``o.ready`` to ``i.ready``.

    Members
    -------
    i : :py:`In(stream.Signature(packet(stage.i.bits)))`
    o : :py:`Out(stream.Signature(payload(stage.i)))`
    errors : :py:`Out(16)`
    """

    i: stream.Interface
    o: stream.Interface
    errors: Signal

    def __init__(self, stage: FrameInputStage):
        self._stage = stage
        super().__init__({
            "i": In(stream.Signature(packet(stage.i.bits))),
            "o": Out(stream.Signature(payload(stage.i))),
            "errors": Out(ERROR_BITS),
        })

    def elaborate(self, platform):
        m = Module()
        beats, bits = self._stage.i.beats, self._stage.i.bits
        beat, full = Signal(range(beats)), Signal()
        drop, pad = Signal(), Signal()
        error = Signal()
        m.d.comb += [
            full.eq(beat == beats - 1),
            self.o.valid.eq((self.i.valid & ~drop) | pad),
            self.o.payload.as_value().eq(Mux(pad, 0, self.i.payload.data[:bits])),
            self.i.ready.eq((self.o.ready & ~pad) | drop),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += beat.eq(Mux(full, 0, beat + 1))
            with m.If(pad):
                if beats > 1:
                    m.d.sync += pad.eq(~full)
            with m.Elif(self.i.payload.last != full):
                m.d.comb += error.eq(1)
                m.d.sync += drop.eq(full)
                if beats > 1:
                    m.d.sync += pad.eq(~full)
        with m.If(drop & self.i.valid & self.i.payload.last):
            m.d.sync += drop.eq(0)
        with m.If(error & ~self.errors.all()):
            m.d.sync += self.errors.eq(self.errors + 1)
        return m


class FrameOutput(wiring.Component):
    """Mark the final beat of each frame with ``last``. Latency 0; combinational from end to end.

    Members
    -------
    i : :py:`In(stream.Signature(payload(stage.o)))`
    o : :py:`Out(stream.Signature(packet(stage.o.bits)))`
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, stage: FrameOutputStage):
        self._stage = stage
        super().__init__({
            "i": In(stream.Signature(payload(stage.o))),
            "o": Out(stream.Signature(packet(stage.o.bits))),
        })

    def elaborate(self, platform):
        m = Module()
        beats = self._stage.o.beats
        beat = Signal(range(beats))
        m.d.comb += [
            self.o.valid.eq(self.i.valid),
            self.o.payload.data.eq(self.i.payload.as_value()),
            self.o.payload.last.eq(beat == beats - 1),
            self.i.ready.eq(self.o.ready),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += beat.eq(Mux(self.o.payload.last, 0, beat + 1))
        return m
