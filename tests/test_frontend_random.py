"""Random small graphs over the supported operations: import equals the executor on all of them."""

import re
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from zoo_onnx import GraphBuilder, check_import

from hwbnn.errors import UserError

ROUNDINGS = ("ROUND", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN")


class Growth:
    """A graph in the making: quantized tensors so far, by shape without batch, channels first."""

    def __init__(self, draw):
        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.channels = draw(st.sampled_from([2, 4]))
        size = draw(st.sampled_from([(4, 5), (6, 6), (8, 3)]))
        self.annotated = draw(st.booleans())
        self.g = GraphBuilder(["N", self.channels, *size], datatype="UINT8" if self.annotated else None)
        t = "x" if draw(st.booleans()) else self.g.add("Mul", "x", self.choose([0.5, 1 / 255, -0.3]))
        self.shape = (self.channels, *size)
        self.t = self.quantizer(t)
        self.quantizers = 1
        self.known = [(self.t, self.shape)]

    def choose(self, options):
        return self.draw(st.sampled_from(list(options)))

    def constant(self, low, high):
        """One number, or one per channel."""
        count = self.shape[0] if self.draw(st.booleans()) else 1
        return self.rng.uniform(low, high, (count, *[1] * (len(self.shape) - 1)) if count > 1 else ())

    def dyadic(self):
        """A power of two, or one per channel."""
        if self.draw(st.booleans()):
            return float(self.choose([0.25, 0.5, 1.0, 2.0, 4.0]))
        return 2.0 ** self.rng.integers(-2, 3, (self.shape[0], *[1] * (len(self.shape) - 1)))

    def quantizer(self, t):
        kind = self.choose(["quant", "quant", "bipolar", "multithreshold", "sign"])
        if kind == "bipolar":
            return self.g.bipolar(t, float(self.choose([0.5, 1.0, 2.0])))
        if kind == "multithreshold":
            rows, steps = self.choose([1, self.shape[0]]), self.choose([1, 3, 7])
            thresholds = np.sort(np.rint(self.rng.normal(0, 8, (rows, steps)) * 2) / 2)
            return self.g.multithreshold(t, thresholds, out_dtype="INT8", scale=float(self.choose([1.0, 2.0])),
                                         bias=float(self.choose([0.0, -1.0, -4.0])),
                                         layout="NC" if len(self.shape) == 1 else "NCHW")
        if kind == "sign":
            return self.g.add("Sign", t)
        signed = self.choose([0, 1])
        bits = self.choose([1, 2, 3, 4, 8])
        narrow = self.choose([0, 1]) if bits > 1 else 0
        return self.g.quant(t, self.dyadic(), float(self.choose([0, 0, 0, 1, -2])), float(bits), signed=signed,
                            narrow=narrow, rounding=self.choose(ROUNDINGS))

    def weights(self, *shape):
        """Of a layer: the first axis, or the last of a matrix, are the outputs."""
        values = self.rng.normal(size=shape) * 2
        rows = (shape[0], *[1] * (len(shape) - 1)) if len(shape) > 2 else (shape[1],)
        scale = self.choose([1.0, 0.5, 2.0 ** self.rng.integers(-2, 2, rows)])
        if self.draw(st.booleans()):
            return self.g.bipolar(values, scale)
        return self.g.quant(values, scale, 0.0, float(self.choose([2, 3, 4])), signed=1, narrow=self.choose([0, 1]))

    # -- every step takes a quantized tensor and leaves one -----------------------------------------------------

    def steps(self):
        if len(self.shape) == 1:
            return [self.dense, self.join, self.residual]
        steps = [self.conv, self.conv, self.pool, self.average, self.join, self.residual, self.flatten, self.pad,
                 self.split, self.channels_last, self.enlarge]
        return [*steps, self.depth_to_space] if self.shape[0] % 4 == 0 else steps

    def grow(self):
        step = self.choose(self.steps())
        step()
        self.known.append((self.t, self.shape))

    def activate(self, t):
        """A few elementwise operations, then a quantizer; maybe a maximum between them."""
        pool = self.draw(st.integers(0, 3)) if len(self.shape) == 3 and min(self.shape[1:]) > 1 else -1
        for k in range(self.draw(st.integers(0, 3))):
            if k == pool:
                t = self.g.add("MaxPool", t, kernel_shape=[2, 2], strides=[1, 2])
                self.shape = (self.shape[0], self.shape[1] - 1, (self.shape[2] - 2) // 2 + 1)
            op = self.choose(["norm", "Add", "Sub", "Mul", "Div", "Relu", "LeakyRelu", "Clip", "Tanh", "PRelu", "from"])
            if op == "norm":
                t = self.g.batchnorm(t, self.shape[0], self.rng, spread=self.choose([1.0, 10.0]))
            elif op in ("Add", "Sub"):
                t = self.g.add(op, t, self.constant(-5, 5))
            elif op in ("Mul", "Div"):
                t = self.g.add(op, t, self.constant(0.2, 3) * self.choose([-1, 1]))
            elif op == "Clip":
                t = self.g.add("Clip", t, self.g.constant(-4.0), self.g.constant(6.5))
            elif op == "PRelu":
                t = self.g.add("PRelu", t, self.constant(0.1, 0.9))
            elif op == "from":
                t = self.g.add("Sub", self.constant(-5, 5), t)
            else:
                t = self.g.add(op, t)
        self.t = self.quantizer(t)

    def conv(self):
        channels, height, width = self.shape
        kernel = [self.draw(st.integers(1, min(3, n))) for n in (height, width)]
        stride = [self.choose([1, 1, 2]) for _ in range(2)]
        pads = [self.draw(st.integers(0, k - 1)) for k in (*kernel, *kernel)]
        group = self.choose([1, 1, channels])
        rows = self.choose([2, 4, 8]) if group == 1 else channels * self.choose([1, 2])
        t = self.g.add("Conv", self.t, self.weights(rows, channels // group, *kernel), kernel_shape=kernel,
                       strides=stride, pads=pads, group=group)
        self.shape = (rows, *((n + pads[k] + pads[k + 2] - kernel[k]) // stride[k] + 1
                              for k, n in enumerate((height, width))))
        self.activate(t)

    def dense(self):
        rows = self.choose([3, 4, 8])
        t = self.g.add("MatMul", self.t, self.weights(self.shape[0], rows))
        self.shape = (rows,)
        self.activate(t)

    def pool(self):
        kernel = [min(2, n) for n in self.shape[1:]]
        self.t = self.g.add("MaxPool", self.t, kernel_shape=kernel, strides=kernel)
        self.shape = (self.shape[0], *(n // k for n, k in zip(self.shape[1:], kernel, strict=True)))

    def average(self):
        if self.draw(st.booleans()):
            t, size = self.g.add("GlobalAveragePool", self.t), (1, 1)
        else:
            kernel = [min(2, n) for n in self.shape[1:]]
            t = self.g.add("AveragePool", self.t, kernel_shape=kernel, strides=kernel)
            size = [n // k for n, k in zip(self.shape[1:], kernel, strict=True)]
        self.shape = (self.shape[0], *size)
        self.activate(t)

    def others(self, axes):
        """Earlier tensors that agree with this one in ``axes``."""
        return [(t, shape) for t, shape in self.known if len(shape) == len(self.shape)
                and all(shape[axis] == self.shape[axis] for axis in axes)]

    def join(self):
        other, shape = self.choose(self.others(range(1, len(self.shape))))
        if self.shape[0] + shape[0] <= 16:
            self.t = self.g.add("Concat", self.t, other, axis=1)
            self.shape = (self.shape[0] + shape[0], *self.shape[1:])

    def residual(self):
        other, _ = self.choose(self.others(range(len(self.shape))))
        self.activate(self.g.add(self.choose(["Add", "Sub"]), self.t, other))

    def flatten(self):
        self.t = self.g.add("Flatten", self.t)
        self.shape = (int(np.prod(self.shape)),)

    def pad(self):
        if max(self.shape[1:]) < 9:
            pads = [self.draw(st.integers(0, 1)) for _ in range(4)]
            self.t = self.g.add("Pad", self.t, self.g.constant([0, 0, *pads[:2], 0, 0, *pads[2:]], np.int64))
            self.shape = (self.shape[0], self.shape[1] + pads[0] + pads[2], self.shape[2] + pads[1] + pads[3])

    def split(self):
        if self.shape[0] > 1:
            first = self.draw(st.integers(1, self.shape[0] - 1))
            parts = self.g.add("Split", self.t, self.g.constant([first, self.shape[0] - first], np.int64), axis=1,
                               outputs=2)
            keep = self.draw(st.integers(0, 1))
            self.t = parts[keep]
            self.shape = ([first, self.shape[0] - first][keep], *self.shape[1:])

    def channels_last(self):
        t = self.g.add("Transpose", self.t, perm=[0, 2, 3, 1])
        if self.draw(st.booleans()):
            rows = self.choose([2, 4])
            t = self.g.add("MatMul", t, self.weights(self.shape[0], rows))
            self.shape = (rows, *self.shape[1:])
        self.activate(self.g.add("Transpose", t, perm=[0, 3, 1, 2]))

    def enlarge(self):
        if max(self.shape[1:]) < 6:
            self.t = self.g.add("Resize", self.t, "", self.g.constant([1, 1, 2, 1]), mode="nearest",
                                nearest_mode="floor", coordinate_transformation_mode="asymmetric")
            self.shape = (self.shape[0], 2 * self.shape[1], self.shape[2])

    def depth_to_space(self):
        if max(self.shape[1:]) < 6:
            self.t = self.g.add("DepthToSpace", self.t, blocksize=2, mode=self.choose(["DCR", "CRD"]))
            self.shape = (self.shape[0] // 4, 2 * self.shape[1], 2 * self.shape[2])


@given(st.data())
def test_import_equals_the_executor(data):
    growth = Growth(data.draw)
    for _ in range(data.draw(st.integers(1, 6))):
        growth.grow()
    if len(growth.shape) > 1 and data.draw(st.booleans()):
        growth.flatten()
    if len(growth.shape) == 1:  # logits with a gain and a bias per class
        growth.t = growth.g.add("MatMul", growth.t, growth.weights(growth.shape[0], 5))
        growth.t = growth.g.batchnorm(growth.t, 5, growth.rng)
    if growth.annotated:
        x = growth.rng.integers(0, 256, (8, *growth.known[0][1])).astype(np.float32)
    else:
        x = np.rint(growth.rng.normal(0, 12, (8, *growth.known[0][1])) * 2).astype(np.float32) / 2
    with tempfile.TemporaryDirectory() as folder:
        try:
            check_import(growth.g.save(Path(folder) / "net.onnx", growth.t), x)
        except UserError as error:
            # onnxruntime's tanh wavers by a last place; where a quantizer steps just there, the graph is not monotone
            assume(not re.search("tanh.* turn in channel", str(error)))
            raise
