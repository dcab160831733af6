# amaranth: UnusedElaboratable=no

import re
from itertools import cycle, pairwise

import numpy as np
import pytest
from hardware import GAPS, STYLES, flip_flops, folds, memories, run
from hypothesis import given, settings
from hypothesis import strategies as st
from zoo import mlp

from hwbnn import golden, ir, plan, rtl

LEVELS = st.sampled_from([ir.BIPOLAR, ir.TERNARY, ir.BINARY, ir.Levels.unsigned(2), ir.Levels.unsigned(4),
                          ir.Levels.signed(3)])
WEIGHTS = st.sampled_from([ir.BIPOLAR, ir.BIPOLAR, ir.TERNARY, ir.Levels.signed(2), ir.Levels.signed(4, narrow=True)])


@st.composite
def networks(draw, classes=None):
    """Fully connected networks of one to three layers, any levels, with or without argmax."""
    sizes = [*draw(st.lists(st.integers(1, 12), min_size=1, max_size=3)), draw(st.integers(2, 12))]
    return mlp(sizes, inputs=draw(LEVELS), weights=draw(WEIGHTS), hidden=draw(LEVELS), falling=draw(st.booleans()),
               classes=draw(st.booleans()) if classes is None else classes, seed=draw(st.integers(0, 2**16)))


@st.composite
def plans(draw):
    """Plans of random networks, folds and memory styles."""
    network = draw(networks())
    chosen = draw(folds(network))
    styles = {}
    for memory in plan.lower(network, chosen).memories:
        if memory.name.endswith(("weights", "thresholds", "offsets", "constants")):
            styles[memory.name] = draw(STYLES)
        elif memory.name.endswith("inputs"):
            styles[memory.name] = draw(st.sampled_from(["block", "distributed"]))
    return plan.lower(network, chosen, styles=styles)


def images(p, count, seed):
    return np.random.default_rng(seed).choice(p.input.levels.values(), (count, *p.network.input.shape))


def expected(p, q):
    return golden.evaluate(p.network, q)[p.network.outputs[0].tensor]


@settings(max_examples=60)
@given(plans(), st.integers(0, 2**16))
def test_values_and_cycles_without_stalls(p, seed):
    q = images(p, 5, seed)
    values, started, finished = run(p, q)
    assert np.array_equal(values, expected(p, q))
    predicted = plan.schedule(p.stages, len(q))
    assert tuple(finished) == predicted.finished
    assert tuple(started) == predicted.started
    assert p.cycles.first == finished[0] - started[0]


@settings(max_examples=60)
@given(plans(), GAPS, GAPS, st.integers(0, 2**16))
def test_values_and_order_under_stalls(p, i_gaps, o_gaps, seed):
    q = images(p, 4, seed)
    values, _, _ = run(p, q, i_gaps=cycle(i_gaps), o_gaps=cycle(o_gaps))
    assert np.array_equal(values, expected(p, q))


@settings(max_examples=80)
@given(plans())
def test_flip_flops_and_memories_are_those_of_the_rtl(p):
    assert flip_flops(rtl.Core(p)) == p.flip_flops
    assert memories(rtl.Core(p)) == sorted((memory.width, memory.depth) for memory in p.memories)
    for stage in p.stages:
        assert flip_flops(rtl.component(stage)) == stage.flip_flops


@settings(max_examples=80)
@given(plans())
def test_the_slowest_stage_sets_the_interval(p):
    assert p.cycles.interval == max(stage.ii for stage in p.stages)
