"""The emitted Verilog of small networks against golden and plan, and where it differs when it is made wrong."""

import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import zoo
from hypothesis import given
from hypothesis import strategies as st
from marks import ICARUS

from hwbnn import golden, ir, rtl
from hwbnn.builddir import BuildDirectory, Manifest
from hwbnn.errors import UserError
from hwbnn.plan import Fold, UnitOptions, lower
from hwbnn.sim import Measured, Mismatch, SimulationResult, simulate
from hwbnn.sim.beats import beats_of, values_of
from hwbnn.sim.design import Design

FOLDS = {"fc0": Fold(3, 4), "fc1": Fold(1, 2)}
_EMITTED: dict[tuple[str, str], str] = {}


def build(path, net, folds=FOLDS, *, faulty: ir.Network | None = None, stages=None) -> BuildDirectory:
    """A build directory of ``net`` whose Verilog is that of ``faulty`` where it is given."""
    directory = BuildDirectory(path)
    directory.path.mkdir(exist_ok=True)
    ir.save(net, directory / "network.npz")
    (directory / "rtl").mkdir(exist_ok=True)
    (directory / "rtl/accelerator.v").write_text(_verilog(faulty or net, folds))
    directory.write_json("build.json", Manifest(
        board="ulx3s-85f", clock_hz=25_000_000, target_fps=None, output="class",
        folds={name: fold.record for name, fold in folds.items()}, network=ir.digest(net)))
    return directory


def _verilog(net: ir.Network, folds) -> str:
    """Emitted once, as most tests take the same few networks."""
    key = ir.digest(net), str(folds)
    if key not in _EMITTED:
        _EMITTED[key] = rtl.verilog(lower(net, folds))
    return _EMITTED[key]


def images(net, count, seed=0):
    return np.random.default_rng(seed).choice(net.input.levels.values(), (count, *net.input.graph_shape))


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


def wrong_weight(net, name, row, column):
    node = net.node(name)
    weights = node.weights.copy()
    weights[row, column] *= -1
    return _changed(net, replace(node, weights=weights))


def wrong_threshold(net, name, channel):
    node = net.node(name)
    thresholds = node.thresholds.copy()
    thresholds[channel] += 6
    return _changed(net, replace(node, thresholds=thresholds))


def _changed(net, node):
    return replace(net, nodes=tuple(node if node.name == n.name else n for n in net.nodes))


@ICARUS
@pytest.mark.cocotb
@pytest.mark.parametrize("fault", ["weight-0", "weight-1", "threshold"])
def test_fault_is_located(tmp_path, fault):
    """A wrong weight or threshold in the Verilog is named: layer, frame, channel, golden's value and the hardware's."""
    net = zoo.tiny()
    layer, tensor, channel, faulty = {
        "weight-0": ("fc0 + act0", "h0", 4, wrong_weight(net, "fc0", 4, 1)),
        "weight-1": ("fc1", "acc1", 2, wrong_weight(net, "fc1", 2, 5)),
        "threshold": ("fc0 + act0", "h0", 3, wrong_threshold(net, "act0", 3)),
    }[fault]
    x = images(net, 60)
    result = simulate(build(tmp_path, net, faulty=faulty), x, simulator="icarus")
    right, seen = (golden.evaluate(one, golden.encode(one, x)) for one in (net, faulty))
    differs = np.flatnonzero(np.any(right["class"] != seen["class"], axis=1))
    assert len(differs) and result.mismatches == len(differs) and not result.exact and result.cycles_as_predicted
    frames = np.flatnonzero(right[tensor][:, channel] != seen[tensor][:, channel])
    found = result.first_mismatch
    assert found is not None
    assert (found.layer, found.channel, found.pixel, found.frame) == (layer, channel, 0, frames[0])
    assert found.expected == right[tensor][frames[0], channel] and found.seen == seen[tensor][frames[0], channel]
    assert result.problems()[0] == f"Outputs must equal golden's, and {len(differs)} of 60 frames differ"
    assert json.loads((tmp_path / "sim/result.json").read_text())["first_mismatch"]["layer"] == layer


@ICARUS
@pytest.mark.cocotb
@pytest.mark.parametrize("stage", ["fc0", "fc1"])
def test_stuck_stream_is_located(tmp_path, stage):
    """A stage that stops answering is named as the one that the others wait for."""
    net = zoo.tiny()
    directory = build(tmp_path, net)
    verilog = directory / "rtl/accelerator.v"
    verilog.write_text(stuck(verilog.read_text(), stage))
    result = simulate(directory, images(net, 5), simulator="icarus")
    assert result.mismatches == 5 and len(result.outputs) == 0 and result.measured is None
    assert result.faults[0].startswith("Design must take and return ")
    assert result.first_mismatch is not None
    assert (result.first_mismatch.stage, result.first_mismatch.frame) == (stage, 0)
    assert result.first_mismatch.seen is None
    assert result.faults[-1].startswith(f"Stage {stage} must go on, and it stopped after 0 output beats; these wait: ")


@ICARUS
@pytest.mark.cocotb
def test_fault_that_the_outputs_hide_is_found_in_the_layers(tmp_path):
    net, channel = zoo.tiny(), 1
    faulty = wrong_threshold(net, "act0", channel)
    x = images(net, 60)
    directory = build(tmp_path, net, faulty=faulty)
    assert simulate(directory, x, simulator="icarus").exact, "no class differs"
    result = simulate(directory, x, simulator="icarus", check="layers")
    right, seen = (golden.evaluate(one, x)["h0"][:, channel] for one in (net, faulty))
    frame = int(np.flatnonzero(right != seen)[0])
    assert result.mismatches == 0 and not result.exact and not result.ok
    found = result.first_mismatch
    assert found is not None
    assert (found.layer, found.frame, found.channel) == ("fc0 + act0", frame, channel)
    assert (found.expected, found.seen) == (right[frame], seen[frame])


@ICARUS
@pytest.mark.cocotb
def test_dropped_beat_is_located(tmp_path):
    """A FIFO that loses its eighth entry is named, with the frame that the entry belonged to."""
    net = zoo.tiny()
    directory = build(tmp_path, net)
    verilog = directory / "rtl/accelerator.v"
    verilog.write_text(dropping(verilog.read_text(), "fc1", 7))
    x = images(net, 5)
    result = simulate(directory, x, simulator="icarus", check="layers")
    found = result.first_mismatch
    assert found is not None
    beats = lower(net, FOLDS).stage("fc1").o.beats
    assert found.stage == "fc1" and (found.frame, found.channel) == (7 // beats, 7 % beats)
    logits = golden.evaluate(net, x)["acc1"].ravel()
    assert (found.expected, found.seen) == (logits[7], logits[8])
    assert any(fault.startswith("Design must take and return") for fault in result.faults)


def dropping(text, stage, entry):
    """Make the stage's FIFO lose one entry."""
    head, name, body = text.partition(f"module \\accelerator.core.{stage}.fifo (")
    module, end, rest = body.partition("endmodule")
    ports, *lines = module.splitlines()
    lines = [line if re.match(r"\s*(input|wire|output) |.*\.\w+\(", line) or "w_en" not in line
             else line.replace("w_en", "w_en_kept") for line in lines]
    assert sum("w_en_kept" in line for line in lines) >= 2
    kept = f"reg [31:0] seen = 0; always @(posedge clk) seen <= seen + w_en; wire w_en_kept = w_en & (seen != {entry});"
    return head + name + "\n".join([ports, kept, *lines]) + end + rest


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


def stuck(text, stage):
    """Make the stage's output never valid."""
    head, name, body = text.partition(f"module \\accelerator.core.{stage}.fifo (")
    found = re.search(r"(?<=o__valid <= )\S+(?= ;)", body.split("endmodule")[0])
    assert name and found
    return head + name + body[:found.start()] + "1'b0" + body[found.end():]


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


@pytest.mark.parametrize(("x", "message"), [
    (np.zeros((3, 7)), "Images must have shape N x 8, not 3 x 7"),
    (np.zeros((0, 8)), "Images must be at least one, not an empty set"),
    (np.full((2, 8), 16), r"Images must hold integers 0\.\.15, not 16\.\.16 of int64"),
    (np.full((2, 8), 0.5), r"Images must hold integers 0\.\.15, not 0\.5\.\.0\.5 of float64"),
])
def test_bad_images(tmp_path, x, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        simulate(build(tmp_path, zoo.tiny()), x)


def test_missing_verilog(tmp_path):
    directory = build(tmp_path, zoo.tiny())
    (directory / "rtl/accelerator.v").unlink()
    with pytest.raises(UserError, match=r"^File \S+accelerator\.v must exist; make it with "
                                        r"`hwbnn compile MODEL -o \S+`$"):
        simulate(directory, images(zoo.tiny(), 1))


def test_missing_build(tmp_path):
    with pytest.raises(UserError, match=r"^Build directory must be complete, and \S+ has no build\.json; make it "
                                        r"with `hwbnn compile MODEL -o \S+`$"):
        simulate(BuildDirectory(tmp_path), np.zeros((1, 8)))


@pytest.mark.parametrize(("options", "message"), [
    ({"engine": "fast"}, "Engine must be one of compiled, cocotb, amaranth, not fast"),
    ({"engine": "cocotb", "jobs": 2}, "Jobs must be 1 for the engine cocotb, not 2"),
    ({"engine": "compiled", "jobs": 0}, "Jobs must be an integer of at least 1, not 0"),
    ({"engine": "compiled", "simulator": "icarus"}, "Simulator must be verilator for the engine compiled, not icarus"),
    ({"engine": "cocotb", "wave": "x.vcd"}, "Waveform must come from the engine compiled, not cocotb"),
    ({"engine": "compiled", "wave": "x.lxt"}, r"Waveform must be a \.vcd, \.fst or \.saif file, not x\.lxt"),
    ({"engine": "compiled", "wave": "x.vcd", "jobs": 2}, "Jobs must be 1 for a waveform, not 2"),
    ({"engine": "compiled", "wave": "nowhere/x.vcd"},
     "Waveform must be written to a folder that exists, and nowhere does not or is not writable"),
    ({"frames": (0, 2)}, "Frames must be a range within 0:1, not 0:2"),
    ({"frames": (1, 1)}, "Frames must be a range within 0:1, not 1:1"),
    ({"frames": (-1, 1)}, "Frames must be a range within 0:1, not -1:1"),
    ({"check": "all"}, "Check must be outputs or layers, not all"),
    ({"simulator": "questa"}, "Simulator must be verilator or icarus, not questa"),
])
def test_bad_options(tmp_path, options, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        simulate(build(tmp_path, zoo.tiny()), images(zoo.tiny(), 1), **options)


@pytest.mark.parametrize("seed", [-1, 1.5])
def test_bad_seed(tmp_path, seed):
    with pytest.raises(UserError, match=f"^Seed must be an integer of at least 0, not {seed}$"):
        simulate(build(tmp_path, zoo.tiny()), images(zoo.tiny(), 1), seed=seed)


def test_problems_are_sentences():
    mismatch = Mismatch("fc0 + act0", "fc0", 17, 0, 3, 1, -1, 42, "stalled")
    result = SimulationResult(
        engine="cocotb", simulator="icarus", versions={}, check="outputs", frames=20, mismatches=2,
        first_mismatch=mismatch, faults=("a fault",), measured=Measured(11, 6), predicted=Measured(10, 5),
        profile=None, stalls="random", reset_after=3, seed=1, cycles=100, seconds=0.5, build_seconds=0.1, network="",
        outputs=np.zeros((20, 1), int), classes=np.zeros(20, int))
    assert result.problems() == [
        "a fault",
        "Outputs must equal golden's, and 2 of 20 frames differ",
        ("Layer fc0 + act0 (stage fc0) must give 1 at frame 17, pixel 0, channel 3, not -1 in cycle 42 of the "
         "stalled phase"),
        "Cycles of the first frame must be 10 as predicted, not 11",
        "Cycles between frames must be 5 as predicted, not 6",
    ]
    assert not result.ok and not result.exact and not result.cycles_as_predicted
    assert str(replace(mismatch, seen=None, cycle=None)).endswith("channel 3, not nothing of the stalled phase")
