"""The networks that everything is checked on: small, seeded, with thresholds that are not degenerate."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from hwbnn import golden, ir
from hwbnn.classify import classifier

__all__ = ["FORMS", "GRAPHS", "MLPS", "branched", "mlp", "ranks", "residual", "residual_conv", "shifts", "tiny"]

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
    "planes": lambda: mlp((8, 6, 4), name="planes", inputs=ir.Levels.unsigned(4), weights=ir.Levels.signed(3),
                          hidden=ir.TERNARY, seed=9),
    "bipolar-to-nibbles": lambda: mlp((10, 8, 4), name="bipolar-to-nibbles", inputs=ir.BIPOLAR,
                                      weights=ir.Levels.signed(4), hidden=ir.BIPOLAR, classes=True, seed=10),
    "falling": lambda: mlp((10, 8, 4), name="falling", falling=True, classes=True, seed=7),
    "one-layer": lambda: mlp((9, 4), name="one-layer", seed=8),
}


class _Growing:
    """A network under construction, with what each tensor takes on 64 random inputs."""

    def __init__(self, shape: tuple[int, ...], levels: ir.Levels, seed: int):
        self.rng = np.random.default_rng(seed)
        self.input = ir.Input("x", shape, shape, levels)
        self.nodes: list[ir.Node] = []
        self.values = {"x": self.rng.choice(levels.values(), (64, *shape))}

    def add(self, node: ir.Node) -> str:
        self.nodes.append(node)
        self.values[node.output] = golden.apply(node, *(self.values[name] for name in node.inputs))
        return node.output

    def matmul(self, name: str, tensor: str, rows: int, levels: ir.Levels = ir.BIPOLAR) -> str:
        weights = _weights(self.rng, levels, (rows, self.values[tensor].shape[-1]))
        return self.add(ir.MatMul(name, (tensor,), (f"{name}_acc",), weights, levels))

    def conv(self, name: str, tensor: str, rows: int, *, stride: int = 1, kernel: int = 3) -> str:
        weights = _weights(self.rng, ir.BIPOLAR, (rows, kernel, kernel, self.values[tensor].shape[-1]))
        return self.add(ir.Conv(name, (tensor,), (f"{name}_acc",), weights, ir.BIPOLAR, stride=(stride, stride),
                                padding=(kernel // 2,) * 4))

    def shift(self, name: str, tensor: str, rows: int, *, shared: bool = False, levels: ir.Levels = ir.BIPOLAR) -> str:
        """A convolution whose kernels have one tap each; ``shared``: all those of an input channel the same."""
        channels = self.values[tensor].shape[-1]
        taps = self.rng.integers(0, 9, (1 if shared else rows, 1, channels))
        kept = np.arange(9)[None, :, None] == taps
        weights = (_weights(self.rng, levels, (rows, 1, channels)) * kept).reshape(rows, 3, 3, channels)
        return self.add(ir.Conv(name, (tensor,), (f"{name}_acc",), weights, levels.hull(ir.Levels(0, 0)),
                                padding=(1, 1, 1, 1)))

    def threshold(self, name: str, tensor: str, levels: ir.Levels = ir.BIPOLAR) -> str:
        steps, values = len(levels) - 1, self.values[tensor]
        values = values.reshape(-1, values.shape[-1])
        thresholds = np.rint(np.quantile(values, (np.arange(steps) + 1) / (steps + 1), axis=0)).T
        return self.add(ir.Threshold(name, (tensor,), (f"{name}_out",), np.sort(thresholds, axis=1), levels))

    def network(self, name: str, tensor: str) -> ir.Network:
        channels = self.values[tensor].shape[1]
        return ir.Network(name, self.input, tuple(self.nodes), (ir.Output("logits", tensor, (channels,)),))


def residual(*, channels=8, hidden=6, scaled=True, seed=0) -> ir.Network:
    """A residual block: two layers beside a connection that skips them, scaled by an Affine or as it is."""
    net = _Growing((channels,), UINT4, seed)
    trunk = net.threshold("act0", net.matmul("fc0", "x", channels), ir.Levels.unsigned(2))
    inner = net.threshold("act1", net.matmul("fc1", trunk, hidden))
    inner = net.matmul("fc2", inner, channels)
    skip = net.add(ir.Affine("skip", (trunk,), ("skipped",), [3], [-1])) if scaled else trunk
    out = net.threshold("act2", net.add(ir.Add("sum", (inner, skip), ("summed",))))
    return net.network("residual", net.matmul("fc3", out, 4))


def branched(*, channels=12, cut=4, seed=0) -> ir.Network:
    """Channels split in two, a layer on each part and one on all, joined in another order with what they came from."""
    net = _Growing((channels,), ir.BIPOLAR, seed)
    trunk = net.threshold("act0", net.matmul("fc0", "x", channels, ir.TERNARY), ir.TERNARY)
    low = net.add(ir.Slice("low", (trunk,), ("low_part",), 0, cut))
    high = net.add(ir.Slice("high", (trunk,), ("high_part",), cut, channels))
    low = net.threshold("act1", net.matmul("fc1", low, 4))
    high = net.threshold("act2", net.matmul("fc2", high, 6), ir.Levels.unsigned(2))
    whole = net.threshold("act3", net.matmul("fc3", trunk, 2))
    joined = net.add(ir.Concat("join", (high, trunk, low, whole), ("joined",)))
    return net.network("branched", net.matmul("fc4", joined, 3))


def residual_conv(*, channels=4, size=4, seed=0) -> ir.Network:
    """A residual block of two convolutions, then one that halves the map with a convolution of 1 x 1 beside it."""
    net = _Growing((size, size, 2), ir.Levels.unsigned(2), seed)
    trunk = net.threshold("act0", net.conv("conv0", "x", channels), ir.TERNARY)
    inner = net.threshold("act1", net.conv("conv1", trunk, channels))
    inner = net.conv("conv2", inner, channels)
    trunk = net.threshold("act2", net.add(ir.Add("sum0", (inner, trunk), ("summed0",))))
    inner = net.threshold("act3", net.conv("conv3", trunk, 6, stride=2))
    inner = net.conv("conv4", inner, 6)
    short = net.conv("conv5", trunk, 6, stride=2, kernel=1)
    out = net.threshold("act4", net.add(ir.Add("sum1", (inner, short), ("summed1",))))
    flat = net.add(ir.Reshape("flat", (out,), ("flattened",), (6 * (size // 2)**2,)))
    return net.network("residual-conv", net.matmul("fc", flat, 3))


def shifts(*, shared=False, seed=0) -> ir.Network:
    """Two shift layers, of bipolar and of 3-bit weights, and one matrix."""
    net = _Growing((3, 4, 2), ir.Levels.unsigned(2), seed)
    out = net.threshold("act0", net.shift("shift0", "x", 4, shared=shared))
    out = net.threshold("act1", net.shift("shift1", out, 6, shared=shared, levels=ir.Levels.signed(3)), ir.TERNARY)
    flat = net.add(ir.Reshape("flat", (out,), ("flattened",), (72,)))
    return net.network("shifts", net.matmul("fc", flat, 3))


def ranks(*, count=3, seed=0) -> ir.Network:
    """A convolution with thresholds of 8 bits that differ at the border, and the numbers of the greatest results."""
    net = _Growing((3, 3, 2), ir.Levels(-7, 7, 2), seed)
    weights = _weights(net.rng, ir.Levels.signed(3), (4, 3, 3, 2))
    acc = net.add(ir.Conv("conv", ("x",), ("acc",), weights, ir.Levels.signed(3), padding=(1, 1, 1, 1)))
    out = net.threshold("act", acc, ir.Levels.unsigned(8))
    flat = net.add(ir.Reshape("flat", (out,), ("flattened",), (36,)))
    return net.network("ranks", net.add(ir.TopK("rank", (net.matmul("fc", flat, 6),), ("ranked",), count)))


# What is told by its structure, whatever the tools are that run it.
FORMS: dict[str, Callable[[], ir.Network]] = {
    "shifts": shifts,
    "shared-shifts": lambda: shifts(shared=True, seed=1),
    "ranks": ranks,
}

GRAPHS: dict[str, Callable[[], ir.Network]] = {
    "residual": residual,
    "identity": lambda: residual(scaled=False, seed=1),
    "branched": branched,
}
