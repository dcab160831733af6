"""Random nodes on feature maps, for the tests of their hardware."""

import numpy as np
from hardware import divisors
from hypothesis import strategies as st

from hwbnn import ir, plan
from hwbnn.plan.matrices import Matrix

__all__ = ["LEVELS", "chain", "convolutions", "foldings", "movers", "poolings", "shapes", "shifted", "thresholded"]

LEVELS = st.sampled_from([ir.BIPOLAR, ir.BIPOLAR, ir.TERNARY, ir.Levels.unsigned(2), ir.Levels.signed(3),
                          ir.Levels(-9, 7, 4), ir.Levels(1, 3)])
WEIGHTS = st.sampled_from([ir.BIPOLAR, ir.BIPOLAR, ir.TERNARY, ir.Levels.signed(2)])


def chain(nodes, shape, levels):
    """A network of ``nodes``, each of which reads what the one before wrote."""
    tensor = ir.Tensor(shape, levels)
    for node in nodes:
        tensor = node.infer(tensor)
    return ir.Network("maps", ir.Input("x", shape, shape, levels), nodes,
                      [ir.Output("out", nodes[-1].output, tensor.shape)])


@st.composite
def shapes(draw, channels=(1, 2, 4, 6)):
    return draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.sampled_from(channels))


@st.composite
def _window(draw, shape, dilations=2):
    """Kernel, stride, padding and dilation of a window that fits."""
    fields = []
    for size in shape[:2]:
        before, after = draw(st.integers(0, 2)), draw(st.integers(0, 2))
        dilation = draw(st.integers(1, dilations))
        kernel = draw(st.integers(1, min(3, (size + before + after - 1) // dilation + 1)))
        fields.append((kernel, draw(st.integers(1, 3)), before, after, dilation))
    (ky, sy, top, bottom, dy), (kx, sx, left, right, dx) = fields
    return (ky, kx), (sy, sx), (top, left, bottom, right), (dy, dx)


@st.composite
def thresholded(draw, node, tensor, name="act"):
    """A threshold node after ``node``, with thresholds where its output lies."""
    levels = node.infer(tensor).levels
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    out = draw(st.sampled_from([ir.BIPOLAR, ir.TERNARY, ir.Levels.unsigned(2)]))
    channels = node.infer(tensor).channels
    limits = np.sort(rng.integers(levels.low, levels.high + 2, (channels, len(out) - 1)), axis=1)
    return ir.Threshold(name, (node.output,), (f"{name}_out",), limits, out, rng.choice([-1, 1], channels))


def shifted(rng, weights, *, shared=False):
    """The weights (rows, ky, kx, channels) with all but one tap of each kernel set to 0."""
    rows, ky, kx, channels = weights.shape
    taps = rng.integers(0, ky * kx, (1 if shared else rows, 1, channels))
    kept = np.arange(ky * kx)[None, :, None] == taps
    return weights * kept.reshape(-1, ky, kx, channels)


@st.composite
def convolutions(draw):
    """A network of a convolution, with or without thresholds."""
    shape, levels = draw(shapes()), draw(LEVELS)
    kernel, stride, padding, dilation = draw(_window(shape))
    kind, weights = draw(st.sampled_from(["whole", "whole", "shift", "grouped", "depthwise"])), draw(WEIGHTS)
    groups = {"whole": 1, "shift": 1, "grouped": draw(st.sampled_from(divisors(shape[2]))), "depthwise": shape[2]}[kind]
    rows = shape[2] if kind == "depthwise" else groups * draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    values = rng.choice(weights.values(), (rows, *kernel, shape[2] // groups))
    if kind == "shift":
        values, weights = shifted(rng, values, shared=draw(st.booleans())), ir.Levels(-2, 2)
    node = ir.Conv("conv", ("x",), ("y",), values, weights, stride, padding, dilation, groups)
    nodes = [node]
    if draw(st.booleans()):
        nodes.append(draw(thresholded(node, ir.Tensor(shape, levels))))
    return chain(nodes, shape, levels)


@st.composite
def foldings(draw, network):
    """Any folding of a network's matrices."""
    sizes = {node.name: (matrix.rows, matrix.columns) for node in network.nodes
             if (matrix := Matrix.of(node)) is not None}
    return {name: plan.Fold(*(draw(st.sampled_from(divisors(size))) for size in both)) for name, both in sizes.items()}


@st.composite
def poolings(draw):
    """A network of a maximum, a minimum or both by channel, or a sum."""
    shape, levels = draw(shapes()), draw(LEVELS)
    kernel, stride, padding, _ = draw(_window(shape, dilations=1))
    if draw(st.booleans()):
        return chain([ir.SumPool("pool", ("x",), ("y",), kernel, stride, padding)], shape, levels)
    top, left, bottom, right = padding
    padding = (min(top, kernel[0] - 1), min(left, kernel[1] - 1), min(bottom, kernel[0] - 1), min(right, kernel[1] - 1))
    if shape[0] + padding[0] + padding[2] < kernel[0] or shape[1] + padding[1] + padding[3] < kernel[1]:
        kernel, padding = (1, 1), (0, 0, 0, 0)
    signs = np.random.default_rng(draw(st.integers(0, 99))).choice([-1, 1], draw(st.sampled_from([1, shape[2]])))
    return chain([ir.MaxPool("pool", ("x",), ("y",), kernel, stride, padding, signs)], shape, levels)


@st.composite
def movers(draw):
    """A network of a node that only moves values."""
    kind = draw(st.sampled_from(["pad", "upsample", "depth_to_space", "transpose", "reshape"]))
    shape, levels = draw(shapes(channels=(4, 8))), draw(LEVELS)
    node = {
        "pad": lambda: ir.Pad("move", ("x",), ("y",), tuple(draw(st.integers(0, 2)) for _ in range(4)),
                              draw(st.integers(-2, 2))),
        "upsample": lambda: ir.Upsample("move", ("x",), ("y",), (draw(st.integers(1, 3)), draw(st.integers(1, 3)))),
        "depth_to_space": lambda: ir.DepthToSpace("move", ("x",), ("y",), draw(st.integers(1, 2))),
        "transpose": lambda: ir.Transpose("move", ("x",), ("y",), tuple(draw(st.permutations(range(3))))),
        "reshape": lambda: ir.Reshape("move", ("x",), ("y",), (int(np.prod(shape)),)),
    }[kind]()
    return chain([node], shape, levels)
