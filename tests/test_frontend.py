"""Import equals qonnx's executor: every quantizer, every output, on every image."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from zoo_onnx import GraphBuilder, check_import, digits_mlp, execute, qonnx_execute

from hwbnn import ir
from hwbnn.frontend import load_onnx
from hwbnn.frontend.walk import HANDLERS


@pytest.fixture
def rng(request):
    return np.random.default_rng(sum(map(ord, request.node.name)))


def floats(rng, *shape):
    """Inputs on and between the steps of a quantizer with scale 1."""
    return (rng.integers(-4, 40, shape) / 2).astype(np.float32)


def integers(rng, low, high, *shape):
    return rng.integers(low, high + 1, shape).astype(np.float32)


def operations(net):
    return [node.op for node in net.nodes]


def test_digits_mlp(tmp_path, rng):
    path = digits_mlp(tmp_path / "digits.onnx")
    x = floats(rng, 200, 64)
    net = check_import(path, x, quantizers=3)
    assert operations(net) == ["MatMul", "Threshold", "MatMul", "Threshold", "MatMul"]
    assert [net.tensors[node.output].levels.is_bipolar for node in net.nodes[1:4:2]] == [True, True]
    assert all(np.all(node.signs == 1) for node in net.nodes[1:4:2])
    few, y = qonnx_execute(path, x[:3]), execute(path, x[:3])
    assert len(few) > 9 and all(np.array_equal(few[tensor], y[tensor]) for tensor in y.keys() - {"x"})
    ir.save(net, tmp_path / "net.npz")
    assert ir.load(tmp_path / "net.npz") == net
    assert load_onnx(path) == net


# -- layers: each builds on a quantized input and ends in a quantizer or logits ------------------------------------


def conv(g, x, rng, rows, channels, kernel, *, bits=2, scale=1.0, **attributes):
    rank = len(kernel)
    weights = g.quant(rng.normal(size=(rows, channels // attributes.get("group", 1), *kernel)), scale, 0.0, bits,
                      signed=1, narrow=1)
    return g.add("Conv", x, weights, kernel_shape=kernel, **({"strides": [1] * rank} | attributes))


def bipolar_conv(g, x, rng, rows, channels, kernel, **attributes):
    weights = g.bipolar(rng.normal(size=(rows, channels // attributes.get("group", 1), *kernel)))
    return g.add("Conv", x, weights, kernel_shape=kernel, **attributes)


def image(channels=3, size=(6, 5), **options):
    return GraphBuilder([1, channels, *size], **options)


CONVOLUTIONS = {
    "plain": {},
    "stride": {"strides": [2, 1]},
    "padding": {"pads": [1, 1, 1, 1]},
    "asymmetric": {"pads": [2, 0, 1, 1], "strides": [2, 2]},
    "same-upper": {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    "same-lower": {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
    "valid": {"auto_pad": "VALID"},
    "groups": {"group": 2},
    "depthwise": {"group": 4, "pads": [1, 1, 1, 1]},
    "dilation": {"dilations": [2, 1], "pads": [1, 0, 1, 0]},
}


@pytest.mark.parametrize("bipolar", [False, True], ids=["uint4", "bipolar"])
@pytest.mark.parametrize("attributes", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_convolution(tmp_path, rng, attributes, bipolar):
    g = image(4)
    t = g.bipolar("x") if bipolar else g.quant("x")
    t = bipolar_conv(g, t, rng, 8, 4, (3, 3), **attributes)
    t = g.bipolar(g.batchnorm(t, 8, rng, spread=5 if bipolar else 30))
    t = g.add("Flatten", conv(g, t, rng, 3, 8, (2, 2)))
    x = floats(rng, 20, 4, 6, 5) - 10 * bipolar
    net = check_import(g.save(tmp_path / "net.onnx", t), x, quantizers=2)
    assert operations(net)[:3] == ["Conv", "Threshold", "Conv"]


def test_convolution_of_a_signal(tmp_path, rng):
    g = GraphBuilder([1, 2, 12])
    t = conv(g, g.quant("x"), rng, 4, 2, (3,), strides=[2], pads=[1, 0])
    t = g.quant(g.batchnorm(t, 4, rng, spread=15), 0.5, 0.0, 2.0)
    t = conv(g, g.add("MaxPool", t, kernel_shape=[2], strides=[2]), rng, 4, 4, (2,), dilations=[1])
    t = g.add("MatMul", g.add("Flatten", g.bipolar(t)), g.bipolar(rng.normal(size=(8, 3))))
    net = check_import(g.save(tmp_path / "net.onnx", t), floats(rng, 30, 2, 12), quantizers=3)
    assert net.input.shape == (12, 1, 2)


def test_bias_and_gemm(tmp_path, rng):
    g = image(2)
    weights = g.bipolar(rng.normal(size=(4, 2, 3, 3)))
    t = g.add("Conv", g.quant("x"), weights, rng.normal(size=4) * 9, kernel_shape=[3, 3])
    t = g.add("Flatten", g.bipolar(t))
    t = g.add("Gemm", t, g.bipolar(rng.normal(size=(7, 48))), rng.normal(size=7) * 5, transB=1)
    t = g.add("Gemm", g.bipolar(t), g.bipolar(rng.normal(size=(7, 3))), rng.normal(size=3))
    net = check_import(g.save(tmp_path / "net.onnx", t), floats(rng, 30, 2, 6, 5), quantizers=3)
    assert operations(net) == ["Conv", "Threshold", "Reshape", "MatMul", "Threshold", "MatMul"]


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("attributes", [{"strides": [2, 2]}, {"strides": [1, 1], "pads": [1, 0, 0, 1]},
                                        {"strides": [2, 2], "ceil_mode": 1}])
def test_max_pool_takes_levels(tmp_path, rng, where, attributes):
    """Behind a falling batch norm the maximum of accumulators is a maximum of levels, in front of one a minimum."""
    g = image(2, (7, 7))
    t = bipolar_conv(g, g.quant("x"), rng, 6, 2, (2, 2))
    if where == "before":
        t = g.add("MaxPool", t, kernel_shape=[2, 2], **attributes)
    t = g.batchnorm(t, 6, rng, spread=20)
    if where == "after":
        t = g.add("MaxPool", t, kernel_shape=[2, 2], **attributes)
    t = conv(g, g.bipolar(t), rng, 3, 6, (1, 1))
    net = check_import(g.save(tmp_path / "net.onnx", g.add("GlobalAveragePool", t)), floats(rng, 20, 2, 7, 7))
    assert operations(net)[:3] == ["Conv", "Threshold", "MaxPool"]
    assert set(net.nodes[2].signs) == ({-1, 1} if where == "before" else {1})
    assert np.all(net.nodes[1].signs == 1)


def test_pools(tmp_path, rng):
    g = image(3, (8, 8))
    t = g.add("AveragePool", g.quant("x"), kernel_shape=[3, 2], strides=[1, 2], pads=[1, 0, 1, 0], count_include_pad=1)
    t = g.quant(t, 0.5, 0.0, 5.0)
    t = g.add("GlobalAveragePool", conv(g, t, rng, 5, 3, (1, 1)))
    t = g.add("Flatten", g.quant(t, 0.25, 0.0, 6.0, signed=1))
    t = g.add("MatMul", t, g.bipolar(rng.normal(size=(5, 3))))
    net = check_import(g.save(tmp_path / "net.onnx", t), floats(rng, 30, 3, 8, 8), quantizers=3)
    assert operations(net) == ["SumPool", "Threshold", "Conv", "SumPool", "Threshold", "Reshape", "MatMul"]


@pytest.mark.parametrize("keepdims", [0, 1])
def test_reduce_mean(tmp_path, rng, keepdims):
    g = image(3, (5, 7))
    t = g.add("ReduceMean", g.quant("x"), axes=[2, 3], keepdims=keepdims)
    t = g.add("Flatten", g.quant(t, 0.25, 0.0, 6.0))
    t = g.add("MatMul", t, g.bipolar(rng.normal(size=(3, 2))))
    check_import(g.save(tmp_path / "net.onnx", t), floats(rng, 30, 3, 5, 7), quantizers=2)


@pytest.mark.parametrize("scales", [(0.5, 0.5), (0.5, 0.25), (0.5, 0.375), (1.0, 3.0)])
def test_residual(tmp_path, rng, scales):
    g = image(4)
    x = g.quant("x")
    a = g.quant(g.batchnorm(conv(g, x, rng, 4, 4, (3, 3), pads=[1] * 4), 4, rng, spread=40), scales[0], signed=1)
    b = g.quant(g.batchnorm(conv(g, x, rng, 4, 4, (1, 1)), 4, rng, spread=20), scales[1], signed=1)
    t = g.bipolar(g.add("Add", a, b))
    t = conv(g, t, rng, 3, 4, (1, 1))
    net = check_import(g.save(tmp_path / "net.onnx", t, a), floats(rng, 20, 4, 6, 5), quantizers=4)
    assert ("Affine" in operations(net)) == (scales[0] != scales[1])
    assert len(net.outputs) == 2


def test_subtraction_and_sum_with_itself(tmp_path, rng):
    g = image(2)
    x = g.quant("x")
    y = g.quant(g.batchnorm(conv(g, x, rng, 2, 2, (1, 1)), 2, rng, spread=15), 0.5, signed=1)
    t = g.add("Sub", g.add("Add", y, y), x)
    t = conv(g, g.quant(t, 2.0, signed=1), rng, 3, 2, (1, 1))
    check_import(g.save(tmp_path / "net.onnx", t), floats(rng, 20, 2, 6, 5), quantizers=3)


def test_concatenation_of_unequal_scales_and_chains(tmp_path, rng):
    g = image(3)
    x = g.quant("x")
    a = g.quant(conv(g, x, rng, 4, 3, (3, 3), pads=[1] * 4), 8.0, signed=1)
    b = g.quant(conv(g, x, rng, 2, 3, (1, 1)), 2.0, 0.0, 2.0)
    t = g.add("Concat", a, b, x, axis=1)
    t = g.bipolar(conv(g, t, rng, 5, 9, (1, 1)))
    u = g.add("Concat", g.batchnorm(conv(g, t, rng, 2, 5, (1, 1)), 2, rng, spread=4), t, axis=1)
    t = conv(g, g.bipolar(g.add("Add", u, rng.normal(size=(7, 1, 1)))), rng, 2, 7, (1, 1))
    net = check_import(g.save(tmp_path / "net.onnx", t), floats(rng, 20, 3, 6, 5), quantizers=5)
    assert operations(net).count("Concat") == 2


def test_split_and_slices(tmp_path, rng):
    g = image(6)
    x = g.quant("x")
    a, b = g.add("Split", x, g.constant([2, 4], np.int64), axis=1, outputs=2)
    a = g.bipolar(conv(g, a, rng, 3, 2, (1, 1)))
    b = g.bipolar(conv(g, b, rng, 3, 4, (1, 1)))
    c = g.add("Slice", x, g.constant([1], np.int64), g.constant([4], np.int64), g.constant([1], np.int64))
    t = g.add("Concat", g.add("Add", a, b), c, axis=1)
    t = conv(g, t, rng, 2, 6, (1, 1))
    net = check_import(g.save(tmp_path / "net.onnx", t), floats(rng, 20, 6, 6, 5), quantizers=3)
    assert operations(net).count("Slice") == 3


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("quantized", [False, True])
def test_depth_to_space(tmp_path, rng, mode, quantized):
    g = image(2)
    t = g.add("MaxPool", conv(g, g.quant("x"), rng, 12, 2, (3, 3)), kernel_shape=[2, 2])
    t = g.bipolar(g.batchnorm(t, 12, rng)) if quantized else t
    t = g.add("DepthToSpace", t, blocksize=2, mode=mode)
    t = t if quantized else g.quant(g.batchnorm(t, 3, rng), 0.5, signed=1)
    t = g.add("GlobalAveragePool", conv(g, t, rng, 4, 3, (2, 2)))
    net = check_import(g.save(tmp_path / "net.onnx", t), floats(rng, 20, 2, 6, 5), quantizers=1)
    assert operations(net).count("DepthToSpace") == 1
    assert "MatMul" not in operations(net)  # the permutation went into the convolution


@pytest.mark.parametrize("op", ["Resize", "Upsample"])
def test_nearest_enlargement(tmp_path, rng, op):
    g = image(2, (3, 4), opset=13 if op == "Resize" else 9)
    t = g.bipolar(conv(g, g.quant("x"), rng, 4, 2, (1, 1)))
    scales = g.constant([1, 1, 2, 3])
    if op == "Resize":
        t = g.add("Resize", t, "", scales, mode="nearest", nearest_mode="floor",
                  coordinate_transformation_mode="asymmetric")
    else:
        t = g.add("Upsample", t, scales, mode="nearest")
    t = conv(g, t, rng, 2, 4, (3, 3))
    net = check_import(g.save(tmp_path / "net.onnx", t), floats(rng, 20, 2, 3, 4), quantizers=2)
    assert "Upsample" in operations(net)


def test_padding(tmp_path, rng):
    g = image(2)
    x = g.quant("x")
    a = g.add("Pad", x, g.constant([0, 0, 1, 0, 0, 0, 1, 2], np.int64))
    b = g.add("Pad", x, g.constant([0, 0, 1, 0, 0, 0, 1, 2], np.int64), g.constant(3.0))
    t = g.add("Add", g.bipolar(conv(g, a, rng, 4, 2, (3, 3))), g.bipolar(conv(g, b, rng, 4, 2, (3, 3))))
    net = check_import(g.save(tmp_path / "net.onnx", conv(g, t, rng, 2, 4, (1, 1))), floats(rng, 20, 2, 6, 5))
    assert operations(net).count("Pad") == 1  # the one with zeros is the convolution's own
    assert net.nodes[[n.op for n in net.nodes].index("Conv")].padding == (1, 0, 1, 2)


def test_layouts(tmp_path, rng):
    """Channels last outside, transposed for each convolution, as QKeras models are converted."""
    g = GraphBuilder([1, 6, 5, 3])
    t = g.add("Transpose", g.quant("x"), perm=[0, 3, 1, 2])
    t = g.add("Transpose", conv(g, t, rng, 4, 3, (3, 3)), perm=[0, 2, 3, 1])
    t = g.quant(g.add("Add", t, rng.normal(size=4)), 4.0, signed=1)
    t = g.add("MatMul", t, g.bipolar(rng.normal(size=(4, 6))))  # a dense layer at every pixel
    t = g.add("Transpose", g.bipolar(t), perm=[0, 3, 1, 2])
    t = g.add("Transpose", g.add("MaxPool", t, kernel_shape=[2, 2], strides=[2, 1]), perm=[0, 2, 3, 1])
    t = g.add("Reshape", t, g.constant([1, -1], np.int64))
    t = g.add("MatMul", t, g.bipolar(rng.normal(size=(24, 4))))
    net = check_import(g.save(tmp_path / "net.onnx", t), floats(rng, 20, 6, 5, 3), quantizers=3)
    assert net.input.axes == (0, 1, 2) and "Transpose" not in operations(net)


def test_vector_becomes_a_map(tmp_path, rng):
    g = GraphBuilder([1, 24])
    t = g.bipolar(g.add("MatMul", g.quant("x"), g.bipolar(rng.normal(size=(24, 24)))))
    t = g.add("Reshape", t, g.constant([1, 2, 3, 4], np.int64))
    t = conv(g, t, rng, 4, 2, (2, 2))
    net = check_import(g.save(tmp_path / "net.onnx", t), floats(rng, 20, 24), quantizers=2)
    assert operations(net)[2:4] == ["Reshape", "Transpose"]


def test_shapes_computed_in_the_graph(tmp_path, rng):
    g = GraphBuilder(["batch", 2, 6, 5])
    t = g.bipolar(conv(g, g.quant("x"), rng, 3, 2, (3, 3)))
    size = g.add("Gather", g.add("Shape", t), g.constant([0], np.int64))
    t = g.add("Reshape", t, g.add("Concat", size, g.constant([-1], np.int64), axis=0))
    t = g.add("MatMul", t, g.bipolar(rng.normal(size=(36, 3))))
    check_import(g.save(tmp_path / "net.onnx", t), floats(rng, 20, 2, 6, 5), quantizers=2)


# -- quantizers -----------------------------------------------------------------------------------------------------

ROUNDINGS = ("ROUND", "HALF_EVEN", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN")


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("signed,narrow,bits", [(0, 0, 3), (1, 0, 3), (1, 1, 4), (0, 1, 2), (1, 0, 1), (0, 0, 8)])
def test_quant(tmp_path, rng, rounding, signed, narrow, bits):
    """Of the input, of accumulators, and of weights."""
    options = {"signed": signed, "narrow": narrow, "rounding": rounding}
    g = GraphBuilder([1, 6])
    t = g.quant("x", 0.5, 0.0, bits, **options)
    weights = g.quant(rng.normal(size=(6, 8)) * 3, 0.25, 0.0, bits, **options)
    t = g.add("Mul", g.add("MatMul", t, weights), rng.uniform(-1, 1, 8))
    t = g.quant(t, 0.5, 0.0, bits, **options)
    t = g.add("MatMul", t, g.bipolar(rng.normal(size=(8, 3))))
    check_import(g.save(tmp_path / "net.onnx", t), (rng.integers(-40, 40, (60, 6)) / 8).astype(np.float32),
                 quantizers=2)


@pytest.mark.parametrize("zero", [0.0, 3.0, 0.5, -2.0])
def test_zero_point_and_channel_scales(tmp_path, rng, zero):
    g = GraphBuilder([1, 6])
    t = g.quant("x", 0.5, zero, 4.0)
    weights = g.quant(rng.normal(size=(6, 5)), 2.0 ** rng.integers(-3, 1, 5), 0.0, 4.0, signed=1, narrow=1)
    t = g.add("MatMul", t, weights)
    t = g.quant(t, 2.0 ** rng.integers(-3, 1, 5), zero, 4.0, signed=1)
    t = g.add("MatMul", t, g.bipolar(rng.normal(size=(5, 3))))
    check_import(g.save(tmp_path / "net.onnx", t), floats(rng, 60, 6), quantizers=1)


def test_other_quantizers(tmp_path, rng):
    """MultiThreshold with scale and bias, IntQuant, Trunc, Sign, comparison."""
    g = GraphBuilder([1, 8])
    w = lambda k, n: g.bipolar(rng.normal(size=(k, n)))  # noqa: E731  (a shorthand of this test)
    t = g.multithreshold("x", np.sort(rng.normal(5, 5, (8, 3))), out_dtype="UINT2")
    t = g.add("MatMul", t, w(8, 8))
    t = g.multithreshold(t, np.sort(rng.normal(0, 5, (1, 1))), out_dtype="BIPOLAR", scale=2.0, bias=-1.0)
    t = g.add("MatMul", t, w(8, 8))
    t = g.multithreshold(t, np.sort(rng.normal(0, 5, (8, 7))), out_dtype="INT4", scale=1.0, bias=-4.0)
    t = g.add("IntQuant", g.add("MatMul", t, w(8, 8)), 4.0, 0.0, 6.0, domain="qonnx.custom_op.general", signed=1,
              narrow=0, rounding_mode="FLOOR")
    t = g.add("Trunc", t, 4.0, 0.0, 6.0, 3.0, domain="qonnx.custom_op.general", rounding_mode="FLOOR")
    t = g.add("Sign", g.add("Add", g.add("MatMul", t, w(8, 8)), rng.normal(size=8)))
    t = g.add("Cast", g.add("Greater", g.add("MatMul", t, w(8, 8)), g.constant(rng.normal(size=8))), to=1)
    t = g.add("MatMul", g.add("Sub", g.add("Mul", t, 2.0), 1.0), w(8, 3))
    net = check_import(g.save(tmp_path / "net.onnx", t), floats(rng, 60, 8), quantizers=5)
    assert [net.tensors[n.output].levels.is_bipolar for n in net.nodes if n.op == "Threshold"][-2:] == [True, True]


CHAINS = {
    "relu": lambda g, t, rng: g.add("Relu", t),
    "leaky": lambda g, t, rng: g.add("LeakyRelu", t, alpha=0.1),
    "clip": lambda g, t, rng: g.add("Clip", t, g.constant(-3.0), g.constant(5.0)),
    "hardtanh": lambda g, t, rng: g.add("Clip", g.add("Mul", t, 0.1), g.constant(-1.0), g.constant(1.0)),
    "tanh": lambda g, t, rng: g.add("Tanh", g.add("Div", t, 7.0)),
    "sigmoid": lambda g, t, rng: g.add("Sigmoid", g.add("Mul", t, rng.normal(size=8))),
    "sub-from": lambda g, t, rng: g.add("Sub", rng.normal(size=8), t),
    "negative-div": lambda g, t, rng: g.add("Div", t, -3.0),
    "prelu": lambda g, t, rng: g.add("PRelu", t, rng.uniform(0.01, 1, 8)),
    "identity-dropout": lambda g, t, rng: g.add("Dropout", g.add("Identity", t)),
    "double-cast": lambda g, t, rng: g.add("Cast", g.add("Cast", t, to=11), to=1),
    "sign": lambda g, t, rng: g.add("Sign", t),
    "two-norms": lambda g, t, rng: g.batchnorm(g.add("Relu", g.batchnorm(t, 8, rng)), 8, rng, spread=1),
    "min-max": lambda g, t, rng: g.add("Min", g.add("Max", t, -2.0), g.constant(3.0)),
}


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_chain(tmp_path, rng, chain):
    g = GraphBuilder([1, 6])
    t = g.add("MatMul", g.quant("x"), g.bipolar(rng.normal(size=(6, 8))))
    t = g.quant(chain(g, t, rng), 0.25, 0.0, 4.0, signed=1)
    t = g.add("MatMul", t, g.bipolar(rng.normal(size=(8, 3))))
    net = check_import(g.save(tmp_path / "net.onnx", t), floats(rng, 60, 6), quantizers=2)
    assert operations(net)[0] == "MatMul" and np.all(net.nodes[1].signs == 1)


# -- inputs and outputs ---------------------------------------------------------------------------------------------


def test_image_with_preprocessing_and_no_annotation(tmp_path, rng):
    """The first quantizer's steps are found on the float line, mean and deviation per channel included."""
    g = image(3)
    t = g.add("Div", g.add("Sub", g.add("Div", "x", 255.0), rng.uniform(0.3, 0.6, (3, 1, 1))),
              rng.uniform(0.2, 0.3, (3, 1, 1)))
    t = conv(g, g.quant(t, 2**-5, 0.0, 8.0, signed=1), rng, 4, 3, (3, 3))
    x = np.concatenate([integers(rng, 0, 255, 20, 3, 6, 5), rng.uniform(-9, 300, (20, 3, 6, 5))]).astype(np.float32)
    net = check_import(g.save(tmp_path / "net.onnx", t), x, quantizers=1)
    assert net.input.boundaries.shape == (3, 255) and net.input.shape == (6, 5, 3)


@pytest.mark.parametrize("kind,datatype", [(TensorProto.FLOAT, "UINT8"), (TensorProto.UINT8, None)])
def test_image_of_bytes(tmp_path, rng, kind, datatype):
    """Integers enter the network, and the preprocessing is thresholds on the chip."""
    g = image(3, kind=kind, datatype=datatype)
    x = "x" if datatype else g.add("Cast", "x", to=1)
    t = g.add("Div", g.add("Sub", g.add("Div", x, 255.0), rng.uniform(0.3, 0.6, (3, 1, 1))),
              rng.uniform(0.2, 0.3, (3, 1, 1)))
    t = conv(g, g.quant(t, 2**-2, 0.0, 4.0, signed=1), rng, 4, 3, (3, 3))
    x = integers(rng, 0, 255, 20, 3, 6, 5).astype(np.float32 if datatype else np.uint8)
    net = check_import(g.save(tmp_path / "net.onnx", t), x, quantizers=1)
    assert net.input.boundaries is None and operations(net) == ["Threshold", "Conv"]
    assert net.tensors["x"].levels == ir.Levels(0, 255)


def test_bytes_into_the_first_layer(tmp_path, rng):
    """A division that only scales is left to the logits."""
    g = GraphBuilder([1, 1, 4, 4], datatype="UINT8")
    t = g.add("MatMul", g.add("Flatten", g.add("Div", "x", 256.0)), g.bipolar(rng.normal(size=(16, 5))))
    t = g.add("MatMul", g.bipolar(t), g.bipolar(rng.normal(size=(5, 3))))
    net = check_import(g.save(tmp_path / "net.onnx", t), integers(rng, 0, 255, 20, 1, 4, 4), quantizers=1)
    assert operations(net) == ["MatMul", "Threshold", "MatMul"] and net.input.shape == (16,)


@pytest.mark.parametrize("op", ["Greater", "Less"])
def test_binarization_at_a_threshold(tmp_path, rng, op):
    g = image(1)
    t = g.add("Cast", g.add(op, "x", g.constant(127.0)), to=1)
    t = g.add("Sub", g.add("Mul", t, 2.0), 1.0)
    t = g.bipolar(bipolar_conv(g, t, rng, 4, 1, (3, 3)))
    t = g.add("MatMul", g.add("Flatten", t), g.bipolar(rng.normal(size=(48, 3))))
    x = integers(rng, 0, 255, 20, 1, 6, 5)
    x.flat[::7] = 127
    net = check_import(g.save(tmp_path / "net.onnx", t), x, quantizers=1)
    assert net.input.levels.is_bipolar and net.input.boundaries.shape == (1,)
    assert operations(net)[0] == "Conv"


def test_bipolar_input(tmp_path, rng):
    g = GraphBuilder([1, 12], datatype="BIPOLAR")
    t = g.bipolar(g.add("MatMul", "x", g.bipolar(rng.normal(size=(12, 6)))))
    t = g.add("MatMul", t, g.bipolar(rng.normal(size=(6, 3))))
    net = check_import(g.save(tmp_path / "net.onnx", t), rng.choice([-1, 1], (40, 12)).astype(np.float32))
    assert net.input.levels.is_bipolar and net.input.boundaries is None


def test_annotated_weights(tmp_path, rng):
    g = GraphBuilder([1, 12])
    t = g.bipolar("x")
    for datatype, values in (("BIPOLAR", [-1, 1]), ("TERNARY", [-1, 0, 1]), ("INT4", range(-8, 8)), ("INT8", [-3, 5])):
        name = g.constant(rng.choice(list(values), (12, 12)))
        g.annotate(name, datatype)
        t = g.bipolar(g.add("MatMul", t, name))
    net = check_import(g.save(tmp_path / "net.onnx", g.add("MatMul", t, rng.choice([-0.5, 0.5], (12, 3)))),
                       floats(rng, 40, 12) - 9, quantizers=5)
    levels = [n.weight_levels for n in net.nodes if n.op == "MatMul"]
    assert levels == [ir.BIPOLAR, ir.TERNARY, ir.Levels.signed(4), ir.Levels.signed(8), ir.BIPOLAR]


@pytest.mark.parametrize("op", ["ArgMax", "TopK"])
@pytest.mark.parametrize("norm", [False, True], ids=["scale", "norm"])
def test_classes(tmp_path, rng, op, norm):
    g = GraphBuilder([1, 8])
    t = g.add("MatMul", g.bipolar("x"), g.bipolar(rng.normal(size=(8, 5))))
    t = g.batchnorm(t, 5, rng, spread=4) if norm else g.add("Mul", t, 0.3)
    if op == "ArgMax":
        t = g.add("ArgMax", g.add("Softmax", t, axis=1), axis=1, keepdims=0)
    else:
        t = g.add("TopK", t, g.constant([3], np.int64), axis=1, outputs=2)[1]
    path = g.save(tmp_path / "net.onnx", t)
    net = check_import(path, floats(rng, 200, 8) - 9, quantizers=1)
    assert operations(net) == ["MatMul", *["Affine"] * norm, "TopK"]
    assert ("softmax" in net.metadata) == (op == "ArgMax")


def test_argmax_at_every_pixel(tmp_path, rng):
    g = image(2)
    t = g.add("ArgMax", conv(g, g.quant("x"), rng, 4, 2, (1, 1)), axis=1)
    net = check_import(g.save(tmp_path / "net.onnx", t), floats(rng, 20, 2, 6, 5))
    assert net.tensors[net.outputs[0].tensor].shape == (6, 5, 1)


def test_trailing_scale_and_softmax(tmp_path, rng):
    g = GraphBuilder([1, 8])
    t = g.add("MatMul", g.bipolar("x"), g.bipolar(rng.normal(size=(8, 5))))
    t = g.add("Div", g.add("Mul", t, 0.7), 3.0)
    path = g.save(tmp_path / "net.onnx", t, g.add("Softmax", t, axis=-1))
    net = load_onnx(path)
    assert net.metadata["softmax"] == {"node": "softmax5", "axis": -1}
    assert np.array_equal(net.outputs[0].values, net.outputs[1].values)


def test_what_was_folded_into_what(tmp_path, rng):
    g = GraphBuilder([1, 6])
    weights = g.bipolar(rng.normal(size=(6, 8)), name="weights")
    t = g.add("MatMul", g.quant(g.add("Div", "x", 4.0, name="div"), name="inputs"), weights, name="fc")
    t = g.add("Cast", g.add("Greater", g.add("Relu", t, name="relu"), g.constant(2.0), name="fires"), to=1, name="cast")
    t = g.add("Sub", g.add("Mul", t, 2.0, name="twice"), 1.0, name="less")
    t = g.add("MatMul", t, g.bipolar(rng.normal(size=(8, 3)), name="weights2"), name="fc2")
    net = check_import(g.save(tmp_path / "net.onnx", t), floats(rng, 20, 6))
    assert operations(net) == ["MatMul", "Threshold", "MatMul"]
    assert net.metadata["folded"] == {
        "x": ["div", "inputs"], "fc": ["weights", "fc"], "fires": ["fc", "relu", "fires", "cast", "twice", "less"],
        "fc2": ["weights2", "fc2"]}


@pytest.mark.parametrize("opset", sorted({9, 11, 13, 15, 17, 18, 21, onnx.defs.onnx_opset_version()}))
def test_opsets(tmp_path, rng, opset):
    g = GraphBuilder([1, 2, 6, 5], opset=opset)
    t = g.add("Conv", g.quant("x"), g.bipolar(rng.normal(size=(4, 2, 3, 3))), rng.normal(size=4), kernel_shape=[3, 3])
    t = g.add("Dropout", g.batchnorm(t, 4, rng, spread=20))
    t = g.add("Clip", t, min=-1.0, max=1.0) if opset < 11 else g.add("Clip", t, g.constant(-1.0), g.constant(1.0))
    t = g.bipolar(g.add("MaxPool", g.add("LeakyRelu", t), kernel_shape=[2, 2]))
    t = g.add("AveragePool", t, kernel_shape=[2, 2])
    t = g.add("ReduceMean", t, axes=[2, 3]) if opset < 18 else g.add("ReduceMean", t, g.constant([2, 3], np.int64))
    t = g.add("Squeeze", t, axes=[2, 3]) if opset < 13 else g.add("Squeeze", t, g.constant([2, 3], np.int64))
    t = g.add("Gemm", g.quant(t, 0.25, 0.0, 4.0, signed=1), g.bipolar(rng.normal(size=(4, 5))), rng.normal(size=5))
    t = g.add("Mul", t, 0.5)
    net = check_import(g.save(tmp_path / "net.onnx", t), floats(rng, 30, 2, 6, 5), quantizers=3)
    assert operations(net)[:3] == ["Conv", "Threshold", "MaxPool"]


@pytest.mark.parametrize("rounding", ["FLOOR", "ROUND", "CEIL"])
def test_truncation_of_the_second_version(tmp_path, rng, rounding):
    """With a scale of its own, as Brevitas exports an average that is truncated."""
    g = image(3, (4, 4), qonnx=2)
    t = g.add("AveragePool", g.quant("x", 0.5, 0.0, 4.0), kernel_shape=[2, 2], strides=[2, 2])
    t = g.add("Mul", t, 4.0)
    t = g.add("Trunc", t, 0.5, 0.0, 6.0, 2.0, 4.0, domain="qonnx.custom_op.general", rounding_mode=rounding, signed=0,
              narrow=0)
    t = g.add("MatMul", g.add("Flatten", t), g.bipolar(rng.normal(size=(12, 3))))
    net = check_import(g.save(tmp_path / "net.onnx", t), floats(rng, 40, 3, 4, 4), quantizers=2)
    assert operations(net) == ["SumPool", "Threshold", "Reshape", "MatMul"]


def test_the_page_lists_the_operations():
    page = (Path(__file__).parents[1] / "docs/import.md").read_text()
    table = page.split("## What can be imported")[1].split("Opsets 9")[0]
    assert set(re.findall(r"`([A-Z]\w+)`", table)) == set(HANDLERS)


def test_input_of_double_precision(tmp_path, rng):
    g = GraphBuilder([1, 6], kind=TensorProto.DOUBLE)
    t = g.quant(g.add("Cast", g.add("Div", "x", g.constant(3.0, np.float64)), to=1), 0.25)
    t = g.add("MatMul", t, g.bipolar(rng.normal(size=(6, 3))))
    check_import(g.save(tmp_path / "net.onnx", t), floats(rng, 40, 6).astype(np.float64), quantizers=1)


@pytest.mark.parametrize("datatype,levels", [("INT3", ir.Levels(-4, 3)), ("TERNARY", ir.TERNARY), ("BINARY", ir.BINARY),
                                             ("SCALEDINT<8>", None), ("FLOAT32", None)])
def test_annotated_input(tmp_path, rng, datatype, levels):
    g = GraphBuilder([1, 6], datatype=datatype)
    t = g.add("MatMul", g.quant("x", 1.0, 0.0, 3.0, signed=1), g.bipolar(rng.normal(size=(6, 3))))
    net = check_import(g.save(tmp_path / "net.onnx", t), integers(rng, 0, 1, 20, 6), quantizers=1)
    assert (net.input.boundaries is None) == (levels is not None)
    assert net.input.levels == (levels or ir.Levels(-4, 3))
    assert operations(net)[-1] == "MatMul" and ("Threshold" in operations(net)) == (levels in (ir.TERNARY, ir.BINARY))
