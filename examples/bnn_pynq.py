"""Rebuild two published binarized networks as QONNX, from their weights and integer thresholds.

    python examples/bnn_pynq.py ../data/models/bnn_pynq -o models

writes ``lfcW1A1.onnx`` (MNIST, 784-1024-1024-1024-10) and ``cnvW1A1.onnx`` (CIFAR-10, six convolutions and three
fully connected layers). They take images of 0..255 as numbers; the preprocessing is part of the graph.

The originals count agreeing bits, and a neuron fires where the count exceeds its threshold T. Here values are -1 and
+1, so a dot product of K is 2 · count - K, and ``count > T`` is ``dot >= 2 · T - K + 1``: a subtraction and a
BipolarQuant.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DOMAIN = "qonnx.custom_op.general"


class _Graph:
    """Nodes and constants of a graph in the making."""

    def __init__(self, name: str, shape: tuple[int, ...]):
        self.name, self.shape = name, shape
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def add(self, op: str, *inputs, name: str, domain: str = "", **attributes) -> str:
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        self.nodes.append(helper.make_node(op, names, [f"{name}_out"], name, domain=domain, **attributes))
        return f"{name}_out"

    def bipolar(self, x, *, name: str) -> str:
        return self.add("BipolarQuant", x, 1.0, name=name, domain=DOMAIN)

    def model(self, output: str) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes, self.name, [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", *self.shape])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", 10])], self.constants)
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid(DOMAIN, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="bnn_pynq example")


def lfc(arrays) -> onnx.ModelProto:
    """Return the MNIST network; the class is the greatest output, which is the number of a bit that is set.

    The original pads 784 inputs to 832 with -1; these columns are part of the thresholds here.
    """
    g = _Graph("lfcW1A1", (1, 28, 28))
    t = g.bipolar(g.add("Sub", "image", 128.0, name="centre"), name="binarize")
    t = g.add("Flatten", t, name="flatten")
    for k in range(4):
        rows = 10 if k == 3 else 1024
        weights, thresholds = arrays[f"L{k}_weight"][:rows].astype(int), arrays[f"L{k}_thresholds"][:rows, 0]
        columns = 784 if k == 0 else 1024
        padding = -weights[:, columns:].sum(axis=1)
        needed = 2 * thresholds - weights.shape[1] + 1 - padding
        t = g.add("MatMul", t, g.bipolar(weights[:, :columns].T, name=f"weights{k}"), name=f"fc{k}")
        if k < 3:
            t = g.bipolar(g.add("Sub", t, needed, name=f"threshold{k}"), name=f"sign{k}")
    t = g.add("MultiThreshold", t, needed[:, None], name="fires", domain=DOMAIN, out_dtype="BINARY", out_scale=1.0,
              out_bias=0.0, data_layout="NC")
    return g.model(g.add("Mul", t, np.arange(1, 11), name="number"))  # 0 where no bit is set: class 0


def cnv(arrays) -> onnx.ModelProto:
    """Return the CIFAR-10 network; its outputs are the last dot products."""
    g = _Graph("cnvW1A1", (3, 32, 32))
    t = g.add("Sub", g.add("Div", "image", 127.5, name="scale"), 1.0, name="centre")
    t = g.add("Quant", t, 1 / 128, 0.0, 8.0, name="quantize", domain=DOMAIN, signed=1, narrow=0, rounding_mode="ROUND")
    channels = 3
    for k in range(9):
        rows = 10 if k == 8 else len(arrays[f"L{k}_weight"])
        weights = arrays[f"L{k}_weight"][:rows].astype(int)
        if k < 6:
            kernels = weights.reshape(rows, 3, 3, channels).transpose(0, 3, 1, 2)  # columns run ky, kx, channel
            t = g.add("Conv", t, g.bipolar(kernels, name=f"weights{k}"), name=f"conv{k}", kernel_shape=[3, 3])
        else:
            t = t if k > 6 else g.add("Flatten", t, name="flatten")
            t = g.add("MatMul", t, g.bipolar(weights.T, name=f"weights{k}"), name=f"fc{k}")
        if k == 8:
            break
        thresholds = arrays[f"L{k}_thresholds"][:, 0]
        # sums of the first layer are in 1/128 and its thresholds in 1/256; the others count bits
        needed = (thresholds + 1) / 256 if k == 0 else 2 * thresholds - weights.shape[1] + 1
        needed = needed.reshape(-1, 1, 1) if k < 6 else needed
        t = g.bipolar(g.add("Sub", t, needed, name=f"threshold{k}"), name=f"sign{k}")
        if k in (1, 3):
            t = g.add("MaxPool", t, name=f"pool{k}", kernel_shape=[2, 2], strides=[2, 2])
        channels = rows
    return g.model(t)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds mnist_lfcW1A1_decoded.npz and cifar10_cnvW1A1_decoded.npz")
    parser.add_argument("-o", "--output", type=Path, default=Path(), help="folder to write to (default: here)")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    for build, archive in ((lfc, "mnist_lfcW1A1_decoded"), (cnv, "cifar10_cnvW1A1_decoded")):
        with np.load(options.folder / f"{archive}.npz") as arrays:
            model = build(arrays)
        onnx.save(model, options.output / f"{model.graph.name}.onnx")
        print(f"wrote {options.output / model.graph.name}.onnx")


if __name__ == "__main__":
    main()
