"""Sliding windows, and all else that only moves values, out of a circular buffer."""

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import memory, wiring

from hwbnn.plan import WindowStage
from hwbnn.rtl.codes import payload
from hwbnn.rtl.fifo import OutputFifo
from hwbnn.rtl.pipeline import delayed, flags
from hwbnn.rtl.unit import StreamUnit

__all__ = ["WindowUnit"]


class WindowUnit(StreamUnit[WindowStage]):
    """Give out the beats of each frame in the order of ``stage``'s loops.

    Beats are written as they come while the buffer has room; a beat is read once it is there, every cycle if the
    output FIFO has room; what the window has passed is given up. Counters say how far the beat to be read lies behind
    the last one written, and how many are held; addresses step by constants. Latency is ``stage.latency``, II
    ``stage.ii`` cycles per frame. No combinational path between ports but from storage to ``o.payload``.
    """

    def elaborate(self, platform):
        m = Module()
        stage, depth = self._stage, self._stage.depth
        block = stage.buffer.style == "block"
        m.submodules.fifo = fifo = OutputFifo(payload(stage.o), depth=stage.fifo_depth)
        m.submodules.buffer = buffer = memory.Memory(shape=stage.i.bits, depth=depth, init=[],
                                                     attrs={"ram_style": stage.buffer.style})
        write = buffer.write_port()
        read = buffer.read_port(domain="sync" if block else "comb")

        lead = Signal(stage.lead_range, init=-stage.start, name="lead")  # beats written from the source on
        there = Signal(name="there")  # whether there are any
        held = Signal(stage.held_range)
        w_address, r_address = Signal(range(depth)), Signal(range(depth), init=stage.start % depth)
        given, issue, room = Signal(name="given"), Signal(name="issue"), Signal(init=1, name="room")
        m.d.comb += [
            self.i.ready.eq(room),
            given.eq(self.i.valid & self.i.ready),
            issue.eq(fifo.room & there),
            fifo.issue.eq(issue),
            write.addr.eq(w_address),
            write.data.eq(self.i.payload.as_value()),
            write.en.eq(given),
            read.addr.eq(r_address),
            fifo.w_data.as_value().eq(delayed(m, read.data, stage.pace.output if block else 0, name="beat")),
        ]
        with m.If(given):
            m.d.sync += w_address.eq(_wrapped(w_address, 1, depth))

        # The innermost loop that does not end moves the source, and the window where that is its task.
        ends = self._count(m, issue)
        step, jump = (Signal(range(-max(values), max(1, 1 - min(values))), name=name)  # what is taken away, negative
                      for name, values in (("step", stage.steps), ("jump", stage.jumps)))
        ahead, behind = (Signal(range(-depth, depth), name=name) for name in ("ahead", "behind"))  # as far or wrapped

        # The flags compare with constants, each loop's, so that they wait neither for the sums nor for the loops.
        past, reached, free, freed = (Signal(name=name) for name in ("past", "reached", "free", "freed"))

        def move(n: int):
            m.d.comb += [step.eq(-stage.steps[n]), jump.eq(-stage.jumps[n]),
                         past.eq(~(lead < stage.steps[n] + 1)), reached.eq(~(lead < stage.steps[n])),
                         free.eq(held < depth - 1 + stage.jumps[n]), freed.eq(held < depth + stage.jumps[n]),
                         ahead.eq(stage.steps[n] % depth), behind.eq(stage.steps[n] % depth - depth)]

        move(len(ends))
        for n, end in enumerate(ends):  # later assignments win: inner loops
            with m.If(~end):
                move(n)
        wrapped = Signal(range(-depth, depth), name="wrapped")
        m.d.comb += wrapped.eq(r_address + behind)
        with m.If(issue):
            m.d.sync += [r_address.eq(Mux(wrapped < 0, r_address + ahead, wrapped)),
                         there.eq(Mux(given, reached, past)), room.eq(Mux(given, free, freed))]
        with m.Else():
            m.d.sync += [there.eq(there | (given & (lead == 0))), room.eq((held < depth - 1) | (~given & room))]
        m.d.sync += [count.eq(_plus(count, Mux(issue, more, 0), given)) for count, more in ((lead, step), (held, jump))]

        m.d.comb += fifo.w_en.eq(flags(m, issue, stage.delay - 1, name="written")[-1])
        wiring.connect(m, wiring.flipped(self.o), fifo.o)
        return m

    def _count(self, m: Module, issue: Value) -> list[Value]:
        """Make the loops' counters; return for each whether it stands at its end, a register."""
        ends, inner = [], Const(1)
        for n, loop in reversed(list(enumerate(self._stage.loops))):
            counter, end = Signal(range(loop.count), name=f"loop_{n}"), Signal(name=f"end_{n}")
            with m.If(issue & inner):
                m.d.sync += [counter.eq(Mux(end, 0, counter + 1)), end.eq(~end & (counter == loop.count - 2))]
            ends.insert(0, end)
            inner = inner & end
        return ends


def _wrapped(address: Signal, step: int, depth: int) -> Value:
    """``address + step`` modulo ``depth``, for a step below the depth."""
    if step == 0:
        return address
    return Mux(address < depth - step, address + step, address - (depth - step))


def _plus(count: Signal, more: Value, carry: Value) -> Value:
    """``count + more + carry`` in a single adder."""
    signed = count if count.shape().signed else Cat(count, 0).as_signed()
    return (Cat(carry, signed).as_signed() + Cat(1, more.as_signed()).as_signed()) >> 1
