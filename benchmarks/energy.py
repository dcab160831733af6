"""Whether closed forms rank networks by energy as toggles of their netlists do: ``python benchmarks/energy.py``.

The networks of the test zoo that are matrices, on the iCE40UP5K: once a product a cycle and once some four at a time.
Each is synthesized by Yosys, and its netlist is simulated by Verilator on random images, whose toggles give the tier
``activity``; the tier ``model`` sees the plan only. Rows go to ``benchmarks/calibration/energy.json``, one by one, from
which ``benchmarks/accuracy.py`` makes its table; those that are there are kept.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("", "train", "boards", "tests")]

import zoo
from test_sim_netlist import described

from hwbnn import ir
from hwbnn.build import compile
from hwbnn.build.tiers import resources_of
from hwbnn.builddir import write_atomic
from hwbnn.cost import Measured, estimate, technology
from hwbnn.fold import divisors
from hwbnn.plan import Fold
from hwbnn.rtl import instance_name
from hwbnn.sim import simulate
from hwbnn.sim.activity import CLOCK, read_saif
from hwbnn.sim.pins import lut_toggles
from hwbnn.synth.netlists import SYNTHESIZED
from hwbnn.synth.stages import count
from hwbnn.synth.tools import Tools
from hwbnn_boards import board as find_board

TABLE = ROOT / "benchmarks" / "calibration" / "energy.json"
BOARD, CLOCK_HZ, IMAGES = "icebreaker", 12_000_000, 12
LANES = (1, 4)  # products a cycle, about


def folds(net: ir.Network, lanes: int) -> dict[str, Fold]:
    """As many columns at a time as there are lanes, or the next fewer that divide them; then rows."""
    found = {}
    for node in net.nodes:
        if isinstance(node, ir.MatMul):
            simd = max(d for d in divisors(node.columns) if d <= lanes)
            found[node.name] = Fold(max(d for d in divisors(node.rows) if d * simd <= lanes), simd)
    return found


def measure(net: ir.Network, lanes: int) -> dict[str, float]:
    """Joules per inference by both tiers: in all, and what LUT inputs take."""
    record = find_board(BOARD)
    tech = technology(record.technology)
    with tempfile.TemporaryDirectory() as folder:
        build = compile(net, Path(folder) / "build", board=BOARD, folds=folds(net, lanes))
        plan, tools = build.plan, Tools(Path(folder), lambda line: None)
        options = " ".join(tech.synthesis.split()[1:])
        stages = count(tools, build.directory.verilog, plan, family=record.family, options=options, luts_per_memory=0)
        described(build.directory, BOARD, synth=(tools.directory / SYNTHESIZED).read_text())
        x = np.random.default_rng(0).choice(net.input.levels.values(), (IMAGES, *net.input.graph_shape))
        wave = Path(folder) / "run.saif"
        if not simulate(build.directory, x, engine="compiled", stalls="none", netlist="synth", wave=wave).exact:
            raise SystemExit(f"Netlist of {net.name} must compute what golden does, and it does not")
        netlist = (build.directory / "netlist" / "synth" / "design.v").read_text()
        names = {instance_name(stage): stage.name for stage in plan.parts}
        toggles, _ = lut_toggles(read_saif(wave, clock=CLOCK), netlist, names, core="accelerator.core")
    seen = Measured("activity", {stage.name: resources_of(stage, stages[stage.name], tech, "Yosys")
                                 for stage in plan.parts if stage.name in stages},
                    toggles={names[instance]: number / IMAGES for instance, number in toggles.items()})
    result = {}
    for tier, found in (("model", estimate(plan, tech.name, CLOCK_HZ)),
                        ("activity", estimate(plan, tech.name, CLOCK_HZ, measured=seen))):
        result |= {tier: found.energy.total.nominal, f"{tier} low": found.energy.total.low,
                   f"{tier} high": found.energy.total.high, f"{tier} datapath": found.energy.datapath.nominal}
    return result


def main() -> None:
    rows = json.loads(TABLE.read_text()) if TABLE.exists() else {}
    for name, make in zoo.MLPS.items():
        for lanes in LANES:
            key = f"{name}, {lanes}"
            if key not in rows:
                rows[key] = measure(make(), lanes)
                print(key, rows[key], flush=True)
                lines = ",\n".join(f" {json.dumps(what)}: {json.dumps(row)}" for what, row in rows.items())
                write_atomic(TABLE, f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
