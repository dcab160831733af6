"""The command line: what it refuses, in one line with status 2, and that nothing is lost by it."""

import errno
import re
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from commands import ENVIRONMENT, FOLDS, contents, refused
from typer.testing import CliRunner
from zoo import tiny

import hwbnn
from hwbnn import ir
from hwbnn.cli import app
from hwbnn_boards import names

# bad input ---------------------------------------------------------------------------------------------------

def test_unknown_command():
    assert refused("complie") == "Command must be one that hwbnn has, not complie; did you mean compile?"
    assert refused("xyz") == "Command must be one that hwbnn has, not xyz; `hwbnn --help` lists them"


def test_unknown_option():
    assert refused("boards", "--jsn") == "No such option: --jsn (Possible options: --json); see `hwbnn boards --help`"


def test_missing_option(model):
    assert refused("compile", model, "-o", "x") == "Missing option '--board'; see `hwbnn compile --help`"


def test_board_typo_suggests(model, tmp_path):
    assert refused("compile", model, "--board", "ulx3s-85g", "--target-fps", 1000, "-o", tmp_path / "b") == \
        f"Board must be one of {', '.join(names())}, not 'ulx3s-85g'; did you mean ulx3s-85f?"
    assert not (tmp_path / "b").exists()


def test_folding_must_be_given(model, tmp_path):
    said = "Folding must be asked for in one way, by --target-fps, --max-luts, --max-latency, --fit, --folds or --fold"
    common = ("compile", model, "--board", "icebreaker", "-o", tmp_path / "b")
    assert refused(*common) == f"{said}, and none was given"
    assert refused(*common, "--target-fps", 1000, *FOLDS) == \
        f"{said}, not by --target-fps and --fold at once"
    assert refused(*common, "--fit", "--max-luts", 9, "--max-latency", 9) == \
        f"{said}, not by --max-luts and --max-latency and --fit at once"
    assert refused(*common, *FOLDS, "--folds", "fold.json") == \
        "Folding must be given by --fold or by --folds, and both were"
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("rate", ["0", "-5", "nan", "inf"])
def test_rate_must_be_positive(model, tmp_path, rate):
    assert refused("compile", model, "--board", "icebreaker", "-o", tmp_path / "b", "--target-fps", rate) == \
        f"Target rate must be a positive number of frames per second, not {float(rate)}"


def test_unreachable_rate_tells_the_best(model, build):
    before = contents(build)
    line = refused("compile", model, "--board", "ulx3s-85f", "--target-fps", 1e9, "-o", build)
    assert re.search(r"1,?000,?000,?000|1e\+?09", line) and re.search(r"[1-9][\d,]{4,}", line), line
    assert contents(build) == before


def test_output_must_be_known(model, tmp_path):
    assert refused("compile", model, "--board", "icebreaker", *FOLDS, "-o", tmp_path / "b", "--output", "best") == \
        "Output must be one of class, logits, not best"


@pytest.mark.parametrize("word, line", [
    ("fc0", "Folding must be NAME=PExSIMD, such as fc1=8x16, not fc0"),
    ("fc0=0x4", "Folding of fc0: pe must divide its 6 rows (1, 2, 3, 6), not 0"),
    ("fc0=4x4", "Folding of fc0: pe must divide its 6 rows (1, 2, 3, 6), not 4"),
    ("fc9=2x4", "Folding must name layers among fc0, fc1, not fc9; did you mean fc1?"),
])
def test_folding_must_fit(model, tmp_path, word, line):
    assert refused("compile", model, "--board", "icebreaker", "-o", tmp_path / "b", "--fold", word,
                   "--fold", "fc1=3x2") == line


def test_model_must_exist(tmp_path):
    assert refused("eval", tmp_path / "no.onnx", "--images", "digits:test") == \
        f"Model must be an .onnx or .npz file or a build directory, and {tmp_path / 'no.onnx'} does not exist"


def test_file_that_is_not_onnx(tmp_path, build):
    pytest.importorskip("onnx")
    file, before = tmp_path / "model.onnx", contents(build)
    file.write_text("this is no model")
    line = refused("compile", file, "--board", "ulx3s-85f", "--target-fps", 1000, "-o", build)
    assert str(file) in line and "ONNX" in line
    assert contents(build) == before


def test_file_that_is_not_a_network(tmp_path):
    (tmp_path / "network.npz").write_bytes(b"PK\x03\x04 truncated")
    assert refused("eval", tmp_path / "network.npz", "--images", "digits:test") == \
        f"Network file must be one that hwbnn wrote, and {tmp_path / 'network.npz'} is not or is truncated"


@pytest.mark.parametrize("command", [("simulate", "--images", "digits:test"), ("estimate",), ("synth",), ("report",)])
def test_build_directory_must_be_complete(tmp_path, command):
    name, *options = command
    assert refused(name, tmp_path / "half", *options) == \
        (f"Build directory must be complete, and {tmp_path / 'half'} has no build.json; "
         f"make it with `hwbnn compile MODEL -o {tmp_path / 'half'}`")


def test_build_of_an_interrupted_run(build):
    (build / "build.json").write_text((build / "build.json").read_text()[:100])
    assert refused("estimate", build) == \
        f"File {build / 'build.json'} must be a JSON object, and it is damaged; make it again with `hwbnn compile`"


def test_network_that_was_changed(build):
    other = tiny()
    ir.save(ir.Network("other", other.input, other.nodes, other.outputs), build / "network.npz")
    assert refused("estimate", build) == \
        f"Network in {build} must be the one that was compiled, and it was changed; make it again with `hwbnn compile`"


def test_build_directory_must_not_hold_something_else(model, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("dear")
    assert refused("compile", model, "--board", "icebreaker", *FOLDS, "-o", tmp_path / "home") == (
        f"Build directory must be new, empty or an earlier build, and {tmp_path / 'home'} holds thesis.tex; "
        "name another with -o")
    assert refused("compile", model, "--board", "icebreaker", *FOLDS, "-o", model) == \
        f"Build directory {model} must be a folder, and {model} is a file"
    assert (tmp_path / "home" / "thesis.tex").read_text() == "dear"


def test_images_must_fit(model, tmp_path):
    np.save(tmp_path / "wide.npy", np.zeros((3, 9)))
    assert refused("eval", model, "--images", tmp_path / "wide.npy") == \
        f"Images must have shape N x 8 for tiny, and those of {tmp_path / 'wide.npy'} are 3 x 9"
    np.save(tmp_path / "none.npy", np.zeros((0, 8)))
    assert refused("eval", model, "--images", tmp_path / "none.npy") == \
        f"Images must be at least one, and {tmp_path / 'none.npy'} holds none; name others with --images"
    np.save(tmp_path / "big.npy", np.full((3, 8), 99))
    assert refused("eval", model, "--images", tmp_path / "big.npy") == \
        "Images must hold integers 0..15, not 99..99 of int64"


def test_data_set_typo_suggests(model):
    assert refused("eval", model, "--images", "digit:test").endswith("not 'digit'; did you mean 'digits'?")


# the machine fails -------------------------------------------------------------------------------------------

def test_unwritable_folder(model, tmp_path, monkeypatch):
    def deny(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "out" / ".b.xyz"))
    monkeypatch.setattr("tempfile.mkdtemp", deny)
    assert refused("compile", model, "--board", "icebreaker", *FOLDS, "-o", tmp_path / "out" / "b") == \
        f"Folder {tmp_path / 'out'} must be writable, and the system says: Permission denied"


def test_folder_below_a_file(model):
    line = refused("compile", model, "--board", "icebreaker", *FOLDS, "-o", model / "b")
    assert line == f"Build directory {model / 'b'} must be a folder, and {model} is a file"


@pytest.fixture
def no_room():
    """Files of this process may grow to 1000 bytes and no further, as on a disk that is about to be full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_leaves_the_last_build(model, build, monkeypatch, no_room):
    before, siblings = contents(build), sorted(build.parent.iterdir())
    monkeypatch.setattr("hwbnn.build.compilation.versions", no_room)  # called once the Verilog is there
    assert refused("compile", model, "--board", "icebreaker", *FOLDS, "-o", build) == \
        "Disk must have room for the results, and it is full; free some space and run the command again"
    assert contents(build) == before and sorted(build.parent.iterdir()) == siblings


def test_full_disk_by_its_own_number(model, build, monkeypatch):
    before = contents(build)

    def fail(*args):
        raise OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("os.fsync", fail)
    assert refused("compile", model, "--board", "icebreaker", *FOLDS, "-o", build) == \
        "Disk must have room for the results, and it is full; free some space and run the command again"
    assert contents(build) == before


def test_interrupt(build, model, monkeypatch):
    before = contents(build)

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt
    monkeypatch.setattr("hwbnn.build.compilation.verilog", interrupt)
    assert refused("compile", model, "--board", "icebreaker", *FOLDS, "-o", build, status=130) == \
        "Interrupted; what was complete before is kept"
    assert contents(build) == before


@pytest.mark.parametrize("package, extra", [
    ("onnx", "onnx"), ("torch", "train"), ("cocotb", "sim"), ("jinja2", "report"), ("amaranth_boards", "synth"),
    ("sklearn", "data")])
def test_missing_extra(package, extra, monkeypatch, model):
    def fail(path):
        raise ModuleNotFoundError(f"No module named '{package}'", name=f"{package}.inner")
    monkeypatch.setattr("hwbnn.cli.evaluate.load", fail)
    assert refused("eval", model, "--images", "digits:test") == \
        f"Package {package} must be installed for this command, and it is not; run `pip install 'hwbnn[{extra}]'`"


def test_defects_are_not_hidden(monkeypatch, model):
    def fail(path):
        raise ZeroDivisionError("a defect")
    monkeypatch.setattr("hwbnn.cli.evaluate.load", fail)
    result = CliRunner().invoke(app, ["eval", str(model), "--images", "digits:test"])
    assert isinstance(result.exception, ZeroDivisionError)


def test_reader_that_goes_away(model, images):
    process = subprocess.Popen([sys.executable, "-m", "hwbnn", "boards"], env=ENVIRONMENT,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait()


@pytest.mark.parametrize("delay", [0.05, 0.4, 0.7])
def test_interrupting_the_process(model, build, delay):
    """A real SIGINT, wherever it strikes, leaves a complete build and no draft."""
    code = "import sys; from hwbnn.cli import main; print('ready', flush=True); main()"
    process = subprocess.Popen([sys.executable, "-c", code, "compile", model, "--board", "icebreaker", *FOLDS,
                                "-o", build], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode in (0, 130)
    assert b"Traceback" not in error
    assert hwbnn.Build(build).network == tiny()
    assert not [p for p in build.parent.iterdir() if p.name.startswith(".")]
