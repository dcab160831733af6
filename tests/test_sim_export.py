"""The exported bench runs without this package, on every simulator here, and notices what is wrong."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import zoo
from builds import build, images
from commands import call, refused
from marks import ICARUS

from hwbnn import golden, ir
from hwbnn.errors import UserError
from hwbnn.sim import toolchain
from hwbnn.sim.export import FILES, export

pytestmark = pytest.mark.skipif(find_spec("cocotbext") is None, reason="cocotbext-axi is not installed")


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """An environment where importing hwbnn fails."""
    (tmp_path / "none/hwbnn").mkdir(parents=True)
    (tmp_path / "none/hwbnn/__init__.py").write_text("raise ImportError('hwbnn must not be needed')\n")

    def run(simulator, *command, cwd):
        environment = {**os.environ, **toolchain.find(simulator).environment} if simulator == "verilator" \
            else dict(os.environ)
        for name in [name for name in environment if name.startswith(("PYTEST_", "COCOTB_"))]:
            del environment[name]
        environment |= {"PYTHONPATH": str(tmp_path / "none"), "SIM": simulator,
                        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"}
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    return run


PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", ".")


@pytest.mark.cocotb
@pytest.mark.parametrize(("simulator", "command"), [
    pytest.param("icarus", PYTEST, marks=ICARUS, id="icarus, pytest"),
    pytest.param("icarus", ("make",), marks=ICARUS, id="icarus, make"),
    pytest.param("verilator", PYTEST, marks=pytest.mark.slow, id="verilator, pytest"),
])
def test_bench_runs_without_this_package(tmp_path, alone, simulator, command):
    bench = export(build(tmp_path / "b", zoo.tiny()), tmp_path / "bench", images(zoo.tiny(), 12))
    result = alone(simulator, *command, cwd=bench)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 passed" in result.stdout or "PASS=3 FAIL=0" in result.stdout + result.stderr


@ICARUS
@pytest.mark.cocotb
def test_bench_notices_a_wrong_vector(tmp_path, alone):
    bench = export(build(tmp_path / "b", zoo.tiny()), tmp_path / "bench", images(zoo.tiny(), 12))
    vectors = json.loads((bench / "vectors.json").read_text())
    vectors["frames"][7]["m_axis"] = [f"{int(vectors['frames'][7]['m_axis'][0], 16) ^ 1:02x}"]
    (bench / "vectors.json").write_text(json.dumps(vectors))
    result = alone("icarus", *PYTEST, cwd=bench)
    assert result.returncode == 1 and "Frame 7 must give" in result.stdout


def test_vectors_are_goldens(tmp_path):
    net = zoo.tiny()
    x = images(net, 5)
    bench = export(build(tmp_path / "b", net), tmp_path / "bench", x)
    vectors = json.loads((bench / "vectors.json").read_text())
    assert [int(frame["m_axis"][0], 16) for frame in vectors["frames"]] == golden.classes(net, x).tolist()
    assert vectors["digest"] == ir.digest(net)
    assert {file.name for file in bench.iterdir()} == {*FILES, "accelerator.v", "vectors.json"}
    for file in FILES:
        assert "import hwbnn" not in (bench / file).read_text() and "from hwbnn" not in (bench / file).read_text()


def test_random_images_are_seeded(tmp_path):
    directory = build(tmp_path / "b", zoo.tiny())
    one, again, other = (
        (export(directory, tmp_path / str(n), count=4, seed=seed) / "vectors.json").read_text()
        for n, seed in enumerate((1, 1, 2)))
    assert one == again != other and len(json.loads(one)["frames"]) == 4


def test_bad_input(tmp_path):
    directory = build(tmp_path / "b", zoo.tiny())
    with pytest.raises(UserError, match=r"^Frames must be at least 1, not 0$"):
        export(directory, tmp_path / "bench", count=0)
    with pytest.raises(UserError, match=r"^Images must have shape N x 8, not 3 x 7$"):
        export(directory, tmp_path / "bench", np.zeros((3, 7)))
    (tmp_path / "home").mkdir()
    (tmp_path / "home/thesis.tex").write_text("dear")
    with pytest.raises(UserError, match=rf"^Bench must be written to a folder that is new, empty or an earlier bench, "
                                        rf"and {tmp_path}/home is not$"):
        export(directory, tmp_path / "home")
    assert not (tmp_path / "bench").exists()


def test_command_line(tmp_path):
    directory = build(tmp_path / "b", zoo.tiny())
    np.save(tmp_path / "x.npy", images(zoo.tiny(), 3))
    text = call("sim", "export", directory.path, "--images", tmp_path / "x.npy")
    assert "vectors.json" in text and (directory / "bench/Makefile").exists()
    call("sim", "export", directory.path, tmp_path / "other", "--frames", 2)
    assert refused("sim", "export", tmp_path / "half").startswith("Build directory must be complete, and ")
