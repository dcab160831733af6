"""Views beside the estimate: zeros and GXNOR-Net's table, precisions, roofs, logic depth."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zoo import GRAPHS, MLPS, mlp, residual_conv, tiny

from hwbnn import cost, golden, ir
from hwbnn.cost import Quantity, Unknown
from hwbnn.cost.comparison import PRECISIONS, compare
from hwbnn.cost.depth import Path, fmax, paths, slowest, spread
from hwbnn.cost.gating import operations_table, resting, resting_of_layers
from hwbnn.cost.resources import chip_share, of_stages
from hwbnn.cost.roofline import roofline
from hwbnn.errors import UserError
from hwbnn.plan import Fold, MatrixVectorStage, lower

TERNARY = MLPS["ternary"]()
FOLDS = {"fc0": Fold(3, 4), "fc1": Fold(2, 3)}


# Zeros.

def test_the_published_table():
    """Deng et al., GXNOR-Net, table of operations: a neuron of M inputs, uniform states."""
    rows = {row.network: row for row in operations_table()}
    assert [float(row.resting) for row in rows.values()] == pytest.approx([0, 0, 0.333, 0, 0.556], abs=1e-3)
    assert rows["full precision"].multiplications == rows["full precision"].accumulations == (1, 1)
    assert (rows["binary weights"].multiplications, rows["binary weights"].accumulations) == ((0, 0), (1, 1))
    assert rows["ternary weights"].accumulations == (0, 1) and rows["ternary weights"].resting == Fraction(1, 3)
    assert (rows["binary (XNOR)"].xnors, rows["binary (XNOR)"].bitcounts) == ((1, 1), (1, 1))
    gated = rows["ternary (gated XNOR)"]
    assert (gated.xnors, gated.bitcounts, gated.resting) == ((0, 1), (0, 1), Fraction(5, 9))


@given(st.fractions(0, 1), st.fractions(0, 1))
def test_a_product_rests_where_an_operand_does(weight, activation):
    rest = resting(weight, activation)
    assert max(weight, activation) <= rest <= min(1, weight + activation)


def test_zeros_are_counted_product_by_product():
    """Against the products themselves, for every image, row and column."""
    x = np.random.default_rng(0).choice([-1, 0, 1], (20, 12))
    tensors = golden.evaluate(TERNARY, golden.encode(TERNARY, x))
    rows = resting_of_layers(TERNARY, x)
    for row, node in zip(rows, [n for n in TERNARY.nodes if isinstance(n, ir.MatMul)], strict=True):
        values = tensors[node.input]
        products = values[:, None, :] * node.weights[None]
        assert row.resting == pytest.approx(float((products == 0).mean()))
        assert row.weight_zero == pytest.approx(float((node.weights == 0).mean()))
        assert row.activation_zero == pytest.approx(float((values == 0).mean()))
        assert row.products == node.weights.size and row.uniform == pytest.approx(5 / 9)


def test_zeros_of_convolutions_do_not_count_the_padding():
    net = residual_conv()
    rows = {row.layer: row for row in resting_of_layers(net)}
    assert rows["conv0"].products == sum(
        min(3, r + 2, 5 - r) * min(3, c + 2, 5 - c) for r in range(4) for c in range(4)) * 4 * 2
    assert all(row.activation_zero is None and row.resting == 0 for row in rows.values())  # bipolar weights


# Precisions.

@pytest.mark.parametrize("technology", ["ice40-up5k", "ecp5-85"])
def test_precisions_cost_as_their_bits_do(technology):
    plan = lower(TERNARY, FOLDS)
    rows = {row.name: row for row in compare(plan, cost.technology(technology))}
    assert list(rows) == [kind.name for kind in PRECISIONS]
    weights = sum(node.weights.size for node in TERNARY.nodes if isinstance(node, ir.MatMul))
    assert [row.weight_bits for row in rows.values()] == [32 * weights, 8 * weights, 2 * weights, weights]
    moved = [row.moved_bits for row in rows.values()]
    assert moved == [32 * moved[3], 8 * moved[3], 2 * moved[3], moved[3]]
    assert {row.products for row in rows.values()} == {weights}
    assert rows["ternary"].live < weights == rows["binary"].live
    assert rows["float32"].arithmetic.nominal == pytest.approx(weights * 4.6e-12)  # 3.7 + 0.9 pJ, Horowitz
    assert rows["int8"].arithmetic.nominal == pytest.approx(weights * 0.3e-12)  # 0.2 + 0.1 pJ
    for wide, narrow in pairwise(["float32", "int8", "binary"]):
        assert rows[wide].energy.nominal > rows[narrow].energy.nominal
    assert isinstance(rows["float32"].luts, Unknown)
    assert rows["int8"].luts.nominal > rows["ternary"].luts.nominal > rows["binary"].luts.nominal > 0
    assert rows["int8"].to_json()["energy"]["unit"] == "J"


# Roofs.

def test_roofs():
    net = mlp((256, 64, 10), inputs=ir.BIPOLAR)
    plan, tech = lower(net, {"fc0": Fold(8, 16), "fc1": Fold(2, 8)}), cost.technology("ecp5-25")
    found = roofline(plan, tech)
    assert [row.stage for row in found.rows] == ["fc0", "fc1"]
    assert found.bits_per_cycle == 56 * 36
    first = found.rows[0]
    assert first.products == 256 * 64 and first.lanes == 128
    assert first.attained == 256 * 64 / plan.cycles.interval <= first.lanes
    assert first.intensity == first.products / first.bits
    assert first.limit == min(first.memory_limit, first.lut_limit) and 0 < first.share < 1
    assert found.distance == plan.cycles.interval / found.least_interval > 1
    assert found.to_json()["rows"][0]["bound"] == first.bound
    faster = roofline(lower(net, {"fc0": Fold(16, 32), "fc1": Fold(5, 16)}), tech)
    assert faster.distance < found.distance and faster.rows[0].share > first.share


# Frequency.

@pytest.mark.parametrize("name", GRAPHS)
def test_every_stage_has_a_path(name):
    net = GRAPHS[name]()
    plan = lower(net, {node.name: Fold(1, 1) for node in net.nodes if isinstance(node, ir.MatMul | ir.Conv)})
    for stage in plan.stages:
        found = paths(stage)
        assert found and all(path.levels >= 0 and path.carry >= 0 for path in found)
    assert spread(plan.stages) >= spread(plan.stages[:1])


def test_wider_sums_are_deeper():
    net = mlp((64, 16, 4), inputs=ir.BIPOLAR)
    stages = [lower(net, {"fc0": Fold(4, simd), "fc1": Fold(2, 2)}).stage("fc0") for simd in (4, 64)]
    carries = [max(path.carry for path in paths(stage) if path.what == "count") for stage in stages]
    assert carries[0] < carries[1]
    assert isinstance(stages[0], MatrixVectorStage)


def test_a_path_for_reading():
    assert str(Path("sum", 2, 7)) == "sum: 2 levels, 7 bits of carry"
    assert str(Path("weight memory", 1, memory=True)) == "weight memory: block memory, 1 level"
    assert str(Path("product", 1, 15, multiplier=True)) == "product: multiplier, 1 level, 15 bits of carry"


@pytest.mark.parametrize("technology", cost.names())
def test_frequency_is_a_figure_or_says_why_not(technology):
    tech, plan = cost.technology(technology), lower(tiny(), {"fc0": Fold(2, 4), "fc1": Fold(3, 2)})
    whole = fmax(plan.parts, tech)
    if isinstance(whole, Unknown):
        assert "calibrate" in whole.reason or "no open placer" in whole.reason
        assert str(slowest(plan.stages[1], tech))
    else:
        assert isinstance(whole, Quantity) and 1e6 < whole.low < whole.nominal < whole.high < 2e9
        assert all(fmax((stage,), tech).nominal >= whole.nominal for stage in plan.parts)


def test_what_is_not_calibrated_is_unknown_and_no_folding_is_chosen():
    tech = cost.technology("ice40-up5k")
    missing = replace(tech.lut_model.datapath, value="unknown", kind="unknown", source="never measured")
    bare = replace(tech, lut_model=replace(tech.lut_model, datapath=missing))
    used = of_stages(lower(tiny(), {"fc0": Fold(2, 4), "fc1": Fold(3, 2)}).parts, bare)
    assert isinstance(used.luts, Unknown) and "never measured" in used.luts.reason and used.luts.unit == "LC"
    with pytest.raises(UserError, match=r"^Look-up tables of Lattice iCE40UP5K must be calibrated to choose a folding, "
                                        r"and they are not; run `hwbnn calibrate --target ice40-up5k`$"):
        chip_share(used, bare)
