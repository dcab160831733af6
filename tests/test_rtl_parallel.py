# amaranth: UnusedElaboratable=no

"""Layers of adders: the graph against the product, the unit against golden, exact in cycles and flip-flops."""

from itertools import product

import numpy as np
import pytest
from amaranth import Cat
from amaranth.hdl import Elaboratable, Module, Signal
from equivalence import assert_equal
from formal import prove, reach
from hardware import GAPS, inventory, run
from hypothesis import given, settings
from hypothesis import strategies as st
from test_rtl_formal import Product, layer
from test_rtl_units import LEVELS, check
from zoo import mlp

from hwbnn import fold, golden, ir, pack, plan, rtl
from hwbnn.cost import estimate
from hwbnn.cost.depth import paths
from hwbnn.cost.forms import forms
from hwbnn.cost.operations import operations
from hwbnn.errors import UserError
from hwbnn.plan.subset_sums import bit_values, signed_digits
from hwbnn.rtl.cells import Plain, Xilinx
from hwbnn.rtl.parallel import ParallelUnit

PARALLEL = plan.UnitOptions("parallel")


def lowered(net):
    node = net.nodes[0]
    return plan.lower(net, {"fc": plan.Fold(node.rows, node.columns, PARALLEL)})


def bits(x, levels):
    return pack.bits_of(pack.codes(x, levels), levels.bits).reshape(len(x), -1)


def signed(values, width):
    return np.where(values >> (width - 1) & 1, values - (1 << width), values)


@st.composite
def matrices(draw):
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    x, w = draw(LEVELS), draw(st.sampled_from([ir.BIPOLAR, ir.TERNARY, ir.BINARY, ir.Levels(-3, 2)]))
    rows, columns = draw(st.integers(1, 12)), draw(st.integers(1, 20))
    return x, rng.choice(w.values(), (rows, columns)), rng.choice(x.values(), (60, columns)), rng


@given(st.lists(st.integers(-2**20, 2**20), min_size=1))
def test_signed_digits_are_the_number_and_never_neighbours(values):
    digits = signed_digits(np.array([values]))
    assert np.array_equal(sum((digit.astype(np.int64) << place for place, digit in digits.items()),
                              start=np.zeros((1, len(values)), np.int64)), [values])
    for place, digit in digits.items():
        assert not np.any((digit != 0) & (digits.get(place + 1, np.zeros(1)) != 0))


@settings(max_examples=60)
@given(matrices())
def test_a_graph_makes_the_products(problem):
    x, w, vectors, _ = problem
    graph = plan.matrix_graph(w, x, number_bits=18)
    assert np.array_equal(signed(graph.compute(bits(vectors, x)), 18), vectors @ w.T)


@settings(max_examples=60)
@given(matrices(), st.integers(1, 4))
def test_a_graph_counts_the_thresholds(problem, count):
    x, w, vectors, rng = problem
    _, scale, offset = bit_values(x)
    sums = (vectors @ w.T - offset * w.sum(axis=1)) // scale
    limits = np.sort(rng.integers(sums.min() - 1, sums.max() + 2, (len(w), count)), axis=1)
    inverts = rng.integers(0, 2, len(w))
    graph = plan.matrix_graph(w, x, limits=limits.tolist(), inverts=inverts.tolist())
    assert np.array_equal(graph.compute(bits(vectors, x)),
                          ((sums[:, :, None] >= limits) ^ inverts[:, None]).sum(axis=2))


@pytest.mark.parametrize("limit", range(-5, 6))
def test_every_threshold_of_every_row_of_three(limit):
    rows = np.array(list(product((-1, 1), repeat=3)))
    graph = plan.matrix_graph(rows, ir.BIPOLAR, limits=[(limit,)] * 8, inverts=[0] * 8)
    ones = (rows + 1) // 2
    assert np.array_equal(graph.compute(ones), (ones @ rows.T >= limit).astype(int))


def test_rows_share_full_adders():
    shared, alone = (np.array([[1, 1, 1, w, 1] for w in weights]) for weights in ((0, 1), (0,)))
    assert plan.matrix_graph(np.repeat(alone, 9, axis=0), ir.BINARY, number_bits=4).adder_bits == \
        plan.matrix_graph(alone, ir.BINARY, number_bits=4).adder_bits
    both = plan.matrix_graph(shared, ir.BINARY, number_bits=4).adder_bits
    assert both < sum(plan.matrix_graph(row[None], ir.BINARY, number_bits=4).adder_bits for row in shared)


def test_a_wide_binary_layer_takes_half_a_place_per_weight():
    rng = np.random.default_rng(0)
    graph = plan.matrix_graph(rng.choice([-1, 1], (64, 64)), ir.BIPOLAR, limits=[(0,)] * 64, inverts=[0] * 64)
    assert graph.adder_bits < 64 * 64 / 2


def test_what_no_graph_may_be():
    full = plan.Adder((2,), (4,), 0, 3)
    with pytest.raises(ValueError, match=r"^Adder graph spacing must be at least 1 level, not 0$"):
        plan.AdderGraph(2, (full,), ((6,),), 0)
    with pytest.raises(ValueError, match=r"^Adder graph outputs must be of its signals$"):
        plan.AdderGraph(2, (full,), ((10,),))
    with pytest.raises(ValueError, match=r"^Adder graph nodes must read what stands before them and give out signal 3, "
                                         r"not Adder\(x=\(2,\), y=\(8,\), carry=0, out=3\)$"):
        plan.AdderGraph(2, (plan.Adder((2,), (8,), 0, 3),), ((6,),))


@st.composite
def layers(draw):
    """A layer of adders on vectors, with or without thresholds, and some inputs."""
    x, w, _, rng = draw(matrices())
    rows, columns = w.shape
    nodes = [ir.MatMul("fc", ("x",), ("y",), w, ir.Levels(-3, 2))]
    shape = draw(st.sampled_from([(columns,), (1, 3, columns)]))
    if draw(st.booleans()):
        levels = draw(LEVELS)
        acc = w @ rng.choice(x.values(), (columns, 50))
        thresholds = np.sort(rng.choice(acc.ravel(), (rows, len(levels) - 1)), axis=1)
        nodes.append(ir.Threshold("act", ("y",), ("z",), thresholds, levels, rng.choice([-1, 1], rows)))
    if not w.any():
        w[0, 0] = 1
    net = ir.Network("layer", ir.Input("x", shape, shape, x), nodes,
                     [ir.Output("o", nodes[-1].output, (*shape[:-1], rows))])
    return net, lowered(net).stage("fc"), rng.choice(x.values(), (5, *shape))


@settings(max_examples=15)
@given(layers(), GAPS, GAPS)
def test_the_unit_under_stalls(problem, i_gaps, o_gaps):
    net, stage, x = problem
    check(stage, x, golden.evaluate(net, x)[net.outputs[0].tensor], i_gaps, o_gaps)


@settings(max_examples=15)
@given(layers())
def test_the_unit_in_exact_cycles_and_flip_flops(problem):
    net, stage, x = problem
    check(stage, x, golden.evaluate(net, x)[net.outputs[0].tensor])
    assert stage.ii == stage.o.beats == stage.i.beats
    flip_flops, memories = inventory(rtl.component(stage))
    assert sum(flip_flops.values()) == stage.flip_flops
    assert memories == sorted((memory.width, memory.depth) for memory in stage.memories)


@pytest.mark.parametrize("x, w", list(product((ir.BIPOLAR, ir.TERNARY, ir.Levels(-2, 1)), (ir.BIPOLAR, ir.TERNARY))))
def test_every_vector_of_three(x, w):
    net = layer(4, 3, x, y=ir.BIPOLAR, w=w, seed=3)
    vectors = np.array(list(product(x.values(), repeat=3)))
    check(lowered(net).stage("fc"), vectors, golden.evaluate(net, vectors)["z"])


@pytest.mark.formal
@pytest.mark.parametrize("x, y, w", [(ir.BIPOLAR, ir.BIPOLAR, ir.BIPOLAR), (ir.Levels(-2, 1), None, ir.TERNARY)])
def test_contract(x, y, w, tmp_path):
    net = layer(3, 4, x, y=y, w=w, seed=1)
    contract = Product.__new__(Product)
    contract.network, contract.stage = net, lowered(net).stage("fc")
    super(Product, contract).__init__(rtl.component(contract.stage), i_beats=1, o_beats=1, limit=20)
    depth = contract.stage.latency + 5
    prove(contract, depth=depth, directory=tmp_path)
    reach(contract, depth=depth, directory=tmp_path)


class _Full(Elaboratable):
    """A full adder between ports."""

    def __init__(self, made_of):
        self.made_of, self.i, self.o = made_of, Signal(3, name="i"), Signal(2, name="o")

    @property
    def ports(self):
        return [self.i, self.o]

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.o.eq(Cat(self.made_of.full(m, *self.i)))
        return m


@pytest.mark.formal
def test_a_full_adder_of_one_cell(tmp_path):
    assert_equal([(_Full(Plain()), _Full(Xilinx()))], "xilinx", tmp_path)


@pytest.mark.parametrize("folding, message", [
    (plan.Fold(2, 4, PARALLEL), "Datapath parallel must have PE 4 and SIMD 4, all rows and columns, not 2 and 4"),
    (plan.Fold(4, 4, plan.UnitOptions("parallel", loadable=True)),
     "Datapath parallel must have constant weights, not loadable ones"),
    (plan.Fold(4, 4, plan.UnitOptions("parallel", weights="block")),
     "Datapath parallel must have weights that are wires, which leaves nothing to ask of them, not weights block"),
    (plan.Fold(4, 4, plan.UnitOptions("parallel", zeros="dynamic")),
     "Datapath parallel must have weights that are wires, which leaves nothing to ask of them, not zeros dynamic"),
])
def test_what_a_layer_of_adders_cannot_be(folding, message):
    with pytest.raises(UserError) as raised:
        plan.lower(layer(4, 4, ir.BIPOLAR), {"fc": folding})
    assert str(raised.value) == f"fc: {message}"


def test_a_unit_is_made_of_its_stage():
    with pytest.raises(TypeError, match=r"^ParallelUnit stage must be a ParallelStage, not 3$"):
        ParallelUnit(3)
    stage = lowered(layer(4, 4, ir.BIPOLAR)).stage("fc")
    assert ParallelUnit(stage).stage is stage and ParallelUnit(stage).latency == stage.latency
    assert (stage.fold.pe, stage.fold.simd) == (4, 4)


def test_estimates_count_the_adders_of_the_graph():
    net = layer(16, 24, ir.BIPOLAR, y=ir.BIPOLAR)
    stage = lowered(net).stage("fc")
    full = sum(node.bits == 1 for node in stage.graph.nodes if isinstance(node, plan.Adder))
    found = forms(stage)
    assert found.datapath == pytest.approx(stage.graph.adder_bits + stage.graph.adders + stage.graph.compared_bits / 3)
    assert full and found.registers < stage.flip_flops
    assert operations(stage).macs == 16 * 24 and any(path.what == "adders" for path in paths(stage))
    assert estimate(lowered(net), "ecp5-25", clock_hz=10**6).stages[1].pe == 16


def test_a_whole_accelerator_of_adders_is_golden():
    net = mlp((6, 8, 5), inputs=ir.TERNARY, hidden=ir.Levels.unsigned(2), seed=2)
    p = plan.lower(net, {node.name: plan.Fold(node.rows, node.columns, PARALLEL) for node in net.nodes
                         if isinstance(node, ir.MatMul)})
    x = np.random.default_rng(0).choice(ir.TERNARY.values(), (6, 6))
    values, starts, ends = run(p, x)
    assert np.array_equal(values, golden.evaluate(net, x)[net.outputs[0].tensor])
    assert p.cycles.interval == 1 == ends[-1] - ends[-2]
    assert ends[0] - starts[0] == p.cycles.first


def test_the_adders_are_chosen_at_the_highest_rate_and_in_the_file():
    net = mlp((24, 16, 4), inputs=ir.BIPOLAR)
    found = fold.solve(net, fold.Goal.of(target_fps=10**6), clock_hz=10**6, technology="ecp5-25")
    assert found.folds["fc0"] == plan.Fold(16, 24, PARALLEL)
    assert "; parallel " in found.choices[0].reason and "(lanes " in found.choices[0].reason
    assert fold.parse(net, {name: one.record for name, one in found.folds.items()}) == found.folds
    slow = fold.solve(net, fold.Goal.of(target_fps=100), clock_hz=10**6, technology="ecp5-25")
    assert slow.folds["fc0"].options.datapath != "parallel"


def test_a_layer_that_cannot_fit_is_refused_before_it_is_searched():
    net = mlp((512, 512, 4), inputs=ir.BIPOLAR)
    with pytest.raises(UserError, match=r"^fc0: Datapath parallel must fit .*, which has [\d,]+ LUT4, and would take "
                                        r"about [\d,]+ or more; fold the layer$"):
        fold.solve(net, fold.Goal.of(target_fps=100), clock_hz=10**6, technology="ecp5-25", options={"fc0": PARALLEL})


@pytest.mark.parametrize("levels", [1, 3])
def test_registers_stand_as_the_pace_asks(levels):
    net = layer(6, 12, ir.BIPOLAR, y=ir.TERNARY)
    p = plan.lower(net, {"fc": plan.Fold(6, 12, PARALLEL)}, pace=plan.Pace(levels=levels))
    stage = p.stage("fc")
    assert stage.graph.spacing == levels and max(stage.graph.levels) > levels * (stage.graph.latency - 2)
    x = np.random.default_rng(1).choice(ir.BIPOLAR.values(), (5, 12))
    check(stage, x, golden.evaluate(net, x)["z"])
    assert sum(inventory(rtl.component(stage))[0].values()) == stage.flip_flops
