"""The fully parallel layer: a graph of adders in a pipeline."""

from collections.abc import Sequence

from amaranth import Cat, Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwbnn.plan import Adder, AdderGraph, AtLeast, ParallelStage
from hwbnn.rtl.cells import Bits, cells
from hwbnn.rtl.codes import encode, encode_level, payload
from hwbnn.rtl.fifo import OutputFifo
from hwbnn.rtl.pipeline import delayed, flags
from hwbnn.rtl.unit import StreamUnit

__all__ = ["AdderPipeline", "ParallelUnit"]


class AdderPipeline(wiring.Component):
    """What an :class:`~hwbnn.plan.AdderGraph` computes, every cycle. Runs free; II 1.

    The inputs must stand in registers; outputs do, ``graph.latency`` cycles later.

    Members
    -------
    i : :py:`In(graph.inputs)`
        Inputs that the graph does not read may be anything.
    o_0, o_1, ... : :py:`Out(bits)`
        The outputs, each in as many bits as its word.
    """

    i: Signal

    def __init__(self, graph: AdderGraph):
        self._graph = graph
        super().__init__({"i": In(graph.inputs),
                          **{f"o_{n}": Out(len(word)) for n, word in enumerate(graph.outputs)}})

    @property
    def latency(self) -> int:
        """Cycles from inputs to outputs."""
        return self._graph.latency

    def elaborate(self, platform):
        m = Module()
        graph, made_of = self._graph, cells(platform)
        stages, last = graph.stages, graph.last_use
        lines: dict[int, list[Value]] = {}  # each signal in its own stage and the stages after it

        def name(signal: int, value: Value):
            line = [value]
            for n in range(last[signal] - stages[signal]):
                line.append(delayed(m, line[-1], 1, name=f"s{signal}_{n}"))
            lines[signal] = line

        def read(literal: int, stage: int) -> Value:
            signal = literal >> 1
            if not signal:
                return Const(literal, 1)
            value = lines[signal][stage - stages[signal]]
            return ~value if literal & 1 else value

        for signal in graph.used_inputs:
            name(signal, self.i[signal - 1])
        for level in range(max(graph.levels) + 1):  # comparisons read what the adders of their level give out
            stage = max(level - 1, 0) // graph.spacing
            nodes = [node for node in graph.nodes if graph.levels[node.out] == level]
            wide: list[tuple[Adder, tuple[Bits, Bits, Value | None]]] = []
            for node in nodes:
                if not isinstance(node, Adder):
                    continue
                x, y = ([read(literal, stage) for literal in word] for word in (node.x, node.y))
                if node.bits == 1:
                    for place, value in enumerate(made_of.full(m, x[0], y[0], read(node.carry, stage))):
                        name(node.out + place, value)
                else:
                    wide.append((node, (x, y, read(node.carry, stage) if node.carry else None)))
            totals = made_of.add(m, [sums for _, sums in wide])
            for (node, _), total in zip(wide, totals, strict=True):
                for place, value in enumerate(total):
                    name(node.out + place, value)
            for node in nodes:
                if isinstance(node, AtLeast):
                    reached = Signal(name=f"s{node.out}")
                    m.d.comb += reached.eq(_at_least([read(literal, stage) for literal in node.x], node.limit))
                    name(node.out, reached)
        for n, word in enumerate(graph.outputs):
            m.d.comb += getattr(self, f"o_{n}").eq(Cat(read(literal, graph.latency) for literal in word))
        return m


def _at_least(x: Sequence[Value], limit: int) -> Value:
    """Whether an unsigned number is at least a constant, in gates that synthesis packs into few look-up tables."""
    reached: Value = Const(1, 1)
    for place, bit in enumerate(x):
        reached = (bit & reached) if limit >> place & 1 else (bit | reached)
    return reached


class ParallelUnit(StreamUnit[ParallelStage]):
    """Multiply each vector of a stream by a constant matrix, one vector per cycle.

    Every cycle in which the output FIFO has credit a beat of :py:`i` is taken, and leaves ``stage.latency`` cycles
    later as a beat of :py:`o`. The datapath has no clock enable. No combinational path between ports but from storage
    to ``o.payload``.

    Members
    -------
    i : :py:`In(stream.Signature(payload(stage.i)))`
        Activation codes of a vector; a ternary 0 must have sign 0, as :mod:`hwbnn.pack` writes it.
    o : :py:`Out(stream.Signature(payload(stage.o)))`
        Codes of output levels, or of dot products.
    """

    def elaborate(self, platform):
        m = Module()
        stage = self._stage
        m.submodules.fifo = fifo = OutputFifo(payload(stage.o), depth=stage.fifo_depth)
        m.submodules.adders = adders = AdderPipeline(stage.graph)
        issue = Signal()
        valid = flags(m, issue, stage.datapath_latency, name="valid")
        word = self.i.payload.as_value()
        for signal in stage.graph.used_inputs:
            m.d.comb += adders.i[signal - 1].eq(delayed(m, word[signal - 1], 1, name=f"x_{signal - 1}"))
        m.d.comb += [
            self.i.ready.eq(fifo.room),
            issue.eq(self.i.valid & fifo.room),
            fifo.issue.eq(issue),
            fifo.w_en.eq(valid[-1]),
        ]
        for row in range(stage.rows):
            number = getattr(adders, f"o_{row}")
            code = encode(number.as_signed(), stage.o.levels) if stage.thresholds is None else \
                encode_level(number, stage.o.levels)
            m.d.comb += fifo.w_data[row].eq(code)
        wiring.connect(m, wiring.flipped(self.o), fifo.o)
        return m
