"""Models of cells: block RAM against a list of bits, and what Yosys makes of memories against the memories."""

import random
import re
from pathlib import Path

import pytest
from cell_models import BlockRam, block_ram, block_ram_bench, draw, icarus, memories, twins_bench
from gowin_models import Bsram, bsram, bsram_bench
from gowin_models import draw as draw_bsram
from marks import ICARUS

from hwbnn.sim import cells
from hwbnn.synth.tools import Tools

ECP5 = (Path(cells.__file__).with_name("models") / "ecp5.v").read_text()

MODES = ("NORMAL", "WRITETHROUGH", "READBEFOREWRITE")
WIDTHS = [(a, b) for a in (1, 2, 4, 9, 18) for b in (1, 2, 4, 9, 18)] + [(36, b) for b in (1, 2, 4, 9, 18, 36)]
RAMS = [BlockRam(widths, (MODES[n % 3], MODES[n // 3 % 3]), (n % 2 == 1, n % 5 == 1), ("SYNC", "ASYNC")[n % 4 == 3],
                 (n % 8 if n % 7 == 0 else 0, 3 if n % 6 == 0 else 0)) for n, widths in enumerate(WIDTHS)]


@ICARUS
def test_block_ram_of_every_width_does_what_its_bits_say(tmp_path):
    rng = random.Random(1)
    contents = [[rng.randrange(2) for _ in range(2048 * 9)] for _ in RAMS]
    inputs = [draw(rng, ram, 300) for ram in RAMS]
    for n, pairs in enumerate(inputs):
        (tmp_path / f"{n}.hex").write_text("\n".join(f"{a.word() | b.word() << 39:x}" for a, b in pairs))
    seen = [[] for _ in RAMS]
    for line in icarus(tmp_path, ECP5, block_ram_bench(list(zip(RAMS, contents, strict=True)), 300)):
        if line[:1].isdigit():
            number, value = line.split()
            seen[int(number)].append(value)
    for ram, content, pairs, found in zip(RAMS, contents, inputs, seen, strict=True):
        expected = block_ram(ram, content, pairs)
        assert found == expected, (ram, next(n for n, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b))
        assert any("1" in value for value in found)
    assert sum("x" in value for found in seen for value in found) > 300


GOWIN = (Path(cells.__file__).with_name("models") / "gowin.v").read_text()
BSRAMS = [Bsram("SP", (1,), (1,)), Bsram("SP", (32,), (2,), reset="ASYNC"), Bsram("SPX9", (18,), (0,), (True,)),
          Bsram("SPX9", (36,), (1,)), Bsram("SDPB", (2, 16)), Bsram("SDPB", (32, 4), registers=(False, True)),
          Bsram("SDPB", (8, 1), selects=(3, 0)), Bsram("SDPX9B", (36, 9)), Bsram("SDPX9B", (9, 18), reset="ASYNC"),
          Bsram("DPB", (4, 16), (0, 1)), Bsram("DPB", (1, 2), (2, 0), (True, False)), Bsram("DPB", (16, 8), (1, 2)),
          Bsram("DPX9B", (18, 9), (2, 1), selects=(0, 2)), Bsram("DPX9B", (9, 9), (0, 1), reset="ASYNC")]


@ICARUS
def test_gowin_block_ram_does_what_its_bits_say(tmp_path):
    rng = random.Random(1)
    contents = [[rng.randrange(2) for _ in range(2048 * ram.unit)] for ram in BSRAMS]
    inputs = [draw_bsram(rng, ram, 200) for ram in BSRAMS]
    for n, pairs in enumerate(inputs):
        (tmp_path / f"{n}.hex").write_text("\n".join(f"{a.word() | b.word() << 56:x}" for a, b in pairs))
    seen = [[] for _ in BSRAMS]
    for line in icarus(tmp_path, GOWIN, bsram_bench(list(zip(BSRAMS, contents, strict=True)), 200)):
        if line[:1].isdigit():
            number, value = line.split()
            seen[int(number)].append(value)
    for ram, content, pairs, found in zip(BSRAMS, contents, inputs, seen, strict=True):
        expected = bsram(ram, content, pairs)
        assert found == expected, (ram, next(n for n, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b))
        assert any("1" in value for value in found)
    assert sum("x" in value for found in seen for value in found) > 100


SIZES = [("rom", 7, 300), ("rom", 36, 130), ("ram", 2, 1100), ("ram", 36, 256), ("reset", 18, 256), ("masked", 18, 200),
         ("product", 9, 0)]
MAPPED = {
    "ecp5": ([*SIZES, ("single", 4, 1000), ("dual", 9, 256)], "synth_ecp5 -noabc9",
             {"DP16KD", "MULT18X18D"}),
    "gowin": ([*SIZES, ("single", 4, 1000), ("dual", 9, 256)], "synth_gowin -noiopads",
              {"DPB", "DPX9B", "SDPX9B", "SPX9", "MULT9X9"}),
    "ice40": ([*SIZES, ("huge", 16, 16384)], "synth_ice40 -dsp -spram",
              {"SB_RAM40_4K", "SB_MAC16", "SB_SPRAM256KA"}),
}


@ICARUS
@pytest.mark.synth
@pytest.mark.parametrize("family", MAPPED)
def test_cells_do_what_they_were_mapped_from(tmp_path, family):
    kinds, command, made = MAPPED[family]
    source, inputs, outputs = memories(tmp_path, kinds)
    (tmp_path / "cells.v").write_text(source)
    (tmp_path / "map.ys").write_text(f"read_verilog cells.v\n{command} -top cells\nrename cells mapped\n"
                                     "write_verilog -noattr mapped.v\n")
    Tools(tmp_path, print).run("yosys", ["-q", "map.ys"], step="map")
    netlist = (tmp_path / "mapped.v").read_text()
    assert all(re.search(rf"^  {cell} ", netlist, re.MULTILINE) for cell in made)
    lines = icarus(tmp_path, cells.models(family, netlist), netlist, source, twins_bench(inputs, outputs, 600))
    assert [line for line in lines if "WARNING" not in line] == ["done 600"]
