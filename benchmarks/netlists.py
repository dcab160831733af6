"""Netlists of the zoo's networks against golden, on every family: ``python benchmarks/netlists.py [NAME...]``.

Each network is synthesized alone by Yosys, once per board, and its netlist is simulated on Icarus with stalls and a
reset in the middle of a frame; outputs must equal golden's, and the cycles the prediction.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("", "train", "boards", "tests")]

import zoo
from test_sim_netlist import described
from test_synth import build

from hwbnn import ir
from hwbnn.cost import technology
from hwbnn.plan import Fold, plan_of
from hwbnn.sim import simulate
from hwbnn.synth.netlists import SYNTHESIZED
from hwbnn.synth.stages import count
from hwbnn.synth.tools import Tools
from hwbnn_boards import board as find_board

IMAGES = 5


def run(name: str, board: str) -> bool:
    """Synthesize and simulate one network, print a row of the table, and return whether all is as it must be."""
    net = {**zoo.MLPS, **zoo.GRAPHS, "residual-conv": zoo.residual_conv}[name]()
    folds = {node.name: Fold(1, 1) for node in net.nodes if isinstance(node, ir.MatMul | ir.Conv)}
    record = find_board(board)
    with tempfile.TemporaryDirectory() as folder:
        directory = build(Path(folder) / "build", board, lambda _: folds, net)
        tools = Tools(Path(folder), lambda line: None)
        options = " ".join(technology(record.technology).synthesis.split()[1:])
        count(tools, directory.verilog, plan_of(directory), family=record.family, options=options, luts_per_memory=4)
        described(directory, board, synth=(tools.directory / SYNTHESIZED).read_text())
        x = np.random.default_rng(0).choice(net.input.levels.values(), (IMAGES, *net.input.graph_shape))
        result = simulate(directory, x, simulator="icarus", netlist="synth")
    print(f"| {name} | {board} | {'equal' if result.ok else '; '.join(result.problems())} | {result.cycles:,} |",
          flush=True)
    return result.ok


if __name__ == "__main__":
    print("| network | board | against golden | cycles |\n|---|---|---|---:|", flush=True)
    names = sys.argv[1:] or [*zoo.MLPS, *zoo.GRAPHS, "residual-conv"]
    results = [run(name, board) for name in names for board in ("ulx3s-85f", "icebreaker")]  # every one of them
    sys.exit(not all(results))
