"""Sliding windows, and all else that only moves values, out of a circular buffer."""

from collections.abc import Iterator

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
    the last one written, and how many are held; addresses step by constants, or wrap by themselves. Latency is
    ``stage.latency``, II ``stage.ii`` cycles per frame. No combinational path between ports but from storage to
    ``o.payload``.
    """

    def elaborate(self, platform):
        m = Module()
        stage, depth = self._stage, self._stage.depth
        block = stage.buffer.style == "block"
        m.submodules.buffer = buffer = memory.Memory(shape=stage.i.bits, depth=stage.buffer.depth, init=[],
                                                     attrs={"ram_style": stage.buffer.style})
        write = buffer.write_port()
        read = buffer.read_port(domain="sync" if block else "comb")

        lead = Signal(stage.lead_range, init=-stage.start, name="lead")  # beats written from the source on
        there = Signal(name="there")  # whether there are any
        held = Signal(stage.held_range)
        w_address = Signal(range(depth), name="w_address")
        given, issue, room = Signal(name="given"), Signal(name="issue"), Signal(init=1, name="room")
        free = self._output(m, read, issue)
        m.d.comb += [
            self.i.ready.eq(room),
            given.eq(self.i.valid & self.i.ready),
            issue.eq(free & there),
            write.addr.eq(w_address),
            write.data.eq(self.i.payload.as_value()),
            write.en.eq(given),
        ]
        with m.If(given):
            m.d.sync += w_address.eq(_wrapped(w_address, 1, stage.buffer.depth))

        # The innermost loop that does not end moves the source, and the window where that is its task.
        ends = self._count(m, issue)
        step, jump = (Signal(range(-max(values), max(1, 1 - min(values))), name=name)  # what is taken away, negative
                      for name, values in (("step", stage.steps), ("jump", stage.jumps)))
        for n in self._cases(m, ends):
            m.d.comb += [step.eq(-stage.steps[n]), jump.eq(-stage.jumps[n])]
        next_lead, next_held = (_plus(count, Mux(issue, more, 0), given)
                                for count, more in ((lead, step), (held, jump)))
        m.d.sync += [lead.eq(next_lead), held.eq(next_held)]

        if stage.wraps:
            m.d.comb += read.addr.eq(w_address - lead)
        else:
            m.d.comb += read.addr.eq(self._place(m, issue, ends))
        if stage.pace.levels > 1:
            m.d.sync += [there.eq(next_lead > 0), room.eq(next_held < depth)]
        else:
            self._early(m, ends, given, issue, lead, held, there, room)

        return m

    def _output(self, m: Module, read: memory.ReadPort, issue: Value) -> Value:
        """Give out what is read; return whether another beat may be read."""
        stage = self._stage
        free = Signal(name="free")
        if stage.holds:
            valid = Signal(name="valid")
            m.d.comb += [free.eq(~valid | self.o.ready), read.en.eq(free), self.o.valid.eq(valid),
                         self.o.payload.as_value().eq(read.data)]
            with m.If(free):
                m.d.sync += valid.eq(issue)
            return free
        m.submodules.fifo = fifo = OutputFifo(payload(stage.o), depth=stage.fifo_depth)
        later = delayed(m, read.data, stage.pace.output if stage.buffer.style == "block" else 0, name="beat")
        m.d.comb += [free.eq(fifo.room), fifo.issue.eq(issue), fifo.w_data.as_value().eq(later),
                     fifo.w_en.eq(flags(m, issue, stage.delay - 1, name="written")[-1])]
        wiring.connect(m, wiring.flipped(self.o), fifo.o)
        return free

    def _cases(self, m: Module, ends: list[Value]) -> Iterator[int]:
        """In each case of which loop moves, the number of that."""
        yield len(ends)
        for n, end in enumerate(ends):  # later assignments win: inner loops
            with m.If(~end):
                yield n

    def _place(self, m: Module, issue: Value, ends: list[Value]) -> Signal:
        """Make the address of the source, which steps by constants; return it."""
        stage, depth = self._stage, self._stage.depth
        address = Signal(range(depth), init=stage.start % depth, name="r_address")
        ahead, behind = (Signal(range(-depth, depth), name=name) for name in ("ahead", "behind"))  # as far or wrapped
        for n in self._cases(m, ends):
            m.d.comb += [ahead.eq(stage.steps[n] % depth), behind.eq(stage.steps[n] % depth - depth)]
        wrapped = Signal(range(-depth, depth), name="wrapped")
        m.d.comb += wrapped.eq(address + behind)
        with m.If(issue):
            m.d.sync += address.eq(Mux(wrapped < 0, address + ahead, wrapped))
        return address

    def _early(self, m: Module, ends: list[Value], given: Value, issue: Value, lead: Value, held: Value,
               there: Signal, room: Signal):
        """Make the flags from compares with constants, each loop's: they wait neither for sums nor for the loops."""
        stage, depth = self._stage, self._stage.depth
        past, reached, free, freed = (Signal(name=name) for name in ("past", "reached", "free", "freed"))
        for n in self._cases(m, ends):
            m.d.comb += [past.eq(~(lead < stage.steps[n] + 1)), reached.eq(~(lead < stage.steps[n])),
                         free.eq(held < depth - 1 + stage.jumps[n]), freed.eq(held < depth + stage.jumps[n])]
        with m.If(issue):
            m.d.sync += [there.eq(Mux(given, reached, past)), room.eq(Mux(given, free, freed))]
        with m.Else():
            m.d.sync += [there.eq(there | (given & (lead == 0))), room.eq((held < depth - 1) | (~given & room))]

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
    if depth == 1 << len(address):
        return (address + step)[:len(address)]
    return Mux(address < depth - step, address + step, address - (depth - step))


def _plus(count: Signal, more: Value, carry: Value) -> Value:
    """``count + more + carry`` in a single adder."""
    signed = count if count.shape().signed else Cat(count, 0).as_signed()
    return (Cat(carry, signed).as_signed() + Cat(1, more.as_signed()).as_signed()) >> 1
