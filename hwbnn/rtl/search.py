"""Thresholds by binary search."""

from collections.abc import Sequence
from typing import Any

from amaranth import Cat, Const, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwbnn.ir import Levels
from hwbnn.plan import SearchedThresholds, Table
from hwbnn.rtl.bank import BankReader
from hwbnn.rtl.codes import encode_level
from hwbnn.rtl.constants import place
from hwbnn.rtl.pipeline import delayed

__all__ = ["ThresholdSearch"]


class ThresholdSearch(wiring.Component):
    """Turn one group of numbers after another into output levels, a step of the search after another. Runs free; II 1.

    Latency from :py:`numbers` to :py:`codes` is ``thresholds.latency``.

    Members
    -------
    advance : :py:`In(1)`
        A group stands at :py:`numbers`.
    numbers : :py:`In(ArrayLayout(range(low, high + 1), lanes))`
    codes : :py:`Out(ArrayLayout(levels.bits, lanes))`
    """

    advance: Signal
    numbers: data.View
    codes: data.View
    load: Any  # never there: loadable layers compare; named since a unit has either kind of lanes

    def __init__(self, thresholds: SearchedThresholds):
        self._thresholds = t = thresholds
        super().__init__({
            "advance": In(1),
            "numbers": In(data.ArrayLayout(range(t.low, t.high + 1), t.lanes)),
            "codes": Out(data.ArrayLayout(t.levels.bits, t.lanes)),
        })

    def elaborate(self, platform):
        m = Module()
        t = self._thresholds
        grouped = len(t.table.words) > 1
        number = data.ArrayLayout(range(t.low, t.high + 1), t.lanes)
        limit = data.ArrayLayout(range(t.low, t.high + 2), t.lanes)
        numbers: Value = self.numbers.as_value()
        group: Value = Const(0, 0)
        if grouped:
            group = Signal(range(len(t.table.words)), name="group")
            m.d.comb += group.eq(place(m, t.table, self.advance))
        found: list[Value] = [Const(0, 0)] * t.lanes  # the greatest bit first, so at the top
        for step, read in enumerate(t.reads):
            if step == 0:
                word = self._read(m, t.table, group, read, name="step_0")
            else:
                word = Cat(self._read(m, table, Cat(prefix, group), read, name=f"step_{step}_{lane}")
                           for lane, (table, prefix) in enumerate(zip(t.deeper[step - 1], found, strict=True)))
            limits, waiting = data.View(limit, word), delayed(m, numbers, read, name=f"number_{step}")
            reached = Signal(t.lanes, name=f"reached_{step}", reset_less=True)
            view = data.View(number, waiting)
            m.d.sync += reached.eq(~Cat(view[lane] < limits[lane] for lane in range(t.lanes)))
            found = [Cat(reached[lane], delayed(m, prefix, read + 1, name=f"found_{step}_{lane}") if step else prefix)
                     for lane, prefix in enumerate(found)]
            if step < t.steps - 1:
                numbers = delayed(m, waiting, 1, name=f"passed_{step}")
                if grouped:
                    group = delayed(m, group, read + 1, name=f"group_{step}")
        for lane, index in enumerate(found):
            m.d.comb += self.codes[lane].eq(_code(index, t.count, t.levels, inverted=bool(t.inverts[0])))
        return m

    def _read(self, m: Module, table: Table, address: Value, cycles: int, *, name: str) -> Value:
        """Return a word ``cycles`` cycles after its address, at least ``table.latency``."""
        if table.is_constant:
            return Const(table.words[0], table.width)
        m.submodules[name] = reader = BankReader(table.bank, table.words)
        m.d.comb += reader.address.eq(address)
        return delayed(m, reader.data, cycles - table.latency, name=name)


def _code(index: Value, count: int, levels: Levels, *, inverted: bool) -> Value:
    """The code of the level for what was found: thresholds reached, or, ``inverted``, those not reached are counted."""
    if not inverted:
        return encode_level(index, levels)
    left: Sequence[Value] | Value = ~index if count == (1 << len(index)) - 1 else (count - index)[:len(index)]
    return encode_level(left, levels)
