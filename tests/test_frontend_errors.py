"""Bad models end in one line: the node, what it reads, what it must be, what would mend it."""

import re

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from zoo_onnx import DOMAIN, GraphBuilder, digits_mlp

from hwbnn.errors import UserError
from hwbnn.frontend import load_onnx

RNG = np.random.default_rng(0)
QUANTIZE = r"put a quantizer \(Quant, BipolarQuant, MultiThreshold\) behind these nodes"


def bipolar(g, *shape):
    return g.bipolar(RNG.normal(size=shape))


def layer(g, x=None, columns=6, rows=4):
    """A quantized input and a layer ``fc``."""
    return g.add("MatMul", x or g.quant("x", name="inputs"), bipolar(g, columns, rows), name="fc")


def norm(g, x, variance):
    return g.add("BatchNormalization", x, np.ones(4), np.ones(4), np.ones(4), np.full(4, variance), name="bn")


def feature_map(g):
    return g.quant("x", name="inputs")


def two_norms(g):
    t = layer(g)
    return g.add("Mul", g.add("Relu", t), g.add("Relu", t), name="gate")


BAD = {
    "not-monotone": (
        lambda g: g.quant(g.add("Abs", layer(g), name="turn"), name="act"),
        (r"Node act \(Quant of 1x4, scalar, scalar, scalar\) must be reached through a monotone function of each "
        r"channel, and fc, turn, act turn in channel 0 near -?\d+; put a quantizer in front of the operation "
        r"that turns")),
    "product-of-branches": (
        two_norms,
        (r"Node gate \(Mul of 1x4, 1x4\) must combine one value that depends on the input with constants, not two; "
        r"only Add and Sub of two such values can be imported")),
    "float-activation": (
        lambda g: g.add("MatMul", g.add("Tanh", layer(g), name="tanh"), bipolar(g, 4, 3), name="fc2"),
        rf"Node fc2 \(MatMul of 1x4, 4x3\) must read quantized values, and fc, tanh leave floats; {QUANTIZE}"),
    "float-weights": (
        lambda g: g.add("MatMul", g.quant("x"), RNG.normal(size=(6, 3)), name="fc"),
        (r"Node fc \(MatMul of 1x6, 6x3\) must have quantized weights, and they are floats with no quantizer; quantize "
        r"the weights \(Quant or BipolarQuant\), or annotate integers with their datatype")),
    "float-input": (
        lambda g: layer(g, "x"),
        (r"Node fc \(MatMul of 1x6, 6x4\) must read quantized values, and it reads the graph's float input; put a "
        r"Quant in front of it, or annotate the input with an integer datatype such as UINT8")),
    "float-sum": (
        lambda g: g.add("Add", g.add("Tanh", layer(g), name="tanh"), g.bipolar(layer(g, g.quant("x"))), name="sum"),
        rf"Node sum \(Add of 1x4, 1x4\) must read quantized values, and fc, tanh leave floats; {QUANTIZE}"),
    "zero-scale": (
        lambda g: g.bipolar(layer(g), 0.0, name="act"),
        (r"Node act \(BipolarQuant of 1x4, scalar\) must have a scale that is positive and finite, not 0.0; train the "
        r"quantizer again")),
    "infinite-scale": (
        lambda g: g.quant(layer(g), np.inf, name="act"),
        (r"Node act \(Quant of 1x4, scalar, scalar, scalar\) must have a scale that is positive and finite, not inf; "
        r"train the quantizer again")),
    "nan-weight-scale": (
        lambda g: g.add("MatMul", g.quant("x"), g.bipolar(np.ones((6, 4)), np.nan, name="w"), name="fc"),
        (r"Node w \(BipolarQuant of 6x4, scalar\) must have a scale that is positive and finite, not nan; train the "
        r"quantizer again")),
    "nan-zero-point": (
        lambda g: g.quant(layer(g), 1.0, np.nan, name="act"),
        (r"Node act \(Quant of 1x4, scalar, scalar, scalar\) must have a finite zero point, and it is NaN or infinite; "
        r"train the quantizer again")),
    "wide": (
        lambda g: g.quant(layer(g), 1.0, 0.0, 20.0, name="act"),
        (r"Node act \(Quant of 1x4, scalar, scalar, scalar\) must have at most 16 bits, not 20; quantize the "
        r"activation to fewer bits")),
    "half-a-bit": (
        lambda g: g.quant(layer(g), 1.0, 0.0, 2.5, name="act"),
        (r"Node act \(Quant of 1x4, scalar, scalar, scalar\) must have a bit width that is an integer from 1 to 32, "
        r"not 2.5; choose another width")),
    "live-scale": (
        lambda g: g.quant(layer(g), "x", name="act"),
        (r"Node act \(Quant of 1x4, 1x6, scalar, scalar\) must have a constant scale, and it depends on the input; "
        r"freeze the quantizer")),
    "nan-weight": (
        lambda g: g.add("MatMul", g.quant("x"), g.bipolar(np.full((6, 4), np.nan), name="w"), name="fc"),
        (r"Node w \(BipolarQuant of 6x4, scalar\) must quantize finite weights, and one is NaN or infinite; train the "
        r"model again")),
    "nan-integer-weight": (
        lambda g: g.add("MatMul", g.quant("x"), np.full((6, 4), np.nan), name="fc"),
        r"Node fc \(MatMul of 1x6, 6x4\) must have finite weights, and one is NaN or infinite; train the model again"),
    "nan-constant": (
        lambda g: g.bipolar(norm(g, layer(g), np.nan)),
        (r"Node bn \(BatchNormalization of 1x4, 4, 4, 4, 4\) must have finite constants, and one is NaN or infinite; "
        r"train the model again or mend the constant")),
    "negative-variance": (
        lambda g: g.bipolar(norm(g, layer(g), -1.0), name="act"),
        (r"Node bn \(BatchNormalization of 1x4, 4, 4, 4, 4\) must have variances above 0, epsilon included, not "
        r"-0.99\d+; train the model again")),
    "division-by-zero": (
        lambda g: g.bipolar(g.add("Div", layer(g), np.array([1, 2, 0, 3]), name="div")),
        r"Node div \(Div of 1x4, 4\) must divide by numbers other than 0; mend the constant"),
    "nan-output": (
        lambda g: g.add("Log", layer(g), name="log"),
        r"Output t\d+ must be finite, and fc, log give NaN or infinity; mend the constants of these nodes"),
    "nan-quantizer": (
        lambda g: g.quant(g.add("Sqrt", layer(g), name="root"), name="act"),
        (r"Node act \(Quant of 1x4, scalar, scalar, scalar\) must give one of its 16 levels, and fc, root, act give "
        r"nan in channel 0; mend the constants of these nodes")),
    "unsupported": (
        lambda g: g.add("Einsum", layer(g), equation="ij->ij", name="odd"),
        (r"Node odd \(Einsum of 1x4\) must be an operation that can be lowered, and Einsum cannot; rewrite it with the "
        r"operations that docs/import.md lists")),
    "unknown-domain": (
        lambda g: g.add("Foo", layer(g), domain="my.domain", name="odd"),
        (r"Node odd \(Foo of 1x4\) must be an operation that can be lowered, and my.domain.Foo cannot; rewrite it with "
        r"the operations that docs/import.md lists")),
    "not-its-definition": (
        lambda g: g.add("Clip", layer(g), min=0.0, name="clip"),
        (r"Node clip \(Clip of 1x4\) must be what ONNX opset 13 defines, and it is not \(Unrecognized attribute: min "
        r"for operator Clip\); export it again")),
    "impossible-reshape": (
        lambda g: g.add("Reshape", g.quant("x"), g.constant([7, -1], np.int64), name="shape"),
        r"Node shape \(Reshape of 1x6, 2\) must be evaluated, and it fails \(.*\); export it again"),
    "attention": (
        lambda g: g.add("MatMul", g.quant("x"), g.add("Identity", g.quant("x")), name="scores"),
        (r"Node scores \(MatMul of 1x6, 1x6\) must multiply by constant weights, and both operands depend on the "
        r"input; products of two activations \(attention\) cannot be imported")),
    "weights-first": (
        lambda g: g.add("MatMul", RNG.choice([-1.0, 1.0], (1, 1)), g.quant("x"), name="fc"),
        (r"Node fc \(MatMul of 1x1, 1x6\) must have its weights as the second operand, and they are the first; "
        r"transpose the product")),
    "wrong-columns": (
        lambda g: g.add("MatMul", layer(g), bipolar(g, 5, 3), name="fc2"),
        r"Node fc2 \(MatMul of 1x4, 5x3\) must have 4 weights per output, not 5; export it again"),
    "constant-per-position": (
        lambda g: g.add("Add", g.bipolar(layer(g)), RNG.normal(size=(3, 4)), name="widen"),
        (r"Node widen \(Add of 1x4, 3x4\) must keep the shape \(1, 4\), and its constant of shape \(3, 4\) widens it; "
        r"give the constant one value per channel")),
    "moves-the-batch": (
        lambda g: g.add("Transpose", g.quant("x"), perm=[1, 0], name="turn"),
        (r"Node turn \(Transpose of 1x6\) must keep the batch axis of 1 in front, and it makes \(6, 1\); leave the "
        r"first axis alone")),
    "after-softmax": (
        lambda g: g.add("Mul", g.add("Softmax", layer(g), axis=1, name="soft"), 2.0, name="scale"),
        (r"Node scale \(Mul of 1x4, scalar\) must not compute with the result of soft; end the graph there and compute "
        r"the rest outside")),
    "values-of-topk": (
        lambda g: g.add("Relu", g.add("TopK", layer(g), g.constant([2], np.int64), outputs=2, name="top")[0], name="r"),
        r"Node r \(Relu\) must not read the values that top chose; remove the node"),
    "last-of-equals": (
        lambda g: g.add("ArgMax", layer(g), axis=1, select_last_index=1, name="top"),
        (r"Node top \(ArgMax of 1x4\) must choose the greatest value, the first among equals; use largest = 1 and "
        r"select_last_index = 0")),
    "two-inputs-quantizers": (
        lambda g: g.add("Concat", g.quant("x"), g.quant("x", 0.5, name="other"), axis=1),
        (r"Node other \(Quant of 1x6, scalar, scalar, scalar\) must be the only quantizer that reads the graph's "
        r"input, and there is another; quantize the input once and use the result twice")),
    "no-output": (
        lambda g: g.add("Mul", "x", 2.0),
        (r"Output t0 must be made of quantized values, and it is the graph's float input; put a quantizer behind the "
        r"input")),
    "unsorted-thresholds": (
        lambda g: g.multithreshold(layer(g), np.array([[2.0, 1.0]]), out_dtype="UINT2", name="act"),
        (r"Node act \(MultiThreshold of 1x4, 1x2\) must have thresholds \(channels, n\) that ascend in each row, and "
        r"they do not; sort the thresholds")),
}

BAD_MAPS = {
    "kernel-too-large": (
        lambda g: g.add("Conv", feature_map(g), bipolar(g, 4, 2, 5, 5), name="conv"),
        (r"Node conv \(Conv of 1x2x3x3, 4x2x5x5\) must have a kernel that fits its padded input, and it does not; "
        r"use a larger image or a smaller kernel")),
    "wrong-channels": (
        lambda g: g.add("Conv", feature_map(g), bipolar(g, 4, 3, 2, 2), name="conv"),
        (r"Node conv \(Conv of 1x2x3x3, 4x3x2x2\) must have weights for 2 channels in 1 groups, not for 3 channels "
        r"and 4 outputs; export it again")),
    "three-dimensions": (
        lambda g: g.add("Conv", feature_map(g), bipolar(g, 4, 2, 1, 1, 1), name="conv"),
        (r"Node conv \(Conv of 1x2x3x3, 4x2x1x1x1\) must have one or two spatial axes, not 3; use a 1-D or 2-D "
        r"convolution")),
    "uneven-average": (
        lambda g: g.add("AveragePool", feature_map(g), kernel_shape=[2, 2], pads=[1, 1, 1, 1], name="pool"),
        (r"Node pool \(AveragePool of 1x2x3x3\) must divide by the same count everywhere, and at the border it does "
        r"not; use padding 0 or count_include_pad = 1, ceil_mode = 0 and dilation 1")),
    "dilated-pool": (
        lambda g: g.add("MaxPool", feature_map(g), kernel_shape=[2, 2], dilations=[2, 2], name="pool"),
        r"Node pool \(MaxPool of 1x2x3x3\) must have dilation 1, not \(2, 2\); pool without dilation"),
    "pool-of-floats": (
        lambda g: g.add("MaxPool", "x", kernel_shape=[2, 2], name="pool"),
        (r"Node pool \(MaxPool of 1x2x3x3\) must read quantized values, and it reads the graph's float input; quantize "
        r"the input")),
    "reflection": (
        lambda g: g.add("Pad", feature_map(g), g.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64), mode="reflect",
                        name="pad"),
        (r"Node pad \(Pad of 1x2x3x3, 8\) must surround the spatial axes by a constant; use mode = constant, no "
        r"padding of batch or channels, and no negative padding")),
    "pad-off-the-grid": (
        lambda g: g.add("Pad", feature_map(g), g.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64), 0.5, name="pad"),
        r"Node pad \(Pad of 1x2x3x3, 8, scalar\) must pad with a value on the grid of its input, not 0.5; pad with 0"),
    "linear-resize": (
        lambda g: g.add("Resize", feature_map(g), "", g.constant([1, 1, 2, 2]), mode="linear", name="up"),
        (r"Node up \(Resize of 1x2x3x3, 4\) must enlarge \(1, channels, height, width\) by repeating pixels, not by "
        r"linear; use mode = nearest")),
    "uneven-resize": (
        lambda g: g.add("Resize", feature_map(g), "", g.constant([1, 1, 1.5, 2]), mode="nearest", name="up"),
        (r"Node up \(Resize of 1x2x3x3, 4\) must repeat every pixel a whole number of times, and it does not; use "
        r"integer scales with coordinate_transformation_mode = asymmetric and nearest_mode = floor")),
    "partial-mean": (
        lambda g: g.add("ReduceMean", feature_map(g), axes=[3], name="mean"),
        (r"Node mean \(ReduceMean of 1x2x3x3\) must reduce the spatial axes \(2, 3\), not \[3\]; use "
        r"GlobalAveragePool on \(1, channels, height, width\)")),
    "scattered-columns": (
        lambda g: g.add("Conv", g.add("Gather", feature_map(g), g.constant([2, 0], np.int64), axis=2),
                        bipolar(g, 4, 2, 1, 1), name="conv"),
        (r"Node conv \(Conv of 1x2x2x3, 4x2x1x1\) must read a feature map in order, and its values are laid out "
        r"otherwise; keep every value of the layer before, and reshape or transpose whole axes only")),
    "positions-differ": (
        lambda g: g.add("Conv", g.quant(g.add("Add", "x", RNG.normal(size=(3, 3)), name="bias")),
                        bipolar(g, 2, 2, 1, 1)),
        (r"Node bias \(Add of 1x2x3x3, 3x3\) must treat all positions of a channel alike, and its constant differs "
        r"between them; give the constant one value per channel")),
    "pool-of-a-turn": (
        lambda g: g.bipolar(g.add("MaxPool", g.add("Abs", g.add("Conv", feature_map(g), bipolar(g, 4, 2, 2, 2),
                                                                name="conv"), name="turn"), kernel_shape=[2, 2],
                                  name="pool"), name="act"),
        (r"Node act \(BipolarQuant of 1x4x1x1, scalar\) must be reached through a monotone function of each channel, "
        r"and conv, turn turn in channel 0 in front of pool; put a quantizer in front of the pooling")),
}


@pytest.mark.parametrize("make,message", BAD.values(), ids=BAD)
def test_bad_vectors(tmp_path, make, message):
    g = GraphBuilder(["N", 6])
    path = g.save(tmp_path / "net.onnx", make(g))
    with pytest.raises(UserError, match=f"^{message}$"):
        load_onnx(path)


@pytest.mark.parametrize("make,message", BAD_MAPS.values(), ids=BAD_MAPS)
def test_bad_maps(tmp_path, make, message):
    g = GraphBuilder([1, 2, 3, 3])
    path = g.save(tmp_path / "net.onnx", make(g))
    with pytest.raises(UserError, match=f"^{message}$"):
        load_onnx(path)


def test_sums_beyond_63_bits(tmp_path):
    g = GraphBuilder([1, 6], datatype="INT32")
    weights = np.full((6, 4), 2.0**30) + np.eye(6, 4) * 2.0**20
    path = g.save(tmp_path / "net.onnx", g.add("MatMul", "x", weights, name="fc"))
    with pytest.raises(UserError, match=r"^Node fc \(MatMul of 6\) must keep its sums within 63 bits, and they could "
                                        r"exceed them; give weights or activations fewer bits$"):
        load_onnx(path)


@pytest.mark.parametrize("shape,sizes", [((1, "n"), r"1 x \?"), ((3, 6), "3 x 6"), (("N", "a", "b"), r"\? x \? x \?")])
def test_dynamic_shapes(tmp_path, shape, sizes):
    g = GraphBuilder(list(shape))
    path = g.save(tmp_path / "net.onnx", g.bipolar("x"))
    with pytest.raises(UserError, match=rf"^Input x must have fixed sizes behind a batch axis of 1 or unknown, not "
                                        rf"{sizes}; export the model with these sizes$"):
        load_onnx(path)


def test_no_shape(tmp_path):
    g = GraphBuilder(None)
    with pytest.raises(UserError, match=r"^Input x must have a shape with a batch axis first, not None; export it with "
                                        r"one$"):
        load_onnx(g.save(tmp_path / "net.onnx", g.bipolar("x")))


def test_kind_of_input(tmp_path):
    g = GraphBuilder([1, 6], kind=TensorProto.INT64)
    with pytest.raises(UserError, match=r"^Input x must hold floats or integers of 8 or 16 bits, not int64; cast it "
                                        r"inside of the graph$"):
        load_onnx(g.save(tmp_path / "net.onnx", g.add("Cast", "x", to=1)))


def test_training_mode(tmp_path):
    g = GraphBuilder([1, 6], opset=15)
    t = g.add("BatchNormalization", layer(g), *[np.ones(4)] * 4, training_mode=1, outputs=3, name="bn")[0]
    with pytest.raises(UserError, match=r"^Node bn \(BatchNormalization of 1x4, 4, 4, 4, 4\) must be in inference "
                                        r"mode, not in training mode; export the model in eval mode$"):
        load_onnx(g.save(tmp_path / "net.onnx", t))


def test_two_inputs(tmp_path):
    g = GraphBuilder([1, 6])
    g.inputs.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6]))
    with pytest.raises(UserError, match=r"^Model net must have exactly one input, not 2 \(x, y\); make the others "
                                        r"constants$"):
        load_onnx(g.save(tmp_path / "net.onnx", g.bipolar(g.add("Add", "x", "y"))))


def test_constant_output(tmp_path):
    g = GraphBuilder([1, 6])
    with pytest.raises(UserError, match=r"^Output t1 must be an imported value that depends on the graph's input, "
                                        r"and it is not; remove it$"):
        load_onnx(g.save(tmp_path / "net.onnx", g.bipolar("x"), g.add("Identity", g.constant(1.0))))


@pytest.mark.parametrize("opset", [8, 99])
def test_opset(tmp_path, opset):
    g = GraphBuilder([1, 6], opset=opset)
    path = g.save(tmp_path / "net.onnx", layer(g))
    newest = onnx.defs.onnx_opset_version()
    with pytest.raises(UserError, match=rf"^Model {re.escape(str(path))} must use ONNX opset 9 to {newest}, not "
                                        rf"{opset}; convert it with onnx.version_converter or export it again$"):
        load_onnx(path)


def test_no_onnx(tmp_path):
    path = tmp_path / "net.onnx"
    line = rf"^Model file must be ONNX, and {re.escape(str(path))} is not or is truncated; export it again$"
    whole = digits_mlp(path).read_bytes()
    for content in (b"", b"# a text\n" * 9, whole[:len(whole) // 2], whole[:40]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=line):
            load_onnx(path)


def test_no_file(tmp_path):
    path = tmp_path / "net.onnx"
    with pytest.raises(UserError, match=rf"^Model file must exist, and {re.escape(str(path))} does not$"):
        load_onnx(path)
    with pytest.raises(UserError, match=rf"^Model file {re.escape(str(tmp_path))} must be readable, and it is not "
                                        r"\(Is a directory\)$"):
        load_onnx(tmp_path)


def test_external_data_missing(tmp_path):
    path = digits_mlp(tmp_path / "net.onnx")
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert load_onnx(path).nodes
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(UserError, match=rf"^Model {re.escape(str(path))} must come with its external data, and a "
                                        r"file is missing \(.*weights.bin.*\); put it beside the model or save the "
                                        r"model as one file$"):
        load_onnx(path)


def test_tensor_that_nothing_makes(tmp_path):
    g = GraphBuilder([1, 6])
    path = g.save(tmp_path / "net.onnx", g.add("Add", layer(g), "ghost", name="sum"))
    with pytest.raises(UserError, match=rf"^Node sum \(Add\) of {re.escape(str(path))} must read tensors that are "
                                        r"made, and nothing makes ghost; export the model again$"):
        load_onnx(path)


def test_unknown_datatype(tmp_path):
    g = GraphBuilder([1, 6], datatype="INT4711X")
    path = g.save(tmp_path / "net.onnx", g.bipolar("x"))
    with pytest.raises(UserError, match=rf"^Datatype of tensor x of {re.escape(str(path))} must be one that qonnx "
                                        r"knows, not INT4711X$"):
        load_onnx(path)


def test_nodes_without_names_and_out_of_order(tmp_path):
    g = GraphBuilder([1, 6])
    t = g.bipolar(layer(g))
    for node in g.nodes:
        node.name = "same" if node.op_type != "MatMul" else ""
        node.domain = "" if node.domain == DOMAIN else node.domain  # as some exporters write it
    g.nodes.reverse()
    net = load_onnx(g.save(tmp_path / "net.onnx", t))
    assert [node.op for node in net.nodes] == ["MatMul", "Threshold"]
