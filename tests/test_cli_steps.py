"""The commands one after the other: what they print, what they refuse, and the demo as a whole."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import FOLDS, call, contents, refused
from typer.testing import CliRunner
from zoo import tiny

from hwbnn import golden, ir
from hwbnn.build import Build
from hwbnn.cli import app, check
from hwbnn.errors import UserError


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a network, images, and a build of it."""
    folder = tmp_path_factory.mktemp("made")
    ir.save(tiny(), folder / "tiny.npz")
    np.save(folder / "x.npy", np.random.default_rng(1).integers(0, 16, (20, 8)))
    call("compile", folder / "tiny.npz", "--board", "ulx3s-85f", *FOLDS, "-o", folder / "b")
    return folder


@pytest.fixture
def build(made, tmp_path) -> Path:
    return Path(shutil.copytree(made / "b", tmp_path / "b"))


# simulate ----------------------------------------------------------------------------------------------------

SIMULATE = ("--engine", "amaranth")


def test_simulate_agrees(made, build):
    text = call("simulate", build, "--images", made / "x.npy", *SIMULATE)
    cycles = Build(build).plan.cycles
    assert re.search(rf"Cycles, first frame +{cycles.first} +{cycles.first} +as predicted", text)
    assert re.search(rf"Cycles between frames +{cycles.interval} +{cycles.interval} +as predicted", text)
    assert "all equal golden's" in text
    assert json.loads((build / "commands.json").read_text())["simulate"]["command"] == \
        f"hwbnn simulate {build} --images {made / 'x.npy'} --engine amaranth"


def test_simulate_finds_what_differs(made, build, monkeypatch):
    right = golden.evaluate

    def wrong(net, q):
        tensors = right(net, q)
        tensors[net.outputs[0].tensor] = (tensors[net.outputs[0].tensor] + 1) % 3
        return tensors

    monkeypatch.setattr("hwbnn.golden.evaluate", wrong)
    result = CliRunner().invoke(app, ["simulate", str(build), "--images", str(made / "x.npy"), *SIMULATE])
    assert result.exit_code == 1
    assert "20 of 20 differ from golden's" in result.stdout
    assert re.search(r"Layer class \(stage class\) must give \d at frame 0, pixel 0, channel 0, not \d", result.stdout)


def test_simulate_needs_a_simulator(made, build, monkeypatch, tmp_path):
    before = contents(build)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refused("simulate", build, "--images", made / "x.npy") == \
        "Simulator verilator must have g++, and it is not installed; install it with `apt install g++`"
    assert refused("simulate", build, "--images", made / "x.npy", "--simulator", "icarus") == \
        "Simulator icarus must have iverilog, and it is not installed; install it with `apt install iverilog`"
    assert refused("simulate", build, "--images", made / "x.npy", "--simulator", "modelsim") == \
        "Simulator must be verilator or icarus, not modelsim"
    assert contents(build) == before


# estimate, report, inspect, run ------------------------------------------------------------------------------

def test_estimate_prints_stages_chip_and_energy(build):
    text = call("estimate", build)
    for word in ("fc0", "fc1", "class", "LUT4", "DP16KD", "datapath", "Rate", "Latency", "Energy"):
        assert word in text
    record = json.loads(call("estimate", build, "--json"))
    assert record["cycles"]["interval"] == Build(build).plan.cycles.interval


def test_report_tells_where_it_is(build):
    assert re.search(rf"Report +{build}/report\.html \(4\.\d MB\)", call("report", build))
    assert "hwbnn report" in (build / "report.html").read_text()


def test_inspect_prints_layers(made, tmp_path):
    text = call("inspect", made / "tiny.npz", "--svg", tmp_path / "tiny.svg")
    assert re.search(r"fc0 +MatMul +6 of .* +48 +bipolar", text)
    assert (tmp_path / "tiny.svg").read_text().startswith("<svg")
    record = json.loads(call("inspect", made / "tiny.npz", "--json"))
    assert [layer["name"] for layer in record["layers"]] == [node.name for node in tiny().nodes]


def test_run_needs_a_port(made, build):
    line = refused("run", build, "--port", "/dev/none", "--images", made / "x.npy")
    assert line == ("Port must be a serial port that can be opened, not /dev/none: there is none; "
                    "is the board connected?")


@pytest.mark.slow
def test_run_classifies_on_a_virtual_board(made, build, tmp_path):
    text = call("run", build, "--port", "virtual", "--images", made / "x.npy", "-o", tmp_path / "classes.npy")
    assert "all equal the model's" in text
    assert np.array_equal(np.load(tmp_path / "classes.npy"), golden.classes(tiny(), np.load(made / "x.npy")))


# models that cannot be used ----------------------------------------------------------------------------------

@pytest.fixture
def graph():
    onnx = pytest.importorskip("zoo_onnx")
    g = onnx.GraphBuilder([1, 8])
    return g, g.quant("x", name="quantize")


def weights(value: float = 1.0) -> np.ndarray:
    array = np.random.default_rng(0).normal(size=(8, 3))
    array[2, 1] = value
    return array


def test_unsupported_node_is_named(graph, build, tmp_path):
    g, x = graph
    path = g.save(tmp_path / "model.onnx", g.add("Einsum", x, equation="ij->ij", name="mixing"))
    before = contents(build)
    line = refused("compile", path, "--board", "ulx3s-85f", "--target-fps", 1000, "-o", build)
    assert "mixing" in line and "Einsum" in line
    assert contents(build) == before


def test_weight_that_is_not_a_number_is_named(graph, build, tmp_path):
    g, x = graph
    path = g.save(tmp_path / "model.onnx", g.add("MatMul", x, g.bipolar(g.constant(weights(np.nan))), name="dense"))
    before = contents(build)
    line = refused("compile", path, "--board", "ulx3s-85f", "--target-fps", 1000, "-o", build)
    assert re.search(r"NaN|nan|finite|number", line) and re.search("dense|bipolarquant|c\\d", line), line
    assert contents(build) == before


# command lines in documents ----------------------------------------------------------------------------------

def test_check_accepts_what_the_issue_writes():
    for line in ("train digits-mlp -o runs/digits",
                 "compile runs/digits/model.onnx --board ulx3s-85f --target-fps 100000 -o build/digits",
                 "simulate build/digits --images digits:test", "estimate build/digits", "synth build/digits",
                 "report build/digits", "eval model.onnx --images digits:test:0:10 --output pred.npy",
                 "simulate build/digits --images digits:test --simulator icarus",
                 "run --port /dev/ttyUSB0 build/digits --images digits:test", "inspect model.onnx",
                 "demo --runs r --build b"):
        check(line.split())


@pytest.mark.parametrize("line, said", [
    ("compile m.onnx --bord x",
     "No such option: --bord (Possible options: --board, --fold, --folds); see `hwbnn compile --help`"),
    ("synt b", "Command must be one that hwbnn has, not synt; did you mean synth?"),
    ("synth", "Missing argument 'BUILD'; see `hwbnn synth --help`"),
])
def test_check_refuses_others(line, said):
    with pytest.raises(UserError, match=f"^{re.escape(said)}$"):
        check(line.split())


# everything --------------------------------------------------------------------------------------------------

@pytest.mark.slow
@pytest.mark.synth
@pytest.mark.cocotb
def test_demo_end_to_end(tmp_path):
    """The main job for real: trains, simulates with cocotb on Verilator, places and routes."""
    pytest.importorskip("hwbnn_train")
    text = call("demo", "--runs", tmp_path / "runs", "--build", tmp_path / "build")
    build = tmp_path / "build/digits"
    assert re.search(r"Accuracy, golden and Verilog +(9\d\.\d\d %) +\1 +all 360 outputs identical", text)
    assert re.search(r"Cycles, first frame +(\d+) +\1 +identical", text)
    assert re.search(r"Cycles between frames +(\d+) +\1 +identical", text)
    assert "reached" in text and "missed" not in text and "differ" not in text
    for file in ("synth/ulx3s-85f.bit", "report.html", "estimate.json", "sim/result.json", "training.json"):
        assert (build / file).stat().st_size > 0, file
    assert list(json.loads((build / "commands.json").read_text())) == [
        "compile", "simulate", "estimate", "synth", "report"]
