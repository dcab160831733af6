# amaranth: UnusedElaboratable=no

"""Thresholds by binary search: the same levels as all thresholds at once, in exact cycles, registers and memories."""

from dataclasses import replace

import numpy as np
import pytest
from formal import prove
from hardware import GAPS, divisors, inventory
from hypothesis import given, settings
from hypothesis import strategies as st
from test_rtl_formal import Levelled
from test_rtl_units import check

from hwbnn import golden, ir, plan, rtl
from hwbnn.cost import technology
from hwbnn.cost.resources import stage_cost


def searched(node, x, channels, lanes, styles=None, pixels=2):
    """A stage of thresholds that are searched."""
    t = plan.Thresholds.of(node, channels, low=x.low, high=x.high, lanes=lanes, name="n.thresholds")
    stream = plan.Stream(x, lanes, pixels * channels // lanes)
    return plan.ThresholdStage(name="n", nodes=("n",), i=stream, o=replace(stream, levels=node.levels),
                               thresholds=plan.SearchedThresholds.like(t, styles or {}))


@st.composite
def cases(draw):
    x = draw(st.sampled_from([ir.Levels.signed(5), ir.Levels.unsigned(4), ir.Levels(-9, 7, 4), ir.TERNARY]))
    channels, count = draw(st.integers(1, 6)), draw(st.integers(2, 20))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    limits = np.sort(rng.integers(x.low - 1, x.high + 3, (channels, count)), axis=1)
    low = draw(st.integers(-4, 0))
    node = ir.Threshold("n", ("x",), ("y",), limits, ir.Levels(low, low + count), [draw(st.sampled_from([-1, 1]))])
    lanes = draw(st.sampled_from(divisors(channels)))
    styles = {f"n.thresholds.{step}": draw(st.sampled_from(["block", "logic"])) for step in ("0", "1.0", "2.0")}
    return node, searched(node, x, channels, lanes, styles), rng.choice(x.values(), (3, 2, channels))


@settings(max_examples=25)
@given(cases(), GAPS, GAPS)
def test_levels_cycles_registers_and_memories(case, i_gaps, o_gaps):
    node, stage, x = case
    y = golden.apply(node, x)
    check(stage, x, y)
    check(stage, x, y, i_gaps, o_gaps)
    flip_flops, memories = inventory(rtl.component(stage))
    assert flip_flops.total() == stage.flip_flops
    assert memories == sorted((memory.width, memory.depth) for memory in stage.memories)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("bits", [2, 8])
def test_every_number(bits, sign):
    """Every number against every threshold, equal ones among them."""
    x = ir.Levels(-140, 140)
    limits = np.sort(np.random.default_rng(bits).integers(-140, 142, (2, 2**bits - 1)), axis=1)
    node = ir.Threshold("n", ("x",), ("y",), limits, ir.Levels.unsigned(bits), [sign])
    values = np.repeat(x.values(), 2).reshape(1, -1, 2)
    stage = searched(node, x, 2, 2, pixels=len(x))
    assert stage.thresholds.latency <= 3 * bits
    check(stage, values, golden.apply(node, values))


@pytest.mark.parametrize("count", [1, 3, 15, 255])
@pytest.mark.parametrize("lanes, channels", [(1, 1), (4, 4), (2, 16), (1, 32), (4, 256)])
def test_the_plan_takes_what_the_cost_model_finds_cheaper(lanes, channels, count):
    """Wherever one takes a third less than the other on chips of either family."""
    x = ir.Levels.signed(12)
    limits = np.sort(np.random.default_rng(count).integers(-2000, 2000, (channels, count)), axis=1)
    node = ir.Threshold("n", ("x",), ("y",), limits, ir.Levels(0, count))
    search = searched(node, x, channels, lanes)
    at_once = replace(search, fifo_depth=0, thresholds=plan.Thresholds.of(
        node, channels, low=x.low, high=x.high, lanes=lanes, name="n.thresholds"))
    ratios = [stage_cost(search, tech) / stage_cost(at_once, tech)
              for tech in map(technology, ("ecp5-85", "ice40-up5k"))]
    if max(ratios) < 2 / 3:
        assert plan.searches(count, 12, lanes, channels // lanes)
    if min(ratios) > 3 / 2 or count == 1:
        assert not plan.searches(count, 12, lanes, channels // lanes)
    assert count < 255 or max(ratios) < 2 / 3


def test_a_given_style_and_mixed_signs_are_compared_at_once():
    limits = np.sort(np.random.default_rng(0).integers(-50, 50, (2, 31)), axis=1)
    x, levels = ir.Levels.signed(7), ir.Levels.unsigned(5)

    def kind(signs, **options):
        node = ir.Threshold("n", ("x",), ("y",), limits, levels, signs)
        net = ir.Network("n", ir.Input("x", (2,), (2,), x), [node], [ir.Output("o", "y", (2,))])
        return type(plan.lower(net, {}, **options).stage("n").thresholds)

    assert kind([1, 1]) is kind([-1, -1]) is plan.SearchedThresholds
    assert kind([1, -1]) is kind([1, 1], styles={"n.thresholds": "logic"}) is plan.Thresholds


@pytest.mark.formal
@pytest.mark.parametrize("sign", [1, -1])
def test_contract(sign, tmp_path):
    limits = np.sort(np.random.default_rng(3).integers(-8, 8, (2, 15)), axis=1)
    node = ir.Threshold("act", ("x",), ("y",), limits, ir.Levels.unsigned(4), (sign,) * 2)
    spec = Levelled(node, ir.Levels.signed(4))
    assert isinstance(spec.stage.thresholds, plan.SearchedThresholds)
    prove(spec, depth=14, directory=tmp_path)
