"""The greatest, the least or the sum of successive beats."""

from amaranth import Array, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring

from hwbnn.plan import PoolStage
from hwbnn.rtl.codes import decode, encode, payload
from hwbnn.rtl.fifo import OutputFifo
from hwbnn.rtl.unit import StreamUnit

__all__ = ["Pool"]


class Pool(StreamUnit[PoolStage]):
    """Turn every ``stage.taps`` beats into one: lane by lane the maximum, the minimum or the sum.

    Latency is ``stage.latency``, II one cycle per input beat. No combinational path between ports but from storage
    to ``o.payload``.
    """

    def elaborate(self, platform):
        m = Module()
        stage, lanes = self._stage, self._stage.i.lanes
        m.submodules.fifo = fifo = OutputFifo(payload(stage.o), depth=stage.fifo_depth)
        tap, issue, first, last, ends = Signal(range(stage.taps)), Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(fifo.room),
            issue.eq(self.i.valid & fifo.room),
            first.eq(tap == 0),
            last.eq(tap == stage.taps - 1),
            fifo.issue.eq(issue & last),
            fifo.w_en.eq(ends),
        ]
        m.d.sync += ends.eq(issue & last)
        with m.If(issue):
            m.d.sync += tap.eq(Mux(last, 0, tap + 1))

        signs = self._signs(m, issue & last)
        if stage.kind == "sum":
            low, high = stage.sums
            values = Signal(data.ArrayLayout(range(low, high + 1), lanes), name="values", reset_less=True)
        else:
            values = Signal(payload(stage.i), name="values", reset_less=True)
        for lane in range(lanes):
            code, value = self.i.payload[lane], values[lane]
            x = decode(code, stage.i.levels)
            with m.If(issue):
                if stage.kind == "sum":
                    m.d.sync += value.eq(Mux(first, 0, value) + x)
                else:
                    kept = decode(value, stage.i.levels)
                    better = Mux(signs[lane], x < kept, kept < x)
                    with m.If(first | better):
                        m.d.sync += value.eq(code)
            m.d.comb += fifo.w_data[lane].eq(encode(value, stage.o.levels) if stage.kind == "sum" else value)
        wiring.connect(m, wiring.flipped(self.o), fifo.o)
        return m

    def _signs(self, m: Module, advance: Value) -> Value:
        """For each lane of the group whether the minimum is wanted."""
        stage, lanes = self._stage, self._stage.i.lanes
        groups = [Const(sum(int(sign < 0) << n for n, sign in enumerate(stage.signs[base:base + lanes])), lanes)
                  for base in range(0, len(stage.signs), lanes)]
        if not stage.is_mixed or len(groups) == 1:
            return groups[0]
        group = Signal(range(len(groups)))
        with m.If(advance):
            m.d.sync += group.eq(Mux(group == len(groups) - 1, 0, group + 1))
        return Array(groups)[group]
