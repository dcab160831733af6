"""Flips in registers: which there are, that both simulators see the same, and what is made of them."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import zoo
from builds import FOLDS, build, images
from commands import call, refused
from marks import ICARUS

from hwbnn import ir, rtl
from hwbnn.errors import UserError
from hwbnn.plan import Fold, lower
from hwbnn.sim.chosen import flips_of
from hwbnn.sim.cocotb_engine import CocotbEngine
from hwbnn.sim.design import TOPLEVEL
from hwbnn.sim.faults import flipped
from hwbnn.sim.registers import Flip, reachable, registers_of
from hwbnn.sim.upsets import EFFECTS, Upsets, register_campaign

NET = zoo.tiny()
X = images(NET, 40)


@pytest.mark.parametrize("name", ["tiny", "four-bit", "two-bit", "residual"])
def test_registers_are_the_flip_flops_of_each_stage(name):
    net = {**zoo.MLPS, **zoo.GRAPHS}[name]()
    p = lower(net, {node.name: Fold(1, 2) for node in net.nodes if isinstance(node, ir.MatMul)})
    verilog = rtl.verilog(p)
    found = registers_of(verilog)
    assert sum(register.bits for register in found) == p.flip_flops
    for stage in p.stages:
        inside = [register for register in found if register.stage == rtl.instance_name(stage)]
        assert sum(register.bits for register in inside) == stage.flip_flops
    assert len({str(register) for register in found}) == len(found)
    marked = reachable(verilog)
    assert marked.count("/*verilator public_flat_rw*/") == len(found)
    assert marked.replace("/*verilator public_flat_rw*/", "") == verilog


def test_registers_are_named_and_told_apart():
    found = {str(one): one for one in registers_of(rtl.verilog(lower(NET, FOLDS)))}
    level, total = found["fc0.fifo.level"], next(one for name, one in found.items() if name.startswith("fc0.pe_0.sum"))
    assert (level.stage, level.component, level.kind) == ("fc0", "fifo", "control")
    assert (total.stage, total.component, total.kind) == ("fc0", "pe", "data")


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return build(tmp_path_factory.mktemp("build"), NET)


@pytest.fixture(scope="module")
def upsets(directory):
    return Upsets(directory, X, np.arange(len(X)) % 3)


@ICARUS
@pytest.mark.cocotb
def test_both_simulators_flip_the_same_bits(directory, upsets):
    """Data, control, and data under stalls: beat by beat and cycle by cycle the same, and mostly not as without.

    Not more of control, and no addresses: beyond a memory they read what nobody promises.
    """
    rng = np.random.default_rng(3)

    def drawn(kind, count):
        inside = [one for one in upsets.registers if kind == one.kind and "addr" not in one.name]
        chosen = (inside[n] for n in rng.integers(len(inside), size=count))
        return tuple(Flip(one.scope, one.name, int(rng.integers(one.bits)), int(rng.integers(upsets.cycles)))
                     for one in chosen)

    sent = {"steady": replace(upsets.traffic, flips=drawn("data", 80)),
            "unstalled": replace(upsets.traffic, flips=drawn("control", 3)),
            "stalled": replace(upsets.traffic, flips=drawn("data", 80), stalls="random", patience=2000)}
    other = CocotbEngine("icarus", upsets.design.verilog, toplevel=TOPLEVEL, directory=directory / "sim/icarus")
    seen, expected = upsets.engine.run(sent), other.run(sent)
    clean = upsets.engine.run({"unstalled": upsets.traffic})["unstalled"]
    for phase in sent:
        for what in ("beats", "starts", "ends"):
            assert np.array_equal(getattr(seen[phase], what), getattr(expected[phase], what)), (phase, what)
        for what in ("cycles", "faults", "sent", "surplus"):
            assert getattr(seen[phase], what) == getattr(expected[phase], what), (phase, what)
    assert sum(not np.array_equal(record.beats, clean.beats) for record in seen.values()) >= 2


@pytest.mark.cocotb
def test_campaign(directory, upsets):
    options = {"labels": upsets.labels, "flips": [1, 12], "trials": 25}
    found = register_campaign(directory, X, **options)
    assert found == register_campaign(directory, X, **options, jobs=3)
    assert found != register_campaign(directory, X, **options, seed=2)
    assert found.points[1].same[0] < found.points[0].same[0] and found.faultless == np.mean(
        upsets.classes == upsets.labels)
    assert found.cycles == upsets.cycles and found.points[0].bits == upsets.bits
    assert [point.layer for point in found.layers] == ["class", "fc0", "fc1", "fc1.join", "fc1.part", "input", "rank"]
    for point in (*found.points, *found.layers, *found.kinds):
        assert sum(share for share, _, _ in point.effects.values()) == pytest.approx(1)
        assert all(low <= share <= high for share, low, high in point.effects.values())
    control, data = found.kinds
    assert (control.kind, data.kind) == ("control", "data") and control.bits + data.bits == upsets.bits
    assert control.effects["masked"][0] < data.effects["masked"][0]
    assert sum(part["trials"] for part in found.parts) == sum(len(one["bits"]) == 1 for one in found.trials)
    assert sum(part["bits"] for part in found.parts) == upsets.bits
    seen = {}
    for one in found.trials:  # each trial can be repeated by the names of its bits
        seen.setdefault(one["effect"], one)
    assert {"masked", "class", "count", "hang"} <= set(seen) <= set(EFFECTS)
    for effect, one in seen.items():
        again = upsets.run(flips_of(upsets.registers, one["bits"], cycles=upsets.cycles))
        assert again.effect == effect and np.sum(~again.exact) == one["images"]
        assert again.same[again.exact].all(), "the same outputs are the same class"
        assert again.exact.all() == (effect == "masked") or effect == "count"


@pytest.mark.cocotb
def test_interrupted_campaign_goes_on(directory, tmp_path):
    options = {"flips": [1], "trials": 3, "kept": tmp_path / "kept.json"}

    def interrupt(done, total):
        if done == 7:
            raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        register_campaign(directory, X, **options, progress=interrupt)
    told = []
    found = register_campaign(directory, X, **options, resume=True, progress=lambda *now: told.append(now))
    assert told[0] == (8, 30) and found == register_campaign(directory, X, flips=[1], trials=3)


@pytest.mark.cocotb
@pytest.mark.parametrize(("bit", "message"), [
    ("fc0.fifo.height.0@1", (r"Bit \S+ must be of a register of the design, such as \S+, not of fc0\.fifo\.height; "
                             r"`hwbnn faults --registers` names them all")),
    ("fc0.fifo.level.9@1", r"Bit \S+ must be one of the 3 of its register, counted from 0, not 9"),
    ("fc0.fifo.level.0@99999", (r"Bit \S+ must be flipped in one of the \d+ cycles of the run, counted from 0, not in "
                                r"99999")),
])
def test_bits_that_are_none(upsets, bit, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        flips_of(upsets.registers, [bit], cycles=upsets.cycles)


@pytest.mark.cocotb
def test_what_an_engine_cannot_flip(upsets):
    for flip in (Flip(("core", "fc0"), "none", 0, 1), Flip(("core", "fc0", "fifo"), "level", 9, 1)):
        with pytest.raises(UserError, match=r"^Register must be in the design to be flipped, and accelerator\.core\.\S"
                                            r"+ is not, or has no bit \d$"):
            upsets.run([flip])


@pytest.mark.cocotb
def test_command_line(directory, tmp_path):
    np.save(tmp_path / "x.npy", X)
    words = ("faults", directory.path, "--images", tmp_path / "x.npy")
    text = call(*words, "--target", "registers", "--flips", "1,8", "--trials", 4, "--jobs", 2)
    assert all(name in text for name in EFFECTS) and "control registers" in text
    record = json.loads((directory / "faults/registers.json").read_text())
    one = record["trials"][0]
    bits = [word for bit in one["bits"] for word in ("--bit", bit)]
    again = json.loads(call(*words, *bits, "--json"))
    assert (again["effect"], again["changed_outputs"]) == (one["effect"], one["images"])
    assert re.search(r"fc0\.fifo\.level +3 +control", call("faults", directory.path, "--registers"))
    assert {"register": "fc0.fifo.level", "bits": 3, "kind": "control"} in json.loads(
        call("faults", directory.path, "--registers", "--json"))
    assert refused(*words, "--target", "registers", "--jobs", 0) == "Jobs must be an integer of at least 1, not 0"
    call("report", directory.path)
    page = (directory / "report.html").read_text()
    assert 'data-plot="plot-effects"' in page and "By part of the stage" in page


@pytest.mark.cocotb
def test_hardware_that_is_wrong_already(directory, upsets, tmp_path):
    shutil.copytree(directory / "sim", tmp_path / "sim")
    other = flipped(NET, "weights", range(48, 57))
    with pytest.raises(UserError, match=r"^Hardware must give golden's results before its bits are flipped, and [1-9]"
                                        r"\d* of 40 differ; see `hwbnn simulate \S+`$"):
        Upsets(build(tmp_path, other, faulty=NET), X)
