"""The networks that everything is checked on: small, seeded, with thresholds that are not degenerate."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from hwbnn import golden, ir
from hwbnn.classify import classifier

__all__ = ["MLPS", "mlp", "tiny"]

UINT4 = ir.Levels.unsigned(4)


def _weights(rng, levels: ir.Levels, shape) -> np.ndarray:
    return rng.choice(levels.values(), shape)


def mlp(sizes, *, name="mlp", inputs=UINT4, weights=ir.BIPOLAR, hidden=ir.BIPOLAR, falling=False,
        classes=False, seed=0) -> ir.Network:
    """A fully connected network of ``sizes`` (inputs, hidden..., outputs) with thresholds in mid-distribution.

    Thresholds are drawn from what the accumulators take on random inputs, so every level of ``hidden``
    occurs. ``falling`` gives half of the channels a negative sign; ``classes`` ends in argmax, with a gain and
    a bias per class.
    """
    rng = np.random.default_rng(seed)
    x = rng.choice(inputs.values(), (64, sizes[0]))
    nodes: list[ir.Node] = []
    tensor = "x"
    for k, (columns, rows) in enumerate(pairwise(sizes)):
        nodes.append(ir.MatMul(f"fc{k}", (tensor,), (f"acc{k}",), _weights(rng, weights, (rows, columns)), weights))
        acc = golden._product(x, nodes[-1].weights)
        tensor = f"acc{k}"
        if k < len(sizes) - 2:
            signs = rng.choice([-1, 1], rows) if falling else np.ones(rows, int)
            steps = len(hidden) - 1
            quantiles = np.quantile(acc * signs, (np.arange(steps) + 1) / (steps + 1), axis=0).T
            thresholds = np.sort(np.rint(quantiles + rng.integers(-1, 2, quantiles.shape)), axis=1)
            nodes.append(ir.Threshold(f"act{k}", (tensor,), (f"h{k}",), thresholds, hidden, signs))
            x, tensor = golden._threshold(nodes[-1], acc), f"h{k}"
    out = ir.Output("logits", tensor, (sizes[-1],), rng.uniform(0.5, 2, sizes[-1]), rng.normal(size=sizes[-1]))
    net = ir.Network(name, ir.Input("x", (sizes[0],), (sizes[0],), inputs), tuple(nodes), (out,))
    return classifier(net) if classes else net


def tiny() -> ir.Network:
    """Two layers, 8 inputs of 4 bits, 6 bipolar neurons, 3 classes."""
    return mlp((8, 6, 3), name="tiny", classes=True)


MLPS: dict[str, Callable[[], ir.Network]] = {
    "tiny": tiny,
    "logits": lambda: mlp((12, 8, 4), name="logits", seed=1),
    "bipolar-inputs": lambda: mlp((16, 12, 8, 5), name="bipolar-inputs", inputs=ir.BIPOLAR, classes=True, seed=2),
    "ternary": lambda: mlp((12, 9, 6), name="ternary", inputs=ir.TERNARY, weights=ir.TERNARY, hidden=ir.TERNARY,
                           classes=True, seed=3),
    "ternary-weights": lambda: mlp((10, 8, 4), name="ternary-weights", inputs=ir.Levels.unsigned(8),
                                   weights=ir.TERNARY, classes=True, seed=4),
    "two-bit": lambda: mlp((8, 8, 4), name="two-bit", hidden=ir.Levels.unsigned(2), classes=True, seed=5),
    "four-bit": lambda: mlp((8, 6, 4), name="four-bit", inputs=ir.Levels.signed(8), weights=ir.Levels.signed(4),
                            hidden=ir.Levels.unsigned(4), seed=6),
    "falling": lambda: mlp((10, 8, 4), name="falling", falling=True, classes=True, seed=7),
    "one-layer": lambda: mlp((9, 4), name="one-layer", seed=8),
}
