"""How large networks come through the generator: time, memory, block RAM, and what places and routes how fast.

    HWBNN_DATA=... python benchmarks/generator.py compile [lfc] [cnv]  # minutes
    HWBNN_DATA=... python benchmarks/generator.py place [lfc] [cnv]    # Yosys and nextpnr, half an hour or more each
    python benchmarks/generator.py table                               # generator.md of what was measured

lfcW1A1 is compiled with ``--fit``, cnvW1A1 with ``--fit`` and, to be placed, for fewer look-up tables, since nextpnr
does not route a chip that is nearly full. Times are those of the clock, and of processors, child processes included.
Each row is kept in ``calibration/generator.json`` as soon as it is measured; builds stay in ``--builds``, where a
second call of ``place`` finds what an earlier one has placed.
"""

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "boards"), str(HERE.parent / "tests")]

import hwbnn  # after the path is set
from hwbnn import cost
from hwbnn.build import Build
from hwbnn.errors import UserError
from hwbnn.plan import MatrixVectorStage
from hwbnn.synth import SynthesisResult

BOARD = "ulx3s-85f"
ROWS = HERE / "calibration" / "generator.json"
NETWORKS = {"lfc": "lfcW1A1", "cnv": "cnvW1A1"}
GOALS = {"compile": {"lfc": {"fit": True}, "cnv": {"fit": True}},
         "place": {"lfc": {"fit": True}, "cnv": {"max_luts": 48_000}}}


def commit() -> str:
    """The commit that is measured, marked where files differ from it."""
    return subprocess.run(["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True,
                          check=True).stdout.strip()


def network(name: str):
    return getattr(importlib.import_module("bnn_pynq"), name)(os.environ["HWBNN_DATA"])[0]


def filled(build: Build) -> dict:
    """How much of the block memories holds weights, and how near the rate comes to what they can give out.

    A block memory gives out its widest word in a cycle. All that the design uses, doing so without a pause and for
    nothing but weights, would read every weight of a frame once in ``weights / (blocks · widest)`` cycles.
    """
    plan, memory = build.plan, cost.technology(build.board.technology).block_memory
    weights = sum(stage.weights.size * stage.lane.w.bits for stage in plan.stages
                  if isinstance(stage, MatrixVectorStage) and stage.weight_style == "block")
    blocks = sum(memory.blocks(m.width, m.depth) for m in plan.memories if m.style == "block")
    widest = max(bits for _, bits in memory.shapes.value)
    reads = sum(bank.bits for bank in plan.memories if bank.style == "block" and bank.name.endswith(".weights"))
    return {"blocks": blocks, "weight_bits": weights, "filled": weights / (blocks * memory.bits),
            "interval": plan.cycles.interval, "bandwidth": reads / (blocks * widest) / plan.cycles.interval}


def child(name: str, what: str, path: str):
    """Compile, in a process of its own, and print what that took."""
    net, start, begun = network(name), time.process_time(), time.perf_counter()
    build = hwbnn.compile(net, path, board=BOARD, **GOALS[what][name])
    own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    taken = {"wall": time.perf_counter() - begun,
             "seconds": time.process_time() - start + others.ru_utime + others.ru_stime,
             "mebibytes": max(own.ru_maxrss, others.ru_maxrss) / 1024}
    print(json.dumps({**taken, **filled(build), "commit": commit(),
                      "folds": {key: [fold.pe, fold.simd] for key, fold in build.folds.items()}}))


def measure(what: str, name: str, builds: Path) -> dict:
    path = builds / f"{what}-{name}"
    row = path.with_suffix(".json")
    if what == "compile" or not row.exists():
        done = subprocess.run([sys.executable, __file__, "child", name, what, str(path)], check=True,
                              capture_output=True, text=True)
        row.write_text(done.stdout)
    found = json.loads(row.read_text())
    if what == "place":
        build = Build(path)
        try:
            placed = SynthesisResult.read(build.directory)
        except UserError:
            placed = build.synth(progress=print)
        found |= {"fmax_hz": placed.fmax_hz, "made": placed.accelerator.block_memory,
                  "used": {key: [use.used, use.available] for key, use in placed.placed.items()}}
    return found


_HEAD = f"""# Large networks

Written by `python benchmarks/generator.py table`; its docstring says how the rows are measured.
Board: {BOARD} (LFE5U-85F).

## Compiling

Goal: at most 30 s for lfcW1A1 and 60 s for cnvW1A1, within 2 GB; 85 % of lfcW1A1's block RAM bits hold weights.

| network | seconds | of processor | peak MiB | cycles per frame | DP16KD | of their bits hold weights | commit |
|---|---|---|---|---|---|---|---|
"""
_PLACED = """
## Placed and routed

With the host link. The bandwidth of block RAM is 36 bits a cycle of each one that the accelerator uses; the share is
the rate over that at which these would read all weight words once, at the same clock.

| network | DP16KD counted, made | LUT | FF | DP16KD | Fmax MHz | frames/s there | share of bandwidth | commit |
|---|---|---|---|---|---|---|---|---|
"""


def text(rows: dict) -> str:
    result = _HEAD
    for name, row in rows["compile"].items():
        result += (f"| {NETWORKS[name]} `--fit` | {row['wall']:.1f} | {row['seconds']:.1f} | {row['mebibytes']:.0f} | "
                   f"{row['interval']:,} | "
                   f"{row['blocks']} | {row['filled']:.1%} | {row['commit']} |\n")
    result += _PLACED
    for name, row in rows["place"].items():
        use = {key: f"{used:,} of {there:,}" for key, (used, there) in row["used"].items()}
        cells = [NETWORKS[name], f"{row['blocks']}, {row['made']}", use["lut"], use["ff"], use["block_memory"],
                 f"{row['fmax_hz'] / 1e6:.1f}", f"{row['fmax_hz'] / row['interval']:,.0f}", f"{row['bandwidth']:.1%}",
                 row["commit"]]
        result += f"| {' | '.join(cells)} |\n"
    result += "\nFoldings (PE x SIMD):\n\n"
    for what, of in rows.items():
        for name, row in of.items():
            folds = ", ".join(f"{key} {pe}x{simd}" for key, (pe, simd) in row["folds"].items())
            result += f"- {NETWORKS[name]}, {what}: {folds}\n"
    return result


def main():
    parser = argparse.ArgumentParser(description="How large networks come through the generator")
    parser.add_argument("what", choices=["compile", "place", "table", "child"])
    parser.add_argument("rest", nargs="*")
    parser.add_argument("--builds", type=Path, default=Path("build-generator"))
    given = parser.parse_args()
    if given.what == "child":
        child(*given.rest)
        return
    rows = json.loads(ROWS.read_text()) if ROWS.exists() else {"compile": {}, "place": {}}
    given.builds.mkdir(parents=True, exist_ok=True)
    for name in given.rest or NETWORKS if given.what != "table" else ():
        rows[given.what][name] = measure(given.what, name, given.builds.resolve())
        ROWS.write_text(json.dumps(rows, indent=1) + "\n")
    (HERE / "generator.md").write_text(text(rows))


if __name__ == "__main__":
    main()
