"""The cocotb and the compiled engine on a small design, right and wrong in every way they watch for."""

import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from marks import ICARUS
from standin import frames, standin, sums, traffic

from hwbnn.errors import UserError
from hwbnn.sim.cocotb_engine import CocotbEngine
from hwbnn.sim.compiled_engine import CompiledEngine
from hwbnn.sim.taps import Tap

pytestmark = pytest.mark.cocotb

FAULTS = {
    "tlast": ({"LAST": "0"},
              "m_axis_tlast must mark beat 0 of each frame only, and it is 0 in beat 0 of frame 0"),
    "stuck": ({"VALID": "0"},
              "Design must take and return 20 frames, and nothing moved for 500 cycles before cycle"),
    "falls": ({"WAITING": "else m_axis_tvalid <= 0;"},
              "m_axis_tvalid must stay high until the beat is taken, and it fell in cycle"),
    "changes": ({"WAITING": "else m_axis_tdata <= m_axis_tdata + 1;"},
                "m_axis must hold a beat until it is taken, and it changed in cycle"),
}


def engine(name, directory, text):
    directory.mkdir(exist_ok=True)
    verilog = directory / "design.v"
    verilog.write_text(text)
    if name == "compiled":
        return CompiledEngine(verilog, toplevel="accelerator", directory=directory / name)
    return CocotbEngine(name, verilog, toplevel="accelerator", directory=directory / name)


def values(record):
    return record.beats.reshape(-1, 2).astype(int) @ [1, 256]


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    """Engines of the right design, built once."""
    made = {}

    def make(name):
        if name not in made:
            made[name] = engine(name, tmp_path_factory.mktemp(name), standin())
            assert made[name].build()
        return made[name]
    return make


PHASES = {"steady": traffic(12, stalls="none"), "stalled": traffic(150, stalls="random")}


@pytest.mark.parametrize("name", [pytest.param("icarus", marks=ICARUS), "compiled"])
def test_engine(right, name):
    told = []
    records = right(name).run(PHASES, lambda phase, count: told.append((phase, count)))
    for phase, sent in PHASES.items():
        record = records[phase]
        assert record.faults == []
        assert np.array_equal(values(record), sums(sent.stimulus))
    steady = records["steady"]
    assert steady.starts[0] == 0 and steady.ends[0] == 5
    assert set(np.diff(steady.ends)) == {5}
    assert records["stalled"].cycles > 150 * 5
    assert told[-1] == ("stalled", 150)


@ICARUS
def test_engines_agree_cycle_by_cycle(right):
    """The same seed stalls in the same cycles everywhere, so nothing at all differs."""
    one, other = right("icarus").run(PHASES), right("compiled").run(PHASES)
    for phase in PHASES:
        for name in ("beats", "starts", "ends"):
            assert np.array_equal(getattr(one[phase], name), getattr(other[phase], name))
        assert one[phase].cycles == other[phase].cycles


@pytest.mark.parametrize("name", [pytest.param("icarus", marks=ICARUS), "compiled"])
def test_engine_is_built_once(right, name):
    assert not right(name).build()


@ICARUS
def test_changed_verilog_is_built_again(tmp_path):
    one = engine("icarus", tmp_path, standin())
    assert one.build() and not one.build()
    one.verilog.write_text(standin() + "// changed\n")
    assert one.build()


@ICARUS
def test_interrupted_build_is_built_again(tmp_path):
    one = engine("icarus", tmp_path, standin())
    one.build()
    (one.directory / "key").unlink()
    assert one.build()


@ICARUS
@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_named(tmp_path, fault):
    parts, message = FAULTS[fault]
    found = engine("icarus", tmp_path, standin(**parts)).run({"stalled": traffic(20, stalls="random")})["stalled"]
    assert any(line.startswith(message) for line in found.faults), found.faults


def test_another_design_at_the_same_place_is_the_one_that_runs(tmp_path):
    """A process loads a library of one path only once, so a design built anew needs another."""
    sent = {"steady": traffic(5, stalls="none")}
    for parts in ({}, FAULTS["tlast"][0]):
        made = engine("compiled", tmp_path, standin(**parts))
        assert made.build() and not made.build()
        assert bool(made.run(sent)["steady"].faults) == bool(parts)


@ICARUS
def test_reset_in_the_middle_of_a_frame_matters(tmp_path):
    """A design whose reset forgets the half frame is caught: the bench does send one."""
    record = engine("icarus", tmp_path, standin(RESET="")).run({"stalled": traffic(20, stalls="random")})["stalled"]
    assert not np.array_equal(values(record), sums(frames(20))[:len(record.beats)])


@ICARUS
def test_verilog_that_does_not_build(tmp_path):
    broken = engine("icarus", tmp_path, "module accelerator(; endmodule")
    with pytest.raises(UserError, match=r"^Verilog \S+design\.v must build with icarus, and it does not: "
                                        r".*error.* \(see \S+build\.log\)$"):
        broken.build()


@ICARUS
def test_simulator_that_crashes(tmp_path):
    crashing = engine("icarus", tmp_path, standin().replace("endmodule", "initial $finish; endmodule"))
    with pytest.raises(UserError, match=r"^Simulator icarus must run to its end, and it ended with status -?\d+: .* "
                                        r"\(see \S+test\.log\)$"):
        crashing.run({"steady": traffic(2, stalls="none")})


@ICARUS
def test_ports_that_are_missing(tmp_path):
    other = engine("icarus", tmp_path, standin().replace("m_axis_tlast", "m_axis_tend"))
    with pytest.raises(UserError, match=r"^Simulator icarus must run to its end, and it ended with status \d+: "):
        other.run({"steady": traffic(2, stalls="none")})


@ICARUS
def test_interrupt_ends_the_simulator(tmp_path):
    """Control-C while the simulator runs leaves no process behind."""
    one = engine("icarus", tmp_path, standin())
    one.build()
    script = (f"import sys; sys.path[:0] = {sys.path!r}\n"
              "from pathlib import Path\n"
              "from standin import traffic\n"
              "from hwbnn.sim.cocotb_engine import CocotbEngine\n"
              f"one = CocotbEngine('icarus', Path({str(one.verilog)!r}), toplevel='accelerator', "
              f"directory=Path({str(one.directory)!r}))\n"
              "sent = traffic(200000, stalls='none')\n"
              "one.run({'steady': sent}, lambda *told: print(*told, flush=True))\n")
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                             text=True)
    assert child.stdout is not None
    assert child.stdout.readline().startswith("steady ")
    child.send_signal(signal.SIGINT)
    assert child.wait(10) != 0
    child.stdout.close()
    deadline = time.monotonic() + 5
    while _running(one.directory) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _running(one.directory)


def _running(directory) -> bool:
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return any(str(directory) in line and "vvp" in line for line in listing.splitlines())


def test_shares_of_frames_come_back_in_order(right):
    """Threads each simulate a share; a result is the same as with one, but for the pauses' seeds."""
    one = right("compiled")
    shared = CompiledEngine(one.verilog, toplevel="accelerator", directory=one.directory, jobs=3)
    assert not shared.build()
    for phase, sent in PHASES.items():
        record = shared.run({phase: sent})[phase]
        assert record.faults == [] and np.array_equal(values(record), sums(sent.stimulus))
        assert len(record.starts) == len(record.ends) == sent.frames


def test_interrupt_ends_the_compiled_run(right):
    """An interrupt in the thread that waits ends the runs within a cycle, not when they are through."""
    def interrupted(phase, count):
        raise KeyboardInterrupt
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        right("compiled").run({"steady": traffic(3_000_000, stalls="none")}, interrupted)
    assert time.monotonic() - start < 2


def test_stream_that_is_not_there(right):
    sent = replace(traffic(2, stalls="none"), taps=(Tap(("core",)),))
    with pytest.raises(UserError, match=r"^Stream must be in the design to be recorded, and "
                                        r"accelerator\.core\.o is not$"):
        right("compiled").run({"steady": sent})
