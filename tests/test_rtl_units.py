# amaranth: UnusedElaboratable=no

"""Each streaming unit alone: against golden under stalls on both sides, and exact in its cycles."""

from itertools import cycle, product

import numpy as np
import pytest
from hardware import GAPS, divisors, inventory
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import transfer

from hwbnn import golden, ir, pack, plan, rtl
from hwbnn.rtl.affine import AffineUnit
from hwbnn.rtl.argmax import ArgMaxUnit
from hwbnn.rtl.matrix_vector import MatrixVectorUnit
from hwbnn.rtl.thresholds import ThresholdUnit
from hwbnn.rtl.width_converter import Join, Part

KINDS = [ir.BIPOLAR, ir.TERNARY, ir.BINARY, ir.Levels.unsigned(3), ir.Levels.signed(5), ir.Levels(-9, 7, 4)]
LEVELS = st.sampled_from(KINDS)


def words(values, stream):
    return pack.lanes(pack.codes(values, stream.levels).reshape(-1, stream.lanes), stream.levels.bits)


def values(transfers, stream):
    return pack.levels_of(pack.unlanes([w for _, w in transfers], stream.levels.bits, stream.lanes), stream.levels)


def check(stage, x, y, i_gaps=(0,), o_gaps=(0,)):
    """Frames ``x`` become ``y``; without gaps, in exactly the cycles of the schedule."""
    into, out = transfer(rtl.component(stage), words(x, stage.i), len(x) * stage.o.beats,
                         i_gaps=cycle(i_gaps), o_gaps=cycle(o_gaps), timeout=20_000, patience=5)
    assert np.array_equal(values(out, stage.o).reshape(y.shape), y)
    if (*i_gaps, *o_gaps) == (0, 0):
        offered = 0 if isinstance(stage, plan.PartStage) else into[0][0]  # which takes a beat with its last part
        assert out[0][0] - offered == stage.latency
        assert tuple(c for c, _ in out[stage.o.beats - 1::stage.o.beats]) == \
            plan.schedule([stage], len(x)).finished
        if isinstance(stage, plan.PipelineStage) and stage.fifo_depth >= stage.least_fifo_depth:
            starts = [c for c, _ in into[::stage.i.beats]]
            assert starts == [starts[0] + n * stage.ii for n in range(len(x))]


@st.composite
def layers(draw):
    """A matrix-vector stage on vectors or on feature maps, with or without thresholds, and its node list."""
    x, w = draw(LEVELS), draw(LEVELS)
    rows, columns = draw(st.integers(1, 8)), draw(st.integers(1, 10))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    shape = draw(st.sampled_from([(columns,), (2, 1, columns), (1, 3, columns)]))
    nodes = [ir.MatMul("fc", ("x",), ("y",), rng.choice(w.values(), (rows, columns)), w)]
    if draw(st.booleans()):
        levels = draw(LEVELS)
        acc = nodes[0].weights @ rng.choice(x.values(), (columns, 50))
        thresholds = np.sort(rng.choice(acc.ravel(), (rows, len(levels) - 1)), axis=1)
        nodes.append(ir.Threshold("act", ("y",), ("z",), thresholds, levels, rng.choice([-1, 1], rows)))
    net = ir.Network("layer", ir.Input("x", shape, shape, x), nodes,
                     [ir.Output("o", nodes[-1].output, (*shape[:-1], rows))])
    fold = plan.Fold(draw(st.sampled_from(divisors(rows))), draw(st.sampled_from(divisors(columns))))
    stage = plan.lower(net, {"fc": fold}).stage("fc")
    return net, stage, rng.choice(x.values(), (4, *shape))


@settings(max_examples=40)
@given(layers(), GAPS, GAPS)
def test_matrix_vector_unit_under_stalls(layer, i_gaps, o_gaps):
    net, stage, x = layer
    check(stage, x, golden.evaluate(net, x)[net.outputs[0].tensor], i_gaps, o_gaps)


@settings(max_examples=40)
@given(layers())
def test_matrix_vector_unit_in_exact_cycles(layer):
    net, stage, x = layer
    check(stage, x, golden.evaluate(net, x)[net.outputs[0].tensor])


@pytest.mark.parametrize("simd", [2, 4, 8])
@pytest.mark.parametrize("thresholds", ["none", "one", "two"])
@pytest.mark.parametrize("w", KINDS, ids=str)
@pytest.mark.parametrize("x", KINDS, ids=str)
def test_matrix_vector_unit_at_its_least_and_greatest_sums(x, w, thresholds, simd):
    """Rows and vectors of equal numbers reach the ends of every sum on the way, which drawn ones hardly ever do."""
    columns = 8
    weights = np.repeat(w.values()[:, None], columns, axis=1)
    vectors = np.repeat(x.values()[:, None], columns, axis=1)
    vectors = np.concatenate([vectors, np.where(np.arange(columns) < 4, x.high, x.low)[None]])
    nodes = [ir.MatMul("fc", ("x",), ("y",), weights, w)]
    sums = np.sort(weights @ vectors.T, axis=1)
    if thresholds != "none":
        limits = sums[:, -1:] if thresholds == "one" else sums[:, [1, -1]]
        levels = ir.BIPOLAR if thresholds == "one" else ir.TERNARY
        nodes.append(ir.Threshold("act", ("y",), ("z",), limits, levels, np.ones(len(weights), int)))
    net = ir.Network("n", ir.Input("x", (columns,), (columns,), x), nodes,
                     [ir.Output("o", nodes[-1].output, (len(weights),))])
    for kind in plan.datapaths(x, ir.TERNARY if w == ir.BINARY else w):  # whose gates hold these as well
        stage = plan.lower(net, {"fc": plan.Fold(1, simd, plan.UnitOptions(datapath=kind))}).stage("fc")
        check(stage, vectors, golden.evaluate(net, vectors)[net.outputs[0].tensor])


@pytest.mark.parametrize("pe, simd", [(1, 1), (1, 3), (2, 1), (2, 3)])
def test_matrix_vector_unit_on_every_vector(pe, simd):
    net = ir.Network("n", ir.Input("x", (3,), (3,), ir.BIPOLAR),
                     [ir.MatMul("fc", ("x",), ("y",), [[1, -1, 1], [-1, -1, -1]], ir.BIPOLAR)],
                     [ir.Output("o", "y", (2,))])
    x = np.array(list(product([-1, 1], repeat=3)))
    check(plan.lower(net, {"fc": plan.Fold(pe, simd)}).stage("fc"), x, golden.evaluate(net, x)["y"])


@st.composite
def elementwise(draw, kind):
    x, channels = draw(LEVELS), draw(st.integers(1, 8))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    if kind == "threshold":
        levels = draw(LEVELS)
        limits = np.sort(rng.integers(x.low - 1, x.high + 2, (draw(st.sampled_from([1, channels])),
                                                              len(levels) - 1)), axis=1)
        node = ir.Threshold("n", ("x",), ("y",), limits, levels, rng.choice([-1, 1], channels))
    elif kind == "affine":
        node = ir.Affine("n", ("x",), ("y",), rng.integers(-5, 6, draw(st.sampled_from([1, channels]))),
                         rng.integers(-99, 100, channels))
    else:
        node = ir.TopK("n", ("x",), ("y",), 1)
    shape = draw(st.sampled_from([(channels,), (2, 2, channels)]))
    out = (*shape[:-1], 1) if kind == "argmax" else shape
    net = ir.Network("n", ir.Input("x", shape, shape, x), [node], [ir.Output("o", "y", out)])
    (stage,) = plan.lower(net, {}).stages[1:-1]
    lanes = draw(st.sampled_from(divisors(channels)))
    return net, widened(stage, lanes, channels, draw(st.sampled_from(["block", "logic"]))), \
        rng.choice(x.values(), (4, *shape))


def widened(stage, lanes, channels, style):
    """The stage with ``lanes`` lanes, its tables in memories of ``style``."""
    count = stage.i.beats * stage.i.lanes // lanes
    i = plan.Stream(stage.i.levels, lanes, count)
    o = plan.Stream(stage.o.levels, lanes, count)
    names = {"name": "n", "nodes": ("n",), "i": i}
    if isinstance(stage, plan.ThresholdStage):
        t = stage.thresholds
        fields = [(t.constants, plan.span_bits(t.low, t.high + 1))] + ([(t.inverts, 1)] if t.is_mixed else [])
        table = plan.Table.of("n.thresholds", fields, lanes, style)
        return plan.ThresholdStage(**names, o=o, thresholds=plan.Thresholds(
            t.constants, t.inverts, t.low, t.high, t.levels, lanes, table))
    if isinstance(stage, plan.AffineStage):
        return plan.AffineStage(**names, o=o, multipliers=stage.multipliers, offsets=stage.offsets, style=style)
    return plan.ArgMaxStage(**names, o=stage.o, channels=channels)


@pytest.mark.parametrize("kind", ["threshold", "affine", "argmax"])
def test_elementwise_units(kind):
    @settings(max_examples=25)
    @given(elementwise(kind), GAPS, GAPS)
    def holds(case, i_gaps, o_gaps):
        net, stage, x = case
        y = golden.evaluate(net, x)["y"]
        check(stage, x, y)
        check(stage, x, y, i_gaps, o_gaps)
        flip_flops, memories = inventory(rtl.component(stage))
        assert flip_flops.total() == stage.flip_flops
        assert memories == sorted((memory.width, memory.depth) for memory in stage.memories)

    holds()


def test_argmax_prefers_the_lowest_of_equals():
    channels = 5
    net = ir.Network("n", ir.Input("x", (channels,), (channels,), ir.BINARY), [ir.TopK("n", ("x",), ("y",), 1)],
                     [ir.Output("o", "y", (1,))])
    (stage,) = plan.lower(net, {}).stages[1:-1]
    x = np.array(list(product([0, 1], repeat=channels)))
    first = np.array([[list(row).index(max(row))] for row in x.tolist()])
    for lanes in (1, channels):
        check(widened(stage, lanes, channels, "logic"), x, first)


@settings(max_examples=30)
@given(st.integers(2, 6), st.integers(1, 4), LEVELS, GAPS, GAPS, st.booleans(), st.integers(0, 999))
def test_width_converters(ratio, lanes, levels, i_gaps, o_gaps, joins, seed):
    narrow, wide = plan.Stream(levels, lanes, 2 * ratio), plan.Stream(levels, lanes * ratio, 2)
    stage = plan.JoinStage(name="c", nodes=(), i=narrow, o=wide) if joins else \
        plan.PartStage(name="c", nodes=(), i=wide, o=narrow)
    x = np.random.default_rng(seed).choice(levels.values(), (3, 2 * ratio * lanes))
    check(stage, x, x)
    check(stage, x, x, i_gaps, o_gaps)
    assert inventory(rtl.component(stage))[0].total() == stage.flip_flops


@pytest.mark.parametrize("unit, record", [
    (MatrixVectorUnit, "MatrixVectorStage"), (ThresholdUnit, "ThresholdStage"), (AffineUnit, "AffineStage"),
    (ArgMaxUnit, "ArgMaxStage"), (Join, "JoinStage"), (Part, "PartStage"),
])
def test_units_want_their_own_record(unit, record):
    with pytest.raises(TypeError, match=rf"^{unit.__name__} stage must be an? {record}, not 8$"):
        unit(8)
