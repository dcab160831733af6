"""The shape of counting trees, and thresholds from which accumulators start."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwbnn import ir, plan
from hwbnn.plan.count import GROUP, QUAD

LANES = st.integers(1, 300)


@given(LANES, st.booleans())
def test_every_lane_is_counted_once(lanes, spare):
    count = plan.Count(lanes, spare)
    assert all(1 <= size <= GROUP for size in count.groups)
    adders = len(count.groups) - 1
    assert sum(count.groups) + adders + count.has_spare == lanes  # each adder takes one as its carry
    assert count.levels[-1] == (lanes - count.has_spare,) == (count.high,)
    assert count.has_spare == (spare and lanes > 1)
    assert len(count.groups) == -(-(lanes + (not spare)) // (GROUP + 1))  # no more than are needed


@given(LANES, st.booleans())
def test_levels_are_sums_of_pairs_and_a_carry(lanes, spare):
    count = plan.Count(lanes, spare, 1)
    carries = len(count.groups) - 1 + count.has_spare
    for level, (before, after) in enumerate(zip(count.levels, count.levels[1:], strict=False)):
        assert count.carries(level) == carries
        pairs = [before[n:n + 2] for n in range(0, len(before), 2)]
        assert after == tuple(sum(pair) + (len(pair) == 2) for pair in pairs)
        carries -= sum(len(pair) == 2 for pair in pairs)
    assert carries == count.has_spare
    assert count.latency == (len(count.levels) if lanes > 1 + spare else 0)


def test_counts_of_eight_lanes_a_group():
    assert plan.Count(64, spare=True).groups == (7,) * 8
    assert plan.Count(63).groups == (7,) * 8
    assert plan.Count(64).groups == (7,) * 7 + (6, 1)
    sizes = (1, 2, 3, 8, 9, 16, 17, 64)
    assert [plan.Count(n, True, 1).latency for n in sizes] == [0, 0, 1, 1, 2, 2, 3, 4]
    assert [plan.Count(n, True, 2).latency for n in sizes] == [0, 0, 1, 1, 2, 2, 2, 3]


@given(LANES, st.booleans())
def test_gated_terms_become_a_one_and_twos(lanes, spare):
    count = plan.GatedCount(lanes, spare)
    assert sum(map(sum, count.groups)) == lanes
    assert all(1 <= summed < QUAD and beside in (0, 1) for summed, beside in count.groups)
    assert count.ones.lanes == len(count.groups) and count.twos.lanes == lanes
    assert count.high == 2 * lanes
    assert count.waiting >= 0 or lanes == 1
    assert count.twos.has_spare <= count.joins and (count.joins or count.ones.high == 1)
    assert count.latency == (0 if lanes == 1 else count.twos.latency + count.joins)


def test_counts_want_lanes():
    with pytest.raises(ValueError, match=r"^Count lanes must be at least 1, not 0$"):
        plan.Count(0)


# thresholds from which accumulators start -------------------------------------------------------------------------

def thresholds(limits, signs=(1,), *, low=0, high=9, levels=ir.BIPOLAR, loadable=False, **options):
    node = ir.Threshold("act", ("x",), ("y",), limits, levels, signs)
    return plan.Thresholds.of(node, len(limits), low=low, high=high, lanes=1, name="t", loadable=loadable, **options)


@given(st.integers(-20, 5), st.integers(0, 30), st.integers(1, 4),
       st.lists(st.integers(-60, 60), min_size=4, max_size=9), st.sampled_from([-2, -1, 1, 2]), st.booleans())
def test_signs_say_what_compares_said(low, span, count, limits, scale, loadable):
    """The sign of the accumulator for the least threshold; for those above it the sign less the gap."""
    rows = [sorted(limits[n:n + count]) for n in range(0, len(limits) - count + 1, count)]
    t = thresholds(rows, low=low, high=low + span, scale=scale, levels=ir.Levels(0, count), loadable=loadable)
    fused = plan.FusedThresholds.like(t)
    mask, sign = (1 << fused.total_bits) - 1, 1 << fused.total_bits - 1
    assert fused.gaps == count - 1 and fused.gap_bits < fused.total_bits
    for constants, word in zip(t.constants.tolist(), fused.table.words, strict=True):
        start = word & (1 << fused.start_bits) - 1
        start -= 1 << fused.start_bits if start >> fused.start_bits - 1 else 0
        gaps = [~(word >> fused.start_bits + k * fused.gap_bits) & (1 << fused.gap_bits) - 1 for k in range(fused.gaps)]
        assert -start == min(constants) and [min(constants) + gap for gap in gaps] == sorted(constants)[1:]
        for s in range(low, low + span + 1):
            total = (start + s) & mask
            signed = total - (2 * sign if total & sign else 0)
            assert signed == start + s
            assert [signed >= gap for gap in (0, *gaps)] == [s >= constant for constant in sorted(constants)]


def test_thresholds_of_one_polarity_are_fused_where_they_are_compared():
    refused = r"^Thresholds t(\.0)? must be of one polarity and compared, to be fused$"
    mixed = thresholds([[3], [4]], signs=(1, -1))
    several = thresholds([[3, 5]], levels=ir.TERNARY)
    searched = plan.SearchedThresholds.like(several, {})
    for t in (mixed, searched, plan.FusedThresholds.like(several)):
        assert not plan.FusedThresholds.fits(t)
        with pytest.raises(ValueError, match=refused):
            plan.FusedThresholds.like(t)
    assert plan.FusedThresholds.like(several).latency == 1 and plan.FusedThresholds.like(thresholds([[3]])).latency == 0


def test_units_start_from_thresholds_unless_from_what_was_left_out():
    rng = np.random.default_rng(0)
    for style, simd, zeros in product(("block", "logic"), (1, 2, 4), ("none", "dynamic")):
        x = ir.TERNARY if zeros == "dynamic" else ir.BIPOLAR
        net = ir.Network("n", ir.Input("x", (8,), (8,), x), (
            ir.MatMul("fc", ("x",), ("acc",), rng.choice([-1, 1], (6, 8)), ir.BIPOLAR),
            ir.Threshold("act", ("acc",), ("y",), rng.integers(-3, 4, (6, 1)), ir.BIPOLAR)),
            (ir.Output("o", "y", (6,)),))
        fold = plan.Fold(2, simd, plan.UnitOptions(zeros=zeros))
        unit = plan.lower(net, {"fc": fold}, styles={"fc.thresholds": style}).stage("fc")
        assert unit.is_fused == (zeros == "none")
        if not unit.is_fused:
            with pytest.raises(ValueError, match=r"^fc accumulators must start from 0 or from what was left out, not "
                                                 r"from thresholds$"):
                replace(unit, thresholds=plan.FusedThresholds.like(unit.thresholds))
        assert unit.fifo_depth >= unit.least_fifo_depth and unit.sum_latency >= unit.thresholds.table.latency
