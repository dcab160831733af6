"""Stalls of every kind, gaps, frames back to back and resets at any beat: results stay exact and in order."""

from dataclasses import replace

import numpy as np
import pytest
import zoo
from builds import FOLDS, build, images
from marks import ICARUS

from hwbnn import golden, ir
from hwbnn.errors import UserError
from hwbnn.plan import Fold, PipelineStage, lower
from hwbnn.sim import STALLS, simulate
from hwbnn.sim.beats import beats_of
from hwbnn.sim.cocotb_engine import CocotbEngine
from hwbnn.sim.compiled_engine import CompiledEngine
from hwbnn.sim.design import TOPLEVEL, Design
from hwbnn.sim.streams import stage_streams, taps

ENGINES = [
    pytest.param("amaranth", "verilator", 20),
    pytest.param("compiled", "verilator", 400, marks=pytest.mark.cocotb),
    pytest.param("cocotb", "icarus", 30, marks=[pytest.mark.cocotb, ICARUS]),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A build that all engines share, so that each simulator is built once."""
    return build(tmp_path_factory.mktemp("tiny"), zoo.tiny())


@pytest.fixture(scope="module")
def branched(tmp_path_factory):
    net = zoo.GRAPHS["branched"]()
    folds = {node.name: Fold(1, 1) for node in net.nodes if isinstance(node, ir.MatMul)}
    return build(tmp_path_factory.mktemp("branched"), net, folds)


@pytest.mark.parametrize("stalls", STALLS)
@pytest.mark.parametrize(("engine", "simulator", "count"), ENGINES[:2])
def test_results_are_exact_and_in_order(tiny, engine, simulator, count, stalls):
    net = zoo.tiny()
    x = images(net, count)
    result = simulate(tiny, x, engine=engine, simulator=simulator, stalls=stalls, seed=2)
    assert result.problems() == [] and result.stalls == stalls
    assert result.reset_after == (0 if stalls == "none" else (lower(net, FOLDS).input.beats + 1) // 2)
    assert np.array_equal(result.outputs, golden.integers(net, x))


@pytest.mark.cocotb
@pytest.mark.parametrize("simulator", [pytest.param("icarus", marks=ICARUS), "verilator"])
def test_cocotb_under_stalls_of_every_kind(tiny, simulator):
    """Every beat is right and in the cycle in which the compiled engine has it; two processes serve all kinds."""
    design = Design.of(tiny)
    q = design.encode(images(zoo.tiny(), 20))
    sent = {kind: design.traffic(q, stalls=kind, seed=2, reset_after=0 if kind == "none" else 3) for kind in STALLS}
    machine = CocotbEngine(simulator, design.verilog, toplevel=TOPLEVEL, directory=tiny / f"sim/{simulator}")
    other = CompiledEngine(design.verilog, toplevel=TOPLEVEL, directory=tiny / "sim/compiled")
    expected = beats_of(design.expected(q), design.plan.output)
    for kinds in (STALLS[:3], STALLS[3:]):
        phases = dict(zip(("steady", "unstalled", "stalled"), kinds, strict=False))
        records = machine.run({phase: sent[kind] for phase, kind in phases.items()})
        for phase, kind in phases.items():
            record, compiled = records[phase], other.run({phase: sent[kind]})[phase]
            assert record.faults == [] and np.array_equal(record.beats, expected), kind
            assert np.array_equal(record.starts, compiled.starts) and np.array_equal(record.ends, compiled.ends), kind


@pytest.mark.parametrize(("engine", "simulator", "count"), ENGINES[1:])
def test_engines_see_the_same_cycles(tiny, engine, simulator, count):
    """... under the worst stalls, after a reset that finds the design full."""
    x = images(zoo.tiny(), 10)
    options = {"stalls": "worst", "reset_after": 1000}
    one, other = (simulate(tiny, x, engine=name, simulator=simulator, **options) for name in ("amaranth", engine))
    assert one.ok and other.ok and one.cycles == other.cycles


@pytest.mark.parametrize("stalls", ["none", "worst"])
@pytest.mark.parametrize("engine", ["amaranth", pytest.param("compiled", marks=pytest.mark.cocotb)])
def test_reset_after_any_beat_forgets_everything(tiny, engine, stalls):
    net = zoo.tiny()
    x, beats = images(net, 5), lower(net, FOLDS).input.beats
    for count in {1, 2, beats - 1, beats, beats + 1, 3 * beats + 1, 10 * beats}:
        result = simulate(tiny, x, engine=engine, stalls=stalls, reset_after=count)
        assert result.problems() == [], f"after {count} beats"


@pytest.mark.parametrize("engine", ["amaranth", pytest.param("compiled", marks=pytest.mark.cocotb)])
@pytest.mark.parametrize("stalls", STALLS)
def test_a_graph_with_branches(branched, engine, stalls):
    net = zoo.GRAPHS["branched"]()
    x = images(net, 12)
    result = simulate(branched, x, engine=engine, stalls=stalls, check="layers")
    assert result.problems() == []
    assert np.array_equal(result.outputs, golden.integers(net, x))


@pytest.mark.cocotb
def test_worst_stalls_fill_every_fifo_and_run_every_stage_dry(tiny):
    design = Design.of(tiny)
    machine = CompiledEngine(design.verilog, toplevel=TOPLEVEL, directory=tiny / "sim/compiled")
    count = 200
    traffic = design.traffic(design.encode(images(zoo.tiny(), count)), stalls="worst")
    record = machine.run({"stalled": replace(traffic, taps=taps(design), counted=(0, count))})["stalled"]
    assert record.faults == []
    for stream, tapped in zip(stage_streams(design), record.taps, strict=True):
        assert tapped.stalled > 0 and tapped.transferred + tapped.stalled < record.cycles - 100, stream.name
        if isinstance(stream.stage, PipelineStage) and stream.stage.fifo_depth > 1:  # one place is a register
            assert tapped.occupancy == stream.stage.fifo_depth, stream.name


@pytest.mark.parametrize(("options", "message"), [
    ({"stalls": "some"}, "Stalls must be one of random, worst, gaps, none, not some"),
    ({"reset_after": -1}, "Beats before the reset must be an integer of at least 0, not -1"),
    ({"reset_after": 1.5}, r"Beats before the reset must be an integer of at least 0, not 1\.5"),
])
def test_bad_options(tiny, options, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        simulate(tiny, images(zoo.tiny(), 1), engine="amaranth", **options)
