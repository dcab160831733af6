"""The control of a matrix-vector unit: which beat is issued (:mod:`hwbnn.plan.control` says which and why)."""

from amaranth import Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwbnn.plan import Control, EventControl, SequenceControl
from hwbnn.rtl.rom import rom

__all__ = ["BeatControl"]


class BeatControl(wiring.Component):
    """Walk through the passes over one vector after another.

    Members
    -------
    valid : :py:`In(1)`
        Inputs are offered.
    room : :py:`In(1)`
        The output FIFO has credit; nothing is issued without.
    live : :py:`In(1)`
        The inputs are not all zero. Read by an :class:`EventControl` only.
    ready : :py:`Out(1)`
        Inputs are taken in this cycle if they are offered.
    issue : :py:`Out(1)`
        A beat is issued.
    first, last : :py:`Out(1)`
        It is the first, the last of its pass.
    first_pass : :py:`Out(1)`
        Its inputs come from the stream and are to be stored.
    store : :py:`Out(1)`
        Its inputs are to be stored.
    beat : :py:`Out(range(sf))`
        In the first pass, the number of the beat.
    write, read : :py:`Out(range(sf))`
        Where inputs are stored, and where they are read again.
    address : :py:`Out(range(depth))`
        Of the weights; of an :class:`EventControl`, that of beat 0 of the pass.
    left_out : :py:`Out(range(sf))`
        Of an :class:`EventControl`, how many beats the pass is short of.
    """

    valid: Signal
    room: Signal
    live: Signal
    ready: Signal
    issue: Signal
    first: Signal
    last: Signal
    first_pass: Signal
    store: Signal
    beat: Signal
    write: Signal
    read: Signal
    address: Signal
    left_out: Signal

    def __init__(self, control: Control):
        self._control = control
        place = Out(range(control.sf))
        super().__init__({
            "valid": In(1), "room": In(1), "live": In(1), "ready": Out(1), "issue": Out(1), "first": Out(1),
            "last": Out(1), "first_pass": Out(1), "store": Out(1), "beat": place, "write": place, "read": place,
            "address": Out(range(control.depth)), "left_out": place,
        })

    def elaborate(self, platform):
        m = Module()
        control = self._control
        beat, keeps = Signal(range(control.sf), name="place"), control.nf > 1 and not control.replayed
        first_pass = Signal(init=1, name="is_first_pass") if keeps else Const(1)
        m.d.comb += [
            self.ready.eq(self.room & first_pass),
            self.issue.eq(self.room & (self.valid | ~first_pass)),
            self.first_pass.eq(first_pass),
            self.store.eq(self.issue & first_pass),
            self.beat.eq(beat),
            self.write.eq(beat),
            self.read.eq(beat),
        ]
        match control:
            case SequenceControl():
                self._sequence(m, control, beat)
            case EventControl():
                self._events(m, control, beat)
            case _:
                m.d.comb += [self.first.eq(beat == 0), self.last.eq(beat == control.sf - 1)]
                with m.If(self.issue):
                    m.d.sync += beat.eq(Mux(self.last, 0, beat + 1))
        wraps = self._advance(m, control, beat)
        if keeps:
            if control.groups > 1:
                row = Signal(range(control.nf))
                wraps = row == control.nf - 1
                with m.If(self.issue & self.last):
                    m.d.sync += row.eq(Mux(wraps, 0, row + 1))
            with m.If(self.issue & self.last):
                m.d.sync += first_pass.eq(wraps)
        return m

    def _advance(self, m: Module, control: Control, beat: Value) -> Value:
        """Walk over the weights; return whether their end is reached."""
        if control.depth == control.sf:
            m.d.comb += self.address.eq(beat)
            return Const(1)
        address = Signal(range(control.depth), name="word")
        m.d.comb += self.address.eq(address)
        events = isinstance(control, EventControl)  # for which whole rows are passed
        step = control.sf if events else 1
        wraps = address == control.depth - step
        with m.If(self.issue & self.last if events else self.issue):
            m.d.sync += address.eq(Mux(wraps, 0, address + step))
        return wraps

    def _sequence(self, m: Module, control: SequenceControl, beat: Signal):
        """In the first pass count beats; in the others follow the sequence, which is read a word ahead."""
        memory = control.memory
        entry = data.StructLayout({"beat": range(control.sf), "ends": 1})
        if memory.depth == 1:
            word = data.View(entry, Const(control.words[0], memory.width))
        else:
            m.submodules.sequence = words = rom(memory.width, control.words, style=memory.style)
            block = memory.style == "block"
            port = words.read_port(domain="sync" if block else "comb")
            ahead = Signal(range(memory.depth), init=1)
            after, advance = Signal.like(ahead), Signal()
            word = Signal(entry, name="word_ahead", init=entry.from_bits(control.words[0]))
            m.d.comb += [
                advance.eq(self.issue & ~self.first_pass),
                after.eq(Mux(advance, Mux(ahead == memory.depth - 1, 0, ahead + 1), ahead)),
                port.addr.eq(after if block else ahead),  # a block memory has read it by the end of the first pass
            ]
            m.d.sync += ahead.eq(after)
            with m.If(advance):
                m.d.sync += word.as_value().eq(port.data)
        first = Signal(init=1, name="is_first")
        m.d.comb += [
            self.first.eq(first),
            self.last.eq(Mux(self.first_pass, beat == control.sf - 1, word.ends)),
            self.read.eq(Mux(self.first_pass, beat, word.beat)),
        ]
        with m.If(self.issue):
            m.d.sync += first.eq(self.last)
            with m.If(self.first_pass):
                m.d.sync += beat.eq(Mux(self.last, 0, beat + 1))

    def _events(self, m: Module, control: EventControl, beat: Signal):
        """In the first pass store what is not zero, one after another; in the others read until its end."""
        sf = control.sf
        end, none, so_far, put = Signal(range(sf)), Signal(), Signal(), Signal()
        m.d.comb += [
            self.first.eq(beat == 0),
            self.last.eq(beat == Mux(self.first_pass, sf - 1, end)),
            so_far.eq(self.first | none),  # nothing of this vector is stored
            put.eq(self.live | (so_far & self.last)),
            self.store.eq(self.issue & self.first_pass & put),
            self.write.eq(Mux(so_far, 0, end + 1)),
            self.left_out.eq(Mux(self.first_pass, 0, sf - 1 - end)),
        ]
        with m.If(self.issue):
            m.d.sync += beat.eq(Mux(self.last, 0, beat + 1))
            with m.If(self.first_pass):
                m.d.sync += none.eq(so_far & ~put)
                with m.If(put):
                    m.d.sync += end.eq(self.write)
