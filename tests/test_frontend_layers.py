"""Layers on import: each network builds on a quantized input and ends in a quantizer or logits, and equals qonnx's."""

import numpy as np
import pytest
from zoo_onnx import GraphBuilder, bipolar_conv, check_import, conv, floats, image, operations

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
