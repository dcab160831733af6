"""The corpus of the calibration: seeded networks of random sizes, levels and foldings, a row for every stage.

Networks 0 to 11 are matrices only, those above are small pictures with convolutions, pooling and branches. A network
is left out of a fit as a whole, never stage by stage.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

from hwbnn import ir
from hwbnn.classify import classifier
from hwbnn.cost.pace import CLOCKS, pace
from hwbnn.cost.technology import technology as find_technology
from hwbnn.fold import divisors
from hwbnn.plan import Fold, Plan, Stage, WidthConverterStage, lower

__all__ = ["NETWORKS", "WHOLE", "Sample", "network", "plan", "samples"]

NETWORKS = 20
WHOLE = "(whole)"
"""Name of the row of a whole accelerator."""

_MATRICES = 12  # networks of matrices only
_LEVELS = {"bipolar": ir.BIPOLAR, "ternary": ir.TERNARY, "u2": ir.Levels.unsigned(2), "u4": ir.Levels.unsigned(4),
           "u8": ir.Levels.unsigned(8)}
_SIZES = (8, 10, 12, 16, 24, 32, 48, 64, 96, 128)


@dataclass(frozen=True)
class Sample:
    """One thing to synthesize: a stage of a network by itself, or (``stage`` None) its whole accelerator."""

    network: int
    name: str
    stage: Stage | None


def network(seed: int) -> tuple[ir.Network, dict[str, Fold]]:
    """A random network with its folding."""
    return _matrices(seed) if seed < _MATRICES else _pictures(seed)


@cache
def plan(seed: int, technology: str) -> Plan:
    """The plan of :func:`network` on a technology: every third with the registers of its highest clock."""
    tech, known = find_technology(technology), CLOCKS.get(technology)
    clock = 1 if known is None or seed % 3 != 2 else known.fast.value
    return lower(*network(seed), pace=pace(tech, 1_000_000 * clock))


def samples(technology: str, networks: range = range(NETWORKS)) -> Iterator[Sample]:
    """Everything to synthesize on a technology, network by network, each whole after its stages."""
    for seed in networks:
        stages = plan(seed, technology).stages
        for stage in stages if seed < 3 else stages[1:-1]:  # the ends are alike
            if seed < 6 or not isinstance(stage, WidthConverterStage):  # and so are these
                yield Sample(seed, stage.name, stage)
        yield Sample(seed, WHOLE, None)


def _matrices(seed: int) -> tuple[ir.Network, dict[str, Fold]]:
    """One or two matrices; odd seeds end in argmax."""
    rng = np.random.default_rng(seed)
    sizes = [int(rng.choice(_SIZES)) for _ in range(2 + seed % 2)]
    inputs = _LEVELS[str(rng.choice(["bipolar", "u4", "u8", "ternary"]))]
    hidden = _LEVELS[str(rng.choice(["bipolar", "bipolar", "ternary", "u2"]))]
    weights = ir.TERNARY if rng.random() < 0.25 else ir.BIPOLAR
    nodes, tensor, levels, folds = [], "x", inputs, {}
    for k, (columns, rows) in enumerate(pairwise(sizes)):
        w = rng.choice(weights.values(), (rows, columns))
        nodes.append(ir.MatMul(f"fc{k}", (tensor,), (f"a{k}",), w, weights))
        low = columns * levels.high // 4 + 1
        folds[f"fc{k}"] = _fold(rng, rows, columns)
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


def _pictures(seed: int) -> tuple[ir.Network, dict[str, Fold]]:
    """A convolution or two, pooling after the first, and a matrix that ends in argmax; every third has a branch."""
    rng = np.random.default_rng(seed)
    height, width = int(rng.choice([6, 8, 12])), int(rng.choice([6, 8, 10]))
    depth, channels = int(rng.choice([1, 2, 3, 4])), int(rng.choice([4, 6, 8, 12, 16]))
    levels = _LEVELS[str(rng.choice(["bipolar", "u4", "u8"]))]
    weights = ir.TERNARY if rng.random() < 0.25 else ir.BIPOLAR
    source = ir.Input("x", (height, width, depth), (height, width, depth), levels)
    nodes: list[ir.Node] = []
    folds: dict[str, Fold] = {}

    def conv(name: str, tensor: str, inputs: int, rows: int, kernel: int = 3) -> str:
        around = kernel // 2
        w = rng.choice(weights.values(), (rows, kernel, kernel, inputs))
        nodes.append(ir.Conv(name, (tensor,), (f"{name}_acc",), w, weights, stride=(1, 1),
                             padding=(around, around, around, around)))
        folds[name] = _fold(rng, rows, kernel * kernel * inputs)
        return f"{name}_acc"

    def threshold(name: str, tensor: str, rows: int, reach: int, to: ir.Levels) -> str:
        limits = np.sort(rng.integers(-reach, reach + 1, (rows, len(to) - 1)), axis=1)
        nodes.append(ir.Threshold(name, (tensor,), (f"{name}_out",), limits, to))
        return f"{name}_out"

    hidden = _LEVELS[str(rng.choice(["bipolar", "ternary", "u2"]))]
    tensor = threshold("t0", conv("c0", "x", depth, channels), channels, 2 * depth * levels.high + 1, hidden)
    if seed % 2:
        nodes.append(ir.MaxPool("p0", (tensor,), ("p0_out",), (2, 2), (2, 2)))
        tensor, height, width = "p0_out", height // 2, width // 2
    if seed % 3 == 0:
        left = threshold("t1", conv("c1", tensor, channels, channels), channels, channels, hidden)
        right = threshold("t2", conv("c2", tensor, channels, channels, 1), channels, channels // 2, hidden)
        nodes.append(ir.Add("sum", (left, right), ("summed",)))
        tensor = threshold("t3", "summed", channels, 1, ir.BIPOLAR)
    flat = height * width * channels
    nodes.append(ir.Reshape("flat", (tensor,), ("flattened",), (flat,)))
    w = rng.choice(weights.values(), (10, flat))
    nodes.append(ir.MatMul("fc", ("flattened",), ("logits",), w, weights))
    folds["fc"] = _fold(rng, 10, flat)
    net = ir.Network(f"n{seed}", source, tuple(nodes), (ir.Output("y", "logits", (10,)),))
    return classifier(net), folds


def _fold(rng: np.random.Generator, rows: int, columns: int) -> Fold:
    while True:
        fold = Fold(int(rng.choice(divisors(rows))), int(rng.choice(divisors(columns))))
        if 4 <= fold.lanes <= 64:
            return fold
