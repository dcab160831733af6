"""The emitted Verilog of small networks against golden and plan, and where it differs when it is made wrong."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
import zoo
from builds import FOLDS, build, images
from hypothesis import given
from hypothesis import strategies as st
from marks import ICARUS

from hwbnn import golden, ir, rtl
from hwbnn.plan import Fold, UnitOptions, lower
from hwbnn.sim import Measured, simulate
from hwbnn.sim.beats import beats_of, values_of
from hwbnn.sim.design import Design

ENGINES = [
    pytest.param("cocotb", "icarus", marks=[ICARUS, pytest.mark.cocotb]),
    pytest.param("cocotb", "verilator", marks=pytest.mark.cocotb),
    pytest.param("compiled", "verilator", marks=pytest.mark.cocotb),
    pytest.param("amaranth", "verilator"),
]


@pytest.mark.parametrize(("engine", "simulator"), ENGINES)
def test_hardware_is_exact_in_value_and_time(tmp_path, engine, simulator):
    net = zoo.tiny()
    directory, x = build(tmp_path, net), images(net, 100)
    told = []
    result = simulate(directory, x, engine=engine, simulator=simulator,
                      progress=lambda done, total: told.append((done, total)))
    assert result.problems() == []
    assert result.ok and result.exact and result.mismatches == 0 and result.first_mismatch is None
    assert np.array_equal(result.classes, golden.classes(net, x))
    assert np.array_equal(result.outputs, golden.integers(net, x))
    cycles = lower(net, FOLDS).cycles
    assert result.measured == result.predicted == Measured(cycles.first, cycles.interval)
    total = 100 + Design.of(directory).steady_frames
    assert told[0] == (0, total) and told[-1] == (total, total)
    kept = json.loads((directory / "sim/result.json").read_text())
    assert kept["ok"] and kept["frames"] == 100 and kept["engine"] == engine
    assert kept["simulator"] == ("amaranth" if engine == "amaranth" else simulator)
    assert kept["classes"] == result.classes.tolist() and kept["network"] == ir.digest(net)
    assert kept["measured"] == {"first": cycles.first, "interval": cycles.interval}


@pytest.mark.parametrize("engine", [pytest.param("compiled", marks=pytest.mark.cocotb), "amaranth"])
def test_cycles_that_depend_on_images_are_told_from_the_images(tmp_path, engine):
    net = zoo.MLPS["ternary"]()
    folds = {name: Fold(1, 1, UnitOptions(zeros="dynamic")) for name in ("fc0", "fc1")}
    x = np.where(np.random.default_rng(1).random((30, 12)) < 0.7, 0, images(net, 30))
    result = simulate(build(tmp_path, net, folds), x, engine=engine)
    assert result.problems() == []
    cycles = lower(net, folds).cycles
    assert result.measured.first < cycles.first and result.measured.interval < cycles.interval


@pytest.mark.cocotb
def test_jobs_share_frames_but_not_the_measurement(tmp_path):
    net = zoo.GRAPHS["branched"]()  # with a fork, whose ports have other names
    folds = {node.name: Fold(1, 1) for node in net.nodes if isinstance(node, ir.MatMul)}
    directory, x = build(tmp_path, net, folds), images(net, 50)
    for check in ("outputs", "layers"):
        result = simulate(directory, x, engine="compiled", check=check, jobs=3)
        assert result.problems() == []
        assert np.array_equal(result.outputs, golden.integers(net, x))
        assert result.profile is not None
        assert result.profile.cycles == result.profile.frames * result.predicted.interval


@ICARUS
@pytest.mark.cocotb
def test_logits_and_a_single_image(tmp_path):
    net = zoo.MLPS["logits"]()
    directory = build(tmp_path, net, {"fc0": Fold(2, 3), "fc1": Fold(4, 8)})
    x = images(net, 1)
    result = simulate(directory, x, simulator="icarus", stalls="none")
    assert result.ok and result.frames == 1
    assert np.array_equal(result.outputs, golden.integers(net, x))
    assert np.array_equal(result.classes, golden.integers(net, x).argmax(axis=1))


PROFILED = ["tiny", "bipolar-inputs", "ternary", "falling", "one-layer"]


@pytest.mark.parametrize("name", PROFILED)
def test_profile_accounts_for_every_cycle(tmp_path, name):
    net = zoo.MLPS[name]()
    nodes = [node for node in net.nodes if isinstance(node, ir.MatMul)]
    folds = {node.name: Fold(1 + node.rows % 2, 2 if node.columns % 2 == 0 else 1) for node in nodes}
    folds = {node.name: Fold(fold.pe if node.rows % fold.pe == 0 else 1, fold.simd)
             for node, fold in zip(nodes, folds.values(), strict=True)}
    result = simulate(build(tmp_path, net, folds), images(net, 3), engine="amaranth", check="layers")
    assert result.problems() == []
    found, plan = result.profile, lower(net, folds)
    assert found is not None
    assert found.cycles == found.frames * plan.cycles.interval
    assert plan.stage(found.bottleneck).ii == max(stage.ii for stage in plan.stages)
    assert [row.stage for row in found.stages] == [stage.name for stage in plan.stages]
    for row, stage in zip(found.stages, plan.stages, strict=True):
        assert row.transferred == found.frames * stage.o.beats
        assert row.transferred + row.stalled + row.starved + row.idle == found.cycles
        assert row.utilisation == pytest.approx(stage.ii / plan.cycles.interval, abs=1e-6)
        assert row.occupancy is None
    first, last = found.stages[0].passes[0][0], found.stages[-1].passes[0][1]
    assert (first, last) == (0, plan.cycles.first)
    kept = json.loads((tmp_path / "sim/result.json").read_text())["profile"]
    assert kept["bottleneck"] == found.bottleneck and len(kept["stages"]) == len(plan.stages)
    timeline = ElementTree.parse(tmp_path / "sim/timeline.svg").getroot()
    assert len(timeline.findall("{*}rect/{*}title")) == 6 * len(plan.stages)


@pytest.mark.parametrize("name", sorted(zoo.GRAPHS))
def test_every_stream_of_a_graph_is_compared(tmp_path, name):
    """Forks, branches and sums: each stream carries what golden says."""
    net = zoo.GRAPHS[name]()
    folds = {node.name: Fold(1, 1) for node in net.nodes if isinstance(node, ir.MatMul)}
    directory = build(tmp_path, net, folds)
    result = simulate(directory, images(net, 3), engine="amaranth", check="layers")
    assert result.problems() == []
    assert result.profile is not None
    assert len(result.profile.stages) == len(lower(net, folds).edges) + 1
    assert result.profile.cycles == result.profile.frames * result.predicted.interval


@ICARUS
@pytest.mark.cocotb
def test_stalls_fill_fifos_to_their_depth_and_no_further(tmp_path):
    net = zoo.tiny()
    result = simulate(build(tmp_path, net), images(net, 4), simulator="icarus", check="layers")
    assert result.ok and result.profile is not None
    rows = [row for row in result.profile.stages if (row.fifo_depth or 0) > 1]  # one place is a register
    assert len(rows) == 4
    assert all(row.occupancy is not None and 1 <= row.occupancy <= row.fifo_depth for row in rows)
    into = [row.stalled for row in result.profile.stages]
    at = [row.stage for row in result.profile.stages].index(result.profile.bottleneck)
    assert into[at - 1] > 0 and into[at] == 0, "stalled before the bottleneck, not behind it"


@pytest.mark.cocotb
def test_waveform_holds_the_signals_that_its_lists_name(tmp_path):
    """... and of the frames that were asked for, on the very streams, golden's values."""
    net = zoo.tiny()
    directory, x, wave = build(tmp_path / "build", net), images(net, 6), tmp_path / "out.vcd"
    result = simulate(directory, x, engine="compiled", frames=(3, 5), stalls="none", wave=wave)
    assert result.ok and result.frames == 2 and np.array_equal(result.classes, golden.classes(net, x[3:5]))
    assert not (directory / "sim/result.json").exists(), "a look at some frames is not the set's result"
    widths, changes = read_vcd(wave)
    listed = [line for line in wave.with_suffix(".gtkw").read_text().splitlines() if line.startswith("TOP.")]
    assert len(listed) >= 25
    for line in listed:
        name, _, rest = line.partition("[")
        assert widths[name] == (int(rest.split(":")[0]) + 1 if rest else 1)
    added = [line.split() for line in wave.with_suffix(".sucl").read_text().splitlines()]
    assert {name for command, name in (line for line in added if len(line) == 2) if command == "variable_add"} == {
        line.partition("[")[0] for line in listed}
    assert result.profile is not None
    stage = "TOP.accelerator.core.fc1.o"
    logits = lower(net, FOLDS).stage("fc1").o
    seen = [sample[f"{stage}__payload"] for sample in changes
            if sample.get(f"{stage}__valid") == 1 and sample.get(f"{stage}__ready") == 1]
    packed = np.array([list(value.to_bytes(-(-logits.bits // 8), "little")) for value in seen], np.uint8)
    values = values_of(packed.reshape(2, logits.beats, -1), logits, 3)
    assert np.array_equal(values, golden.evaluate(net, x[3:5])["acc1"])


def read_vcd(path):
    """Bits of every signal by hierarchical name, and all values just before each rising edge of aclk.

    What changes at one time stands in any order.
    """
    from vcd.reader import TokenKind, tokenize
    scope, names, widths, now, then, edges = [], {}, {}, {}, {}, []
    with path.open("rb") as file:
        for token in tokenize(file):
            if token.kind is TokenKind.SCOPE:
                scope.append(token.scope.ident)
            elif token.kind is TokenKind.UPSCOPE:
                scope.pop()
            elif token.kind is TokenKind.VAR:
                name = ".".join([*scope, token.var.reference])
                names.setdefault(token.var.id_code, []).append(name)
                widths[name] = token.var.size
            elif token.kind is TokenKind.CHANGE_TIME:
                if then.get("TOP.accelerator.aclk") == 1:
                    edges.append(dict(now))
                now.update(then)
                then = {}
            elif token.kind in (TokenKind.CHANGE_SCALAR, TokenKind.CHANGE_VECTOR):
                then |= dict.fromkeys(names[token.data.id_code], int(token.data.value))
    return widths, edges


@given(st.sampled_from(sorted(zoo.MLPS)), st.integers(1, 3))
def test_beats_are_the_generators(name, count):
    net = zoo.MLPS[name]()
    plan = lower(net, {node.name: Fold(1, 1) for node in net.nodes if isinstance(node, ir.MatMul)})
    q = images(net, count, seed=count)
    words = rtl.stream_words(plan, q)
    packed = beats_of(q, plan.input).reshape(-1, -(-plan.input.bits // 8))
    assert [int.from_bytes(row.tobytes(), "little") for row in packed] == words
    y = golden.evaluate(net, q)[net.outputs[0].tensor]
    beats = beats_of(y, plan.output)
    words = [int.from_bytes(row.tobytes(), "little") for row in beats.reshape(-1, beats.shape[-1])]
    assert np.array_equal(rtl.result_values(plan, words), y)
    assert np.array_equal(values_of(beats, plan.output, plan.output.beats * plan.output.lanes).reshape(y.shape), y)
