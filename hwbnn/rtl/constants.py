"""Constants read in order: thresholds, offsets, multipliers of one group of channels after another."""

from collections.abc import Sequence
from typing import Any

from amaranth import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwbnn.plan import Borders, Table
from hwbnn.rtl.bank import BankReader, load_port

__all__ = ["ConstantReader", "place"]


class ConstantReader(wiring.Component):
    """Give out the next word of a :class:`Table`, the first after the last.

    Latency from :py:`advance` to the word in :py:`data` is ``table.latency``; equal words are always there.

    Members
    -------
    advance : :py:`In(1)`
        Another word is needed, ``table.latency`` cycles from now.
    data : :py:`Out(table.width)`
    load : :py:`In(load_port(table.bank))`
        Where the table is loadable.
    """

    advance: Signal
    data: Signal
    load: Any  # a port, of those that are loadable only

    def __init__(self, table: Table):
        self._table = table
        load = {"load": In(load_port(table.bank))} if table.loadable else {}
        super().__init__({"advance": In(1), "data": Out(table.width), **load})

    def elaborate(self, platform):
        m = Module()
        table = self._table
        bank = table.bank
        m.submodules.bank = reader = BankReader(bank, table.words[:bank.depth])
        m.d.comb += self.data.eq(reader.data)
        if table.loadable:
            wiring.connect(m, wiring.flipped(self.load), reader.load)
        if not bank.has_memory:
            return m
        m.d.comb += reader.address.eq(place(m, table, self.advance))
        return m


def place(m: Module, table: Table, advance: Value) -> Value:
    """Return the number of the next word of ``table``, which is asked for by ``advance``."""
    index = Signal(range(table.run))
    last = index == table.run - 1
    with m.If(advance):
        m.d.sync += index.eq(Mux(last, 0, index + 1))
    return index if table.borders is None else index + _base(m, advance & last, table.borders, table.run)


def _base(m: Module, advance: Value, borders: Borders, run: int) -> Value:
    """Walk over the pixels of a map; return where the run of the pixel's class begins."""
    row, column = Signal(range(len(borders.rows))), Signal(range(len(borders.columns)))
    ends = column == len(borders.columns) - 1
    with m.If(advance):
        m.d.sync += column.eq(Mux(ends, 0, column + 1))
        with m.If(ends):
            m.d.sync += row.eq(Mux(row == len(borders.rows) - 1, 0, row + 1))
    return (_class(m, row, borders.rows, run * borders.column_classes, name="row_base")
            + _class(m, column, borders.columns, run, name="column_base"))


def _class(m: Module, position: Signal, classes: Sequence[int], size: int, *, name: str) -> Signal:
    """``size`` times the class of ``position``; the commonest class needs no compare."""
    base = Signal(range(max(classes) * size + 1), name=name)
    common = max(set(classes), key=classes.count)
    m.d.comb += base.eq(common * size)
    with m.Switch(position):
        for number in sorted(set(classes) - {common}):
            with m.Case(*(n for n, of in enumerate(classes) if of == number)):
                m.d.comb += base.eq(number * size)
    return base
