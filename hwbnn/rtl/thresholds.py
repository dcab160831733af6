"""Thresholds: as the tail of a pipeline, and as a stage of their own."""

from functools import reduce
from operator import add
from typing import Any

from amaranth import Cat, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwbnn.plan import SearchedThresholds, Thresholds, ThresholdStage
from hwbnn.rtl.bank import load_port
from hwbnn.rtl.codes import decode, encode_level, payload
from hwbnn.rtl.constants import ConstantReader
from hwbnn.rtl.fifo import OutputFifo
from hwbnn.rtl.pipeline import delayed, flags
from hwbnn.rtl.search import ThresholdSearch
from hwbnn.rtl.tree import add_up
from hwbnn.rtl.unit import StreamUnit

__all__ = ["ThresholdLanes", "ThresholdUnit", "level", "threshold_lanes"]


def threshold_lanes(thresholds: Thresholds) -> "ThresholdLanes | ThresholdSearch":
    """The component that turns numbers into levels as ``thresholds`` says."""
    if isinstance(thresholds, SearchedThresholds):
        return ThresholdSearch(thresholds)
    return ThresholdLanes(thresholds)


def level(m: Module, t: Thresholds, reached: Value, *, name: str) -> Value:
    """Return how many of ``reached``, a register, are set, in registers where ``t.counts`` them."""
    return add_up(m, t.tree, list(reached), name=name) if t.counts else reduce(add, reached)


class ThresholdLanes(wiring.Component):
    """Turn one group of numbers after another into output levels. Runs free; II 1.

    A register follows the comparisons, and registers their sum where there are many; latency from
    :py:`numbers` to :py:`codes` is ``thresholds.latency``.

    Members
    -------
    advance : :py:`In(1)`
        A group will stand at :py:`numbers` in ``thresholds.table.latency`` cycles.
    numbers : :py:`In(ArrayLayout(range(low, high + 1), lanes))`
    codes : :py:`Out(ArrayLayout(levels.bits, lanes))`
    load : :py:`In(load_port(thresholds.table.bank))`
        Where they are loadable.
    """

    advance: Signal
    numbers: data.View
    codes: data.View
    load: Any  # a port, of those that are loadable only

    def __init__(self, thresholds: Thresholds):
        self._thresholds = t = thresholds
        super().__init__({
            "advance": In(1),
            "numbers": In(data.ArrayLayout(range(t.low, t.high + 1), t.lanes)),
            "codes": Out(data.ArrayLayout(t.levels.bits, t.lanes)),
            **({"load": In(load_port(t.table.bank))} if t.table.loadable else {}),
        })

    def elaborate(self, platform):
        m = Module()
        t = self._thresholds
        constant = range(t.low, t.high + 2)
        channel = data.StructLayout({"limits": data.ArrayLayout(constant, t.count), "invert": int(t.is_mixed)})
        m.submodules.constants = reader = ConstantReader(t.table)
        if t.table.loadable:
            wiring.connect(m, wiring.flipped(self.load), reader.load)
        rows = data.View(data.ArrayLayout(channel, t.lanes), reader.data)
        m.d.comb += reader.advance.eq(self.advance)
        for lane in range(t.lanes):
            row, number = rows[lane], self.numbers[lane]
            keep = ~row.invert if t.is_mixed else int(not t.inverts[0])
            reached = Signal(t.count, name=f"reached_{lane}", reset_less=True)
            m.d.sync += reached.eq(Cat((number < row.limits[k]) ^ keep for k in range(t.count)))
            m.d.comb += self.codes[lane].eq(encode_level(level(m, t, reached, name=f"level_{lane}"), t.levels))
        return m


class ThresholdUnit(StreamUnit[ThresholdStage]):
    """Replace each number of a stream by the output level of its channel.

    Beats carry the channels in order, over and over. Latency is ``stage.latency``, II one cycle per beat.
    No combinational path between ports but from storage to ``o.payload``.

    Members
    -------
    i : :py:`In(stream.Signature(payload(stage.i)))`
        Codes of numbers.
    o : :py:`Out(stream.Signature(payload(stage.o)))`
        Codes of levels.
    load_thresholds : :py:`In(load_port(...))`
        Where they are loadable.
    """

    load_thresholds: Any  # a port, of those that are loadable only

    def elaborate(self, platform):
        m = Module()
        stage, t = self._stage, self._stage.thresholds
        m.submodules.fifo = fifo = OutputFifo(payload(stage.o), depth=stage.fifo_depth)
        m.submodules.lanes = lanes = threshold_lanes(t)
        if t.table.loadable:
            wiring.connect(m, wiring.flipped(self.load_thresholds), lanes.load)

        issue = Signal()
        valid = flags(m, issue, stage.input_latency + t.latency, name="valid")
        codes = data.View(payload(stage.i), delayed(m, self.i.payload.as_value(), stage.input_latency, name="x"))
        m.d.comb += [
            self.i.ready.eq(fifo.room),
            issue.eq(self.i.valid & fifo.room),
            fifo.issue.eq(issue),
            lanes.advance.eq(valid[stage.input_latency - t.lead]),
            *(lanes.numbers[lane].eq(decode(codes[lane], stage.i.levels)) for lane in range(t.lanes)),
            fifo.w_en.eq(valid[-1]),
            fifo.w_data.eq(lanes.codes),
        ]
        wiring.connect(m, wiring.flipped(self.o), fifo.o)
        return m
