"""Clock: what nextpnr reaches with folded networks on three chips, each with the registers of the fastest clock.

The accelerator stands alone between registers (no host link): a shift register feeds its inputs, its outputs are
folded into one pin. Yosys, then nextpnr for three seeds, asked for more than can be reached so that it does its best;
the figure is the median. ``relaxed`` rows are the smallest hardware, without a clock asked for.
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path

from amaranth import Cat, Elaboratable, Module, Signal
from amaranth.back import rtlil
from amaranth.hdl import Value
from amaranth.lib.wiring import In

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import zoo

from hwbnn import ir
from hwbnn.cost import pace, technology
from hwbnn.cost.pace import CLOCKS
from hwbnn.plan import RELAXED, Fold, Plan, lower
from hwbnn.rtl import Core
from hwbnn.rtl.cells import Family
from hwbnn.synth.absorb import absorb_file, absorbs
from hwbnn.synth.critical import critical_path
from hwbnn.synth.families import FAMILIES
from hwbnn.synth.reports import cells
from hwbnn.synth.tools import Tools

SEEDS = (1, 2, 3)
# chip: technology, nextpnr's options, MHz to ask for, MHz to reach
CHIPS = {
    "LFE5U-85F, speed 6": ("ecp5-85", ["--85k", "--package", "CABGA381", "--speed", "6", "--lpf-allow-unconstrained"],
                           200, 150),
    "HX8K": ("ice40-hx8k", ["--hx8k", "--package", "ct256"], 160, 125),
    "UP5K": ("ice40-up5k", ["--up5k", "--package", "sg48"], 80, 55),
}


def _conv() -> ir.Network:
    """Two convolutions of 3 x 3 on 8 x 8 pixels, then classes."""
    grown = zoo._Growing((8, 8, 4), ir.Levels.unsigned(2), 3)
    out = grown.threshold("act0", grown.conv("conv0", "x", 16))
    out = grown.threshold("act1", grown.conv("conv1", out, 16, stride=2))
    flat = grown.add(ir.Reshape("flat", (out,), ("flattened",), (256,)))
    return grown.network("conv", grown.matmul("fc", flat, 10))


NETWORKS = {
    "MLP 64-64-64-10, 224 lanes": (
        lambda: zoo.mlp((64, 64, 64, 10), name="digits", classes=True, seed=11),
        {"fc0": Fold(8, 8), "fc1": Fold(8, 16), "fc2": Fold(2, 16)}),
    "MLP 64-64-32-10, 72 lanes": (
        lambda: zoo.mlp((64, 64, 32, 10), name="small", inputs=ir.BIPOLAR, classes=True, seed=11),
        {"fc0": Fold(4, 8), "fc1": Fold(4, 8), "fc2": Fold(1, 8)}),
    "two convolutions, 96 lanes": (_conv, {"conv0": Fold(4, 4), "conv1": Fold(4, 16), "fc": Fold(2, 8)}),
}
_LARGE, _SMALL, _CONV = NETWORKS
ROWS = {
    f"{chip}: {network}{'' if fast else ', relaxed'}": (chip, network, fast) for chip, network, fast in (
        ("LFE5U-85F, speed 6", _LARGE, True), ("LFE5U-85F, speed 6", _CONV, True), ("HX8K", _SMALL, True),
        ("UP5K", _SMALL, True), ("LFE5U-85F, speed 6", _LARGE, False), ("HX8K", _SMALL, False),
        ("UP5K", _SMALL, False))}


class Between(Elaboratable):
    """A core between registers, with two pins."""

    def __init__(self, plan: Plan):
        self.plan, self.i, self.o = plan, Signal(), Signal()

    def elaborate(self, platform):
        m = Module()
        m.submodules.core = core = Core(self.plan)
        chain, given = self.i, []
        for path, member, port in core.signature.flatten(core):
            value = Value.cast(port)
            register = Signal(len(value), name=f"{member.flow.name}_{path[0]}", reset_less=True)
            if member.flow == In:
                m.d.sync += register.eq(Cat(chain, register)[:len(value)])
                m.d.comb += value.eq(register)
                chain = register[-1]
            else:
                m.d.sync += register.eq(value)
                given.append(register)
        bits = Cat(given, chain)
        while len(bits) > 1:
            folded = Signal(-(-len(bits) // 4), name=f"folded_{len(bits)}", reset_less=True)
            m.d.sync += folded.eq(Cat(bits[4 * n:4 * n + 4].xor() for n in range(len(folded))))
            bits = folded
        m.d.comb += self.o.eq(bits)
        return m


def measure(row: str) -> dict:
    """Place a row with each seed."""
    chip, name, fast = ROWS[row]
    target, options, asked, _ = CHIPS[chip]
    tech = technology(target)
    make, folds = NETWORKS[name]
    plan = lower(make(), folds, pace=pace(tech, 1_000_000 * CLOCKS[target].fast.value) if fast else RELAXED)
    family, placer = FAMILIES[tech.family], FAMILIES[tech.family].placer
    with tempfile.TemporaryDirectory() as folder:
        tools, where = Tools(Path(folder), lambda line: None), Path(folder)
        top = Between(plan)
        (where / "top.il").write_text(rtlil.convert(top, name="top", ports=[top.i, top.o],
                                                     platform=Family(tech.family)))
        synthesis = f"{tech.synthesis.split()[0]} {family.options(plan, ' '.join(tech.synthesis.split()[1:]))}"
        (where / "top.ys").write_text(f"read_rtlil top.il\n{family.prepared(plan)}\n{synthesis} -top top "
                                      "-json top.json\ntee -q -o cells.json stat -json\n")
        tools.run("yosys", ["-q", "top.ys"], step="yosys")
        taken = absorb_file(where / "top.json") if absorbs(plan, tech.family) else 0
        used = cells(json.loads((where / "cells.json").read_text())["design"]["num_cells_by_type"],
                     luts_per_memory=0 if tech.lut_memory is None else int(tech.lut_memory.luts.value))
        reached, slowest = [], []
        for seed in SEEDS:
            tools.run(placer, [*options, "--json", "top.json", "--report", "report.json", "--freq", str(asked),
                               "--seed", str(seed), "--timing-allow-fail", "-q"], step="nextpnr")
            report = json.loads((where / "report.json").read_text())
            reached.append(round(min(entry["achieved"] for entry in report["fmax"].values()), 1))
            slowest.append(str(critical_path(report, plan)))
    return {"lanes": plan.lanes, "interval": plan.cycles.interval, "lut": used.lut, "ff": used.ff - taken,
            "block_memory": used.block_memory, "mhz": reached, "critical": slowest}


def section(rows: dict[str, dict]) -> list[str]:
    """The part of the page."""
    lines = ["## Clock", "", "MHz after nextpnr, accelerator alone; slowest path of the median seed.", "",
             "| row | LUT | FF | block memories | MHz, seeds 1 2 3 | median | reach | frames/s there | slowest path |",
             "|---|---:|---:|---:|---|---:|---:|---:|---|"]
    for name, row in rows.items():
        chip, _, fast = ROWS[name]
        median = statistics.median(row["mhz"])
        path = row["critical"][row["mhz"].index(median)]
        reach = CHIPS[chip][3] if fast else ""
        lines.append(f"| {name} | {row['lut']:,} | {row['ff']:,} | {row['block_memory']} | "
                     f"{', '.join(f'{mhz:g}' for mhz in row['mhz'])} | {median:g} | {reach} | "
                     f"{1e6 * median / row['interval']:,.0f} | {path} |")
    return lines
