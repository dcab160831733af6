"""ONNX graphs in memory, and qonnx's executor on them: what imports are checked against."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

from hwbnn import golden, ir
from hwbnn.frontend import import_onnx
from hwbnn.frontend.execution import Executor
from hwbnn.frontend.graph import read

__all__ = [
    "GraphBuilder", "bipolar_conv", "check_import", "conv", "digits_mlp", "execute", "floats", "image", "integers",
    "operations", "qonnx_execute",
]

DOMAIN = "qonnx.custom_op.general"


class GraphBuilder:
    """Write a graph node by node; every method returns the name of the tensor it makes."""

    def __init__(self, shape, *, name="net", kind=TensorProto.FLOAT, datatype=None, opset=13, qonnx=1):
        self.name, self.opset, self.qonnx = name, opset, qonnx
        self.nodes, self.constants, self.annotations = [], [], []
        self.inputs = [helper.make_tensor_value_info("x", kind, shape)]
        if datatype:
            self.annotate("x", datatype)

    def annotate(self, tensor, datatype):
        """Note the FINN datatype of ``tensor``."""
        self.annotations.append(onnx.TensorAnnotation(
            tensor_name=tensor,
            quant_parameter_tensor_names=[onnx.StringStringEntryProto(key="finn_datatype", value=datatype)]))

    def constant(self, value, dtype=np.float32, name=None):
        name = name or f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def add(self, op, *inputs, domain="", name=None, outputs=1, **attributes):
        """Append a node; operands that are no names become float constants."""
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        number = len(self.nodes)
        made = [f"t{number}" if outputs == 1 else f"t{number}_{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(op, names, made, domain=domain, name=name or f"{op.lower()}{number}",
                                           **attributes))
        return made[0] if outputs == 1 else made

    def quant(self, x, scale=1.0, zero=0.0, bits=4.0, *, signed=0, narrow=0, rounding="ROUND", name=None):
        return self.add("Quant", x, scale, zero, bits, domain=DOMAIN, signed=signed, narrow=narrow,
                        rounding_mode=rounding, name=name)

    def bipolar(self, x, scale=1.0, name=None):
        return self.add("BipolarQuant", x, scale, domain=DOMAIN, name=name)

    def multithreshold(self, x, thresholds, *, out_dtype, scale=1.0, bias=0.0, layout="NC", name=None):
        return self.add("MultiThreshold", x, thresholds, domain=DOMAIN, out_dtype=out_dtype, out_scale=scale,
                        out_bias=bias, data_layout=layout, name=name)

    def batchnorm(self, x, channels, rng, *, spread=10.0, falling=True):
        """A batch norm whose output is about the standard normal of inputs with deviation ``spread``."""
        gain = rng.uniform(0.5, 1.5, channels) * (rng.choice([-1, 1], channels) if falling else 1)
        return self.add("BatchNormalization", x, gain, rng.normal(0, 0.3, channels),
                        rng.normal(0, spread / 4, channels), rng.uniform(0.5, 1.5, channels) * spread**2)

    def model(self, *outputs):
        """The finished model. The outputs' shapes are left to shape inference."""
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, self.name, self.inputs, values, self.constants)
        graph.quantization_annotation.extend(self.annotations)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid(DOMAIN, self.qonnx)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def save(self, path, *outputs) -> Path:
        onnx.save(self.model(*outputs), path)
        return Path(path)


def qonnx_execute(path, x) -> dict[str, np.ndarray]:
    """Every tensor of the graph for each image of ``x``, by qonnx's ``execute_onnx`` itself (milliseconds a node)."""
    model = ModelWrapper(str(path))
    for node in model.graph.node:
        if node.op_type in ("Quant", "IntQuant", "BipolarQuant", "Trunc", "MultiThreshold"):
            node.domain = DOMAIN
    name = model.graph.input[0].name
    shape = [d.dim_value or 1 for d in model.graph.input[0].type.tensor_type.shape.dim]
    model.set_tensor_shape(name, shape, model.graph.input[0].type.tensor_type.elem_type)
    for value in model.graph.output:  # inferred anew
        value.type.tensor_type.ClearField("shape")
    model = model.transform(InferShapes())
    runs = [execute_onnx(model, {name: image[None]}, return_full_exec_context=True) for image in x]
    return {tensor: np.concatenate([run[tensor] for run in runs])
            for tensor in [*(n for node in model.graph.node for n in node.output)] if runs[0][tensor].ndim}


def execute(path, x) -> dict[str, np.ndarray]:
    """The same for many images: the same node implementations, one image at a time, sessions kept.

    A Gemm with a bias runs as Gemm and Add. onnxruntime starts the sum of products from the bias and so rounds every
    partial sum; the importer's rule is to round once, after an exact sum.
    """
    graph = read(path)
    executor = Executor(graph.opsets)
    name = next(iter(graph.inputs))
    constants = {"": None, "no bias": np.zeros(1, np.float32), **graph.constants}
    live = {name}
    for node in graph.nodes:  # constants once
        if live.isdisjoint(node.input):
            constants.update(zip(node.output, executor(node, [constants[i] for i in node.input]), strict=True))
        else:
            live.update(node.output)
    nodes = [part for node in graph.nodes for part in _parts(node)]
    results: dict[str, list] = {tensor: [] for tensor in live if tensor}
    for image in x:
        values = {**constants, name: image[None]}
        for node in nodes:
            if not live.isdisjoint(node.input):
                values.update(zip(node.output, executor(node, [values[i] for i in node.input]), strict=False))
        for tensor, found in results.items():
            if tensor in values:
                found.append(values[tensor])
    return {tensor: np.concatenate(found) for tensor, found in results.items() if found and found[0].ndim}


def _parts(node):
    if node.op_type != "Gemm" or len(node.input) < 3:
        return [node]
    product, add = onnx.NodeProto(), helper.make_node("Add", [node.output[0], node.input[2]], node.output)
    product.CopyFrom(node)
    product.input[2] = "no bias"
    return [product, add]


def check_import(path, x, *, exact=True, quantizers=0) -> ir.Network:
    """Import ``path`` and compare with the executor on every image: quantizers, outputs, classes. Return the network.

    ``exact=False``: where scales are no powers of two, float32 sums round, in an order of their own; logits may then
    differ by a few units in the last place of the greatest, and equal ones are told apart by rounding. Quantizers and
    classes must agree all the same. At least ``quantizers`` quantizers must be compared.
    """
    imported = import_onnx(path)
    net, expected = imported.network, execute(path, x)
    tensors = golden.evaluate(net, golden.encode(net, x))
    compared = 0
    for name, live in imported.quantizers.items():
        levels, channels = net.tensors[live.root].levels, net.tensors[live.root].channels
        table = np.broadcast_to(live.chain(levels.values()[:, None]).T, (channels, len(levels)))
        q = tensors[live.root].reshape(len(x), -1)[:, live.index[0].ravel()]
        got = table[live.index[0].ravel() % channels, (q - levels.low) // levels.step]
        wanted = expected[name].reshape(len(x), -1)
        assert np.array_equal(got, wanted), f"{name}: {np.mean(got != wanted):.2%} of values differ"
        compared += 1
    assert compared >= quantizers
    for number, output in enumerate(net.outputs):
        got, wanted = golden.decode(net, tensors, number), expected[output.name]
        if exact and output.scale is None:
            assert np.array_equal(got, wanted), f"{output.name}: {np.mean(got != wanted):.2%} of values differ"
        assert np.abs(got - wanted).max() <= 2.0**-21 * np.abs(wanted).max()
        got, wanted = got.reshape(len(x), -1), wanted.reshape(len(x), -1)
        chosen = wanted.argmax(1)
        if not exact or output.scale is not None:  # rounding may break an exact tie
            tied = got[np.arange(len(x)), chosen] == got.max(1)
            chosen = np.where(tied, got.argmax(1), chosen)
        assert np.array_equal(got.argmax(1), chosen)
    return net


def digits_mlp(path, *, sizes=(64, 64, 64, 10), seed=0) -> Path:
    """The demo's network: 4-bit inputs, bipolar weights and activations, batch norms, logits."""
    rng = np.random.default_rng(seed)
    g = GraphBuilder(["N", sizes[0]], name="digits")
    t = g.quant("x", name="inputs")
    for k, (columns, rows) in enumerate(pairwise(sizes)):
        weights = g.bipolar(rng.normal(size=(columns, rows)))
        t = g.batchnorm(g.add("MatMul", t, weights, name=f"fc{k}"), rows, rng, spread=60 if k == 0 else 8)
        if k < len(sizes) - 2:
            t = g.bipolar(t, name=f"act{k}")
    return g.save(path, t)


def floats(rng, *shape):
    """Inputs on and between the steps of a quantizer with scale 1."""
    return (rng.integers(-4, 40, shape) / 2).astype(np.float32)


def integers(rng, low, high, *shape):
    return rng.integers(low, high + 1, shape).astype(np.float32)


def operations(net):
    return [node.op for node in net.nodes]


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
