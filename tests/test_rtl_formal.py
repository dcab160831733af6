# amaranth: UnusedElaboratable=no

"""Contracts of the matrix-vector unit and the threshold unit, for all inputs and stalls of a bounded run."""

import numpy as np
import pytest
from amaranth import Cat, Const, Mux
from formal import Contract, prove, reach

from hwbnn import ir, plan, rtl

pytestmark = pytest.mark.formal


def number(code, levels):
    """What a code stands for, spelled out value by value from the definition in hwbnn.pack."""
    if levels == ir.BIPOLAR:
        return Mux(code[0], 1, -1)
    if levels == ir.TERNARY:
        return Mux(code[0], Mux(code[1], -1, 1), 0)
    return code.as_signed() if levels.low < 0 else code


class Product(Contract):
    """Every output is the matrix times the vector, through the thresholds where there are some."""

    def __init__(self, network, fold, **options):
        self.network = network
        self.stage = plan.lower(network, {"fc": fold}, **options).stage("fc")
        super().__init__(rtl.component(self.stage), i_beats=self.stage.sf, o_beats=self.stage.nf, limit=20)

    def answer(self, inputs, beat):
        weights = self.network.nodes[0].weights
        x_levels, y_levels = self.stage.i.levels, self.stage.o.levels
        x = [number(word.word_select(lane, x_levels.bits), x_levels)
             for word in inputs for lane in range(self.stage.fold.simd)]
        codes = []
        for row in range(beat * self.stage.fold.pe, (beat + 1) * self.stage.fold.pe):
            y = sum((int(w) * value for w, value in zip(weights[row], x, strict=True)), start=Const(0))
            if len(self.network.nodes) > 1:
                node = self.network.nodes[1]
                reached = [y * int(node.signs[row]) >= int(t) for t in node.thresholds[row]]
                index = sum(reached, start=Const(0))
                codes.append(index[0] if y_levels == ir.BIPOLAR else (index + y_levels.low)[:y_levels.bits])
            else:
                codes.append(Cat(y, y[-1].replicate(y_levels.bits))[:y_levels.bits])
        return Cat(codes)


def layer(rows, columns, x, *, y=None, w=ir.BIPOLAR, seed=0):
    rng = np.random.default_rng(seed)
    weights = rng.choice(w.values(), (rows, columns))
    nodes = [ir.MatMul("fc", ("x",), ("y",), weights, w)]
    if y is not None:
        thresholds = np.sort(rng.integers(-columns, columns + 1, (rows, len(y) - 1)), axis=1)
        nodes.append(ir.Threshold("act", ("y",), ("z",), thresholds, y, rng.choice([-1, 1], rows)))
    return ir.Network("layer", ir.Input("x", (columns,), (columns,), x), nodes,
                      [ir.Output("out", nodes[-1].output, (rows,))])


# name: layer, folding, options of lower, depth (enough for the second frame to begin to come out)
CASES = {
    "bipolar-folded": (layer(2, 2, ir.BIPOLAR, y=ir.BIPOLAR), plan.Fold(1, 1), {}, 12),
    "bipolar-parallel": (layer(2, 3, ir.BIPOLAR, y=ir.BIPOLAR, seed=1), plan.Fold(2, 3), {}, 9),
    "numbers": (layer(2, 2, ir.BIPOLAR, seed=2), plan.Fold(1, 2), {}, 10),
    "block-memories": (layer(2, 2, ir.Levels.unsigned(2), y=ir.BIPOLAR, seed=3), plan.Fold(1, 1),
                       {"styles": {"fc.weights": "block", "fc.inputs": "block"}}, 11),
    "ternary-to-two-bits": (layer(1, 2, ir.TERNARY, y=ir.Levels.unsigned(2), w=ir.TERNARY, seed=4),
                            plan.Fold(1, 1), {}, 11),
    "planes": (layer(1, 2, ir.Levels.unsigned(2), w=ir.Levels.signed(3), seed=3),
               plan.Fold(1, 2, plan.UnitOptions(datapath="planes")), {}, 10),
    "multipliers": (layer(1, 2, ir.Levels.signed(2), w=ir.Levels.signed(3), seed=7),
                    plan.Fold(1, 2, plan.UnitOptions(datapath="multipliers")), {}, 10),
    "left-out-weights": (layer(2, 3, ir.TERNARY, y=ir.BIPOLAR, w=ir.TERNARY, seed=9),
                         plan.Fold(1, 1, plan.UnitOptions(zeros="static")), {}, 13),
    "left-out-activations": (layer(2, 2, ir.TERNARY, y=ir.BIPOLAR, w=ir.TERNARY, seed=4),
                             plan.Fold(1, 1, plan.UnitOptions(zeros="dynamic")), {}, 13),
    "isolated": (layer(2, 2, ir.TERNARY, y=ir.BIPOLAR, w=ir.TERNARY, seed=4),
                 plan.Fold(1, 1, plan.UnitOptions(zeros="isolate")), {}, 14),
    "least-fifo": (layer(2, 2, ir.BIPOLAR, y=ir.BIPOLAR, seed=5), plan.Fold(1, 1), {"fifo_depths": {"fc": 1}}, 13),
}


@pytest.mark.parametrize("case", CASES)
def test_matrix_vector_unit(case, tmp_path):
    network, fold, options, depth = CASES[case]
    prove(Product(network, fold, **options), depth=depth, directory=tmp_path)


def test_matrix_vector_unit_answers_two_frames(tmp_path):
    network, fold, options, _ = CASES["bipolar-folded"]
    reach(Product(network, fold, **options), depth=20, directory=tmp_path)


class Levelled(Contract):
    """Every output is the number of thresholds that its channel's input reaches."""

    def __init__(self, node, levels):
        self.node = node
        channels = len(node.thresholds)
        network = ir.Network("n", ir.Input("x", (channels,), (channels,), levels), [node],
                             [ir.Output("out", node.output, (channels,))])
        self.stage = plan.lower(network, {}).stage(node.name)
        super().__init__(rtl.component(self.stage), i_beats=channels, o_beats=channels, limit=12)

    def answer(self, inputs, beat):
        x = number(inputs[beat], self.stage.i.levels) * int(self.node.signs[beat])
        return sum((x >= int(t) for t in self.node.thresholds[beat]), start=Const(0))[:self.stage.o.bits]

    def needs(self, beat):
        return beat + 1


@pytest.mark.parametrize("signs", [(1, 1, 1), (1, -1, 1)])
@pytest.mark.parametrize("count", [1, 3])
def test_threshold_unit(count, signs, tmp_path):
    thresholds = np.array([[-3, 0, 2], [-7, -7, 5], [1, 2, 3]])[:, :count]
    levels = ir.BIPOLAR if count == 1 else ir.Levels.unsigned(2)
    node = ir.Threshold("act", ("x",), ("y",), thresholds, levels, signs)
    prove(Levelled(node, ir.Levels.signed(4)), depth=9, directory=tmp_path)


def test_a_wrong_answer_is_found(tmp_path):
    class Wrong(Levelled):
        def answer(self, inputs, beat):
            return ~super().answer(inputs, beat)

    node = ir.Threshold("act", ("x",), ("y",), [[0], [1]], ir.BIPOLAR, (1, 1))
    with pytest.raises(AssertionError, match="FAIL"):
        prove(Wrong(node, ir.Levels.signed(3)), depth=9, directory=tmp_path)


class Moved(Contract):
    """Output beats are the input beats that the loops name, each not before it came."""

    def __init__(self, stage):
        self.stage = stage
        super().__init__(rtl.component(stage), i_beats=stage.i.beats, o_beats=stage.o.beats, limit=30)

    def source(self, beat):
        """Walk the loops one by one, as the record's definition says."""
        place = self.stage.start
        for loop in reversed((*self.stage.outer, *self.stage.inner)):
            beat, step = divmod(beat, loop.count)
            place += step * loop.stride
        return place

    def answer(self, inputs, beat):
        return inputs[self.source(beat)]

    def needs(self, beat):
        return self.source(beat) + 1


# outer loops, inner loops, input beats, style of the buffer
WINDOWS = {
    "sliding": ([plan.Loop(2, 1)], [plan.Loop(2, 1)], 3, "distributed"),
    "stride-beyond-the-window": ([plan.Loop(2, 2)], [], 3, "distributed"),
    "block-memory": ([plan.Loop(2, 1)], [plan.Loop(2, 1)], 3, "block"),
}


@pytest.mark.parametrize("case", WINDOWS)
def test_window_unit(case, tmp_path):
    outer, inner, beats, style = WINDOWS[case]
    count = int(np.prod([loop.count for loop in (*outer, *inner)]))
    levels = ir.BINARY
    stage = plan.WindowStage(name="w", nodes=(), i=plan.Stream(levels, 1, beats), o=plan.Stream(levels, 1, count),
                             outer=tuple(outer), inner=tuple(inner), style=style)
    prove(Moved(stage), depth=beats + 5, directory=tmp_path)
