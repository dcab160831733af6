"""A border around a feature map."""

from amaranth import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring

from hwbnn import pack
from hwbnn.plan import PadStage
from hwbnn.rtl.codes import payload, recoded
from hwbnn.rtl.fifo import OutputFifo
from hwbnn.rtl.unit import StreamUnit

__all__ = ["Pad"]


class Pad(StreamUnit[PadStage]):
    """Surround each frame by constant pixels, once its first beat is offered.

    Latency is ``stage.latency``, counted from that offer; II one cycle per output beat. No combinational path
    between ports but from storage to ``o.payload``.
    """

    def elaborate(self, platform):
        m = Module()
        stage = self._stage
        top, left, _, _ = stage.padding
        m.submodules.fifo = fifo = OutputFifo(payload(stage.o), depth=stage.fifo_depth)
        row, column = Signal(range(stage.padded_height)), Signal(range(stage.padded_width))
        beat = Signal(range(stage.channel_beats))
        inside, leading, issue = Signal(), Signal(), Signal()
        # Where the position stands is known a step ahead, so that ready need not wait for comparisons.
        row_before, row_inside = Signal(init=top > 0), Signal(init=top == 0)
        column_before, column_inside, first_row = Signal(init=left > 0), Signal(init=left == 0), Signal(init=top == 0)
        m.d.comb += [
            inside.eq(row_inside & column_inside),
            leading.eq(row_before | (first_row & column_before)),
            issue.eq(fifo.room & (self.i.valid | ~(inside | leading))),
            self.i.ready.eq(fifo.room & inside),
            fifo.issue.eq(issue),
            fifo.w_en.eq(issue),
        ]
        codes = pack.codes(stage.values, stage.o.levels).reshape(-1, stage.o.lanes)
        words = [Const(word, stage.o.bits) for word in pack.lanes(codes, stage.o.levels.bits)]
        border = words[0] if len({word.value for word in words}) == 1 else Array(words)[beat]
        word = Cat(recoded(code, stage.i.levels, stage.o.levels) for code in self.i.payload)
        m.d.comb += fifo.w_data.as_value().eq(Mux(inside, word, border))

        step = issue
        for counter, count in ((beat, stage.channel_beats), (column, stage.padded_width),
                               (row, stage.padded_height)):
            end = counter == count - 1
            with m.If(step):
                m.d.sync += counter.eq(Mux(end, 0, counter + 1))
                if counter is column:
                    m.d.sync += [
                        column_before.eq(Mux(end, left > 0, column < left - 1)),
                        column_inside.eq(Mux(end, left == 0, ~(column < left - 1) & (column < left + stage.width - 1)))]
                if counter is row:
                    m.d.sync += [
                        row_before.eq(Mux(end, top > 0, row < top - 1)),
                        first_row.eq(Mux(end, top == 0, row == top - 1)),
                        row_inside.eq(Mux(end, top == 0, ~(row < top - 1) & (row < top + stage.height - 1)))]
            step = step & end
        wiring.connect(m, wiring.flipped(self.o), fifo.o)
        return m
