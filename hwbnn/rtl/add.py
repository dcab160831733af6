"""The sum of two streams."""

from amaranth import Module, Signal
from amaranth.lib import stream, wiring

from hwbnn.plan import AddStage
from hwbnn.rtl.codes import decode, encode, payload
from hwbnn.rtl.fifo import OutputFifo
from hwbnn.rtl.unit import StreamUnit

__all__ = ["Add"]


class Add(StreamUnit[AddStage]):
    """Add the numbers of two streams lane by lane; their levels may differ.

    Latency is ``stage.latency``, II one cycle per beat. A combinational path leads from valid of either input to
    ready of the other, and from storage to ``o.payload``.

    Members
    -------
    i_0, i_1 : :py:`In(stream.Signature(payload(...)))`
    o : :py:`Out(stream.Signature(payload(stage.o)))`
    """

    i_0: stream.Interface
    i_1: stream.Interface

    def elaborate(self, platform):
        m = Module()
        stage = self._stage
        m.submodules.fifo = fifo = OutputFifo(payload(stage.o), depth=stage.fifo_depth)
        issue, ends = Signal(), Signal()
        m.d.comb += [
            self.i_0.ready.eq(fifo.room & self.i_1.valid),
            self.i_1.ready.eq(fifo.room & self.i_0.valid),
            issue.eq(fifo.room & self.i_0.valid & self.i_1.valid),
            fifo.issue.eq(issue),
        ]
        sums = Signal(payload(stage.o), name="sums", reset_less=True)
        for lane in range(stage.o.lanes):
            terms = [decode(i.payload[lane], of.levels)
                     for i, of in ((self.i_0, stage.i), (self.i_1, stage.others[0]))]
            m.d.sync += sums[lane].eq(encode(terms[0] + terms[1], stage.o.levels))
        m.d.sync += ends.eq(issue)
        m.d.comb += [fifo.w_en.eq(ends), fifo.w_data.eq(sums)]
        wiring.connect(m, wiring.flipped(self.o), fifo.o)
        return m
