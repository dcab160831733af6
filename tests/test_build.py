"""Builds: what compile writes, what it keeps, and that a failure changes nothing."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from zoo import mlp, tiny

import hwbnn
from hwbnn import UserError, golden, ir, rtl
from hwbnn.build import Build, compile, load
from hwbnn.build.swap import move_into, undisturbed
from hwbnn.classify import classifier
from hwbnn.cost import Estimate, pace, technology
from hwbnn.plan import Fold

ROOT = Path(__file__).parent.parent
FOLDS = {"fc0": Fold(2, 4), "fc1": Fold(3, 2)}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 16, (12, 8))


@pytest.fixture(autouse=True, scope="module")
def verilog_once():
    """Generate the Verilog of each hardware once in this module: it takes a second."""
    known = {}

    def verilog(plan, *, lut_memory, family=None):
        key = ir.digest(plan.network), str(plan.folds), lut_memory, family
        if key not in known:
            known[key] = rtl.verilog(plan, lut_memory=lut_memory, family=family)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hwbnn.build.compilation.verilog", verilog)
        yield


@pytest.fixture
def build(tmp_path) -> Build:
    return compile(tiny(), tmp_path / "b", board="ulx3s-85f", folds=FOLDS)


# the package -------------------------------------------------------------------------------------------------

def test_package_loads_names_when_they_are_used():
    code = ("import sys, hwbnn; before = set(sys.modules); hwbnn.golden; "
            "print('numpy' in before, 'amaranth' in sys.modules, callable(hwbnn.load))")
    path = os.pathsep.join(str(ROOT / name) for name in ("", "boards"))
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                            env={**os.environ, "PYTHONPATH": path})
    assert result.stdout == "False False True\n"


def test_package_has_what_it_lists():
    assert set(hwbnn.__all__) <= set(dir(hwbnn))
    for name in hwbnn.__all__:
        assert getattr(hwbnn, name) is not None
    assert hwbnn.compile is compile and hwbnn.ir is ir
    with pytest.raises(AttributeError, match=r"^module 'hwbnn' has no attribute 'nothing'$"):
        hwbnn.nothing  # noqa: B018  # the point of the test


# load --------------------------------------------------------------------------------------------------------

def test_load_reads_files_and_builds(tmp_path, build):
    ir.save(tiny(), tmp_path / "net.npz")
    assert load(tmp_path / "net.npz") == tiny()
    assert load(build.path) == tiny()


def test_load_needs_something_there(tmp_path):
    with pytest.raises(UserError, match=rf"^Model must be an \.onnx or \.npz file or a build directory, and "
                                        rf"{tmp_path}/x does not exist$"):
        load(tmp_path / "x")


# compile -----------------------------------------------------------------------------------------------------

def test_compile_writes_a_build(tmp_path):
    net = mlp((8, 6, 3), name="logits", seed=3)
    build = compile(net, tmp_path / "a" / "b", board="icebreaker", folds={"fc0": (2, 4), "fc1": (3, 2)},
                    source="model.onnx", command="hwbnn compile ...")
    assert sorted(contents(build.path)) == [
        "build.json", "commands.json", "fold.json", "network.npz", "rtl/accelerator.v", "rtl/behavioural.v"]
    assert build.network == classifier(net)
    assert build.folds == FOLDS and build.board.name == "icebreaker"
    assert (build.manifest.clock_hz, build.manifest.source, build.manifest.command) == (
        build.board.clock_hz, "model.onnx", "hwbnn compile ...")
    assert build.manifest.versions["hwbnn"] == hwbnn.__version__
    assert re.search(r"^module accelerator\(", (build.path / "rtl/accelerator.v").read_text(), re.MULTILINE)
    assert not list(tmp_path.rglob(".*"))


def test_verilog_asks_for_lut_memory_where_the_family_has_some(tmp_path, build):
    other = compile(tiny(), tmp_path / "other", board="icebreaker", folds=FOLDS)
    texts = [one.directory.behavioural.read_text() for one in (build, other)]
    assert ['ram_style = "distributed"' in text for text in texts] == [True, False]
    assert texts[1] == texts[0].replace('ram_style = "distributed"', 'ram_style = "logic"')


def test_compile_for_a_rate_reaches_it(tmp_path):
    build = compile(tiny(), tmp_path / "b", board="icebreaker", target_fps=1_000_000)
    assert build.manifest.clock_hz / build.plan.cycles.interval >= 1_000_000
    assert build.manifest.target_fps == 1_000_000


def test_compile_within_look_up_tables_and_a_latency_and_what_fits(tmp_path):
    fitting, small, quick = (compile(tiny(), tmp_path / "b", board="icebreaker", **goal) for goal in (
        {"fit": True}, {"max_luts": 1200}, {"max_latency": "4us"}))
    assert small.plan.cycles.interval > fitting.plan.cycles.interval
    assert small.estimate().resources.luts.high <= 1200
    assert quick.manifest.folds != small.manifest.folds and quick.plan.cycles.first < 48
    assert all(build.manifest.target_fps is None for build in (fitting, small, quick))


def test_compile_for_the_fewest_look_up_tables_makes_block_memories_as_deep_as_what_is_in_them(tmp_path):
    net = mlp((64, 512, 8), name="deep", inputs=ir.BIPOLAR)
    folds = {"fc0": (1, 32), "fc1": (1, 8)}  # 1,024 words of 32 bits
    share, luts = (compile(net, tmp_path / of, board="ulx3s-85f", folds=folds, minimize=of)
                   for of in ("share", "luts"))
    found = {of.path.name: [memory.width for memory in of.plan.stage("fc0").memories if memory.bank == "fc0.weights"]
             for of in (share, luts)}
    assert found == {"share": [32], "luts": [18, 14]}
    assert [of.manifest.pace["rows"] for of in (share, luts)] == [2, 1]
    assert Build(luts.path).plan.pace == luts.plan.pace == pace(technology("ecp5-85"), 10**6, deep=True)


def test_compile_keeps_its_choice_for_another_compile(tmp_path):
    first = compile(tiny(), tmp_path / "a", board="icebreaker", target_fps=1_000_000)
    choice = json.loads((first.path / "fold.json").read_text())
    assert choice["network"] == first.manifest.network and choice["folds"] == first.manifest.folds
    again = compile(tiny(), tmp_path / "b", board="icebreaker", folds=first.path / "fold.json")
    assert again.folds == first.folds
    assert (again.path / "rtl/accelerator.v").read_bytes() == (first.path / "rtl/accelerator.v").read_bytes()


def test_compile_makes_the_chips_own_cells_and_their_twin(build):
    made, twin = ((build.path / "rtl" / name).read_text() for name in ("accelerator.v", "behavioural.v"))
    assert "CCU2C" in made and "CCU2C" not in twin
    assert made == rtl.verilog(build.plan, family="ecp5") and twin == rtl.verilog(build.plan)
    assert build.directory.behavioural == build.path / "rtl/behavioural.v"
    (build.path / "rtl/behavioural.v").write_text(made)
    with pytest.raises(UserError, match=rf"^Verilog in {build.path} must be the one that was compiled, and it was "
                                        rf"changed; make it again with `hwbnn compile MODEL -o {build.path}`$"):
        build.simulate(np.zeros((1, 8), int), engine="compiled")


def test_verilog_without_cells_needs_no_twin(build, monkeypatch):
    monkeypatch.setattr("hwbnn.build.compilation.verilog",
                        lambda plan, family=None, **others: rtl.verilog(plan, **others))
    compile(tiny(), build.path, board="ulx3s-85f", folds=FOLDS)
    assert not (build.path / "rtl/behavioural.v").exists()
    assert build.directory.behavioural == build.directory.verilog


def test_verilog_of_another_compile_is_refused(build):
    """As a kill in the middle of the swap may leave it: the network is the same, the folding is not."""
    assert build.directory.verilog == build.path / "rtl/accelerator.v"
    (build.path / "rtl/accelerator.v").write_text("module accelerator(); endmodule\n")
    for use in (lambda: build.simulate(np.zeros((1, 8), int), engine="amaranth"), build.synth):
        with pytest.raises(UserError, match=rf"^Verilog in {build.path} must be the one that was compiled, and it was "
                                            rf"changed; make it again with `hwbnn compile MODEL -o {build.path}`$"):
            use()


def test_compile_can_send_logits(tmp_path):
    net = mlp((8, 6, 3), name="logits", seed=3)
    assert compile(net, tmp_path / "b", board="ulx3s-85f", folds=FOLDS, output="logits").network == net


def test_compile_is_reproducible(tmp_path, build, monkeypatch):
    monkeypatch.setattr("hwbnn.build.compilation.verilog", rtl.verilog)
    again = compile(tiny(), tmp_path / "again", board="ulx3s-85f", folds=FOLDS)
    for name in ("network.npz", "rtl/accelerator.v", "build.json"):
        assert (again.path / name).read_bytes() == (build.path / name).read_bytes()


def test_compile_takes_training_along(tmp_path, build):
    model = tmp_path / "model.onnx"
    model.write_bytes(b"some model")
    (tmp_path / "metrics.json").write_text(json.dumps({"model_sha256": "0" * 64}))
    compile(tiny(), build.path, board="ulx3s-85f", folds=FOLDS, source=model)
    assert not (build.path / "training.json").exists()  # the figures of another model
    right = hashlib.sha256(b"some model").hexdigest()
    (tmp_path / "metrics.json").write_text(json.dumps({"model_sha256": right, "accuracy": {"test": 0.9}}))
    compile(tiny(), build.path, board="ulx3s-85f", folds=FOLDS, source=model)
    assert json.loads((build.path / "training.json").read_text())["accuracy"] == {"test": 0.9}
    compile(tiny(), build.path, board="ulx3s-85f", folds=FOLDS)
    assert not (build.path / "training.json").exists()


def test_compile_keeps_results_of_the_same_hardware(build):
    build.estimate(command="estimate it")
    (build.path / "sim").mkdir()
    (build.path / "sim/result.json").write_text("{}")
    compile(tiny(), build.path, board="ulx3s-85f", folds=FOLDS, command="again")
    assert {"estimate.json", "sim/result.json"} <= set(contents(build.path))
    commands = json.loads((build.path / "commands.json").read_text())
    assert {step: entry["command"] for step, entry in commands.items()} == {
        "compile": "again", "estimate": "estimate it"}


@pytest.mark.parametrize("change", [{"board": "icebreaker"}, {"folds": {"fc0": (1, 4), "fc1": (3, 2)}}, {"seed": 2}])
def test_compile_removes_results_of_other_hardware(build, change):
    build.estimate()
    (build.path / "synth").mkdir()
    (build.path / "synth/ulx3s.bit").write_text("bits")
    (build.path / "notes.txt").write_text("mine")
    compile(tiny(), build.path, **{"board": "ulx3s-85f", "folds": FOLDS, **change})
    assert sorted(contents(build.path)) == [
        "build.json", "commands.json", "fold.json", "network.npz", "notes.txt", "rtl/accelerator.v",
        "rtl/behavioural.v"]


@pytest.mark.parametrize("step", range(9))
def test_failing_anywhere_in_the_swap_changes_nothing(build, monkeypatch, step):
    build.estimate()
    before, siblings = contents(build.path), sorted(build.path.parent.iterdir())
    replace, calls = os.replace, iter(range(100))

    def fail(a, b):
        if Path(b).parent != build.path and ".before" not in str(b) and Path(b).parent.name != "rtl":
            return replace(a, b)  # an atomic write in the draft
        if next(calls) == step:
            raise OSError(5, "Input/output error")
        return replace(a, b)

    monkeypatch.setattr(os, "replace", fail)
    try:
        compile(tiny(), build.path, board="icebreaker", folds=FOLDS)
    except OSError:
        assert contents(build.path) == before
    else:
        assert step >= 6  # estimate.json away; network, Verilog, folding, commands, build.json there
    assert sorted(build.path.parent.iterdir()) == siblings


def test_interrupts_wait_for_the_swap():
    done = []

    def swap():
        with undisturbed():
            signal.raise_signal(signal.SIGINT)
            done.append("swap")
        done.append("after")

    with pytest.raises(KeyboardInterrupt):
        swap()
    assert done == ["swap"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_move_into_a_new_place_is_one_rename(tmp_path):
    (tmp_path / "draft").mkdir()
    (tmp_path / "draft/a").write_text("1")
    move_into(tmp_path / "there", tmp_path / "draft", names=["a"], outdated=[])
    assert contents(tmp_path / "there") == {"a": b"1"}


# what a build can do -----------------------------------------------------------------------------------------

def test_build_must_be_there(tmp_path):
    with pytest.raises(UserError, match=rf"^Build directory must be complete, and {tmp_path}/none has no build\.json; "
                                        rf"make it with `hwbnn compile MODEL -o {tmp_path}/none`$"):
        Build(tmp_path / "none")


def test_repr_rebuilds(build):
    assert repr(build) == f"Build({str(build.path)!r})"


def test_estimate_is_kept(build):
    assert build.estimated is None
    result = build.estimate(command="hwbnn estimate b")
    assert build.estimated == result and isinstance(result, Estimate)
    assert json.loads((build.path / "commands.json").read_text())["estimate"]["command"] == "hwbnn estimate b"


def test_simulate_notes_accuracy(build, images):
    labels = golden.classes(tiny(), images)
    labels[0] = (labels[0] + 1) % 3
    result = build.simulate(images, labels=labels, images="x.npy", engine="amaranth", stalls="none")
    assert result.ok
    record = json.loads((build.path / "accuracy.json").read_text())
    assert (record["images"], record["count"]) == ("x.npy", 12)
    assert record["golden"] == record["hardware"] == 11 / 12
    assert np.sum(record["confusion"]) == 12 and np.trace(record["confusion"]) == 11
    assert record["confusion"][labels[0]][golden.classes(tiny(), images)[0]] == 1


def test_simulate_without_labels_forgets_the_accuracy_of_others(build, images):
    build.simulate(images, labels=np.zeros(12, int), engine="amaranth", stalls="none")
    build.simulate(images[:3], engine="amaranth", stalls="none")
    assert not (build.path / "accuracy.json").exists()


def test_accuracy_of_logits(tmp_path, images):
    net = mlp((8, 6, 3), name="logits", seed=3)
    build = compile(net, tmp_path / "b", board="ulx3s-85f", folds=FOLDS, output="logits")
    build.simulate(images, labels=golden.classes(net, images), engine="amaranth", stalls="none")
    record = json.loads((build.path / "accuracy.json").read_text())
    assert record["golden"] == record["hardware"] == 1


@pytest.mark.parametrize("labels", [np.zeros(3, int), np.zeros(12), -np.ones(12, int)])
def test_labels_must_be_class_numbers(build, images, labels):
    with pytest.raises(UserError, match=rf"^Labels must be 12 class numbers, one per image, not {labels.dtype} of "
                                        rf"shape \({len(labels)},\)$"):
        build.simulate(images, labels=labels, engine="amaranth")


@pytest.mark.slow
def test_run_on_a_virtual_board(build, images):
    assert np.array_equal(build.run(images[:3], "virtual"), golden.classes(tiny(), images[:3]))


def test_a_model_file_may_stand_for_the_network(tmp_path):
    ir.save(tiny(), tmp_path / "tiny.npz")
    build = hwbnn.compile(tmp_path / "tiny.npz", tmp_path / "b", board="icebreaker", target_fps=1000)
    assert build.network == tiny() and build.manifest.source == str(tmp_path / "tiny.npz")
