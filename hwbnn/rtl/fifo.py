"""The FIFO at the end of a free-running pipeline, with the credits that keep it from overflowing."""

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["OutputFifo"]


class OutputFifo(wiring.Component):
    """Absorb what a pipeline still delivers when its consumer stalls.

    A pipeline asks :py:`room` before it issues the last beat of an output, and raises :py:`issue` when it
    does; the output may be written in the same cycle or any later one. At most ``depth`` outputs are then
    between issue and consumption. A write is offered at :py:`o` one cycle later. No path is combinational
    but from the storage to ``o.payload``.

    Parameters
    ----------
    shape : shape-like
        Of an entry.
    depth : :class:`int`
        Entries, at least 1. A single one is a register, more are LUT memory.

    Members
    -------
    issue : :py:`In(1)`
        An output is under way. Only while :py:`room`.
    room : :py:`Out(1)`
        One more output may be issued; a register.
    w_en : :py:`In(1)`
        Store :py:`w_data`.
    w_data : :py:`In(shape)`
        The output.
    o : :py:`Out(stream.Signature(shape))`
    """

    issue: Signal
    room: Signal
    w_en: Signal
    w_data: Any
    o: stream.Interface

    def __init__(self, shape, *, depth: int):
        if not isinstance(depth, int):
            raise TypeError(f"OutputFifo depth must be an integer, not {depth!r}")
        if depth < 1:
            raise ValueError(f"OutputFifo depth must be at least 1, not {depth}")
        self._shape = shape
        self._depth = depth
        super().__init__({
            "issue": In(1),
            "room": Out(1, init=1),  # pyright: ignore[reportCallIssue]  # the stubs lack init
            "w_en": In(1),
            "w_data": In(shape),
            "o": Out(stream.Signature(shape)),
        })

    @property
    def depth(self) -> int:
        """Number of entries."""
        return self._depth

    def elaborate(self, platform):
        m = Module()
        if self._depth == 1:
            self._register(m)
            return m
        m.submodules.storage = storage = memory.Memory(shape=self._shape, depth=self._depth, init=[],
                                                       attrs={"ram_style": "distributed"})
        write, read = storage.write_port(), storage.read_port(domain="comb")
        w_index, r_index = Signal(range(self._depth)), Signal(range(self._depth))
        level = Signal(range(self._depth + 1))  # a line of its own gives it its name, by which simulators find it
        under_way = Signal(range(self._depth + 1))
        valid, taken = Signal(), Signal()
        m.d.comb += [
            taken.eq(self.o.valid & self.o.ready),
            write.addr.eq(w_index),
            write.data.eq(self.w_data),
            write.en.eq(self.w_en),
            read.addr.eq(r_index),
            self.o.payload.eq(read.data),
            self.o.valid.eq(valid),
        ]
        # What the next counts will be told to be is known from these: the flags need not wait for the adders.
        with m.If(self.w_en != taken):
            m.d.sync += [level.eq(Mux(taken, level - 1, level + 1)), valid.eq(self.w_en | (level != 1))]
        with m.If(self.issue != taken):
            m.d.sync += [under_way.eq(Mux(taken, under_way - 1, under_way + 1)),
                         self.room.eq(taken | (under_way != self._depth - 1))]
        last = self._depth - 1
        with m.If(self.w_en):
            m.d.sync += w_index.eq(Mux(w_index == last, 0, w_index + 1))
        with m.If(taken):
            m.d.sync += r_index.eq(Mux(r_index == last, 0, r_index + 1))
        return m

    def _register(self, m: Module):
        """A single entry: it is under way until it is taken."""
        stored = Signal(self._shape, name="stored", reset_less=True)
        level, taken = Signal(), Signal()
        m.d.comb += [taken.eq(level & self.o.ready), self.o.valid.eq(level), self.o.payload.eq(stored)]
        with m.If(self.w_en):
            m.d.sync += [stored.eq(self.w_data), level.eq(1)]
        with m.If(taken):
            m.d.sync += level.eq(0)
        with m.If(self.issue != taken):
            m.d.sync += self.room.eq(taken)
