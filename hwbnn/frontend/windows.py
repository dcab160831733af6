"""Layers that look at windows of pixels: convolution and pooling."""

from dataclasses import dataclass, replace
from math import prod

import numpy as np
import onnx
from onnx import helper

from hwbnn import ir
from hwbnn.frontend.integers import integers_of, scale_of, uniform
from hwbnn.frontend.layout import as_map, map_index
from hwbnn.frontend.linear import with_bias
from hwbnn.frontend.problems import refuse
from hwbnn.frontend.thresholds import settle
from hwbnn.frontend.values import Chain, Constant, Live, NodeStep, Operand, Pool, Scale
from hwbnn.frontend.walk import Value, Walk, attributes, handles
from hwbnn.frontend.weights import weights_of

__all__ = []


@dataclass(frozen=True)
class _Window:
    """The window attributes of a node, in two dimensions: (y, x) and (top, left, bottom, right)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]

    @classmethod
    def of(cls, node: onnx.NodeProto, inputs, size, kernel) -> "_Window":
        """Read the attributes; ``size`` is (height, width) of the input, one-dimensional signals have width 1."""
        attrs = attributes(node)
        rank = len(kernel)

        def pair(values) -> tuple[int, int]:
            return (int(values[0]), int(values[1])) if rank == 2 else (int(values[0]), 1)

        kernel, stride, dilation = (pair(kernel), pair(attrs.get("strides", [1] * rank)),
                                    pair(attrs.get("dilations", [1] * rank)))
        reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
        auto = attrs.get("auto_pad", "NOTSET")
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            total = [max(0, (-(-n // s) - 1) * s + r - n) for n, s, r in zip(size, stride, reach, strict=True)]
            less, more = [t // 2 for t in total], [t - t // 2 for t in total]
            before, after = (less, more) if auto == "SAME_UPPER" else (more, less)
        else:
            pads = attrs.get("pads") if auto == "NOTSET" else None
            halves = np.zeros((2, 2), np.int64)
            halves[:, :rank] = np.reshape(pads or [0] * 2 * rank, (2, rank))
            before, after = halves.tolist()
        if min(*before, *after) < 0:
            refuse(node, inputs, f"must have padding of at least 0, not {[*before, *after]}",
                   "crop with a Slice of channels only")
        if attrs.get("ceil_mode", 0):
            for k in range(2):
                span = size[k] + before[k] + after[k] - reach[k]
                if span % stride[k] and (span // stride[k] + 1) * stride[k] < size[k] + before[k]:
                    after[k] += stride[k] - span % stride[k]
        return cls(kernel, stride, dilation, (before[0], before[1], after[0], after[1]))


def _map_of(walk: Walk, node, inputs, live: Live) -> tuple[Live, tuple[int, int, int], np.ndarray]:
    """``live`` on a feature map, the map's shape, and the channel of the map that each graph channel is."""
    if walk.is_float(live):
        refuse(node, inputs, "must read quantized values, and it reads the graph's float input", "quantize the input")
    live = as_map(walk, node, inputs, live)
    height, width, channels = walk.tensors[live.root].shape
    return live, (height, width, channels), live.index.reshape(live.shape[1], -1)[:, 0] % channels


@handles("Conv")
def _conv(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    live, constant, bias = (*inputs, None)[:3]
    if not isinstance(live, Live) or not isinstance(constant, Constant) or isinstance(bias, Live):
        refuse(node, inputs, "must convolve with constant weights, and they depend on the input", "freeze the weights")
    if constant.value.ndim not in (3, 4) or constant.value.ndim != len(live.shape):
        refuse(node, inputs, f"must have one or two spatial axes, not {constant.value.ndim - 2}",
               "use a 1-D or 2-D convolution")
    groups = attributes(node).get("group", 1)
    live, shape, order = _map_of(walk, node, inputs, integers_of(walk, node, inputs, live))
    kernel = constant.value.shape[2:]
    window = _Window.of(node, inputs, shape[:2], kernel)
    weights = weights_of(walk, node, inputs, constant, rows_last=False)
    rows, per_group = constant.value.shape[:2]
    if per_group * groups != shape[2] or rows % groups:
        refuse(node, inputs, f"must have weights for {shape[2]} channels in {groups} groups, not for "
               f"{per_group * groups} channels and {rows} outputs", "export it again")
    scale = scale_of(live)
    if len(scale) > 1 and np.any(scale[order].reshape(groups, -1) != scale[order].reshape(groups, -1)[:, :1]):
        live = uniform(walk, node, inputs, live)
        scale = scale_of(live)
    if len(scale) > 1:  # one scale per group
        scale = np.repeat(scale[order].reshape(groups, -1)[:, 0], rows // groups)
    if groups > 1 and np.any(order != np.arange(len(order))):
        refuse(node, inputs, "must read its groups in order, and the channels are permuted", "use groups = 1")
    kernels = weights.matrix.reshape(rows, per_group, *window.kernel).transpose(0, 2, 3, 1)
    arranged = np.empty_like(kernels)
    arranged[..., order if groups == 1 else slice(None)] = kernels
    record = ir.Conv(walk.fresh_node(node.name), (live.root,), (walk.fresh_tensor(node.output[0]),), arranged,
                     weights.levels, window.stride, window.padding, window.dilation, groups)
    root = _fits(walk, node, inputs, record, weights.covers)
    index = map_index(walk.tensors[root].shape, np.arange(rows), len(live.shape))
    result = Live(node.output[0], root, index, Chain((Scale(node.name, scale * weights.scale),)))
    return [with_bias(walk, node, inputs, result, bias)]


def _fits(walk: Walk, node, inputs, record: ir.Node, covers: tuple[str, ...] = ()) -> str:
    """Emit a node whose kernel must fit its input."""
    try:
        return walk.emit(record, [*covers, node.name])
    except ValueError as error:
        if "must fit" not in str(error):
            raise
        refuse(node, inputs, "must have a kernel that fits its padded input, and it does not",
               "use a larger image or a smaller kernel")


@handles("MaxPool")
def _max_pool(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    live, shape, order = _map_of(walk, node, inputs, settle(walk, node, inputs, inputs[0]))
    window = _Window.of(node, inputs, shape[:2], attributes(node)["kernel_shape"])
    if window.dilation != (1, 1):
        refuse(node, inputs, f"must have dilation 1, not {window.dilation}", "pool without dilation")
    waiting = Pool(node.name, node.output[0], len(live.chain.steps), window.kernel, window.stride, window.padding)
    record = ir.MaxPool(walk.fresh_node(node.name), (live.root,), (walk.fresh_tensor(node.output[0]),), window.kernel,
                        window.stride, window.padding)
    try:
        pooled = record.infer(walk.tensors[live.root]).shape
    except ValueError:
        refuse(node, inputs, "must have a kernel that fits its padded input, and it does not",
               "use a larger image or a smaller kernel")
    index = map_index(pooled, order, len(live.shape))
    result = replace(live, name=node.output[0], index=index, pool=waiting)
    producer = next((made for made in walk.nodes if made.output == live.root), None)
    if isinstance(producer, ir.MatMul | ir.Conv | ir.Add | ir.Affine | ir.SumPool):
        return [result]  # of many levels: wait for the quantizer
    return [settle(walk, node, inputs, result)]


def _summed(walk: Walk, node, inputs, window: _Window, live: Live, order, divisor: int) -> Live:
    record = ir.SumPool(walk.fresh_node(node.name), (live.root,), (walk.fresh_tensor(node.output[0]),), window.kernel,
                        window.stride, window.padding)
    root = _fits(walk, node, inputs, record)
    index = map_index(walk.tensors[root].shape, order, len(live.shape))
    result = Live(node.output[0], root, index, live.chain)
    if divisor == 1:
        return result
    divide = helper.make_node("Div", [node.output[0], "count"], [node.output[0]], name=node.name)
    count = Operand(np.full((1, 1), divisor, np.float32))
    return result.then(node.output[0], NodeStep(node.name, divide, walk.execute, (None, count)))


@handles("AveragePool")
def _average_pool(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    live, shape, order = _map_of(walk, node, inputs, integers_of(walk, node, inputs, inputs[0]))
    attrs = attributes(node)
    window = _Window.of(node, inputs, shape[:2], attrs["kernel_shape"])
    declared = sum(attrs.get("pads", []))
    uneven = declared and not attrs.get("count_include_pad")
    if window.dilation != (1, 1) or sum(window.padding) != declared or uneven:
        refuse(node, inputs, "must divide by the same count everywhere, and at the border it does not",
               "use padding 0 or count_include_pad = 1, ceil_mode = 0 and dilation 1")
    return [_summed(walk, node, inputs, window, live, order, prod(window.kernel))]


@handles("GlobalAveragePool", "ReduceMean", "ReduceSum")
def _global_average(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    live, attrs = inputs[0], attributes(node)
    rank = len(live.shape)
    keep, spatial = True, tuple(range(2, rank))
    if node.op_type != "GlobalAveragePool":
        axes = attrs.get("axes") or (inputs[1].value.tolist() if len(inputs) > 1 and inputs[1] is not None else None)
        keep = bool(attrs.get("keepdims", 1))
        if axes is None or sorted(axis % rank for axis in axes) != list(spatial):
            refuse(node, inputs, f"must reduce the spatial axes {spatial}, not {axes}",
                   "use GlobalAveragePool on (1, channels, height, width)")
    live, shape, order = _map_of(walk, node, inputs, integers_of(walk, node, inputs, live))
    window = _Window((shape[0], shape[1]), (1, 1), (1, 1), (0, 0, 0, 0))
    divisor = 1 if node.op_type == "ReduceSum" else prod(shape[:2])
    result = _summed(walk, node, inputs, window, live, order, divisor)
    return [result if keep else replace(result, index=result.index.reshape(1, -1))]


@handles("Pad")
def _pad(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    attrs = attributes(node)
    live = inputs[0]
    pads = [int(n) for n in (attrs["pads"] if "pads" in attrs else inputs[1].value)]
    value = inputs[2].value if len(inputs) > 2 and inputs[2] is not None else attrs.get("value", 0.0)
    value, rank = float(np.asarray(value).reshape(())), len(live.shape)
    axes = range(rank)
    if len(inputs) > 3 and inputs[3] is not None:
        axes = [int(axis) % rank for axis in inputs[3].value]
    before, after = dict.fromkeys(range(rank), 0), dict.fromkeys(range(rank), 0)
    before.update(zip(axes, pads[:len(pads) // 2], strict=True))
    after.update(zip(axes, pads[len(pads) // 2:], strict=True))
    if attrs.get("mode", "constant") != "constant" or any(before[k] or after[k] for k in range(min(2, rank))) \
            or min(pads) < 0:
        refuse(node, inputs, "must surround the spatial axes by a constant",
               "use mode = constant, no padding of batch or channels, and no negative padding")
    live, _, order = _map_of(walk, node, inputs, integers_of(walk, node, inputs, live))
    scale = scale_of(live)
    level = np.rint(value / scale)
    if np.any(np.abs(level * scale - value) > 2.0**-22 * abs(value)) or np.any(level != level[0]):
        refuse(node, inputs, f"must pad with a value on the grid of its input, not {value}", "pad with 0")
    padding = (before[2], before.get(3, 0), after[2], after.get(3, 0))
    root = walk.emit(ir.Pad(walk.fresh_node(node.name), (live.root,), (walk.fresh_tensor(node.output[0]),), padding,
                            int(level[0])), [node.name])
    return [replace(live, name=node.output[0], root=root, index=map_index(walk.tensors[root].shape, order, rank))]
