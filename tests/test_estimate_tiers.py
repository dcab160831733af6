"""Estimates above closed forms: a chip without a board, counts of the tools, netlist toggles, what is missing."""

import json
import re
import shlex
from types import SimpleNamespace

import numpy as np
import pytest
from commands import call, refused
from zoo import mlp, tiny

import hwbnn.sim
from hwbnn import cost, ir
from hwbnn.build import Build, compile, estimation, on_target
from hwbnn.build.estimation import synthesized
from hwbnn.calibrate import Measured
from hwbnn.cost import Estimate, Quantity, Unknown
from hwbnn.errors import UserError
from hwbnn.plan import Fold
from hwbnn.sim.activity import Activity
from hwbnn.sim.pins import lut_pins, lut_toggles
from hwbnn.synth import Cells, SynthesisResult, Use

FOLDS = {"fc0": Fold(2, 4), "fc1": Fold(3, 2)}
IMAGES = np.random.default_rng(0).integers(0, 16, (4, 8))


def built(path) -> Build:
    return compile(tiny(), path, board="icebreaker", folds=FOLDS)


def synthesize(build: Build) -> Build:
    """Leave what ``hwbnn synth`` would, without the tools."""
    stages = {stage.name: Cells(lut4=50 + n, lut=60 + n, ff=stage.flip_flops - 1)
              for n, stage in enumerate(build.plan.stages)}
    result = SynthesisResult(
        board="icebreaker", technology="ice40-up5k", network=build.manifest.network, seed=1, clock_hz=12_000_000,
        fmax_hz=31.5e6, accelerator=sum(stages.values(), Cells()), stages=stages, design=Cells(lut4=1000, lut=1100),
        placed={"lut": Use(1500, 5280), "block_memory": Use(3, 30), "pins": Use(5, 39)}, bitstream=None,
        versions={"yosys": "0.70", "nextpnr-ice40": "0.11.1", "amaranth": "0.5"})
    build.directory.write_json("synth/result.json", result.to_json(build.directory))
    (build.path / "synth" / "netlist.v").write_text("module accelerator; endmodule\n")
    return build


@pytest.fixture
def bare(tmp_path) -> Build:
    return built(tmp_path / "b")


@pytest.fixture
def done(tmp_path) -> Build:
    return synthesize(built(tmp_path / "b"))


CELL = """\
  SB_LUT4 #(
    .LUT_INIT(16'h00ff)
  ) {name} (
    .I0({i0}),
    .I1(1'h0),
    .I2(\\$5_x [1]),
    .I3(\\pe_0.sum ),
    .O(\\pe_0.out )
  );
  SB_CARRY \\carry.{name} (
    .CI(1'h1),
    .CO(co),
    .I0({i0}),
    .I1(1'h0)
  );
"""
CCU2C = """\
  CCU2C #(
    .INIT0(16'h96aa)
  ) both (
    .A0(a), .A1(a), .B0(b[0]), .B1(b[1]), .C0(1'h0), .C1(1'h1), .CIN(1'h0), .D0(1'h1), .D1(1'h1),
    .S0(s0)
  );
"""


def netlist(**stages: str) -> str:
    return "".join(f"module \\accelerator.core.{name} (i, o);\n{cells}endmodule\n\n"
                   for name, cells in stages.items())


NETLIST = netlist(fc0=CELL.format(name="\\a_SB_LUT4 ", i0="x[3]"), fc1=CELL.format(name="b", i0="y"))


def nets(stage: str, first: str, *toggles: int) -> dict[str, int]:
    """Toggles as the compiled engine names them: three nets at the pins, and others."""
    names = (first, "_made_5_x[1]", "pe_0:sum", "pe_0:out", "co")
    return {f"TOP.accelerator.core.{stage}.{name}": count for name, count in zip(names, (*toggles, 77, 9), strict=True)}


@pytest.fixture
def simulated(monkeypatch):
    """The simulator's place taken: 40 toggles of fc0, 12 of fc1."""
    asked = []

    def simulate(directory, x, **options):
        asked.append(options)
        file = directory.path / "netlist" / "synth" / "design.v"
        file.parent.mkdir(parents=True)
        file.write_text(NETLIST)
        return SimpleNamespace(exact=True)

    activity = Activity(100, (), {"TOP.aclk": 200} | nets("fc0", "x[3]", 37, 2, 1) | nets("fc1", "y", 12, 0, 0))
    monkeypatch.setattr(hwbnn.sim, "simulate", simulate)
    monkeypatch.setattr("hwbnn.sim.activity.read_saif", lambda path, clock: activity)
    return asked


def test_pins_are_those_of_look_up_tables():
    found = lut_pins(NETLIST + netlist(fc=CCU2C * 2))
    assert found == {"accelerator.core.fc0": (1, {"x[3]": 1, "$5_x[1]": 1, "pe_0.sum": 1}),
                     "accelerator.core.fc1": (1, {"y": 1, "$5_x[1]": 1, "pe_0.sum": 1}),
                     "accelerator.core.fc": (4, {"a": 4, "b[0]": 2, "b[1]": 2})}


def test_toggles_of_another_design_are_refused():
    activity = Activity(10, (), nets("fc0", "x[3]", 37, 2, 1))
    toggles, tables = lut_toggles(activity, NETLIST, ["fc0", "rank"], core="accelerator.core")
    assert (toggles, tables) == ({"fc0": 40, "rank": 0}, 1)
    with pytest.raises(UserError, match=r"^Activity must be of the netlist, and it knows 3 of 6 inputs of its 2 "
                                        r"look-up tables; make it again with `hwbnn synth` and `--images`$"):
        lut_toggles(activity, NETLIST, ["fc0", "fc1"], core="accelerator.core")
    with pytest.raises(UserError, match=r"^Activity must be of the netlist, and it knows 0 of 0 inputs of its 0 .*$"):
        lut_toggles(activity, "", ["fc0"], core="accelerator.core")


def test_synth_has_the_tools_counts(done):
    result = done.estimate(tier="synth")
    assert result.tier == "synth" and result.fmax == Quantity.exact(31.5e6, "Hz", method="nextpnr", sources=(
        "yosys 0.70, nextpnr-ice40 0.11.1",))
    assert [stage.resources.luts.nominal for stage in result.stages] == [60 + n for n in range(len(result.stages))]
    assert all(stage.resources.luts.is_exact and stage.resources.mapped_flip_flops.is_exact for stage in result.stages)
    use = {row.resource: row for row in result.uses}
    assert use["LC"].used.nominal == 1500 and use["SB_RAM40_4K"].available == 30 and result.fits == "yes"
    assert result.reaches == "yes" and done.estimated == result
    assert Estimate.from_json(json.loads((done.path / "estimate.json").read_text())) == result


def test_activity_has_the_netlists_toggles(done, simulated):
    result = done.estimate(tier="activity", x=IMAGES, images="some:images")
    assert simulated[0]["netlist"] == "synth" and simulated[0]["stalls"] == "none"
    found = {stage.name: stage.toggles for stage in result.stages}
    constants = cost.technology("ice40-up5k").energy
    assert found["fc0"].nominal == pytest.approx(40 / 4 * constants.glitch.value)
    assert (found["fc0"].low, found["fc0"].high) == (10, 20)
    energy = {stage.name: stage.energy.datapath.nominal for stage in result.stages}
    assert energy["fc0"] == pytest.approx(15 * constants.sink.value) and energy["rank"] == 0
    assert result.tier == "activity" and result.energy.total.nominal < done.estimate().energy.total.nominal
    again = done.estimate(tier="activity")  # from what was measured
    assert len(simulated) == 1 and again == result


def test_activity_of_another_netlist_is_refused(done, simulated):
    done.estimate(tier="activity", x=IMAGES)
    (done.path / "synth" / "netlist.v").write_text("module accelerator(a); endmodule\n")
    with pytest.raises(UserError, match=r"^Activity in \S+activity\.json must be of this build's netlist, and it is of "
                                        r"another one; make it again with `hwbnn estimate \S+ --tier activity --images "
                                        r"SET:SPLIT`$"):
        done.estimate(tier="activity")


def test_a_netlist_that_computes_something_else_is_refused(done, monkeypatch):
    monkeypatch.setattr(hwbnn.sim, "simulate", lambda *a, **b: SimpleNamespace(exact=False))
    with pytest.raises(UserError, match=r"^Netlist in \S+ must compute what golden does, and it does not; run `hwbnn "
                                        r"simulate \S+ --images array --netlist synth --engine compiled`$"):
        done.estimate(tier="activity", x=IMAGES)


@pytest.mark.parametrize("options, message", [
    ({"tier": "synth"}, r"^File \S+result\.json must exist; make it with `hwbnn synth \S+`$"),
    ({"tier": "activity"}, r"^File \S+result\.json must exist; make it with `hwbnn synth \S+`$"),
    ({"tier": "activity", "x": IMAGES}, r"^File \S+result\.json must exist; make it with `hwbnn synth \S+`$"),
    ({"tier": "best"}, r"^Tier must be one of model, synth, activity, not best$"),
    ({"x": IMAGES}, r"^Images must be given for the tier activity only, not for model$"),
])
def test_what_is_missing_is_said_with_its_command(options, message, bare):
    with pytest.raises(UserError, match=message):
        bare.estimate(**options)


def test_no_images(done):
    with pytest.raises(UserError, match=r"^Images must be at least one, and array holds none; name others with "
                                        r"--images$"):
        done.estimate(tier="activity", x=IMAGES[:0])
    with pytest.raises(UserError, match=r"^Activity must be measured on images, and \S+ has none; measure it with "
                                        r"`hwbnn estimate \S+ --tier activity --images SET:SPLIT`$"):
        done.estimate(tier="activity")


# A chip without a board.

def test_another_chip_keeps_the_folding_and_writes_nothing(bare):
    found = on_target(bare.path, "ecp5-45")
    assert found.plan.folds == bare.folds and found.estimate.technology == "ecp5-45"
    assert found.estimate.timing.clock_hz == 12_000_000 and found.estimate.beside is None
    assert not (bare.path / "estimate.json").exists()


def test_a_network_file_needs_a_folding(tmp_path):
    ir.save(mlp((8, 6, 3)), tmp_path / "n.npz")
    with pytest.raises(UserError, match=r"^Folding must be given for a network file, and none was; estimate it with "
                                        r"--target-fps, .* fits with `hwbnn estimate \S+ --target ice40-hx1k --fit`$"):
        on_target(tmp_path / "n.npz", "ice40-hx1k")
    found = on_target(tmp_path / "n.npz", "ice40-hx8k", folds={"fc0": (2, 4), "fc1": (3, 2)}, clock_hz=10_000_000)
    assert found.plan.folds["fc0"].lanes == 8 and found.estimate.timing.clock_hz == 10_000_000
    assert on_target(tmp_path / "n.npz", "ecp5-25", fit=True).estimate.timing.clock_hz == estimation.CLOCK_HZ


def test_a_clock_that_is_out_of_reach_is_refused(bare, monkeypatch):
    figure = Quantity(20e6, 30e6, 40e6, "Hz", "logic depth")
    monkeypatch.setitem(cost.estimate.__globals__, "fmax", lambda stages, tech: figure)
    with pytest.raises(UserError, match=r"^Clock must be at most the 40\.0 MHz that the design may reach on Lattice "
                                        r"ECP5 LFE5U-25F, not 50 MHz; the slowest path is in \w+ \(.*\); ask for what "
                                        r"it reaches with `hwbnn estimate .+ --target ecp5-25 --clock 20`$"):
        on_target(bare.path, "ecp5-25", clock_hz=50_000_000)
    for asked, option in (({"folds": {"fc0": (2, 4), "fc1": (3, 2)}}, "--fold fc0=2x4 --fold fc1=3x2"),
                          ({"fit": True}, "--fit"), ({"target_fps": 1000}, "--target-fps 1000")):
        with pytest.raises(UserError, match=rf"hwbnn estimate tiny --target ecp5-25 {option} --clock 20`$"):
            on_target(tiny(), "ecp5-25", clock_hz=50_000_000, **asked)
    assert on_target(bare.path, "ecp5-25", clock_hz=35_000_000).estimate.reaches == "uncertain"
    assert on_target(bare.path, "ecp5-25", clock_hz=20_000_000).estimate.reaches == "yes"


@pytest.mark.parametrize("fmax, kind", [((80.0, 90.0, None), Quantity), ((None, None, None), Unknown), ((), Unknown)])
def test_the_tools_without_a_board(bare, monkeypatch, fmax, kind):
    monkeypatch.setattr(estimation, "measure", lambda make, tech, *, place: Measured(
        {"LUT4": 400, "CCU2C": 50, "TRELLIS_FF": 300, "DP16KD": 2}, {"TRELLIS_COMB": 520}, fmax))
    result = synthesized(on_target(bare.path, "ecp5-25")).estimate
    assert result.tier == "synth" and isinstance(result.fmax, kind)
    used = result.resources
    assert (used.luts.nominal, used.mapped_luts.nominal, used.mapped_flip_flops.nominal, used.blocks.nominal) == (
        520, 500, 300, 2)
    if fmax[:1] == (80.0,):
        assert (result.fmax.low, result.fmax.high) == (80e6, 90e6)


# The command.

def test_views_of_the_command(bare):
    record = json.loads(call("estimate", bare.path, "--compare", "--roofline", "--target", "ecp5-25", "--json"))
    assert [row["name"] for row in record["comparison"]] == ["float32", "int8", "ternary", "binary"]
    assert record["roofline"]["rows"][0]["stage"] == "fc0" and record["zeros"][0]["layer"] == "fc0"
    text = call("estimate", bare.path, "--compare", "--roofline")
    assert "weight memory" in call("estimate", bare.path, "--layers") and "45 nm ASIC reference" in call(
        "estimate", bare.path, "--layers", "--target", "ecp5-25")
    assert "33.3 %" in text and "55.6 %" in text and "float32" in text and "closed forms" in text


def test_a_clock_that_is_not_reached_is_told_with_the_command_that_mends_it(bare, tmp_path, monkeypatch):
    """The command is accepted, and what it makes reaches its clock; a board makes not every one."""
    figure = Quantity(9.876e6, 10e6, 11e6, "Hz", "logic depth")
    monkeypatch.setitem(cost.estimate.__globals__, "fmax", lambda stages, tech: figure)

    def told(*words):
        return " ".join(call(*words).split())

    def mended(text):
        return shlex.split(re.search(r"is not reached; ask for less with `hwbnn (.*?)`", text)[1])

    slower = mended(told("estimate", bare.path, "--target", "ecp5-25"))
    assert slower == ["estimate", str(bare.path), "--target", "ecp5-25", "--clock", "9.87"]
    assert "9.87 MHz is reached" in told(*slower)
    assert "12 MHz is not reached; fold less with `hwbnn compile`" in told("estimate", bare.path)  # no loop is so slow

    path, model = tmp_path / "u", bare.path / "network.npz"
    words = ["compile", str(model), "--board", "ulx3s-85f", "--fold", "fc0=2x4", "--fold", "fc1=3x2", "-o", str(path)]
    call(*words)
    slower = mended(told("estimate", path))
    assert slower == [*words, "--clock", "9.375"]
    call(*slower)
    assert "9.375 MHz is reached" in told("estimate", path)
    compile(tiny(), path, board="ulx3s-85f", folds=FOLDS)  # from Python, where there is no command to repeat
    call(*mended(told("estimate", path)))
    assert "9.375 MHz is reached" in told("estimate", path) and Build(path).folds == FOLDS


def test_zeros_of_activations_name_the_command_that_counts_them(bare):
    text = " ".join(call("estimate", bare.path, "--compare").split())
    assert f"`hwbnn estimate {bare.path} --compare --images SET:SPLIT` counts them, too" in text


@pytest.mark.parametrize("words, message", [
    ("--clock 5", "Option --clock must be given with --target, since a build has its own; run `hwbnn estimate "),
    ("--target-fps 5", "Option --target-fps must be given with --target, since a build has its own; run `hwbnn "),
    ("--target ecp5-25 --tier activity", "Tier activity must be of a build's own board, not of --target ecp5-25; run "),
    ("--target ecp5-25 --clock -3", "Clock must be a frequency in MHz, such as 25, not -3"),
    ("--target ecp5-52", "Technology must be one of "),
    ("--tier guess", "Tier must be one of model, synth, activity, not guess"),
    ("--validate 2", "Validation must be of a --target, without a build; for instance `hwbnn estimate --validate 4 "),
])
def test_bad_words(words, message, bare):
    assert refused("estimate", bare.path, *words.split()).startswith(message)


def test_without_a_build(bare):
    assert refused("estimate").startswith("Build must be given, and none was; make one with `hwbnn compile")
    model = bare.path / "network.npz"
    told = refused("estimate", model, "--clock", "5")
    assert told == (f"Target must be given for a network file, and none was; run `hwbnn estimate {model} --clock 5 "
                    "--target ecp5-85 --fit`, or another --target")


def test_an_unreadable_activity_file(done):
    (done.path / "activity.json").write_text('{"format": 1}')
    with pytest.raises(UserError, match=r"^File \S+activity\.json must be what `hwbnn estimate .*` writes, and it is "
                                        r"damaged; make it again with `.*`$"):
        done.estimate(tier="activity")
