"""How wrong the estimates are, figure by figure: ``python benchmarks/accuracy.py`` writes ``benchmarks/accuracy.md``.

Everything comes from the tables that ``hwbnn calibrate --target NAME`` keeps in ``benchmarks/calibration``, whole
networks left out of the fit, but for the time of an estimate, which is measured here: CPU seconds, the least of five.
"""

import json
import math
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("", "train", "boards", "tests")]

import numpy as np
import zoo

from hwbnn import cost, ir
from hwbnn.calibrate import MEASURED, Table, current, figures, luts, outdated
from hwbnn.calibrate.fit import synthesized
from hwbnn.calibrate.table import stages_of
from hwbnn.cost.energy import PINS_PER_LUT
from hwbnn.cost.quantity import Quantity, product
from hwbnn.plan import Fold, MatrixVectorStage, lower

TABLES = ROOT / "benchmarks" / "calibration"
VOLTS = 1.219  # of the board's core supply, as github.com/tinyvision-ai-inc/ice40_power gives it


def finn(stage: MatrixVectorStage) -> float:
    """LUTs of a matrix-vector unit by FINN's formula (finn-base ``MVAU.lut_estimation``; Blott et al., FINN-R, 2018).

    300 + 1.1 PE (products + adder tree + accumulator + thresholds and their comparators), and the weights where they
    are in LUT memory.
    """
    pe, simd = stage.fold.pe, stage.fold.simd
    w, a = stage.lane.w.bits, stage.lane.x.bits
    products = simd * (2 * math.ceil((w + a) / 6) - 1) * (w + a)
    tree = (w + a) * (2 * simd - 1)
    alpha = math.log2(stage.columns) + w + a - 1 - (stage.lane.x.low < 0)
    accumulator = math.ceil(alpha + math.log2(1 + 2**-alpha) + 1)
    activation = 0
    if stage.thresholds is not None:
        steps = 2**stage.o.levels.bits - 1
        activation = steps * accumulator * (math.ceil(stage.rows / pe / 64) + 1)
    memory = 0
    if stage.has_weight_memory and stage.weight_style != "block":
        memory = pe * simd * w * math.ceil(stage.weight_depth / 64)
    return 300 + 1.1 * pe * (products + tree + accumulator + activation) + memory


def finn_rows(table: Table) -> list[str]:
    """FINN's formula and ours on the matrix-vector units of a table, against what Yosys counts."""
    tech = cost.technology(table.target)
    fit = luts(table, tech, mapped=True)
    ours, theirs = [], []
    for row, model in zip(fit.rows, fit.model, strict=True):
        (first, *others) = stages_of(row, tech)
        if not others and isinstance(first, MatrixVectorStage):
            measured = synthesized(row, tech)
            ours.append(abs(model / measured - 1))
            theirs.append(abs(finn(first) / measured - 1))
    if not ours:
        return []
    row = (table.target, str(len(ours)), *(f"{median(found):.1%}, {np.quantile(found, 0.9):.1%}"
                                           for found in (ours, theirs)))
    return [f"| {' | '.join(row)} |"]


def counter_toggles(bits: int) -> float:
    """LUT input toggles per cycle of a binary counter: its bits, each at its own LUT, and the carries between them."""
    return sum(2.0**-k for k in range(bits)) + sum(2.0**-k for k in range(1, bits))


def tinyvision() -> list[tuple[str, float, Quantity]]:
    """(what, measured joules per cycle or watts, estimated) of the board that others measured."""
    energy = cost.technology("ice40-up5k").energy
    cells = Quantity.exact(208 - 28, "LC")  # the multiplier's design less the one with a counter
    multiplier = product("J", cells, PINS_PER_LUT, energy.activity.figure(), energy.glitch.figure(),
                         energy.sink.figure())
    counter = product("J", Quantity.exact(counter_toggles(28), "toggle"), energy.sink.figure())
    rows = [("blank design, static power, W", 85.6e-6 * VOLTS, energy.static_power.figure()),
            ("clock network, J per cycle", 53e-12, energy.clock.figure()),
            ("28-bit counter, J per cycle", 0.40e-12, counter),
            ("8x8 multiplier of look-up tables, J per cycle", (996 - 645) * 1e-6 * VOLTS / 12e6, multiplier)]
    return [(what, measured, figure) for what, measured, figure in rows if isinstance(figure, Quantity)]


def seconds() -> tuple[int, float]:
    """Weights of a network, and CPU seconds from its folding to its estimate."""
    net = zoo.mlp((784, 1024, 1024, 1024, 10), inputs=ir.BIPOLAR, classes=True)
    folds = {"fc0": Fold(32, 49), "fc1": Fold(32, 64), "fc2": Fold(32, 64), "fc3": Fold(2, 16)}
    times = []
    for _ in range(5):
        start = time.process_time()
        cost.estimate(lower(net, folds), "ecp5-85", 25_000_000)
        times.append(time.process_time() - start)
    return sum(node.weights.size for node in net.nodes if isinstance(node, ir.MatMul)), min(times)


HEAD = """\
# How wrong the estimates are

Made by `python benchmarks/accuracy.py`; `hwbnn calibrate --target NAME` measures, row by row, and goes on where it was.
"""
FORMULA = """\
## FINN's formula on the same matrix-vector units

Error against Yosys' count, median and p90; FINN's is made for LUT6.

| target | units | ours, left out of the fit | FINN's |
|---|---|---|---|
"""
BOARD = """\
## The iCE40UP5K that others measured

github.com/tinyvision-ai-inc/ice40_power, core supply of one board. Static power and clock are these measurements
themselves; the sink's energy was fitted on the last two. A multiplier in a DSP, 24 pJ per cycle, has no constant and
stays unknown.

| row | measured | estimated | error |
|---|---|---|---|
"""


ENERGY = """\
## Energy by closed forms and by the netlist's toggles

Made by `python benchmarks/energy.py`: networks of the test zoo on the iCE40UP5K at 12 MHz, so many products a cycle in
each layer; nanojoules per inference.

| network, products a cycle | closed forms | toggles | error | error of the datapath |
|---|---|---|---|---|
"""


def target_section(target: str, table: Table) -> str:
    """What is known of one target."""
    tools, old = ", ".join(f"{tool} {version}" for tool, version in table.tools.items()), outdated(table)
    table = current(table)
    networks = len({row.network for row in table.rows})
    missing = f" {old} rows of the corpus are still to be measured, or were on earlier hardware." if old else ""
    scope = f"{len(table.rows)} rows of {networks} networks; {tools}; holds for {', '.join(MEASURED[target])}."
    lines = [f"## {target}", "", scope + missing,
             "", "| figure | reach | is | met |", "|---|---|---|---|"]
    words = {True: "yes", False: "no", None: ""}
    lines += [f"| {figure.what} | {figure.reach} | {figure.value} | {words[figure.met]} |" for figure in figures(table)]
    return "\n".join(lines) + "\n"


def ranks(values: list[float]) -> np.ndarray:
    """The place of each value, equal ones sharing the middle of theirs."""
    found = np.array(values)
    return np.array([(np.sum(found < value) + np.sum(found <= value) - 1) / 2 for value in found])


def spearman(x: list[float], y: list[float]) -> float:
    """Correlation of ranks."""
    return float(np.corrcoef(ranks(x), ranks(y))[0, 1])


def energy_section() -> str:
    """Closed forms against the netlist's toggles, network by network (``benchmarks/energy.py``)."""
    rows = json.loads((TABLES / "energy.json").read_text())
    text = ENERGY
    for what, row in rows.items():
        errors = [f"{row['model' + part] / row['activity' + part] - 1:+.0%}" for part in ("", " datapath")]
        text += f"| {what} | {1e9 * row['model']:.2f} | {1e9 * row['activity']:.2f} | {' | '.join(errors)} |\n"
    inside = sum(row["model low"] <= row["activity"] <= row["model high"] for row in rows.values())
    found = [spearman(*([row[tier + part] for row in rows.values()] for tier in ("model", "activity")))
             for part in ("", " datapath")]
    return text + (f"\nSpearman's rank correlation of {len(rows)} rows (at least 0.9): {found[0]:.3f}, of the datapath "
                   f"alone {found[1]:.3f}. The interval of the closed forms holds {inside} of them.\n")


def page() -> str:
    """The page as Markdown."""
    sections, formulas = [HEAD], []
    for target in MEASURED:
        path = TABLES / f"{target}.json"
        if not path.exists():
            model = cost.technology(target).lut_model
            shared = f" Look-up tables: {model.datapath.source}." if model.known else ""
            sections.append(f"## {target}\n\nNot measured yet.{shared}\n")
            continue
        table = Table.read(path)
        sections.append(target_section(target, table))
        formulas += finn_rows(current(table))
    sections.append(FORMULA + "".join(f"{line}\n" for line in formulas))
    sections.append(BOARD + "".join(
        f"| {what} | {measured:.3g} | {figure.nominal:.3g} ({figure.low:.3g} to {figure.high:.3g}) | "
        f"{figure.nominal / measured - 1:+.0%} |\n" for what, measured, figure in tinyvision()))
    if (TABLES / "energy.json").exists():
        sections.append(energy_section())
    weights, took = seconds()
    sections.append(f"## Time\n\nA network of {weights:,} weights, from its folding to its estimate: "
                    f"{1e3 * took:.0f} ms of one core (at most 100 ms).\n")
    return "\n".join(sections)


if __name__ == "__main__":
    text = page()
    (ROOT / "benchmarks" / "accuracy.md").write_text(text)
    print(text)
