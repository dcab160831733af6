"""The numbers of the greatest channels."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring

from hwbnn.plan import TopKStage
from hwbnn.rtl.codes import decode, payload
from hwbnn.rtl.fifo import OutputFifo
from hwbnn.rtl.pipeline import flags
from hwbnn.rtl.unit import StreamUnit

__all__ = ["TopKUnit"]


class TopKUnit(StreamUnit[TopKStage]):
    """Give out, for each vector, the numbers of its k greatest channels, greatest first, the lowest first among equals.

    Each channel is compared with all entries of a sorted list at once; those that it exceeds move on by one place, and
    it takes the first of theirs. Latency is ``stage.latency``, II one cycle per channel. No combinational path between
    ports but from storage to ``o.payload``.

    Members
    -------
    i : :py:`In(stream.Signature(payload(stage.i)))`
        Code of a number, channel 0 first.
    o : :py:`Out(stream.Signature(payload(stage.o)))`
        k channel numbers per vector.
    """

    def elaborate(self, platform):
        m = Module()
        stage, channels = self._stage, self._stage.channels
        m.submodules.fifo = fifo = OutputFifo(payload(stage.o), depth=stage.fifo_depth)

        issue, last = Signal(), Signal()
        beat, channel = Signal(range(channels)), Signal(range(channels), reset_less=True)
        code = Signal(stage.i.bits, reset_less=True)
        ends, valid = flags(m, issue & last, 2, name="ends"), flags(m, issue, 1, name="valid")[-1]
        m.d.comb += [
            self.i.ready.eq(fifo.room),
            issue.eq(self.i.valid & fifo.room),
            last.eq(beat == channels - 1),
            fifo.issue.eq(issue & last),
        ]
        with m.If(issue):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))
        m.d.sync += [code.eq(self.i.payload.as_value()), channel.eq(beat)]

        value = decode(code, stage.i.levels)
        number = range(stage.i.levels.low, stage.i.levels.high + 1)
        values = [Signal(number, name=f"value_{n}", reset_less=True) for n in range(stage.k)]
        numbers = [Signal(range(channels), name=f"number_{n}", reset_less=True) for n in range(stage.k)]
        before = None  # whether the channel exceeds the entry before, which then moves here
        for n in range(stage.k):
            exceeds = Signal(name=f"exceeds_{n}")  # an entry that this vector has not filled yet, too
            m.d.comb += exceeds.eq((channel <= n) | (values[n] < value))
            with m.If(valid & exceeds):
                m.d.sync += [values[n].eq(value), numbers[n].eq(channel)]
                if before is not None:
                    with m.If(before):
                        m.d.sync += [values[n].eq(values[n - 1]), numbers[n].eq(numbers[n - 1])]
            before = exceeds
        m.d.comb += [fifo.w_en.eq(ends[-1]), *(fifo.w_data[n].eq(numbers[n]) for n in range(stage.k))]
        wiring.connect(m, wiring.flipped(self.o), fifo.o)
        return m
