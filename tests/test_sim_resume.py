"""A simulation that is interrupted keeps what it has done; it goes on with --resume, as the same simulation only."""

import json
import re

import numpy as np
import pytest
import zoo
from builds import FOLDS, build, images, wrong_weight
from commands import FOLDS as WORDS
from commands import call, refused

from hwbnn import golden, ir
from hwbnn.errors import UserError
from hwbnn.plan import lower
from hwbnn.sim import simulate
from hwbnn.sim.amaranth_engine import AmaranthEngine

COUNT = 24


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Parts of six images."""
    interval = lower(zoo.tiny(), FOLDS).cycles.interval
    monkeypatch.setitem(simulate.__globals__["_PART"], "amaranth", 6 * interval)


@pytest.fixture
def stopping(monkeypatch):
    """Have the engine fail in its n-th run."""
    def stop(number, error):
        runs, right = [], AmaranthEngine.run

        def run(self, phases, report=lambda phase, frames: None):
            runs.append(list(phases))
            if len(runs) == number:
                raise error
            return right(self, phases, report)
        monkeypatch.setattr(AmaranthEngine, "run", run)
        return runs
    return stop


def kept(directory):
    return sorted(file.name for file in (directory / "sim/partial").glob("*.npz"))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UserError("Simulator must run to its end, and it crashed")])
def test_parts_are_kept_and_not_simulated_again(tmp_path, stopping, error):
    net = zoo.tiny()
    directory, x = build(tmp_path, net), images(net, COUNT)
    stopping(3, error)
    with pytest.raises(type(error)) as told:
        simulate(directory, x, engine="amaranth")
    if isinstance(error, KeyboardInterrupt):
        assert str(told.value) == "Interrupted; 12 of 24 images are simulated and kept: go on with --resume"
    assert kept(directory) == ["0.npz", "1.npz"] and not (directory / "sim/result.json").exists()
    runs = stopping(0, None)
    seen = []
    result = simulate(directory, x, engine="amaranth", resume=True, progress=lambda *told: seen.append(told))
    assert result.problems() == [] and np.array_equal(result.outputs, golden.integers(net, x))
    assert runs == [["steady", "stalled"], ["stalled"]]
    assert seen[0] == (12, seen[-1][1]) and seen[-1][0] == seen[-1][1]
    assert not (directory / "sim/partial").exists()
    whole = simulate(directory, x, engine="amaranth")
    assert (whole.cycles, whole.frames) == (result.cycles, COUNT), "as if there had been no interrupt"


def test_difference_before_the_interrupt_is_told_after_it(tmp_path, stopping):
    net = zoo.tiny()
    directory, x = build(tmp_path, net, faulty=wrong_weight(net, "fc0", 4, 1)), images(net, COUNT)

    class Faulty(AmaranthEngine):
        def __init__(self, plan):
            super().__init__(lower(wrong_weight(net, "fc0", 4, 1), FOLDS))
    simulate.__globals__["AmaranthEngine"] = Faulty
    try:
        whole = simulate(directory, x, engine="amaranth")
        stopping(4, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            simulate(directory, x, engine="amaranth")
        stopping(0, None)
        resumed = simulate(directory, x, engine="amaranth", resume=True)
    finally:
        simulate.__globals__["AmaranthEngine"] = AmaranthEngine
    assert whole.mismatches > 0 and whole.first_mismatch is not None
    assert (resumed.mismatches, resumed.problems()) == (whole.mismatches, whole.problems())


@pytest.fixture
def interrupted(tmp_path, stopping):
    directory = build(tmp_path, zoo.tiny())
    stopping(2, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        simulate(directory, images(zoo.tiny(), COUNT), engine="amaranth")
    stopping(0, None)
    return directory


@pytest.mark.parametrize(("options", "told"), [
    ({"seed": 2}, "its seed must be 1, not 2"),
    ({"check": "layers"}, "its check must be outputs, not layers"),
    ({"stalls": "worst"}, "its stalls must be random, not worst"),
    ({"reset_after": 7}, "its reset after must be 1, not 7"),
    ({"images": 23}, "its images must be the same"),
    ({"net": "other"}, "its build must be the same"),
])
def test_another_simulation_is_refused(interrupted, options, told):
    net = zoo.tiny()
    count = options.pop("images", COUNT)
    if options.pop("net", None):
        build(interrupted.path, wrong_weight(net, "fc0", 0, 0))
    before = kept(interrupted)
    with pytest.raises(UserError, match=rf"^Simulation must be resumed as it was begun, and {told}; "
                                        r"run it without --resume to begin anew$"):
        simulate(interrupted, images(net, count), engine="amaranth", resume=True, **options)
    assert kept(interrupted) == before
    assert simulate(interrupted, images(net, count), engine="amaranth", **options).frames == count
    assert kept(interrupted) == []


def test_nothing_to_resume(tmp_path):
    directory = build(tmp_path, zoo.tiny())
    with pytest.raises(UserError, match=r"^Simulation must have been interrupted to be resumed, and none was; "
                                        r"run it without --resume$"):
        simulate(directory, images(zoo.tiny(), 2), engine="amaranth", resume=True)
    with pytest.raises(UserError, match=r"^Simulation must be of all images and without a waveform to be resumed$"):
        simulate(directory, images(zoo.tiny(), 2), engine="amaranth", resume=True, frames=(0, 1))


def test_a_build_of_another_version_is_refused(tmp_path):
    directory = build(tmp_path, zoo.tiny())
    manifest = json.loads((directory / "build.json").read_text())
    manifest["versions"] = {"hwbnn": "0.0.9"}
    directory.write_json("build.json", manifest)
    with pytest.raises(UserError, match=rf"^Build directory {tmp_path} must be made by this version of hwbnn, "
                                        r"\d+\.\d+\.\d+, not 0\.0\.9; make it again with `hwbnn compile`$"):
        simulate(directory, images(zoo.tiny(), 2), engine="amaranth")


def test_command_line(tmp_path, stopping):
    ir.save(zoo.tiny(), tmp_path / "tiny.npz")
    np.save(tmp_path / "x.npy", images(zoo.tiny(), COUNT))
    call("compile", tmp_path / "tiny.npz", "--board", "ulx3s-85f", *WORDS, "-o", tmp_path / "b")
    words = ("simulate", tmp_path / "b", "--images", tmp_path / "x.npy", "--engine", "amaranth")
    stopping(3, KeyboardInterrupt())
    line = refused(*words, status=130)
    assert re.fullmatch(r"Interrupted; \d+ of 24 images are simulated and kept: go on with --resume", line)
    stopping(0, None)
    assert "all equal golden's" in call(*words, "--resume")
    assert refused(*words, "--resume") == \
        "Simulation must have been interrupted to be resumed, and none was; run it without --resume"
