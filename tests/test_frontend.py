"""Import equals qonnx's executor: every quantizer, every output, on every image."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from zoo_onnx import (
    GraphBuilder,
    bipolar_conv,
    check_import,
    conv,
    digits_mlp,
    execute,
    floats,
    image,
    integers,
    operations,
    qonnx_execute,
)

from hwbnn import ir
from hwbnn.frontend import load_onnx
from hwbnn.frontend.walk import HANDLERS


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
