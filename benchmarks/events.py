"""Toggles of a ternary layer by what it does about zeros, against the same layer that does nothing: writes events.md.

``python benchmarks/events.py`` measures every row, for a quarter of an hour of processor time.
"""

import re
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("", "boards", "tests")]

from test_sim_netlist import described

from hwbnn import ir, rtl
from hwbnn.builddir import BuildDirectory, Manifest
from hwbnn.plan import Fold, MatrixVectorStage, UnitOptions, lower, plan_of
from hwbnn.sim import simulate
from hwbnn.sim.activity import CLOCK, read_saif
from hwbnn.synth.netlists import SYNTHESIZED
from hwbnn.synth.stages import count
from hwbnn.synth.tools import Tools

ROWS, COLUMNS, IMAGES = 32, 64, 20
BOARD = "ulx3s-85f"
WAYS = ("none", "isolate", "dynamic")
CASES = ((1, 0.33), (4, 0.33), (1, 0.1), (1, 0.5), (2, 0.33), (8, 0.33), (4, 0.5))  # SIMD, zeros of each operand
PE = 8
FILE = Path(__file__).with_suffix(".md")
CELL = re.compile(r"^  ([A-Z]\w+) (?:#\(.*?\n  \) )?(\S+) +\($", re.MULTILINE | re.DOTALL)
OUTPUT = re.compile(r"(Z|S0|S1|COUT|Q|DO[AB]?\d*)$")  # pins of ECP5's cells that drive nets
NOTE = """A layer of 32 x 64 ternary weights, PE = 8, reads 20 vectors, weights being zero as often as activations. A
product rests where either is zero; *asked* is half of the share that does. All units work through the same vectors,
sent as fast as they are taken, until as many have come out; those of `dynamic` need fewer cycles.

*RTL* is every net that has a name inside the unit in the emitted Verilog, clocks and resets left out; a connection
counts once for every name it has. *Netlist* is what Yosys makes of that for ECP5, every net once: the outputs of the
unit's look-up tables, carry cells, flip-flops and memories. Both are simulated by Verilator without delays, so
glitches are not in them. Cells are Yosys', LUT4 with two per CCU2C and LUT memory.
"""
HEAD = """| SIMD | zeros | asked | way | toggles, RTL | fall | toggles, netlist | fall | cycles | LUT4 | FF |
|---:|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|
"""


def ternary(rng: np.random.Generator, shape: tuple[int, ...], zeros: float) -> np.ndarray:
    """Values of -1, 0 and 1, a share of them zero."""
    return np.where(rng.random(shape) < zeros, 0, rng.choice([-1, 1], shape))


def measured(network: ir.Network, x: np.ndarray, fold: Fold, folder: Path) -> tuple[int, int, int, int, int]:
    """Toggles inside the unit by RTL and by netlist, clock cycles, LUT4 and flip-flops."""
    plan = lower(network, {"fc": fold})
    directory = BuildDirectory(folder / fold.options.zeros)
    (directory.path / "rtl").mkdir(parents=True)
    ir.save(network, directory / "network.npz")
    (directory / "rtl/accelerator.v").write_text(rtl.verilog(plan))
    directory.write_json("build.json", Manifest(board=BOARD, clock_hz=25_000_000, target_fps=None, output="class",
                                                folds={"fc": fold.record}, network=ir.digest(network)))
    tools = Tools(folder, lambda line: None)
    cells = count(tools, directory.verilog, plan_of(directory), family="ecp5", options="-nowidelut", luts_per_memory=4)
    text = (tools.directory / SYNTHESIZED).read_text()
    described(directory, BOARD, synth=text)
    module = re.search(r"^module \\accelerator\.core\.fc .*?^endmodule", text, re.MULTILINE | re.DOTALL)
    assert module is not None  # by-stage synthesis keeps it
    instances = {found[2].removeprefix("\\") for found in CELL.finditer(module[0])}
    found = []
    for netlist in ("rtl", "synth"):
        wave = folder / f"{fold.options.zeros}.saif"
        result = simulate(directory, x, engine="compiled", stalls="none", wave=wave, netlist=netlist)
        if not result.ok:
            raise SystemExit("; ".join(result.problems()))
        activity = read_saif(wave, clock=CLOCK)
        inside = f"TOP.accelerator.core.{rtl.instance_name(plan.stage('fc'))}."
        nets = {net.removeprefix(inside): toggles for net, toggles in activity.nets.items() if net.startswith(inside)}
        if netlist == "rtl":
            found.append(sum(nets[net] for net in nets if net.rpartition(".")[2] not in ("clk", "rst")))
        else:
            pins = {net: re.sub(r"\[\d+\]$", "", net).rpartition(".") for net in nets}
            found.append(sum(nets[net] for net, (instance, _, pin) in pins.items()
                             if instance in instances and OUTPUT.fullmatch(pin)))
    return *found, activity.cycles, cells["fc"].lut, cells["fc"].ff


def rows(simd: int, zeros: float) -> list[str]:
    """The lines of one layer."""
    rng = np.random.default_rng(1)
    weights = ternary(rng, (ROWS, COLUMNS), zeros)
    network = ir.Network("layer", ir.Input("x", (COLUMNS,), (COLUMNS,), ir.TERNARY),
                         (ir.MatMul("fc", ("x",), ("y",), weights, ir.TERNARY),), (ir.Output("y", "y", (ROWS,)),))
    x = ternary(rng, (IMAGES, COLUMNS), zeros)
    rests = 1 - (weights != 0).mean(axis=0) @ (x != 0).mean(axis=0) / COLUMNS
    lines, plain = [], (0, 0)
    for way in WAYS:
        fold = Fold(PE, simd, UnitOptions(zeros=way))
        stage = lower(network, {"fc": fold}).stage("fc")
        assert isinstance(stage, MatrixVectorStage)
        with tempfile.TemporaryDirectory() as folder:
            by_name, by_net, cycles, luts, registers = measured(network, x, fold, Path(folder))
        plain = (by_name, by_net) if way == "none" else plain
        fall = [f"{1 - now / before:.1%}" if way != "none" else "" for now, before in
                zip((by_name, by_net), plain, strict=True)]
        lines.append(f"| {simd} | {zeros:.0%} | {rests / 2:.1%} | {way} | {by_name:,} | {fall[0]} | {by_net:,} | "
                     f"{fall[1]} | {cycles:,} | {luts} | {registers} |")
        print(lines[-1], flush=True)
    return lines


def main():
    """Measure, and write the table as far as it is."""
    lines = []
    for case in CASES:
        lines += rows(*case)
        FILE.write_text("# Zeros: measured toggles\n\n`python benchmarks/events.py`\n\n" + NOTE + "\n" + HEAD
                        + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
