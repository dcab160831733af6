"""The command line: help, and what commands print and write."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from commands import ENVIRONMENT, FOLDS, ROOT, call, contents, refused
from zoo import tiny

import hwbnn
from hwbnn import golden
from hwbnn.cli.group import COMMANDS
from hwbnn_boards import names

# help and version --------------------------------------------------------------------------------------------

def test_version():
    assert call("--version") == f"hwbnn {hwbnn.__version__}\n"


def test_version_is_that_of_the_package():
    assert re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1] == hwbnn.__version__


def test_no_command_is_a_call_for_help():
    assert call() == call("--help")


def test_help_lists_every_command():
    text = call("--help")
    for name, entry in COMMANDS.items():
        assert re.search(rf"{name} +{re.escape(entry.summary)}", text), name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name):
    assert f"hwbnn {name}" in call(name, "--help")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_described(name):
    text = call(name, "--help")
    for line in text.splitlines():
        if re.match(r"│ [* ] +--|│ --", line):
            assert re.search(r"  [A-Z]\S* ?", line.strip("│ ")), line


# what works --------------------------------------------------------------------------------------------------

def test_import_is_light():
    code = ("import sys, hwbnn.cli; print({'torch', 'onnx', 'cocotb', 'sklearn', 'jinja2', 'plotly', 'amaranth', "
            "'numpy'} & set(sys.modules))")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env=ENVIRONMENT).stdout == "set()\n"


def test_boards():
    assert [board["name"] for board in json.loads(call("boards", "--json"))] == names()
    assert all(name in call("boards") for name in names())


def test_eval_writes_goldens_classes(model, images, tmp_path):
    text = call("eval", model, "--images", images, "--output", tmp_path / "classes.npy")
    assert "the images come without labels" in text
    expected = golden.classes(tiny(), np.load(images))
    assert np.array_equal(np.load(tmp_path / "classes.npy"), expected)
    record = json.loads(call("eval", model, "--images", images, "--json"))
    assert (record["count"], record["accuracy"]) == (20, None)


def test_classes_may_be_text(model, images, tmp_path):
    call("eval", model, "--images", images, "--output", tmp_path / "classes.txt")
    assert [int(line) for line in (tmp_path / "classes.txt").read_text().splitlines()] == \
        golden.classes(tiny(), np.load(images)).tolist()
    for command in (("eval", model, "--images", images), ("infer", model, images)):
        assert refused(*command, "--output", "pred.csv") == "Output must be an .npy or a .txt file, not pred.csv"


def test_data_root_is_where_sets_are(model, tmp_path):
    line = refused("eval", model, "--images", "mnist:test", "--data-root", tmp_path / "none")
    assert str(tmp_path / "none") in line


def test_infer_writes_the_same_classes(model, images, tmp_path):
    call("infer", model, images, "--device", "cpu", "--output", tmp_path / "classes.npy")
    assert np.array_equal(np.load(tmp_path / "classes.npy"), golden.classes(tiny(), np.load(images)))
    record = json.loads(call("infer", model, images, "--device", "cpu", "--json"))
    assert (record["count"], record["accuracy"], record["device"]) == (20, None, "cpu")
    assert refused("infer", model, images, "--device", "tpu") == "Device must be one of auto, cpu, cuda, not tpu"


def test_compile_prints_the_stages(model, tmp_path):
    text = call("compile", model, "--board", "icebreaker", *FOLDS, "-o", tmp_path / "b")
    for word in ("fc0", "fc1", "MatrixVector", "ArgMax", "frames/s", "12 MHz", str(tmp_path / "b/rtl/accelerator.v")):
        assert word in text


def test_compile_notes_its_command(compiled):
    manifest = json.loads((compiled / "build.json").read_text())
    model = compiled.parent / "tiny.npz"
    assert manifest["command"] == f"hwbnn compile {model} --board ulx3s-85f {' '.join(FOLDS)} -o {compiled}"
    assert manifest["source"] == str(model)


def test_folds_come_from_another_build(model, build, tmp_path):
    call("compile", model, "--board", "ulx3s-85f", "--folds", build / "build.json", "-o", tmp_path / "again")
    assert contents(tmp_path / "again")["rtl/accelerator.v"] == contents(build)["rtl/accelerator.v"]


@pytest.mark.parametrize("goal, told", [
    (("--fit",), "the fastest that fits the board"),
    (("--max-luts", 1200), "the fastest within 1,200 look-up tables"),
    (("--max-latency", "10us"), "the cheapest with a latency of at most 10us"),
    (("--target-fps", 100_000), "the cheapest that reaches 100,000 frames/s")])
def test_compile_tells_why(model, tmp_path, goal, told):
    text = call("compile", model, "--board", "icebreaker", *goal, "-o", tmp_path / "b")
    choice = json.loads((tmp_path / "b/fold.json").read_text())
    assert told in text and choice["goal"] == told and "with the host link" in text
    for layer in ("fc0", "fc1"):
        assert choice["reasons"][layer] in " ".join(text.split())


def test_fold_json_is_edited_and_given_back(model, build, tmp_path):
    choice = json.loads((build / "fold.json").read_text())
    choice["folds"]["fc0"] = {"pe": 6, "simd": 4}
    (tmp_path / "fold.json").write_text(json.dumps(choice))
    common = ("compile", model, "--board", "ulx3s-85f", "--folds", tmp_path / "fold.json", "-o", tmp_path / "again")
    call(*common)
    assert hwbnn.Build(tmp_path / "again").manifest.folds == choice["folds"]
    choice["folds"]["fc0"]["simd"] = 5
    (tmp_path / "fold.json").write_text(json.dumps(choice))
    assert refused(*common) == (f"Folding file {tmp_path / 'fold.json'} of fc0: simd must divide its 8 columns "
                                "(1, 2, 4, 8), not 5")
    (tmp_path / "fold.json").write_text(json.dumps({**choice, "network": "0" * 64}))
    assert refused(*common) == (
        f"Folding file {tmp_path / 'fold.json'} must be of the network tiny with these weights and this output, and it "
        "is of another; to use it all the same, remove its entry network")
