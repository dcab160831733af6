import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwbnn import ir, plan

S8 = plan.Stream(ir.BIPOLAR, 8, 2)
S4 = plan.Stream(ir.BIPOLAR, 4, 4)
S3 = plan.Stream(ir.BIPOLAR, 3, 4)


@pytest.mark.parametrize("make, error, message", [
    (lambda: plan.Fold(2.0, 1), TypeError, r"^Fold pe must be an integer, not 2\.0$"),
    (lambda: plan.Fold(1, True), TypeError, r"^Fold simd must be an integer, not True$"),
    (lambda: plan.Fold(0, 1), ValueError, r"^Fold pe must be at least 1, not 0$"),
    (lambda: plan.Fold(1, -3), ValueError, r"^Fold simd must be at least 1, not -3$"),
    (lambda: plan.Fold(4, 1).check(6, 5), ValueError, r"^PE must divide the 6 rows of the matrix, not be 4$"),
    (lambda: plan.Fold(3, 4).check(6, 5), ValueError, r"^SIMD must divide the 5 columns of the matrix, not be 4$"),
    (lambda: plan.Stream(ir.BIPOLAR, 0, 1), ValueError, r"^Stream must have at least 1 lane and 1 beat, not 0 and 1$"),
    (lambda: plan.Memory("m", 8, 8, "flash"), ValueError,
     r"^Memory m style must be one of block, distributed, logic, spram, not flash$"),
    (lambda: plan.Memory("m", 0, 8, "block"), ValueError,
     r"^Memory m must have at least 1 bit and 1 word, not 0 and 8$"),
    (lambda: plan.Tree(0, 0, 1), ValueError, r"^Tree count must be at least 1, not 0$"),
    (lambda: plan.Tree(2, 1, 0), ValueError, r"^Tree low must be at most high, not 1 and 0$"),
    (lambda: plan.JoinStage(name="j", nodes=(), i=S8, o=S4), ValueError,
     r"^j lanes must be in an integer ratio above 1, not 8 to 4$"),
    (lambda: plan.PartStage(name="p", nodes=(), i=S4, o=S3), ValueError,
     r"^p lanes must be in an integer ratio above 1, not 4 to 3$"),
    (lambda: plan.PartStage(name="p", nodes=(), i=S8, o=plan.Stream(ir.BIPOLAR, 4, 5)), ValueError,
     r"^p must keep levels and values, not turn Stream\(.*\) into Stream\(.*\)$"),
    (lambda: plan.JoinStage(name="j", nodes=(), i=S4, o=S8, fifo_depth="2"), TypeError,
     r"^j fifo_depth must be an integer, not '2'$"),
    (lambda: plan.JoinStage(name="j", nodes=(), i=S4, o=S8, fifo_depth=-1), ValueError,
     r"^j fifo_depth must be at least 1, not -1$"),
    (lambda: plan.MismatchLane(ir.BIPOLAR, ir.TERNARY), ValueError,
     r"^MismatchLane must have bipolar times bipolar, not bipolar times ternary$"),
])
def test_bad_parameters(make, error, message):
    with pytest.raises(error, match=message):
        make()


@given(st.integers(-300, 300), st.integers(0, 300))
def test_span_bits_is_the_least_width(low, size):
    high, bits = low + size, plan.span_bits(low, low + size)

    def holds(width):
        if low >= 0:
            return high < 2**width
        return width > 0 and low >= -2 ** (width - 1) and high < 2 ** (width - 1)

    assert holds(bits) and (bits == 0 or not holds(bits - 1))


@given(st.integers(1, 200))
def test_a_tree_adds_everything_in_halves(count):
    tree = plan.Tree(count, 0, 1)
    assert (tree.levels[-1] if tree.levels else (count,)) == (count,)
    assert all(sum(sizes) == count for sizes in tree.levels)
    assert tree.latency == sum(tree.registered(level) for level in range(tree.depth))


LEVELS = st.sampled_from([ir.BIPOLAR, ir.TERNARY, ir.BINARY, ir.Levels.unsigned(3), ir.Levels.signed(4),
                          ir.Levels(-3, 5, 4), ir.Levels(2, 2)])


@given(LEVELS, LEVELS, st.integers(1, 9), st.integers(1, 9), st.integers(0, 999))
def test_sums_of_terms_give_the_dot_product(x_levels, w_levels, rows, columns, seed):
    """Every term of every lane that fits, tabulated here from its docstring, against the plain product."""
    rng = np.random.default_rng(seed)
    weights, x = rng.choice(w_levels.values(), (rows, columns)), rng.choice(x_levels.values(), columns)
    for kind in (plan.MismatchLane, plan.ConditionalLane, plan.GatedConditionalLane, plan.GatedLane, plan.StillLane,
                 plan.ChoiceLane, plan.MaskLane, plan.PlanesLane, plan.ProductLane, plan.MultiplierLane):
        if not kind.fits(x_levels, w_levels):
            continue
        lane = kind(x_levels, w_levels)
        half = 2 ** (x_levels.bits - 1) if x_levels.is_signed else 0
        terms = {
            plan.MismatchLane: lambda: (x != weights).astype(int),
            plan.ConditionalLane: lambda lane=lane, half=half: np.where(weights < 0, x + half, lane.high - (x + half)),
            plan.GatedConditionalLane: lambda lane=lane, half=half: np.where(
                weights == 0, 0, np.where(weights > 0, x + half, lane.high - (x + half))),
            plan.GatedLane: lambda: 1 + (1 if x_levels.is_bipolar != w_levels.is_bipolar else -1) * x * weights,
            plan.StillLane: lambda: x * weights,
            plan.ChoiceLane: lambda: (x - x_levels.low) // x_levels.step * weights,
            plan.MaskLane: lambda half=half: (x + half) * weights,
            plan.PlanesLane: lambda half=half: (x + half) * weights,
            plan.ProductLane: lambda: x * weights,
            plan.MultiplierLane: lambda half=half: (x + half) * weights,
        }[kind]()
        assert terms.min() >= lane.low and terms.max() <= lane.high
        assert np.array_equal(lane.scale * terms.sum(axis=1) + lane.offsets(weights), weights @ x)


@pytest.mark.parametrize("x, w, names, kind", [
    (ir.BIPOLAR, ir.BIPOLAR, ("lanes",), plan.MismatchLane),
    (ir.TERNARY, ir.BIPOLAR, ("lanes",), plan.GatedLane),
    (ir.BIPOLAR, ir.TERNARY, ("lanes",), plan.GatedLane),
    (ir.Levels.unsigned(4), ir.BIPOLAR, ("lanes",), plan.ConditionalLane),
    (ir.Levels.signed(8), ir.TERNARY, ("lanes",), plan.GatedConditionalLane),
    (ir.BIPOLAR, ir.Levels.signed(4), ("lanes",), plan.ChoiceLane),
    (ir.TERNARY, ir.Levels.signed(4), ("lanes",), plan.ChoiceLane),
    (ir.BINARY, ir.Levels.signed(4), ("lanes", "planes"), plan.MaskLane),
    (ir.Levels.unsigned(2), ir.Levels.signed(2), ("lanes", "planes", "multipliers"), plan.ProductLane),
])
def test_datapaths_of_every_pair_of_levels(x, w, names, kind):
    assert plan.datapaths(x, w) == names
    assert type(plan.lane_for(x, w)) is type(plan.lane_for(x, w, "lanes")) is kind
    for name in {"planes", "multipliers"} - set(names):
        with pytest.raises(ValueError, match=rf"^Datapath {name} must have k-bit integers times k-bit integers"
                                             rf"(, of 2 bits and more)?, not {re.escape(str(x))} times {w}$"):
            plan.lane_for(x, w, name)


@given(st.lists(st.sampled_from([1, 2, 4, 8]), min_size=1, max_size=9), st.booleans(), st.integers(-3, 0),
       st.integers(0, 3))
def test_planes_add_everything_and_carry_no_zeros(factors, negative, low, high):
    factors = tuple(sorted(factors))
    planes = plan.Planes((*factors[:-1], -factors[-1] if negative else factors[-1]), low, high)
    ends = [sorted((factor * low, factor * high)) for factor in planes.factors]
    unit = min(factors)
    assert planes.span(planes.factors) == (sum(a for a, _ in ends) // unit, sum(b for _, b in ends) // unit)
    assert [sum(groups, ()) for groups in planes.levels] == [planes.factors] * planes.depth
    assert planes.latency == sum(planes.registered(level) for level in range(planes.depth))


@pytest.mark.parametrize("weights, levels", [
    ([[1, -1]], ir.BIPOLAR), ([[1, 0]], ir.TERNARY), ([[1, 1]], ir.BIPOLAR), ([[3, -2]], ir.Levels(-2, 3)),
])
def test_weights_get_the_cheapest_levels_that_hold_them(weights, levels):
    assert plan.weight_levels(np.array(weights)) == levels


@given(st.integers(-20, 0), st.integers(0, 20), st.sampled_from([1, -1, -2, 3]), st.integers(1, 4),
       st.integers(1, 3), st.integers(0, 999))
def test_folded_thresholds_step_where_the_node_does(low, high, scale, channels, count, seed):
    rng = np.random.default_rng(seed)
    offsets = rng.integers(-30, 30, channels)
    node = ir.Threshold("t", ("x",), ("y",), np.sort(rng.integers(-90, 90, (channels, count)), axis=1),
                        ir.Levels(0, count), rng.choice([-1, 1], channels))
    folded = plan.Thresholds.of(node, channels, low=low, high=high, scale=scale, offsets=offsets, lanes=channels,
                                name="t")
    for s in range(low, high + 1):
        x = scale * s + offsets
        reached = ((x * node.signs)[:, None] >= node.thresholds).sum(axis=1)
        assert np.array_equal(((s >= folded.constants) ^ folded.inverts[:, None]).sum(axis=1), reached)
    assert folded.constants.min() >= low and folded.constants.max() <= high + 1


def test_memory_styles_follow_depth_and_bits():
    assert plan.rom_style(1000, 32) == "logic"
    assert plan.rom_style(62, 33) == "logic"
    assert plan.rom_style(63, 33) == "block"
    assert plan.buffer_style(1000, 64) == "distributed"
    assert plan.buffer_style(127, 65) == "block"


def test_a_fold_reads_back_from_its_record():
    for fold in (plan.Fold(2, 4), plan.Fold(1, 1, plan.UnitOptions(datapath="planes", loadable=True)),
                 plan.Fold(3, 1, plan.UnitOptions(weights="block", zeros="dynamic"))):
        assert plan.Fold.of(fold.record) == fold
    assert plan.Fold(2, 4).record == {"pe": 2, "simd": 4}
    assert plan.UnitOptions(weights="block", zeros="none") | plan.UnitOptions(zeros="static") == plan.UnitOptions(
        weights="block", zeros="static")


@pytest.mark.parametrize(("record", "message"), [
    ({"pe": 1}, "Fold must have simd"),
    ({"pe": 1, "simd": 1, "colour": 3},
     "Options must be among datapath, weights, storage, zeros, loadable, not colour"),
    ({"pe": 1, "simd": 1, "weights": "sand"},
     "Option weights must be one of auto, block, distributed, logic, spram, not sand"),
    ({"pe": 1, "simd": 1, "loadable": "yes"}, "Option loadable must be one of false, true, not yes"),
    ({"pe": 1, "simd": 1, "loadable": 1}, "Option loadable must be one of false, true, not 1"),
])
def test_a_record_that_is_no_fold_is_refused(record, message):
    with pytest.raises(ValueError, match=message):
        plan.Fold.of(record)
