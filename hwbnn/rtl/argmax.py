"""The number of the greatest channel."""

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring

from hwbnn.plan import ArgMaxStage
from hwbnn.rtl.codes import decode, payload
from hwbnn.rtl.fifo import OutputFifo
from hwbnn.rtl.pipeline import delayed, flags
from hwbnn.rtl.unit import StreamUnit

__all__ = ["ArgMaxUnit"]


class ArgMaxUnit(StreamUnit[ArgMaxStage]):
    """Give out, for each vector, the number of its greatest channel, the lowest among equals.

    The lanes of a beat are compared pairwise with registers after each level; the winner is compared with
    the best of the beats before. Latency is ``stage.latency``, II one cycle per beat. No combinational path
    between ports but from storage to ``o.payload``.

    Members
    -------
    i : :py:`In(stream.Signature(payload(stage.i)))`
        Codes of numbers, channel 0 first.
    o : :py:`Out(stream.Signature(payload(stage.o)))`
        One channel number per vector.
    """

    def elaborate(self, platform):
        m = Module()
        stage = self._stage
        beats, levels, extra = stage.group_beats, stage.lane_levels, stage.level_latency - 1
        steps = 1 + levels * stage.level_latency
        m.submodules.fifo = fifo = OutputFifo(payload(stage.o), depth=stage.fifo_depth)

        issue, beat, last = Signal(), Signal(range(beats)), Signal()
        m.d.comb += [
            self.i.ready.eq(fifo.room),
            issue.eq(self.i.valid & fifo.room),
            last.eq(beat == beats - 1),
            fifo.issue.eq(issue & last),
        ]
        with m.If(issue):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))
        ends = flags(m, issue & last, steps + (2 if stage.split else 1), name="ends")
        valid, starts = ends[steps], Const(1)
        if beats > 1:
            valid = flags(m, issue, steps, name="valid")[-1]
            starts = flags(m, issue & (beat == 0), steps, name="starts")[-1]

        codes = Signal(payload(stage.i), name="codes", reset_less=True)
        number = range(stage.i.levels.low, stage.i.levels.high + 1)
        # What is compared with the best so far is stored inverted, as a carry chain takes it.
        inverted = bool(stage.split)
        if stage.is_offset or inverted:
            # Two's complement with the sign inverted is in the order of the numbers, without a sign.
            flipped = _signs(stage) if stage.is_offset else 0
            flipped ^= (1 << stage.i.bits) - 1 if inverted and not levels else 0
            m.d.sync += codes.as_value().eq(self.i.payload.as_value() ^ flipped)
            number = range(1 << stage.value_bits)
            candidates: list[tuple[Value, Value]] = [
                (~code if inverted and not levels else code, Const(0, 0)) for code in codes]
        else:
            m.d.sync += codes.eq(self.i.payload)
            candidates = [(decode(code, stage.i.levels), Const(0, 0)) for code in codes]
        for level in range(levels):
            winners = []
            for n in range(0, len(candidates), 2):
                value = Signal(number, name=f"value_{level}_{n // 2}", reset_less=True)
                lane = Signal(level + 1, name=f"lane_{level}_{n // 2}", reset_less=True)
                (a, a_lane), (b, b_lane) = candidates[n], candidates[min(n + 1, len(candidates) - 1)]
                second: Value = Const(0)
                if n + 1 < len(candidates):
                    second = delayed(m, a < b, extra, name=f"second_{level}_{n // 2}")
                    b, b_lane = (delayed(m, part, extra, name=f"{name}_{level}_{n + 1}")
                                 for name, part in (("b", b), ("b_lane", b_lane)))
                a, a_lane = (delayed(m, part, extra, name=f"{name}_{level}_{n}")
                             for name, part in (("a", a), ("a_lane", a_lane)))
                chosen, last_level = Mux(second, b, a), inverted and level == levels - 1
                m.d.sync += [value.eq(~chosen if last_level else chosen), lane.eq(Mux(second, Cat(b_lane, 1), a_lane))]
                winners.append((~value if last_level else value, lane))
            candidates = winners
        ((value, lane),) = candidates

        best = Signal(number, reset_less=True)
        best_channel = Signal(range(stage.channels), reset_less=True)
        base = Const(0)
        if beats > 1:
            base = Signal(range(stage.channels), name="base")
            with m.If(valid):
                m.d.sync += base.eq(Mux(ends[steps], 0, base + stage.i.lanes))
        # Written as less-than, a comparison is a carry chain; greater-than takes a tree of look-up tables beside it.
        channel, split = base + lane, stage.split
        if not split:
            with m.If(valid & (starts | (best < value))):
                m.d.sync += [best.eq(value), best_channel.eq(channel)]
        else:
            upper, known = value[split:], best[split:]
            above, equal = Signal(), Signal()
            m.d.sync += [above.eq(valid & (starts | (known < upper))), equal.eq(valid & ~starts & (upper == known))]
            with m.If(valid & (starts | (known < upper))):
                m.d.sync += best[split:].eq(upper)
            below = ~delayed(m, (~value)[:split], 1, name="below")
            number = Signal(range(stage.channels), reset_less=True)
            m.d.sync += number.eq(channel)
            with m.If(above | (equal & (best[:split] < below))):
                m.d.sync += [best[:split].eq(below), best_channel.eq(number)]
        m.d.comb += [fifo.w_en.eq(ends[-1]), fifo.w_data[0].eq(best_channel)]
        wiring.connect(m, wiring.flipped(self.o), fifo.o)
        return m


def _signs(stage: ArgMaxStage) -> int:
    """The bits of a beat that are signs."""
    return sum(1 << (lane + 1) * stage.value_bits - 1 for lane in range(stage.i.lanes))
