"""What each operation means, against loops that say it once more and share nothing with it."""

import re
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zoo import MLPS

from hwbnn import golden, ir
from hwbnn.errors import UserError

UINT2 = ir.Levels.unsigned(2)
IO = ("n", ("a",), ("y",))


def pixel(x, row, column):
    """A padded pixel is None."""
    inside = 0 <= row < len(x) and 0 <= column < len(x[0])
    return x[row][column] if inside else None


def windows(x, kernel, stride, padding, dilation=(1, 1)):
    """For each output position, the pixels of its window, None where padded."""
    top, left, bottom, right = padding
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    rows = range(-top, len(x) + bottom - reach[0] + 1, stride[0])
    columns = range(-left, len(x[0]) + right - reach[1] + 1, stride[1])
    return [[[pixel(x, r + ky * dilation[0], c + kx * dilation[1]) for ky, kx in product(*map(range, kernel))]
             for c in columns] for r in rows]


def matmul(node, x):
    return [sum(int(w) * v for w, v in zip(row, x, strict=True)) for row in node.weights.tolist()]


def conv(node, x):
    per_group, rows = node.weights.shape[3], node.rows // node.groups
    weights = node.weights.reshape(node.rows, -1, per_group).tolist()
    return [[[sum(w * (taps[t][r // rows * per_group + c] if taps[t] is not None else 0)
                  for t, tap in enumerate(weights[r]) for c, w in enumerate(tap)) for r in range(node.rows)]
             for taps in row] for row in windows(x, node.kernel, node.stride, node.padding, node.dilation)]


def threshold(node, x):
    def one(value, c):
        row = node.thresholds[c % len(node.thresholds)].tolist()
        sign = int(node.signs[c % len(node.signs)])
        return node.levels.low + node.levels.step * sum(sign * value >= t for t in row)
    return [[[one(value, c) for c, value in enumerate(channels)] for channels in row] for row in x]


def maxpool(node, x):
    def best(values, c):
        return max(values) if node.signs[c % len(node.signs)] == 1 else min(values)
    return [[[best([tap[c] for tap in taps if tap is not None], c) for c in range(len(x[0][0]))] for taps in row]
            for row in windows(x, node.kernel, node.stride, node.padding)]


def sumpool(node, x):
    return [[[sum(tap[c] for tap in taps if tap is not None) for c in range(len(x[0][0]))] for taps in row]
            for row in windows(x, node.kernel, node.stride, node.padding)]


def affine(node, x):
    m, o = node.multipliers.tolist(), node.offsets.tolist()
    return [[[m[c % len(m)] * v + o[c % len(o)] for c, v in enumerate(channels)] for channels in row] for row in x]


def depth_to_space(node, x):
    b, depth = node.block, len(x[0][0]) // node.block**2
    return [[[x[r // b][c // b][(r % b * b + c % b) * depth + d] for d in range(depth)]
             for c in range(len(x[0]) * b)] for r in range(len(x) * b)]


def pad(node, x):
    top, left, bottom, right = node.padding
    nothing = [node.value] * len(x[0][0])
    return [[pixel(x, r, c) or nothing for c in range(-left, len(x[0]) + right)] for r in range(-top, len(x) + bottom)]


def topk(node, x):
    return [[sorted(range(len(channels)), key=lambda c: (-channels[c], c))[:node.k] for channels in row] for row in x]


def drawn(rng, *shape):
    return rng.integers(-3, 4, shape)


SMALL = ir.Levels(-3, 3)
CASES = {
    "matmul": (lambda rng: ir.MatMul(*IO, drawn(rng, 3, 5), SMALL), (5,), matmul),
    "conv": (lambda rng: ir.Conv(*IO, drawn(rng, 3, 2, 3, 4), SMALL), (4, 5, 4), conv),
    "conv-everything": (lambda rng: ir.Conv(*IO, drawn(rng, 6, 2, 3, 2), SMALL, (2, 1), (1, 0, 2, 1), (2, 1), 2),
                        (5, 4, 4), conv),
    "conv-depthwise": (lambda rng: ir.Conv(*IO, drawn(rng, 8, 3, 3, 1), SMALL, (1, 2), (1, 1, 1, 1), groups=4),
                       (4, 4, 4), conv),
    "threshold": (lambda rng: ir.Threshold(*IO, np.sort(drawn(rng, 4, 3)), UINT2, rng.choice([-1, 1], 4)), (2, 3, 4),
                  threshold),
    "threshold-alike": (lambda rng: ir.Threshold(*IO, [[0]], ir.BIPOLAR), (2, 3, 4), threshold),
    "threshold-many": (lambda rng: ir.Threshold(*IO, np.sort(rng.integers(-40, 40, (4, 15))), ir.Levels.signed(4)),
                       (2, 3, 4), threshold),
    "maxpool": (lambda rng: ir.MaxPool(*IO, (2, 3), (1, 2), (1, 1, 0, 2), rng.choice([-1, 1], 4)), (3, 4, 4), maxpool),
    "sumpool": (lambda rng: ir.SumPool(*IO, (2, 3), (1, 2), (1, 1, 0, 2)), (3, 4, 4), sumpool),
    "affine": (lambda rng: ir.Affine(*IO, drawn(rng, 4), drawn(rng, 1)), (2, 3, 4), affine),
    "depth-to-space": (lambda rng: ir.DepthToSpace(*IO, 2), (2, 3, 8), depth_to_space),
    "pad": (lambda rng: ir.Pad(*IO, (1, 0, 2, 3), -7), (2, 3, 4), pad),
    "upsample": (lambda rng: ir.Upsample(*IO, (2, 3)), (2, 2, 3),
                 lambda node, x: [[x[r // 2][c // 3] for c in range(6)] for r in range(4)]),
    "slice": (lambda rng: ir.Slice(*IO, 1, 3), (2, 2, 4),
              lambda node, x: [[channels[1:3] for channels in row] for row in x]),
    "reshape": (lambda rng: ir.Reshape(*IO, (4, 2)), (2, 2, 2),
                lambda node, x: [channels for row in x for channels in row]),
    "transpose": (lambda rng: ir.Transpose(*IO, (2, 0, 1)), (2, 3, 4),
                  lambda node, x: [[[x[r][c][d] for c in range(3)] for r in range(2)] for d in range(4)]),
    "topk": (lambda rng: ir.TopK(*IO, 3), (2, 2, 5), topk),
}


@pytest.mark.parametrize("make,shape,loop", CASES.values(), ids=CASES)
@given(seed=st.integers(0, 2**32 - 1), great=st.booleans())
def test_operation(make, shape, loop, seed, great):
    """Also with values for which float32 and float64 are too small."""
    rng = np.random.default_rng(seed)
    node = make(rng)
    x = rng.integers(-9, 10, (2, *shape)) * (2**52 if great else 1)
    assert golden.apply(node, x).tolist() == [loop(node, image) for image in x.tolist()]


def test_sums_and_joins():
    rng = np.random.default_rng(0)
    a, b = rng.integers(-9, 9, (2, 3, 2, 4)), rng.integers(-9, 9, (2, 3, 2, 4))
    assert np.array_equal(golden.apply(ir.Add("n", ("a", "b"), ("y",)), a, b), a + b)
    joined = golden.apply(ir.Concat("n", ("a", "b", "c"), ("y",)), a, b, a)
    assert np.array_equal(joined[..., :4], a) and np.array_equal(joined[..., 4:8], b) and joined.shape == (2, 3, 2, 12)


def test_convolution_in_parts_is_the_whole(monkeypatch):
    rng = np.random.default_rng(0)
    node = ir.Conv(*IO, drawn(rng, 6, 3, 3, 4), SMALL, padding=(1, 1, 1, 1))
    x = rng.integers(0, 9, (10, 5, 6, 4))
    whole = golden.apply(node, x)
    monkeypatch.setattr(golden, "_GATHERED", 2500)
    assert np.array_equal(golden.apply(node, x), whole)


# -- from the graph's form to integers and back -----------------------------------------------------------------------


def network(spec, *outputs):
    return ir.Network("net", spec, (), outputs or (ir.Output("y", spec.name, spec.graph_shape),))


def test_encode_permutes_and_quantizes():
    x = np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2) / 2
    spec = ir.Input("x", (3, 2, 2), (2, 2, 3), ir.Levels(-2, 4, 2), [1, 2.5, 5], (1, 2, 0))
    expected = [[[-2 + 2 * sum(x[0, c, row, column] >= b for b in (1, 2.5, 5)) for c in range(3)]
                 for column in range(2)] for row in range(2)]
    assert golden.encode(network(spec), x)[0].tolist() == expected
    by_channel = ir.Input("x", (3,), (3,), ir.BINARY, [[0.5], [1], [np.inf]])
    assert golden.encode(network(by_channel), [[0.5, 0.99, 1e30]]).tolist() == [[1, 0, 0]]


def test_decode():
    spec = ir.Input("x", (6,), (1, 2, 3), ir.Levels(-1, 1))
    q = golden.encode(network(spec), [[-1, 0, 1, 1, 1, -1]])
    table = np.arange(9).reshape(3, 3) / 4
    looked_up = network(spec, ir.Output("y", "x", (3, 2), values=table, axes=(2, 0, 1)))
    expected = table[[0, 1, 2, 0, 1, 2], [0, 1, 2, 2, 2, 0]].reshape(2, 3).T
    assert golden.decode(looked_up, {"x": q}).tolist() == [expected.tolist()]
    line = network(spec, ir.Output("y", "x", (6,), scale=[0.5, 1, 2], bias=[0, 0, 1]))
    assert golden.decode(line, {"x": q}).tolist() == [[-0.5, 0, 3, 0.5, 1, -1]]
    assert golden.decode(network(spec, ir.Output("y", "x", (6,))), {"x": q}).tolist() == [[-1, 0, 1, 1, 1, -1]]


@pytest.mark.parametrize("name", MLPS)
def test_batches_are_joined(name):
    net = MLPS[name]()
    x = np.random.default_rng(0).choice(net.input.levels.values(), (7, *net.input.graph_shape))
    whole = golden.run(net, x)
    assert np.array_equal(golden.run(net, x, batch=3), whole)
    assert np.array_equal(golden.classes(net, x), golden.decide(net, whole))
    tensors = golden.evaluate(net, golden.encode(net, x))
    assert np.array_equal(golden.integers(net, x), tensors[net.outputs[0].tensor])
    assert all(net.tensors[tensor].levels.holds(values) for tensor, values in tensors.items())


@pytest.mark.parametrize("x,message", [
    (np.zeros((2, 3)), "Images must have shape N x 4, not 2 x 3"),
    (np.full((1, 4), 0.5), "Images must hold integers 0..3, not 0.5..0.5 of float64"),
    (np.full((1, 4), 4), "Images must hold integers 0..3, not 4..4 of int64"),
    (np.full((1, 4), np.nan), "Images must hold integers 0..3, not nan..nan of float64")])
def test_bad_images(x, message):
    net = network(ir.Input("x", (4,), (4,), UINT2))
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        golden.run(net, x)


def test_images_must_be_finite():
    net = network(ir.Input("x", (4,), (4,), ir.BINARY, [0.5]))
    with pytest.raises(UserError, match=r"^Images must hold finite numbers, and some are not$"):
        golden.run(net, [[0, 1, np.nan, 2]])
