"""FIFOs that stand by themselves, on branches that wait for others."""

from amaranth import Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from hwbnn.plan import FifoStage
from hwbnn.rtl.unit import StreamUnit

__all__ = ["BranchFifo", "Queue"]


def _next(index: Signal, count: int):
    return Mux(index == count - 1, 0, index + 1)


class Queue(wiring.Component):
    """A FIFO of ``depth`` beats; II one cycle per beat.

    Of style "distributed" a beat is offered one cycle after its transfer. Of style "block" two cycles after it, from
    the output register of the memory, which has ``depth - 1`` words. No combinational path between ports but
    from distributed storage to ``o.payload``.

    Members
    -------
    i : :py:`In(stream.Signature(shape))`
    o : :py:`Out(stream.Signature(shape))`
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, shape, *, depth: int, style: str):
        self._shape, self._depth, self._style = shape, depth, style
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    @property
    def depth(self) -> int:
        """Number of beats."""
        return self._depth

    @property
    def style(self) -> str:
        """What the memory is made of."""
        return self._style

    def elaborate(self, platform):
        m = Module()
        block = self._style == "block"
        words = self._depth - block
        m.submodules.storage = storage = memory.Memory(shape=self._shape, depth=words, init=[],
                                                       attrs={"ram_style": self._style})
        write = storage.write_port()
        read = storage.read_port(domain="sync" if block else "comb")
        w_index, r_index = Signal(range(words)), Signal(range(words))
        level, next_level = Signal(range(self._depth + 1)), Signal(range(self._depth + 2))
        room = Signal(init=1)
        given, taken = Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(room),
            given.eq(self.i.valid & room),
            taken.eq(self.o.valid & self.o.ready),
            write.addr.eq(w_index),
            write.data.eq(self.i.payload),
            write.en.eq(given),
            read.addr.eq(r_index),
            self.o.payload.eq(read.data),
            next_level.eq(level + given - taken),
        ]
        m.d.sync += [level.eq(next_level), room.eq(next_level < self._depth)]
        fetched = taken
        if block:
            valid, stored, fetched = Signal(), Signal(range(words + 1)), Signal()
            m.d.comb += [
                self.o.valid.eq(valid),
                fetched.eq((stored != 0) & (~valid | self.o.ready)),
                read.en.eq(fetched),
            ]
            m.d.sync += [stored.eq(stored + given - fetched), valid.eq(fetched | (valid & ~self.o.ready))]
        else:
            m.d.comb += self.o.valid.eq(level != 0)
        with m.If(given):
            m.d.sync += w_index.eq(_next(w_index, words))
        with m.If(fetched):
            m.d.sync += r_index.eq(_next(r_index, words))
        return m


class BranchFifo(StreamUnit[FifoStage]):
    """A :class:`Queue` as ``stage`` describes it.
    """

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = fifo = Queue(self.i.payload.shape(), depth=self._stage.fifo_depth,
                                         style=self._stage.style)
        wiring.connect(m, wiring.flipped(self.i), fifo.i)
        wiring.connect(m, wiring.flipped(self.o), fifo.o)
        return m
