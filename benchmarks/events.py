"""Toggles of a ternary layer that skips zero activations, against the same layer without: writes events.md."""

import tempfile
from pathlib import Path

import numpy as np

from hwbnn import ir, rtl
from hwbnn.builddir import BuildDirectory, Manifest
from hwbnn.plan import Fold, Plan, UnitOptions, lower
from hwbnn.sim import simulate
from hwbnn.sim.activity import CLOCK, read_saif

ROWS, COLUMNS, IMAGES = 32, 64, 40
FOLD = 8, 1
ZEROS = (0.1, 0.2, 0.33, 0.5)
HERE = Path(__file__).parent
NOTE = """A layer of 32 x 64 ternary weights (PE = 8, SIMD = 1) reads vectors, weights being zero as often as
activations. A lane rests where either is zero. Verilator counts the toggles of every net that is named inside the
unit in the emitted Verilog, clocks and resets left out, over the same images, sent as fast as they are taken,
until as many have come out. Connections count once in every module that has a name for them.
"""


def ternary(rng: np.random.Generator, shape: tuple[int, ...], zeros: float) -> np.ndarray:
    """Values of -1, 0 and 1, a share of them zero."""
    return np.where(rng.random(shape) < zeros, 0, rng.choice([-1, 1], shape))


def measured(network: ir.Network, x: np.ndarray, zeros: str, folder: Path) -> tuple[int, int, Plan]:
    """Toggles inside the unit, clock cycles, and the plan."""
    folds = {"fc": Fold(*FOLD, UnitOptions(zeros=zeros))}
    plan = lower(network, folds)
    directory = BuildDirectory(folder / zeros)
    (directory.path / "rtl").mkdir(parents=True)
    ir.save(network, directory / "network.npz")
    (directory / "rtl/accelerator.v").write_text(rtl.verilog(plan))
    directory.write_json("build.json", Manifest(
        board="ulx3s-85f", clock_hz=25_000_000, target_fps=None, output="class",
        folds={name: fold.record for name, fold in folds.items()}, network=ir.digest(network)))
    result = simulate(directory, x, engine="compiled", stalls="none", wave=folder / f"{zeros}.saif")
    if not result.ok:
        raise SystemExit("; ".join(result.problems()))
    activity = read_saif(folder / f"{zeros}.saif", clock=CLOCK)
    inside = f"TOP.accelerator.core.{rtl.instance_name(plan.stage('fc'))}."
    toggles = sum(count for net, count in activity.nets.items()
                  if net.startswith(inside) and net.rpartition(".")[2] not in ("clk", "rst"))
    return toggles, activity.cycles, plan


def main():
    """Measure, and write the table."""
    lines = ["| zeros of each operand | resting rate | toggles, none | toggles, dynamic | fall | cycles | flip-flops |",
             "|---|---|---|---|---|---|---|"]
    for share in ZEROS:
        rng = np.random.default_rng(1)
        weights = ternary(rng, (ROWS, COLUMNS), share)
        network = ir.Network("layer", ir.Input("x", (COLUMNS,), (COLUMNS,), ir.TERNARY),
                             (ir.MatMul("fc", ("x",), ("y",), weights, ir.TERNARY),), (ir.Output("y", "y", (ROWS,)),))
        x = ternary(rng, (IMAGES, COLUMNS), share)
        rests = 1 - (weights != 0).mean(axis=0) @ (x != 0).mean(axis=0) / COLUMNS
        with tempfile.TemporaryDirectory() as folder:
            none, cycles, plain = measured(network, x, "none", Path(folder))
            dynamic, fewer, events = measured(network, x, "dynamic", Path(folder))
        lines.append(f"| {share:.0%} | {rests:.1%} | {none:,} | {dynamic:,} | {1 - dynamic / none:.1%} | "
                     f"{cycles:,}, {fewer:,} | {plain.stage('fc').flip_flops}, {events.stage('fc').flip_flops} |")
        print(lines[-1], flush=True)
    (HERE / "events.md").write_text("# Zeros: measured toggles\n\n`python benchmarks/events.py`\n\n" + NOTE + "\n"
                                    + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
