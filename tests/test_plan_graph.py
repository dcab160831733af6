"""Graphs of stages: how they are connected, how deep their FIFOs are, and which of them would block."""

from dataclasses import replace

import numpy as np
import pytest
import zoo
from hardware import folds, run
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import AxiPort, transfer

from hwbnn import ir, plan, rtl
from hwbnn.errors import UserError
from hwbnn.plan.branches import JoiningStage
from hwbnn.plan.graph import check
from hwbnn.plan.lower import _sized

RESIDUAL = {"fc0": plan.Fold(2, 4), "fc1": plan.Fold(3, 2), "fc2": plan.Fold(2, 3), "fc3": plan.Fold(1, 2)}


def folded(net):
    """Foldings of a graph's layers, none of them long."""
    return {node.name: plan.Fold(max(1, node.rows // 4), max(1, node.columns // 4))
            for node in net.nodes if isinstance(node, ir.MatMul)}


@st.composite
def planned(draw):
    net = zoo.GRAPHS[draw(st.sampled_from(sorted(zoo.GRAPHS)))]()
    return plan.lower(net, draw(folds(net)))


@settings(max_examples=25)
@given(planned())
def test_stages_cover_every_node_once_and_keep_the_slowest_busy(p):
    assert sorted(name for stage in p.stages for name in stage.nodes) == sorted(node.name for node in p.network.nodes)
    by_name = {stage.name: stage for stage in p.stages}
    for edge in p.edges:
        source, target = by_name[edge.source], by_name[edge.target]
        assert source.outputs[edge.port] == target.inputs[edge.into]
        assert not (source.is_combinational and target.is_combinational)
        assert not (isinstance(source, plan.ForkStage) and isinstance(target, JoiningStage))
    assert p.cycles.interval == max(stage.ii for stage in p.stages)


def test_neighbours_are_found_in_the_order_of_ports():
    p = plan.lower(zoo.residual(), RESIDUAL)
    assert [stage.name for stage in p.before(p.stage("sum"))] == ["fc2", "skip"]
    assert [stage.name for stage in p.after(p.stage("fc0.fork"))] == ["fc1", "skip"]
    assert p.before(p.stages[0]) == p.after(p.stages[-1]) == ()


def shallower(p, name, depth, frames):
    """When frames leave with another depth of one FIFO; None where they never do."""
    stages = [replace(stage, fifo_depth=depth) if stage.name == name else stage for stage in p.stages]
    try:
        return plan.schedule(stages, frames, edges=p.edges).finished
    except plan.Blocked:
        return None


def test_depths_suffice_and_one_less_does_not():
    """Simulated: frames leave when the schedule says, and later with any of the deeper FIFOs one shallower."""
    tested = 0
    for make in (zoo.residual, zoo.GRAPHS["identity"], zoo.branched):
        net = make()
        p = plan.lower(net, folded(net))
        frames = len(p.stages) + 4
        finished = p.schedule(frames).finished
        deep = [stage for stage in p.stages
                if isinstance(stage, plan.PipelineStage) and stage.fifo_depth > stage.least_fifo_depth]
        unlimited = plan.schedule(p.stages, frames, edges=p.edges, unlimited=True).finished
        assert finished == unlimited
        q = np.random.default_rng(0).choice(net.input.levels.values(), (frames, *net.input.shape))
        if deep:
            assert tuple(run(p, q)[2]) == finished
        for stage in deep:
            later = shallower(p, stage.name, stage.fifo_depth - 1, frames)
            if later is not None:  # else it blocks
                assert later != finished and all(a >= b for a, b in zip(later, finished, strict=True))
            if later is not None and not tested:
                less = plan.lower(net, folded(net), fifo_depths={stage.name: stage.fifo_depth - 1})
                assert tuple(run(less, q)[2]) == later
            tested += 1
    assert tested >= 3


def test_intervals_that_take_turns():
    """Depths that are given can make every second frame wait: the greater interval is told, as by simulations."""
    net = zoo.GRAPHS["identity"]()
    chosen = {"fc0": plan.Fold(4, 4), "fc1": plan.Fold(2, 2), "fc2": plan.Fold(4, 3), "fc3": plan.Fold(2, 2)}
    p = plan.lower(net, chosen, fifo_depths={"fc0": 3, "sum.buffer_1": 3})
    q = np.random.default_rng(0).choice(net.input.levels.values(), (24, *net.input.shape))
    finished = run(p, q)[2]
    assert tuple(finished) == p.schedule(len(q)).finished
    found = set(np.diff(finished)[-8:].tolist())
    assert len(found) == 2 and p.cycles.interval == max(found)


def test_a_graph_that_would_deadlock_is_refused_with_the_circle():
    wide = zoo.residual(channels=8, scaled=False)
    chosen = {"fc0": plan.Fold(1, 4), "fc1": plan.Fold(1, 8), "fc2": plan.Fold(1, 1), "fc3": plan.Fold(1, 2)}
    p = plan.lower(wide, chosen)
    assert p.stage("sum.buffer_1").fifo_depth > 2
    with pytest.raises(UserError, match=(
            r"^FIFO depths of residual must let every stream go on, and these would wait for each other: "
            r"fc2\.o -> sum\.i_0 \(empty\), .*fc0\.fork\.o_1 -> sum\.buffer_1\.i \(full\), "
            r"sum\.buffer_1\.o -> sum\.i_1 \(full\)$")):
        plan.lower(wide, chosen, fifo_depths={"sum.buffer_1": 2})


def test_the_hardware_blocks_where_the_schedule_says_so():
    wide = zoo.residual(channels=8, scaled=False)
    p = plan.lower(wide, {"fc0": plan.Fold(1, 4), "fc1": plan.Fold(1, 8), "fc2": plan.Fold(1, 1),
                          "fc3": plan.Fold(1, 2)})
    shallow = replace(p, stages=tuple(replace(stage, fifo_depth=2) if stage.name == "sum.buffer_1" else stage
                                      for stage in p.stages))
    with pytest.raises(plan.Blocked, match=r"^Streams must not wait for each other in a circle: fc2\.o -> .*$"):
        shallow.schedule(1)
    assert [outputs_of(one) for one in (p, shallow)] == [4, 0]


def outputs_of(p):
    """How many beats a frame gives in 300 cycles."""
    core = rtl.Core(p)
    s, m = AxiPort(core, "s_axis"), AxiPort(core, "m_axis")
    _, out = transfer(core, s.join([0] * p.input.beats, p.input.beats), 0, i=s, o=m, patience=300)
    return len(out)


@settings(max_examples=10)
@given(planned(), st.data())
def test_a_schedule_never_gets_earlier_with_less_room(p, data):
    places = [n for n, stage in enumerate(p.stages) if isinstance(stage, plan.PipelineStage)]
    place = data.draw(st.sampled_from(places))
    stage = p.stages[place]
    least = 3 if isinstance(stage, plan.FifoStage) and stage.style == "block" else 1
    later = shallower(p, stage.name, data.draw(st.integers(least, stage.fifo_depth)), 4)
    assert later is None or all(a >= b for a, b in zip(later, p.schedule(4).finished, strict=True))


def test_a_branch_waits_in_block_memory_where_told_or_where_it_is_large():
    net = zoo.residual(channels=32, hidden=2, scaled=False)
    chosen = {"fc0": plan.Fold(1, 32), "fc1": plan.Fold(1, 32), "fc2": plan.Fold(1, 2), "fc3": plan.Fold(1, 32)}
    usual, told = (plan.lower(net, chosen, styles=styles) for styles in ({}, {"sum.buffer_1.fifo": "block"}))
    styles = [(stage.style, stage.fifo_depth - stage.fifo.depth)
              for stage in (usual.stage("sum.buffer_1"), told.stage("sum.buffer_1"))
              if isinstance(stage, plan.FifoStage)]
    assert styles == [("distributed", 0), ("block", 1)]
    assert told.cycles.interval == usual.cycles.interval
    wide = plan.Stream(ir.BINARY, 128, 512)
    large = _sized(plan.FifoStage(name="large", nodes=(), i=wide, o=wide), 100, {})
    assert isinstance(large, plan.FifoStage) and (large.style, large.fifo_depth) == ("block", 100)


BITS = plan.Stream(ir.BINARY, 1, 4)


def stages():
    names = {"nodes": (), "i": BITS, "o": BITS}
    return [plan.FrameInputStage(name="input", **names), plan.FifoStage(name="fifo", **names),
            plan.ForkStage(name="fork", count=2, **names), plan.AddStage(
                name="sum", nodes=(), i=BITS, others=(BITS,), o=plan.Stream(ir.Levels.unsigned(2), 1, 4))]


EDGES = [plan.Edge("input", "fifo"), plan.Edge("fifo", "fork"), plan.Edge("fork", "sum", "o_0", "i_0"),
         plan.Edge("fork", "sum", "o_1", "i_1")]


@pytest.mark.parametrize("edges, message", [
    (EDGES[:-1], r"^Output fork\.o_1 must be connected once, not 0 times$"),
    ([*EDGES, plan.Edge("fork", "sum", "o_1", "i_0")], r"^Output fork\.o_1 must be connected once, not 2 times$"),
    (EDGES[1:], r"^Output input\.o must be connected once, not 0 times$"),
    ([*EDGES[:3], plan.Edge("fork", "sum", "o_2", "i_1")],
     r"^Edge must lead from a stage's output to a later stage's input, not fork\.o_2 -> sum\.i_1$"),
    ([plan.Edge("sum", "fifo"), *EDGES],
     r"^Edge must lead from a stage's output to a later stage's input, not sum\.o -> fifo\.i$"),
])
def test_bad_edges(edges, message):
    check(stages(), EDGES)
    with pytest.raises(ValueError, match=message):
        check(stages(), edges)


def test_edges_join_equal_streams_and_names_are_unique():
    given_ = stages()
    given_[0] = plan.FrameInputStage(name="input", nodes=(), i=BITS, o=plan.Stream(ir.BINARY, 2, 2))
    with pytest.raises(ValueError, match=r"^Edge input\.o -> fifo\.i must join equal streams, not Stream\(.*\) and "):
        check(given_, EDGES)
    with pytest.raises(ValueError, match=r"^Stage names must be unique, and fork is not$"):
        check([*stages(), stages()[2]], EDGES)


@pytest.mark.parametrize("options, message", [
    ({"styles": {"sum.buffer_1.fifo": "logic"}}, r"^sum\.buffer_1 style must be block or distributed, not logic$"),
    ({"fifo_depths": {"sum.buffer_1": -1}}, r"^sum\.buffer_1 fifo_depth must be at least 1, not -1$"),
    ({"styles": {"sum.buffer_1.fifo": "block"}, "fifo_depths": {"sum.buffer_1": 2}},
     r"^sum\.buffer_1 fifo_depth must be at least 3 in block memory, not 2$"),
])
def test_bad_options(options, message):
    with pytest.raises(UserError, match=message):
        plan.lower(zoo.residual(scaled=False), RESIDUAL, **options)
