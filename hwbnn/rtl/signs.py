"""Thresholds that accumulators start from: the start, and what the sign of an accumulator says at its end."""

from typing import Any

from amaranth import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwbnn.plan import FusedThresholds
from hwbnn.rtl.bank import load_port
from hwbnn.rtl.cells import cells
from hwbnn.rtl.codes import encode_level
from hwbnn.rtl.constants import ConstantReader
from hwbnn.rtl.thresholds import level

__all__ = ["SignThresholds"]


class SignThresholds(wiring.Component):
    """Give out where one group of accumulators after another starts, and the output levels of complete ones.

    Runs free; latency from :py:`totals` to :py:`codes` is ``thresholds.latency``. Where channels have several
    thresholds, registers hold the gaps of a group from its first beat on.

    Members
    -------
    advance : :py:`In(1)`
        A group will start in ``thresholds.table.latency`` cycles.
    first : :py:`In(1)`
        It starts now.
    starts : :py:`Out(ArrayLayout(start_bits, lanes))`
        From what, in two's complement.
    totals : :py:`In(ArrayLayout(bits, lanes))`
        Accumulators, of ``total_bits`` or the sign alone.
    codes : :py:`Out(ArrayLayout(levels.bits, lanes))`
    load : :py:`In(load_port(thresholds.table.bank))`
        Where they are loadable.
    """

    advance: Signal
    first: Signal
    starts: data.View
    totals: data.View
    codes: data.View
    load: Any  # a port, of those that are loadable only

    def __init__(self, thresholds: FusedThresholds, bits: int):
        self._thresholds = t = thresholds
        super().__init__({
            "advance": In(1),
            "first": In(1),
            "starts": Out(data.ArrayLayout(t.start_bits, t.lanes)),
            "totals": In(data.ArrayLayout(bits, t.lanes)),
            "codes": Out(data.ArrayLayout(t.levels.bits, t.lanes)),
            **({"load": In(load_port(t.table.bank))} if t.table.loadable else {}),
        })

    def elaborate(self, platform):
        m = Module()
        t = self._thresholds
        m.submodules.reader = reader = ConstantReader(t.table)
        if t.table.loadable:
            wiring.connect(m, wiring.flipped(self.load), reader.load)
        m.d.comb += reader.advance.eq(self.advance)
        rows = data.View(data.ArrayLayout(data.StructLayout({
            "start": t.start_bits, "gaps": data.ArrayLayout(t.gap_bits, t.gaps)}), t.lanes), reader.data)
        m.d.comb += [self.starts[lane].eq(rows[lane].start) for lane in range(t.lanes)]
        signs = [self.totals[lane][-1] for lane in range(t.lanes)]
        keep = int(not t.inverts[0])
        if not t.gaps:
            m.d.comb += [self.codes[lane].eq(encode_level(sign ^ keep, t.levels)) for lane, sign in enumerate(signs)]
            return m
        gaps = Signal(data.ArrayLayout(data.ArrayLayout(t.gap_bits, t.gaps), t.lanes), name="gaps", reset_less=True)
        with m.If(self.first):
            m.d.sync += gaps.eq(Cat(row.gaps for row in rows))
        above = iter(cells(platform).above(m, [(list(self.totals[lane]), list(gaps[lane][k]))
                                               for lane in range(t.lanes) for k in range(t.gaps)]))
        for lane, sign in enumerate(signs):
            reached = Signal(t.count, name=f"reached_{lane}", reset_less=True)
            m.d.sync += reached.eq(Cat(~sign, *(next(above) for _ in range(t.gaps))) ^ (0 if keep else -1))
            m.d.comb += self.codes[lane].eq(encode_level(level(m, t, reached, name=f"level_{lane}"), t.levels))
        return m
