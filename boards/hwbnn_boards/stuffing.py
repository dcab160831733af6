"""Consistent overhead byte stuffing (COBS): frames of any bytes on a wire where zero only ends a frame.

S. Cheshire and M. Baker, "Consistent Overhead Byte Stuffing", IEEE/ACM Transactions on Networking 7(2), 1999.
"""

from amaranth import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hwbnn_boards.uart import RECEIVED

__all__ = ["LAST", "TOKEN", "CobsDecoder", "CobsEncoder"]

#: A byte of a frame, or (``end``) the end of one; ``bad`` at the end says that the frame was damaged.
TOKEN = data.StructLayout({"data": 8, "end": 1, "bad": 1})

#: A byte of a frame, and whether it is the frame's last.
LAST = data.StructLayout({"data": 8, "last": 1})

_BLOCK = 254  # most bytes that one code byte announces


class CobsDecoder(wiring.Component):
    """Take the stuffing out of received bytes.

    Every byte but the first of a block gives a token, and a zero gives the end of a frame; frames without a byte give
    nothing. A frame is bad where a zero cuts a block short or a byte came with an error. Latency is 1 cycle, II is 1.

    Members
    -------
    i : :py:`In(stream.Signature(RECEIVED, always_ready=True))`
        Bytes from the wire.
    o : :py:`Out(stream.Signature(TOKEN, always_ready=True))`
        Bytes and ends of frames.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self):
        super().__init__({
            "i": In(stream.Signature(RECEIVED, always_ready=True)),
            "o": Out(stream.Signature(TOKEN, always_ready=True)),
        })

    def elaborate(self, platform):
        m = Module()

        started = Signal()    # inside a frame
        left = Signal(8)      # bytes left of the block
        full = Signal()       # the block is of the greatest length, which no zero follows
        bad = Signal()
        byte = self.i.payload.data

        m.d.sync += [
            self.o.valid.eq(0),
            self.o.payload.data.eq(byte),
            self.o.payload.end.eq(0),
            self.o.payload.bad.eq(0),
        ]
        with m.If(self.i.valid):
            m.d.sync += started.eq(1)
            with m.If(self.i.payload.error):
                m.d.sync += bad.eq(1)
            with m.Elif(byte == 0):
                m.d.sync += [
                    self.o.valid.eq(started),
                    self.o.payload.end.eq(1),
                    self.o.payload.bad.eq(bad | (left != 0)),
                    started.eq(0),
                    left.eq(0),
                    bad.eq(0),
                ]
            with m.Elif(left != 0):
                m.d.sync += [
                    self.o.valid.eq(1),
                    left.eq(left - 1),
                ]
            with m.Else():
                m.d.sync += [
                    self.o.valid.eq(started & ~full & ~bad),
                    self.o.payload.data.eq(0),
                    left.eq(byte - 1),
                    full.eq(byte == _BLOCK + 1),
                ]

        return m


class CobsEncoder(wiring.Component):
    """Stuff the bytes of frames and end each frame with a zero.

    A block is gathered in a memory until it ends (by a zero, by its greatest length or with the frame), then sent
    after its length: n bytes take 2n + 3 cycles at least, and the first comes out when the block is whole.

    Members
    -------
    i : :py:`In(stream.Signature(LAST))`
        Bytes of frames, at least one in a frame.
    o : :py:`Out(stream.Signature(8))`
        Bytes for the wire.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self):
        super().__init__({
            "i": In(stream.Signature(LAST)),
            "o": Out(stream.Signature(8)),
        })

    def elaborate(self, platform):
        m = Module()

        m.submodules.block = block = Memory(shape=8, depth=_BLOCK + 1, init=[])
        write = block.write_port()
        read = block.read_port()

        count = Signal(range(_BLOCK + 1))  # bytes in the block
        index = Signal(range(_BLOCK + 1))  # the next to send
        final = Signal()                   # the frame ends with this block
        trailing = Signal()                # its last byte was a zero: a block of length 0 follows
        zero = self.i.payload.data == 0

        m.d.comb += [
            write.addr.eq(count),
            write.data.eq(self.i.payload.data),
            read.addr.eq(index),
        ]
        with m.FSM():
            with m.State("gather"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += [
                        final.eq(self.i.payload.last),
                        trailing.eq(self.i.payload.last & zero),
                    ]
                    with m.If(~zero):
                        m.d.comb += write.en.eq(1)
                        m.d.sync += count.eq(count + 1)
                    with m.If(zero | self.i.payload.last | (count == _BLOCK - 1)):
                        m.next = "code"
            with m.State("code"):
                m.d.comb += [
                    self.o.valid.eq(1),
                    self.o.payload.eq(count + 1),
                ]
                with m.If(self.o.ready):
                    m.d.comb += read.addr.eq(0)
                    m.d.sync += index.eq(1)
                    m.next = "bytes"
                    with m.If(count == 0):
                        m.next = "next"
            with m.State("bytes"):
                m.d.comb += [
                    self.o.valid.eq(1),
                    self.o.payload.eq(read.data),
                    read.en.eq(self.o.ready),
                ]
                with m.If(self.o.ready):
                    m.d.sync += index.eq(index + 1)
                    with m.If(index == count):
                        m.next = "next"
            with m.State("next"):
                m.d.sync += count.eq(0)
                with m.If(trailing):
                    m.d.sync += trailing.eq(0)
                    m.next = "code"
                with m.Elif(final):
                    m.next = "end"
                with m.Else():
                    m.next = "gather"
            with m.State("end"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "gather"

        return m
