"""Folded accelerators: look-up tables per lane, whole, from the family's primitives and left to synthesis.

A row is ``NETWORK-LANES-FAMILY``, ``ternary-FAMILY`` or ``binary-FAMILY``. The networks are lfcW1A1 and cnvW1A1
(``$HWBNN_DATA``), folded by the solver for so many cycles per frame that they come to about that number of lanes (sum
of PE times SIMD) and as few look-up tables as an ECP5-85F's block memories allow, or by hand, from AXI4-Stream to
AXI4-Stream with everything between; ``ternary`` and ``binary`` are one matrix-vector unit behind AXI4-Stream, 512 by
128 with 64 by 16 lanes, activations, weights and results of these levels, inputs in block memory, since not every
family has memory of look-up tables; ``binary-256`` is one of 1024 by 1024 with 64 by 4 lanes. The hardware goes
through Yosys, flat: made for the family (``cells``), and, of the units, also without cells (``plain``), the same plan
where ``+`` is left to synthesis. A network takes a minute or a few.

Look-up tables are LUT4 and two per CCU2C on ECP5, LUT6 (a LUT6_2 is one) on Xilinx, SB_LUT4 on iCE40, with what
memories of look-up tables take.
"""

import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hwbnn import ir
from hwbnn.calibrate.harness import TOP, bare
from hwbnn.cost import pace, technology
from hwbnn.cost.constants import threshold_forms
from hwbnn.cost.datapath import accumulators, dot_forms
from hwbnn.fold import Goal, solve
from hwbnn.plan import RELAXED, Fold, MatrixVectorStage, Pace, Plan, UnitOptions, lower
from hwbnn.rtl import Accelerator
from hwbnn.synth.families import FAMILIES
from hwbnn.synth.tools import Tools

SYNTHESIS = {"ecp5": "synth_ecp5 -nowidelut", "ice40": "synth_ice40",
             "xilinx": "synth_xilinx -family xc7 -flatten -noiopad -noclkbuf"}
CYCLES = {"lfc-256": 16_384, "lfc-2848": 1_024, "cnv-316": 240_000, "cnv-4621": 14_400, "cnv-9241": 8_100}
_LOGIC, _BLOCK = UnitOptions(storage="block"), UnitOptions(weights="block", storage="block")
# by hand: of lfcW1A1 the solver would take more look-up tables to leave block memories free; of cnvW1A1 it finds fewer
# look-up tables with fewer lanes, which is more per lane
FOLDS = {
    "lfc-256": {"fc0": Fold(1, 112, _BLOCK), "fc1": Fold(1, 64, _BLOCK), "fc2": Fold(1, 64, _BLOCK),
                "fc3": Fold(1, 16, _BLOCK)},
    "lfc-2848": {"fc0": Fold(1, 784), "fc1": Fold(8, 128), "fc2": Fold(8, 128), "fc3": Fold(1, 16)},
    "cnv-4621": {"conv0": Fold(4, 27, _LOGIC), "conv1": Fold(4, 576, _BLOCK), "conv2": Fold(8, 96, _BLOCK),
                 "conv3": Fold(1, 1152, _BLOCK), "conv4": Fold(2, 96, _BLOCK), "conv5": Fold(1, 48, _BLOCK),
                 "fc6": Fold(1, 16, _BLOCK), "fc7": Fold(1, 32, _BLOCK), "fc8": Fold(1, 1, _BLOCK)},
    "cnv-9241": {"conv0": Fold(8, 27, _LOGIC), "conv1": Fold(8, 576, _LOGIC), "conv2": Fold(8, 192, _BLOCK),
                 "conv3": Fold(2, 1152, _BLOCK), "conv4": Fold(4, 96, _BLOCK), "conv5": Fold(1, 96, _BLOCK),
                 "fc6": Fold(1, 32, _BLOCK), "fc7": Fold(1, 64, _BLOCK), "fc8": Fold(1, 1, _BLOCK)},
}


@dataclass(frozen=True)
class Unit:
    """One matrix-vector unit between AXI4-Streams; ``deep``: with block memories as deep as what is in them."""

    levels: ir.Levels
    rows: int = 128
    columns: int = 512
    fold: Fold = field(default_factory=lambda: Fold(16, 64))
    deep: bool = False


UNITS = {"ternary": Unit(ir.TERNARY), "binary": Unit(ir.BIPOLAR),
         "binary-256": Unit(ir.BIPOLAR, 1024, 1024, Fold(4, 64, _BLOCK), deep=True)}
DEEP = {"lfc-256"}  # networks whose block memories are so
CHIPS = {"ecp5": "ecp5-85", "ice40": "ice40-hx8k", "xilinx": "xilinx-xc7a35t"}
ROWS = tuple(f"{size}-{family}" for size in (*CYCLES, *UNITS) for family in SYNTHESIS)
TITLES = {"lfc": "lfcW1A1", "cnv": "cnvW1A1", "ternary": "ternary unit", "binary": "binary unit"}
COUNTED = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6, "SB_LUT4": 1, "LUT1": 1, "LUT2": 1, "LUT3": 1, "LUT5": 1,
           "LUT6": 1, "LUT6_2": 1, "RAM32M": 4, "RAM64M": 4, "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "SRL16E": 1,
           "SRLC32E": 1}


def unit(made: Unit, family: str) -> Plan:
    rng, levels = np.random.default_rng(0), made.levels
    weights = rng.choice(levels.values(), (made.rows, made.columns))
    limits = np.sort(rng.integers(-30, 31, (made.rows, len(levels) - 1)))
    net = ir.Network("unit", ir.Input("x", (made.columns,), (made.columns,), levels), (
        ir.MatMul("fc", ("x",), ("acc",), weights, levels),
        ir.Threshold("act", ("acc",), ("y",), limits, levels)), (ir.Output("o", "y", (made.rows,)),))
    if made.deep:
        return lower(net, {"fc": made.fold}, pace=_deep(family))
    return lower(net, {"fc": made.fold}, styles={"fc.inputs": "block"})


def _deep(family: str) -> Pace:
    """Block memories as deep as what is in them, as ``--minimize luts`` makes them."""
    return pace(technology(CHIPS[family]), 1_000_000, deep=True)


def published(size: str, family: str) -> Plan:
    import bnn_pynq  # of the tests
    net = getattr(bnn_pynq, size.partition("-")[0])(os.environ["HWBNN_DATA"])[0]
    if size in FOLDS:
        return lower(net, FOLDS[size], pace=_deep(family) if size in DEEP else RELAXED)
    goal = Goal.of(target_fps=1e8 / CYCLES[size])
    return solve(net, goal, clock_hz=100_000_000, technology="ecp5-85", minimize="luts").plan


def count(plan: Plan, of: str | None, family: str) -> dict[str, int]:
    """Cells of a flat synthesis for a family of a plan made of the cells ``of`` one, or of none.

    Yosys reads RTLIL: of large memories it takes a tenth of the time and memory that Verilog takes.
    """
    with tempfile.TemporaryDirectory() as folder:
        tools = Tools(Path(folder), lambda line: None)
        (tools.directory / "source.il").write_text(bare(Accelerator(plan), of or "none"))
        adapt = FAMILIES[family].before_synthesis
        (tools.directory / "flat.ys").write_text(
            f"read_rtlil source.il\n{adapt}\n{SYNTHESIS[family]} -top {TOP}\ntee -q -o cells.json stat -json\n")
        tools.run("yosys", ["-q", "flat.ys"], step="flat")
        return json.loads((tools.directory / "cells.json").read_text())["design"]["num_cells_by_type"]


def measure(row: str) -> dict:
    size, _, family = row.rpartition("-")
    plan = unit(UNITS[size], family) if size in UNITS else published(size, family)
    stages = [stage for stage in plan.stages if isinstance(stage, MatrixVectorStage)]
    found = {"lanes": sum(stage.fold.lanes for stage in stages), "interval": plan.cycles.interval,
             "flip_flops": sum(stage.flip_flops for stage in plan.parts),
             "folds": {stage.name: [stage.fold.pe, stage.fold.simd] for stage in stages}}
    for form, of in {"cells": family, **({"plain": None} if size in ("ternary", "binary") else {})}.items():
        cells = count(plan, of, family)
        found[form] = {"luts": sum(COUNTED.get(kind, 0) * number for kind, number in cells.items()), "by_type": cells}
    return found


# of FINN (Umuroglu et al., FPGA 2017, arXiv:1612.07119) and of BNN-PYNQ's README; per lane computed
FINN = (("FINN SFC-max, 3 x 256, ZC706 at 200 MHz", "91,131", "4.4", "5", "12,300,000"),
        ("BNN-PYNQ lfcW1A1, Z7020", "28,360", "4.5", "110", "356,633"),
        ("BNN-PYNQ cnvW1A1, Z7020", "26,072", "", "124", "9,150"))


LIMITS = """\
LUT per lane of cnvW1A1 falls with lanes: in 9,241 they share what is fixed, and the weights of conv0 and conv1 take no
block memory: with 8 words each bit is a function of three bits of address, of which there are 256, whatever the number
of lanes (conv1: 1.74 LUT4 per lane with its weights). So 206 of an LFE5U-85F's 208 block memories are enough; 4,621
lanes with conv1's weights in block memory take 209. On Xilinx the same folding, with 103 RAMB36, is within an
XC7A100T's 63,400 LUT6 and 135. The interval is the first window's, which is 8,100 beats of 3 values.

What is left above 1.63 LUT4 per lane, which is what counting takes (ECP5, units alone, by Yosys): the first layer,
whose inputs have 8 bits, 2,532 for 216 lanes, nearly all of it one place of an adder for each bit of each sum; each of
nine windows and buffers 100 to 180, for where to write and to read, two numbers of beats, and loops; 310 for the FIFO
of vectors before conv2, and about as many for its inputs; the layers after conv4 about 1,400 for 193 lanes, not least
to choose among the blocks of weights that are deeper than a block memory is at their width.

At 256 lanes one layer of 1,024 by 1,024 is an accelerator within the same bounds (the binary unit); the four layers of
lfcW1A1 with as many are not: each has its control, addresses and buffers, about 100 to 150 besides the inputs that it
keeps, and 64 lanes to share them. Block memories are as deep there as the weights, so that nothing chooses among them
(`--minimize luts`); the folding that chose took 2,274 for 181 lanes.""".splitlines()


def _blocks(cells: dict[str, int]) -> int:
    """Block memories, a RAMB18E1 as half of one."""
    return sum(cells.get(kind, 0) for kind in ("DP16KD", "SB_RAM40_4K", "RAMB36E1")) + cells.get("RAMB18E1", 0) // 2


def section(rows: dict[str, dict]) -> list[str]:
    lines = ["## Folded", "",
             "Whole accelerators by Yosys, flat; LUT4 and two per CCU2C on ECP5, LUT6 on Xilinx (a LUT6_2 is one),",
             "with memories of look-up tables. *Plain* is per lane, the same plan with adders left to synthesis.", "",
             "| accelerator | family | lanes | cycles | LUT | per lane | plain | FF per lane | block RAM | commit |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    for name, row in rows.items():
        size, _, family = name.rpartition("-")
        lanes, luts = row["lanes"], row["cells"]["luts"]
        plain = f"{row['plain']['luts'] / lanes:.2f}" if "plain" in row else ""
        cells = [TITLES[size.partition("-")[0]], family, f"{lanes:,}", f"{row['interval']:,}", f"{luts:,}",
                 f"**{luts / lanes:.2f}**", plain, f"{row['flip_flops'] / lanes:.1f}",
                 str(_blocks(row["cells"]["by_type"]) or ""), row["commit"]]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Published by others, made with Vivado (FINN: arXiv:1612.07119; BNN-PYNQ: its repository):", "",
              "| accelerator | LUT6 | per lane | block RAM | frames/s |", "|---|---|---|---|---|",
              *(f"| {' | '.join(row)} |" for row in FINN)]
    folds = {}
    for name, row in rows.items():
        size = name.rpartition("-")[0]
        folds[f"{TITLES[size.partition('-')[0]]}, {row['lanes']:,} lanes"] = ", ".join(
            f"{layer} {pe}x{simd}" for layer, (pe, simd) in row["folds"].items())
    lines += ["", *LIMITS]
    lines += ["", "Foldings (PE x SIMD):", "", *(f"- {name}: {text}" for name, text in folds.items())]
    return [*lines, "", *parts()]


def parts() -> list[str]:
    """Where the look-up tables of the ternary unit go, by the closed forms of :mod:`hwbnn.cost`."""
    stage = unit(UNITS["ternary"], "ecp5").stage("fc")
    assert isinstance(stage, MatrixVectorStage) and stage.thresholds is not None  # that is what the unit is
    lines = ["The ternary unit by parts, LUT4 per lane before calibration: a lane is two places of a carry chain on",
             "ECP5, or three look-up tables, and its bits of weight 2 are added; thresholds are a sign and a gap.", "",
             "| family | lanes and their sum | accumulators | thresholds |", "|---|---:|---:|---:|"]
    for family in ("ecp5", "ice40"):
        thresholds = threshold_forms(stage.thresholds, family)
        found = (dot_forms(stage.dot, family=family).datapath * stage.fold.pe, accumulators(stage, family).datapath,
                 thresholds.datapath + thresholds.rom)
        lines.append(f"| {family} | {' | '.join(f'{luts / stage.fold.lanes:.2f}' for luts in found)} |")
    return lines
