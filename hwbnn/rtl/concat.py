"""Channels of several streams joined, and channels of one chosen."""

from amaranth import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring

from hwbnn.plan import ConcatStage, SliceStage
from hwbnn.rtl.codes import payload, recoded
from hwbnn.rtl.fifo import OutputFifo
from hwbnn.rtl.unit import StreamUnit

__all__ = ["Concat", "Slice"]


class Concat(StreamUnit[ConcatStage]):
    """Give out, pixel by pixel, the channels of each input after those of the one before.

    Latency is ``stage.latency``, II one cycle per output beat. Where beats are whole pixels, a combinational path
    leads from valid of each input to ready of the others; else there is none between ports but from storage to
    ``o.payload``.

    Members
    -------
    i_0, i_1, ... : :py:`In(stream.Signature(payload(...)))`
    o : :py:`Out(stream.Signature(payload(stage.o)))`
    """

    def elaborate(self, platform):
        m = Module()
        stage = self._stage
        m.submodules.fifo = fifo = OutputFifo(payload(stage.o), depth=stage.fifo_depth)
        inputs = [getattr(self, name) for name in stage.inputs]
        codes = [Cat(recoded(code, of.levels, stage.o.levels) for code in i.payload)
                   for i, of in zip(inputs, stage.inputs.values(), strict=True)]
        issue, word = Signal(), Signal(stage.o.bits)
        if stage.is_parallel:
            valid = Cat(i.valid for i in inputs)
            m.d.comb += [issue.eq(fifo.room & valid.all()), word.eq(Cat(codes))]
            for n, i in enumerate(inputs):
                others = Cat(valid[:n], valid[n + 1:])
                m.d.comb += i.ready.eq(fifo.room & others.all())
        else:
            total = sum(stage.turns)
            beat = Signal(range(total))
            begin = 0
            for i, code, turns in zip(inputs, codes, stage.turns, strict=True):
                with m.If((beat >= begin) & (beat < begin + turns)):
                    m.d.comb += [i.ready.eq(fifo.room), issue.eq(fifo.room & i.valid), word.eq(code)]
                begin += turns
            with m.If(issue):
                m.d.sync += beat.eq(Mux(beat == total - 1, 0, beat + 1))
        m.d.comb += [fifo.issue.eq(issue), fifo.w_en.eq(issue), fifo.w_data.as_value().eq(word)]
        wiring.connect(m, wiring.flipped(self.o), fifo.o)
        return m


class Slice(StreamUnit[SliceStage]):
    """Keep channels ``stage.start`` up to and without ``stage.stop`` of each pixel, drop the others.

    Latency is ``stage.latency``, II one cycle per input beat. What is dropped needs no place. No combinational
    path between ports but from storage to ``o.payload``.
    """

    def elaborate(self, platform):
        m = Module()
        stage = self._stage
        m.submodules.fifo = fifo = OutputFifo(payload(stage.o), depth=stage.fifo_depth)
        beat, kept, issue = Signal(range(len(stage.turns))), Signal(), Signal()
        word = self.i.payload.as_value()
        if stage.is_parallel:
            bits = stage.i.levels.bits
            word = word[stage.start * bits:stage.stop * bits]
        m.d.comb += [
            kept.eq(Array(stage.turns)[beat]),
            self.i.ready.eq(fifo.room | ~kept),
            issue.eq(self.i.valid & fifo.room & kept),
            fifo.issue.eq(issue),
            fifo.w_en.eq(issue),
            fifo.w_data.as_value().eq(word),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += beat.eq(Mux(beat == len(stage.turns) - 1, 0, beat + 1))
        wiring.connect(m, wiring.flipped(self.o), fifo.o)
        return m
