"""The CRC at the end of a frame that is sent; the receiver's is part of :mod:`~hwbnn_boards.requests`."""

from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from hwbnn_boards.protocol import CRC_BYTES
from hwbnn_boards.stuffing import LAST

__all__ = ["CRC", "CrcAppender"]

#: CRC-32 (ISO-HDLC), a byte at a time; equal to :func:`zlib.crc32`.
CRC = CRC32_ISO_HDLC(data_width=8)


class CrcAppender(wiring.Component):
    """Pass frames on, with their CRC-32, lowest byte first, behind the last byte.

    Latency is 0 cycles for the bytes of a frame, II is 1. There are combinational paths from ``i`` to ``o`` and back.

    Members
    -------
    i, o : stream of :py:`LAST`
        Bytes of frames.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self):
        super().__init__({
            "i": In(stream.Signature(LAST)),
            "o": Out(stream.Signature(LAST)),
        })

    def elaborate(self, platform):
        m = Module()

        m.submodules.crc = crc = CRC.create()
        index = Signal(range(CRC_BYTES))

        with m.FSM():
            with m.State("body"):
                m.d.comb += [
                    self.o.valid.eq(self.i.valid),
                    self.o.payload.data.eq(self.i.payload.data),
                    self.i.ready.eq(self.o.ready),
                    crc.data.eq(self.i.payload.data),
                    crc.valid.eq(self.i.valid & self.o.ready),
                ]
                with m.If(self.i.valid & self.o.ready & self.i.payload.last):
                    m.next = "crc"
            with m.State("crc"):
                last = index == CRC_BYTES - 1
                m.d.comb += [
                    self.o.valid.eq(1),
                    self.o.payload.data.eq(crc.crc.word_select(index, 8)),
                    self.o.payload.last.eq(last),
                ]
                with m.If(self.o.ready):
                    m.d.sync += index.eq(index + 1)
                    with m.If(last):
                        m.d.comb += crc.start.eq(1)
                        m.next = "body"

        return m
