"""Build directories of small networks, right and wrong, without the command that makes them; and their plans."""

from dataclasses import replace

import numpy as np

from hwbnn import ir, rtl
from hwbnn.builddir import BuildDirectory, Manifest
from hwbnn.fold import divisors
from hwbnn.plan import Fold, lower

__all__ = ["FOLDS", "build", "images", "plan_of", "wrong_threshold", "wrong_weight"]

FOLDS = {"fc0": Fold(3, 4), "fc1": Fold(1, 2)}
_EMITTED: dict[tuple[str, str], str] = {}


def build(path, net, folds=FOLDS, *, faulty: ir.Network | None = None) -> BuildDirectory:
    """A build directory of ``net`` whose Verilog is that of ``faulty`` where it is given."""
    directory = BuildDirectory(path)
    directory.path.mkdir(exist_ok=True)
    ir.save(net, directory / "network.npz")
    (directory / "rtl").mkdir(exist_ok=True)
    (directory / "rtl/accelerator.v").write_text(_verilog(faulty or net, folds))
    directory.write_json("build.json", Manifest(
        board="ulx3s-85f", clock_hz=25_000_000, target_fps=None, output="class",
        folds={name: fold.record for name, fold in folds.items()}, network=ir.digest(net)))
    return directory


def _verilog(net: ir.Network, folds) -> str:
    """Emitted once, as most tests take the same few networks."""
    key = ir.digest(net), str(folds)
    if key not in _EMITTED:
        _EMITTED[key] = rtl.verilog(lower(net, folds))
    return _EMITTED[key]


def images(net, count, seed=0):
    return np.random.default_rng(seed).choice(net.input.levels.values(), (count, *net.input.graph_shape))


def wrong_weight(net, name, row, column):
    node = net.node(name)
    weights = node.weights.copy()
    weights[row, column] *= -1
    return _changed(net, replace(node, weights=weights))


def wrong_threshold(net, name, channel):
    node = net.node(name)
    thresholds = node.thresholds.copy()
    thresholds[channel] += 6
    return _changed(net, replace(node, thresholds=thresholds))


def _changed(net, node):
    return replace(net, nodes=tuple(node if node.name == n.name else n for n in net.nodes))


def plan_of(net, pe=1, simd=1):
    """The plan of a perceptron with at most so many PEs and lanes in each unit."""
    folds = {node.name: Fold(max(d for d in divisors(node.rows) if d <= pe),
                             max(d for d in divisors(node.columns) if d <= simd))
             for node in net.nodes if isinstance(node, ir.MatMul)}
    return lower(net, folds)
