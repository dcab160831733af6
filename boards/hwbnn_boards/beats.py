"""Between single bytes and the beats of an AXI4-Stream."""

from amaranth import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwbnn_boards.protocol import Beats
from hwbnn_boards.stuffing import LAST

__all__ = ["BeatJoiner", "BeatSplitter", "beat"]


def beat(beats: Beats) -> data.StructLayout:
    """Return the layout of one beat: its bytes, lowest first, and whether it is the frame's last."""
    return data.StructLayout({"data": 8 * beats.width, "last": 1})


class BeatJoiner(wiring.Component):
    """Join bytes to beats and mark the last of each frame.

    Latency is 1 cycle from the last byte of a beat, II is ``beats.width`` + 1 cycles per beat.

    Parameters
    ----------
    beats : :class:`~hwbnn_boards.protocol.Beats`
        Beats in a frame and bytes in a beat.

    Members
    -------
    i : :py:`In(stream.Signature(8))`
        Bytes, lowest of a beat first.
    o : :py:`Out(stream.Signature(beat(beats)))`
        Beats.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, beats: Beats):
        self._beats = beats
        super().__init__({
            "i": In(stream.Signature(8)),
            "o": Out(stream.Signature(beat(beats))),
        })

    @property
    def beats(self) -> Beats:
        """Beats in a frame and bytes in a beat."""
        return self._beats

    def elaborate(self, platform):
        m = Module()

        byte = Signal(range(self.beats.width))
        number = Signal(range(self.beats.count))
        o = self.o

        m.d.comb += [
            self.i.ready.eq(~o.valid),
            o.payload.last.eq(number == self.beats.count - 1),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [
                o.payload.data.eq(Cat(o.payload.data, self.i.payload)[8:]),
                byte.eq(byte + 1),
            ]
            with m.If(byte == self.beats.width - 1):
                m.d.sync += [byte.eq(0), o.valid.eq(1)]
        with m.If(o.valid & o.ready):
            m.d.sync += [
                o.valid.eq(0),
                number.eq(number + 1),
            ]
            with m.If(o.payload.last):
                m.d.sync += number.eq(0)

        return m


class BeatSplitter(wiring.Component):
    """Split beats into bytes and mark the last of each frame.

    Latency is 1 cycle, II is ``beats.width`` + 1 cycles per beat.

    Parameters
    ----------
    beats : :class:`~hwbnn_boards.protocol.Beats`
        Bytes in a beat; the frame ends where the stream says so.

    Members
    -------
    i : :py:`In(stream.Signature(beat(beats)))`
        Beats.
    o : :py:`Out(stream.Signature(LAST))`
        Bytes, lowest of a beat first.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, beats: Beats):
        self._beats = beats
        super().__init__({
            "i": In(stream.Signature(beat(beats))),
            "o": Out(stream.Signature(LAST)),
        })

    @property
    def beats(self) -> Beats:
        """Bytes in a beat."""
        return self._beats

    def elaborate(self, platform):
        m = Module()

        rest = Signal.like(self.i.payload)
        byte = Signal(range(self.beats.width))
        ending = byte == self.beats.width - 1

        m.d.comb += [
            self.i.ready.eq(~self.o.valid),
            self.o.payload.data.eq(rest.data[:8]),
            self.o.payload.last.eq(rest.last & ending),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [rest.eq(self.i.payload), self.o.valid.eq(1)]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [rest.data.eq(rest.data >> 8), byte.eq(byte + 1)]
            with m.If(ending):
                m.d.sync += [byte.eq(0), self.o.valid.eq(0)]

        return m
