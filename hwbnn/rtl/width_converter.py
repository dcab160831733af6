"""Streams of few lanes to streams of many, and back."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring

from hwbnn.plan import JoinStage, PartStage
from hwbnn.rtl.codes import payload
from hwbnn.rtl.fifo import OutputFifo
from hwbnn.rtl.unit import StreamUnit

__all__ = ["Join", "Part"]


class Join(StreamUnit[JoinStage]):
    """Put ``stage.ratio`` beats side by side into one, the first at the lowest lanes.

    Latency is ``stage.latency``, II one cycle per input beat. No combinational path between ports but from
    storage to ``o.payload``.
    """

    def elaborate(self, platform):
        m = Module()
        stage = self._stage
        m.submodules.fifo = fifo = OutputFifo(payload(stage.o), depth=stage.fifo_depth)
        word = self.i.payload.as_value()
        waiting = Signal((stage.ratio - 1) * len(word), reset_less=True)
        part, issue, last, ready = Signal(range(stage.ratio)), Signal(), Signal(), Signal()
        joined = Cat(waiting, word)
        m.d.comb += [
            ready.eq(fifo.room | ~last),
            self.i.ready.eq(ready),
            issue.eq(self.i.valid & ready),
            fifo.issue.eq(issue & last),
            fifo.w_en.eq(issue & last),
            fifo.w_data.as_value().eq(joined),
        ]
        with m.If(issue):
            m.d.sync += [part.eq(Mux(last, 0, part + 1)), last.eq(~last & (part == stage.ratio - 2)),
                         waiting.eq(joined[len(word):])]
        wiring.connect(m, wiring.flipped(self.o), fifo.o)
        return m


class Part(StreamUnit[PartStage]):
    """Give out each beat in ``stage.ratio`` parts, the lowest lanes first.

    Latency is 0, II one cycle per output beat. Combinational paths lead from :py:`i` to :py:`o` and from
    ``o.ready`` to ``i.ready``; what stands before and behind must not add to the latter.
    """

    def elaborate(self, platform):
        m = Module()
        ratio = self._stage.ratio
        part = Signal(range(ratio))
        last = Signal()
        m.d.comb += [
            last.eq(part == ratio - 1),
            self.o.valid.eq(self.i.valid),
            self.o.payload.as_value().eq(self.i.payload.as_value().word_select(part, len(self.o.payload.as_value()))),
            self.i.ready.eq(self.o.ready & last),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += part.eq(Mux(last, 0, part + 1))
        return m
