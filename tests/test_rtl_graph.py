# amaranth: UnusedElaboratable=no

"""Networks with branches, whole: values under stalls, exact cycles, registers and memories, and the emitted Verilog."""

import re
from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest
import zoo
from hardware import GAPS, folds, inventory, run
from hypothesis import given, settings
from hypothesis import strategies as st

from hwbnn import cost, golden, ir, plan, rtl
from hwbnn.builddir import BuildDirectory, Manifest
from hwbnn.report.graph import network_graph
from hwbnn.sim import Measured, simulate


def folded(net):
    return {node.name: plan.Fold(max(1, node.rows // 4), max(1, node.columns // 4))
            for node in net.nodes if isinstance(node, ir.MatMul)}


def images(net, count, seed=0):
    return np.random.default_rng(seed).choice(net.input.levels.values(), (count, *net.input.shape))


@st.composite
def planned(draw):
    """Branched networks in any folding, with branch FIFOs of any kind."""
    name = draw(st.sampled_from(sorted(zoo.GRAPHS)))
    net = {"residual": zoo.residual, "identity": lambda **options: zoo.residual(scaled=False, **options),
           "branched": zoo.branched}[name](seed=draw(st.integers(0, 9)))
    chosen = draw(folds(net))
    p = plan.lower(net, chosen)
    buffers = [stage.fifo.name for stage in p.stages if isinstance(stage, plan.FifoStage)]
    return plan.lower(net, chosen, styles={name: draw(st.sampled_from(["block", "distributed"])) for name in buffers})


@settings(max_examples=6)
@given(planned(), GAPS, GAPS, st.integers(0, 99))
def test_values_cycles_registers_and_memories(p, i_gaps, o_gaps, seed):
    q = images(p.network, 3, seed)
    y = golden.evaluate(p.network, q)[p.network.outputs[0].tensor]
    values, started, finished = run(p, q)
    predicted = p.schedule(len(q))
    assert np.array_equal(values, y)
    assert (tuple(started), tuple(finished)) == (predicted.started, predicted.finished)
    assert p.cycles.first == finished[0] - started[0]
    assert np.array_equal(run(p, q, i_gaps=cycle(i_gaps), o_gaps=cycle(o_gaps))[0], y)
    flip_flops, memories = inventory(rtl.Core(p))
    assert memories == sorted((memory.width, memory.depth) for memory in p.memories)
    for stage in p.stages:
        inside = re.compile(rf"top\.{rtl.instance_name(stage)}(\.|$)")
        assert sum(bits for name, bits in flip_flops.items() if inside.match(name)) == stage.flip_flops


@pytest.mark.parametrize("name", zoo.GRAPHS)
def test_derivations(name):
    """Every stage is priced and drawn."""
    net = zoo.GRAPHS[name]()
    p = plan.lower(net, folded(net))
    estimate = cost.estimate(p, "ecp5-85", 10**7)
    assert estimate.resources.flip_flops.nominal == p.flip_flops
    assert [stage.name for stage in estimate.stages] == [stage.name for stage in p.stages]
    drawing = network_graph(net, p)
    assert all(node.name in drawing for node in net.nodes if not isinstance(node, ir.Threshold))


def test_residual_blocks_of_convolutions():
    """One that keeps its map's size, and one that halves it beside a convolution of 1 x 1."""
    net = zoo.residual_conv()
    folding = {"conv0": (2, 6), "conv1": (2, 12), "conv2": (2, 12), "conv3": (3, 12), "conv4": (3, 18), "conv5": (3, 1),
               "fc": (1, 8)}
    p = plan.lower(net, {name: plan.Fold(*fold) for name, fold in folding.items()})
    buffer = p.stage("sum0.buffer_1")
    assert isinstance(buffer, plan.FifoStage) and buffer.fifo_depth > buffer.least_fifo_depth
    assert p.cycles.interval == max(stage.ii for stage in p.stages)
    q = images(net, 3)
    y = golden.evaluate(net, q)[net.outputs[0].tensor]
    values, started, finished = run(p, q)
    predicted = p.schedule(len(q))
    assert np.array_equal(values, y)
    assert (tuple(started), tuple(finished)) == (predicted.started, predicted.finished)
    assert np.array_equal(run(p, q[:2], i_gaps=cycle([0, 2, 1]), o_gaps=cycle([3, 0, 40]))[0], y[:2])
    flip_flops, memories = inventory(rtl.Core(p))
    assert flip_flops.total() == p.flip_flops
    assert memories == sorted((memory.width, memory.depth) for memory in p.memories)
    less = [replace(stage, fifo_depth=stage.fifo_depth - 1) if stage is buffer else stage for stage in p.stages]
    try:
        later = plan.schedule(less, 6, edges=p.edges).finished
    except plan.Blocked:
        later = None
    assert later != p.schedule(6).finished


ENGINES = [pytest.param("amaranth", "residual"), pytest.param("compiled", "branched", marks=pytest.mark.cocotb),
           pytest.param("cocotb", "identity", marks=[pytest.mark.cocotb, pytest.mark.slow])]


@pytest.mark.parametrize("engine, name", ENGINES)
def test_simulation_is_exact_in_value_and_time(tmp_path, engine, name):
    """Every stream between stages against golden, on the emitted Verilog."""
    net = zoo.GRAPHS[name]()
    chosen = folded(net)
    p = plan.lower(net, chosen)
    directory = BuildDirectory(tmp_path)
    ir.save(net, directory / "network.npz")
    (directory / "rtl").mkdir()
    (directory / "rtl/accelerator.v").write_text(rtl.verilog(p))
    directory.write_json("build.json", Manifest(
        board="ulx3s-85f", clock_hz=25_000_000, target_fps=None, output="logits",
        folds={node: {"pe": fold.pe, "simd": fold.simd} for node, fold in chosen.items()}, network=ir.digest(net)))
    result = simulate(directory, images(net, 6), engine=engine)
    assert result.problems() == []
    assert result.ok and result.exact
    assert result.measured == result.predicted == Measured(p.cycles.first, p.cycles.interval)
