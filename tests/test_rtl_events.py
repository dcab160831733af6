# amaranth: UnusedElaboratable=no

"""Units that spend no cycle on zeros: against golden under stalls, exact in cycles, flip-flops and memories."""

import io
import math
import re
from collections import Counter
from dataclasses import replace
from itertools import cycle

import hardware
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import transfer
from zoo import GRAPHS, MLPS, residual_conv

from hwbnn import fold, golden, ir, pack, plan, rtl
from hwbnn.errors import UserError
from hwbnn.plan import UnitOptions

ZEROS = ("static", "dynamic", "isolate")
ACTIVATIONS = st.sampled_from([ir.TERNARY, ir.BIPOLAR, ir.BINARY, ir.Levels.unsigned(3), ir.Levels.signed(4)])
WEIGHTS = st.sampled_from([ir.TERNARY, ir.TERNARY, ir.BIPOLAR, ir.Levels.signed(3)])


def sparse(rng, levels, shape, rests, block=(1, 1)):
    """Numbers of which a share is zero, in blocks; bipolar ones have no zero."""
    values = rng.choice(levels.values(), shape)
    if not levels.holds(0):
        return values
    return np.where(blocks(rng, shape, rests, block), 0, values)


def blocks(rng, shape, share, block):
    """A mask of a shape, a share of which is set, in blocks."""
    rows, columns = (-(-size // step) for size, step in zip(shape, block, strict=True))
    return np.kron(rng.random((rows, columns)) < share, np.ones(block, bool))[:shape[0], :shape[1]]


@st.composite
def layers(draw, zeros):
    """A matrix-vector stage of sparse weights that reads sparse vectors, its network, and images."""
    x, w = draw(ACTIVATIONS), draw(WEIGHTS)
    rows, columns = draw(st.sampled_from([(2, 4), (6, 6), (8, 12), (4, 9)]))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    shape = draw(st.sampled_from([(columns,), (1, 3, columns)]))
    block = draw(st.sampled_from([(1, 1), (2, 3), (4, 2)]))
    nodes = [ir.MatMul("fc", ("x",), ("y",), sparse(rng, w, (rows, columns), draw(st.floats(0, 1)), block), w)]
    if draw(st.booleans()):
        levels = draw(st.sampled_from([ir.BIPOLAR, ir.TERNARY]))
        acc = nodes[0].weights @ rng.choice(x.values(), (columns, 50))
        thresholds = np.sort(rng.choice(acc.ravel(), (rows, len(levels) - 1)), axis=1)
        nodes.append(ir.Threshold("act", ("y",), ("z",), thresholds, levels, rng.choice([-1, 1], rows)))
    net = ir.Network("layer", ir.Input("x", shape, shape, x), nodes,
                     [ir.Output("o", nodes[-1].output, (*shape[:-1], rows))])
    fold = plan.Fold(draw(st.sampled_from(hardware.divisors(rows))), draw(st.sampled_from(hardware.divisors(columns))),
                     UnitOptions(zeros=zeros))
    plain = plan.lower(net, {"fc": fold})
    styles = {memory.name: draw(st.sampled_from(["block", "logic"])) for memory in plain.memories
              if memory.name in ("fc.weights", "fc.sequence")}
    if "fc.inputs" in {memory.name for memory in plain.memories}:
        styles["fc.inputs"] = draw(st.sampled_from(["block", "distributed"]))
    p = plan.lower(net, {"fc": fold}, styles=styles)
    images = sparse(rng, x, (4 * int(np.prod(shape[:-1], dtype=int)), columns), draw(st.floats(0, 1)), (1, block[1]))
    return p, images.reshape(4, *shape)


def run(stage, x, i_gaps=(0,), o_gaps=(0,)):
    words = pack.lanes(pack.codes(x, stage.i.levels).reshape(-1, stage.i.lanes), stage.i.levels.bits)
    into, out = transfer(rtl.component(stage), words, len(x) * stage.o.beats, i_gaps=cycle(i_gaps),
                         o_gaps=cycle(o_gaps), timeout=20_000, patience=5)
    codes = pack.unlanes([word for _, word in out], stage.o.levels.bits, stage.o.lanes)
    return pack.levels_of(codes, stage.o.levels), [c for c, _ in into], [c for c, _ in out]


@pytest.mark.parametrize("zeros", ZEROS)
def test_values_under_stalls(zeros):
    @settings(max_examples=25)
    @given(layers(zeros), hardware.GAPS, hardware.GAPS)
    def holds(layer, i_gaps, o_gaps):
        p, x = layer
        seen, _, _ = run(p.stage("fc"), x, i_gaps, o_gaps)
        assert np.array_equal(seen.ravel(), golden.evaluate(p.network, x)[p.network.outputs[0].tensor].ravel())

    holds()


@pytest.mark.parametrize("zeros", ZEROS)
def test_exact_cycles_flip_flops_and_memories(zeros):
    made = set()

    @settings(max_examples=30)
    @given(layers(zeros))
    def holds(layer):
        p, x = layer
        stage = plan.on_images(p, x).stage("fc")
        made.add("isolated" if stage.isolated else stage.skips)
        seen, into, out = run(stage, x)
        assert np.array_equal(seen.ravel(), golden.evaluate(p.network, x)[p.network.outputs[0].tensor].ravel())
        predicted = plan.schedule([stage], len(x))
        assert tuple(out[stage.o.beats - 1::stage.o.beats]) == predicted.finished
        assert tuple(into[::stage.i.beats]) == predicted.started
        assert out[0] - into[0] == stage.latency
        if stage.skips != "activations":
            assert np.all(np.diff(into[::stage.i.beats]) == stage.ii)
        flip_flops, memories = hardware.inventory(rtl.component(stage))
        assert flip_flops.total() == stage.flip_flops
        assert memories == sorted((memory.width, memory.depth) for memory in stage.memories)

    holds()
    assert made == {"nothing", {"static": "weights", "dynamic": "activations", "isolate": "isolated"}[zeros]}


def thinned(network, rests, seed=0):
    """The network with a share of each matrix made zero, two rows and three columns at a time."""
    rng = np.random.default_rng(seed)

    def thin(node):
        if node.op not in ("MatMul", "Conv"):
            return node
        rows = node.weights.reshape(len(node.weights), -1)
        rows = np.where(blocks(rng, rows.shape, rests, (2, 3)), 0, rows)
        return replace(node, weights=rows.reshape(node.weights.shape), weight_levels=ir.TERNARY)

    return replace(network, nodes=tuple(thin(node) for node in network.nodes))


NETWORKS = {"ternary": MLPS["ternary"], "two-bit": MLPS["two-bit"], "branched": GRAPHS["branched"],
            "residual-conv": residual_conv}


@pytest.mark.parametrize("zeros", ZEROS)
@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name, zeros):
    network = thinned(NETWORKS[name](), 0.5)
    folds = {node.name: plan.Fold(math.gcd(node.rows, 2), 3 if fold.layers.matrix(node).columns % 3 == 0 else 2,
                                  UnitOptions(zeros=zeros)) for node in fold.layers.layers(network)}
    p = plan.lower(network, folds)
    assert any(stage.isolated or stage.skips != "nothing" for stage in p.stages
               if isinstance(stage, plan.MatrixVectorStage))
    for node in fold.layers.layers(network):
        assert fold.layers.cycles(network, node, folds[node.name]) == p.stage(node.name).ii
    rng = np.random.default_rng(0)
    frames = 4 if len(network.input.shape) == 1 else 2  # maps take thousands of cycles
    q = sparse(rng, network.input.levels, (frames, int(np.prod(network.input.shape))), 0.6)
    q = q.reshape(frames, *network.input.shape)
    seen, started, finished = hardware.run(p, q)
    assert np.array_equal(seen, golden.evaluate(network, q)[network.outputs[0].tensor])
    predicted = plan.on_images(p, q).schedule(len(q))
    assert (tuple(started), tuple(finished)) == (predicted.started, predicted.finished)
    assert predicted.finished[-1] <= p.schedule(len(q)).finished[-1]


def layer(weights, x=ir.TERNARY):
    rows, columns = np.shape(weights)
    return ir.Network("n", ir.Input("x", (columns,), (columns,), x),
                      [ir.MatMul("fc", ("x",), ("y",), weights, ir.TERNARY)], [ir.Output("o", "y", (rows,))])


def test_a_word_of_zeros_takes_no_cycle_but_in_the_first_pass():
    network = layer([[0, 0, 1, 1], [0, 0, 1, -1], [0, 0, 0, 0], [1, 0, 0, 0]])
    stage = plan.lower(network, {"fc": plan.Fold(1, 2, UnitOptions(zeros="static"))}).stage("fc")
    assert stage.control.kept.tolist() == [[True, True], [False, True], [True, False], [True, False]]
    assert stage.ii == stage.weight_depth == 5
    assert [memory.bits for memory in stage.memories if memory.name == "fc.sequence"] == [6]


def test_automatic_leaves_words_out_where_that_takes_fewer_bits():
    rng = np.random.default_rng(0)
    weights = sparse(rng, ir.TERNARY, (32, 64), 0.5, (8, 8))
    for pe, simd, skips in ((8, 8, "weights"), (1, 1, "nothing"), (32, 8, "nothing"), (8, 64, "nothing")):
        stage = plan.lower(layer(weights), {"fc": plan.Fold(pe, simd)}).stage("fc")
        assert stage.skips == skips
    assert plan.lower(layer(weights), {"fc": plan.Fold(8, 8, UnitOptions(zeros="none"))}).stage("fc").skips == "nothing"


def test_fewer_cycles_let_fewer_lanes_reach_a_rate():
    weights = sparse(np.random.default_rng(0), ir.TERNARY, (32, 64), 0.8, (8, 8))
    pace = {"clock_hz": 1_000_000, "target_fps": 1_000_000 / 17}
    static, none = (fold.choose(layer(weights), **pace, options={"fc": UnitOptions("lanes", zeros=zeros)})["fc"]
                    for zeros in ("auto", "none"))
    assert static.lanes < none.lanes


def test_weights_that_are_loaded_are_not_left_out():
    options = UnitOptions(zeros="static", loadable=True)
    with pytest.raises(UserError, match=r"^fc: zeros must be none, dynamic or isolate where weights are loadable, not "
                                        r"static$"):
        plan.lower(layer(np.eye(4, dtype=int)), {"fc": plan.Fold(1, 1, options)})


def test_signs_of_zero_weights_are_those_of_the_weights_before():
    rng = np.random.default_rng(0)
    weights = sparse(rng, ir.TERNARY, (6, 8), 0.6)
    weights[:, 3] = [0, 0, -1, 0, 0, 0]  # two lanes begin with a zero, of which one has no other weight
    for pe, simd in ((2, 1), (3, 4), (6, 8)):
        words = plan.zeros.still_words(weights, ir.TERNARY, pe, simd)
        codes = pack.unlanes(words, 2, pe * simd)
        plain = pack.unlanes(pack.weight_words(weights, ir.TERNARY, pe, simd), 2, pe * simd)
        assert np.array_equal(pack.levels_of(codes, ir.TERNARY), pack.levels_of(plain, ir.TERNARY))
        for lane in codes.T:
            sign = next((code >> 1 for code in lane[::-1].tolist() if code & 1), 0)
            for code in lane.tolist():
                sign = code >> 1 if code & 1 else sign
                assert code >> 1 == sign
    assert plan.zeros.still_words(np.ones((2, 2), int), ir.BIPOLAR, 1, 1) == [1] * 4


def toggles(stage, x):
    """Changes of each bit inside a unit while it works through ``x``, clock and reset left out, by signal."""
    words = pack.lanes(pack.codes(x, stage.i.levels).reshape(-1, stage.i.lanes), stage.i.levels.bits)
    text = io.StringIO()
    transfer(rtl.component(stage), words, len(x) * stage.o.beats, timeout=20_000, vcd=text)
    names = dict(re.findall(r"\$var \w+ \d+ (\S+) (\S+)", text.getvalue()))
    values, changes = dict.fromkeys(names, 0), Counter()
    for binary, mark in re.findall(r"^b?([01]+) ?(\S+)$", text.getvalue(), re.MULTILINE):
        changes[names[mark]] += (values[mark] ^ int(binary, 2)).bit_count()
        values[mark] = int(binary, 2)
    return Counter({name: count for name, count in changes.items() if name not in ("clk", "rst")})


@pytest.mark.parametrize("rests", [0.1, 0.33, 0.5])
def test_toggles_fall_by_half_of_the_resting_rate(rests):
    rng = np.random.default_rng(1)
    network = layer(sparse(rng, ir.TERNARY, (16, 32), rests))
    x = sparse(rng, ir.TERNARY, (6, 32), rests)
    resting = 1 - np.mean([(network.nodes[0].weights * row != 0).mean() for row in x])
    none, isolated = (toggles(plan.lower(network, {"fc": plan.Fold(8, 1, UnitOptions(zeros=zeros))}).stage("fc"), x)
                      for zeros in ("none", "isolate"))
    assert isolated.total() <= none.total() * (1 - resting / 2)


def test_nothing_but_the_control_moves_while_activations_are_zero():
    network = layer(sparse(np.random.default_rng(1), ir.TERNARY, (16, 32), 0.2))
    stage = plan.lower(network, {"fc": plan.Fold(8, 2, UnitOptions(zeros="isolate"))}).stage("fc")
    x = sparse(np.random.default_rng(2), ir.TERNARY, (1, 32), 0.2)
    once, often = (toggles(stage, np.concatenate([x, *[0 * x] * n])) for n in (1, 4))
    operands = {name for name in once if re.fullmatch(r"(x|w|sum|totals|complete|numbers|data)([_$]\d+)*", name)}
    assert {"x", "w", "sum", "totals", "complete", "numbers", "data"} <= operands
    assert all(often[name] == once[name] for name in operands) and often["beat"] > once["beat"]


def test_what_cannot_be_skipped():
    network = layer(np.eye(4, dtype=int))
    stage = plan.lower(network, {"fc": plan.Fold(1, 1, UnitOptions(zeros="none"))}).stage("fc")
    with pytest.raises(ValueError, match=r"^fc skips must be one of nothing, weights, activations, not all$"):
        replace(stage, skips="all")
    whole = plan.lower(network, {"fc": plan.Fold(4, 4)}).stage("fc")
    with pytest.raises(ValueError, match=r"^fc must have lanes that zeros leave idle, and inputs that are read "
                                         r"again, to skip weights$"):
        replace(whole, skips="weights")
    told = r"^fc must have zeros that add nothing, and skip nothing, to be isolated$"
    with pytest.raises(ValueError, match=told):
        replace(stage, isolated=True)  # of which zeros add 1
    isolated = plan.lower(network, {"fc": plan.Fold(1, 1, UnitOptions(zeros="isolate"))}).stage("fc")
    with pytest.raises(ValueError, match=told):
        replace(isolated, skips="weights")
