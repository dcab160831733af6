"""What a simulation refuses, and how it says what it found."""

from dataclasses import replace

import numpy as np
import pytest
import zoo
from builds import build, images

from hwbnn.builddir import BuildDirectory
from hwbnn.errors import UserError
from hwbnn.sim import Measured, Mismatch, SimulationResult, simulate


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
