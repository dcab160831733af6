"""Constants read in order: thresholds, offsets, multipliers of one group of channels after another."""

from amaranth import Const, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from hwbnn.plan import Table

__all__ = ["ConstantReader", "rom"]


def rom(width: int, words, *, style: str) -> memory.Memory:
    """Make a read-only memory of ``words``, marked with what synthesis shall make it of."""
    return memory.Memory(shape=width, depth=len(words), init=words,
                         attrs={"rom_style": style, "ram_style": style})


class ConstantReader(wiring.Component):
    """Give out the next word of a :class:`Table`, the first after the last.

    Latency from :py:`advance` to the word in :py:`data` is ``table.latency``; equal words are always there.

    Members
    -------
    advance : :py:`In(1)`
        Another word is needed, ``table.latency`` cycles from now.
    data : :py:`Out(table.width)`
    """

    advance: Signal
    data: Signal

    def __init__(self, table: Table):
        self._table = table
        super().__init__({"advance": In(1), "data": Out(table.width)})

    def elaborate(self, platform):
        m = Module()
        table = self._table
        if table.is_constant:
            m.d.comb += self.data.eq(Const(table.words[0], table.width))
            return m
        m.submodules.rom = words = rom(table.width, table.words, style=table.style)
        port = words.read_port(domain="sync" if table.style == "block" else "comb")
        index = Signal(range(len(table.words)))
        word = Signal(table.width, reset_less=True)
        m.d.comb += [port.addr.eq(index), self.data.eq(word)]
        m.d.sync += word.eq(port.data)
        with m.If(self.advance):
            m.d.sync += index.eq(Mux(index == len(table.words) - 1, 0, index + 1))
        return m
