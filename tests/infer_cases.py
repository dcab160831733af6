"""Random networks that packed inference is checked on, on whatever device."""

import numpy as np
from hypothesis import strategies as st

from hwbnn import ir

__all__ = ["ACTIVATIONS", "HIDDEN", "WEIGHTS", "convolutions", "images", "network", "pooled", "residual", "seeded",
           "thresholds_within"]

ACTIVATIONS = (ir.BIPOLAR, ir.BINARY, ir.TERNARY, ir.Levels(-3, 3, 2), ir.Levels.unsigned(2), ir.Levels.unsigned(4),
               ir.Levels.signed(8), ir.Levels.unsigned(8), ir.Levels(5, 5), ir.Levels(2, 8, 3))
WEIGHTS = (ir.BIPOLAR, ir.TERNARY, ir.BINARY, ir.Levels(-3, 3, 3), ir.Levels.signed(4), ir.Levels(-6, 6, 2))
HIDDEN = (ir.BIPOLAR, ir.BINARY, ir.TERNARY, ir.Levels.unsigned(2), ir.Levels.unsigned(4), ir.Levels(-8, 7))


def images(net: ir.Network, count: int, rng) -> np.ndarray:
    """Integers that the network's graph takes."""
    return rng.choice(net.input.levels.values(), (count, *net.input.graph_shape))


def network(nodes, source: ir.Input) -> ir.Network:
    """A network that returns the integers of its last node."""
    known = {source.name: ir.Tensor(source.shape, source.levels)}
    for node in nodes:
        known[node.output] = node.infer(*(known[name] for name in node.inputs))
    last = nodes[-1].output
    return ir.Network("net", source, tuple(nodes), (ir.Output("y", last, known[last].shape),))


def thresholds_within(rng, levels: ir.Levels, channels: int, count: int) -> np.ndarray:
    """Ascending thresholds, most on values that occur so that ties do, some out of reach."""
    reachable = levels.low + levels.step * rng.integers(0, len(levels), (channels, count))
    outside = rng.choice([levels.low - 1, levels.high + 1, levels.low, levels.high], (channels, count))
    return np.sort(np.where(rng.random((channels, count)) < 0.15, outside, reachable), axis=1)


@st.composite
def seeded(draw):
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


@st.composite
def convolutions(draw):
    """A convolution and the shape of its input."""
    rng = draw(seeded())
    weights = draw(st.sampled_from(WEIGHTS[:3]))
    groups = draw(st.sampled_from([1, 1, 1, 2]))
    channels, rows = draw(st.integers(1, 70)) * groups, draw(st.integers(1, 40)) * groups
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    padding = draw(st.tuples(*[st.integers(0, 2)] * 4))
    stride = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    height, width = (draw(st.integers(max(1, d * (k - 1) + 1 - a - b), 6)) for k, d, a, b in
                     zip(kernel, dilation, padding[:2], padding[2:], strict=True))
    node = ir.Conv("conv", ("x",), ("y",), rng.choice(weights.values(), (rows, *kernel, channels // groups)), weights,
                   stride, padding, dilation, groups)
    return rng, node, (height, width, channels)


def pooled(rng, node: ir.Conv, shape, levels: ir.Levels, hidden: ir.Levels) -> ir.Network:
    """The convolution ``node`` with thresholds, maximum pooling with padding, and a second convolution."""
    out = node.infer(ir.Tensor(shape, levels))
    signs = rng.choice([-1, 1], node.rows)
    nodes = [node, ir.Threshold("act", ("y",), ("h",), thresholds_within(rng, out.levels, node.rows, len(hidden) - 1),
                                hidden, signs)]
    kernel = tuple(int(rng.integers(1, min(3, size) + 1)) for size in out.shape[:2])
    padding = tuple(int(rng.integers(0, kernel[k % 2])) for k in range(4))
    nodes += [ir.MaxPool("pool", ("h",), ("p",), kernel, (1, 2), padding, rng.choice([-1, 1], node.rows)),
              ir.Conv("second", ("p",), ("z",), rng.choice([-1, 0, 1], (5, 1, 1, node.rows)), ir.TERNARY)]
    return network(nodes, ir.Input("x", shape, shape, levels))


def residual(rng, channels=20) -> ir.Network:
    """A residual block with sum pooling, an affine and argmax."""
    def conv(name, source, levels):
        weights = rng.choice(levels.values(), (channels, 3, 3, channels))
        return ir.Conv(name, (source,), (f"{name}-acc",), weights, levels, padding=(1, 1, 1, 1))
    shape = (6, 6, channels)
    nodes = [conv("a", "x", ir.BIPOLAR),
             ir.Affine("gain", ("a-acc",), ("a-gain",), rng.integers(1, 4, channels), rng.integers(-9, 9, channels)),
             ir.Add("sum", ("a-gain", "x"), ("s",)),
             ir.Threshold("act", ("s",), ("h",), np.sort(rng.integers(-20, 20, (channels, 3)), axis=1),
                          ir.Levels.unsigned(2)),
             ir.MaxPool("pool", ("h",), ("p",), (2, 2), (2, 2)),
             conv("b", "p", ir.TERNARY),
             ir.SumPool("total", ("b-acc",), ("t",), (3, 3), (3, 3)),
             ir.Reshape("flat", ("t",), ("f",), (channels,)),
             ir.MatMul("fc", ("f",), ("y",), rng.integers(-8, 8, (5, channels)), ir.Levels.signed(4)),
             ir.TopK("class", ("y",), ("c",))]
    return network(nodes, ir.Input("x", shape, shape, ir.BIPOLAR))
