"""What an integer network means: exact integers in NumPy, one short function per operation.

Matrix products run in floating point where every partial sum is an integer that the type holds exactly
(below 2^24 in float32, 2^53 in float64), and in int64 otherwise; the results are the same integers.
"""

from collections.abc import Callable, Mapping
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwbnn import ir
from hwbnn.errors import UserError
from hwbnn.ir.windows import window

__all__ = ["apply", "classes", "decide", "decode", "encode", "evaluate", "integers", "run"]

Integers = NDArray[np.int64]

_GATHERED = 2**23  # values of windows gathered at a time by a convolution


def run(net: ir.Network, x: ArrayLike, *, batch: int = 256) -> NDArray:
    """Return the graph's first output for the images ``x``.

    Parameters
    ----------
    x : array (N, *graph_shape)
        In the form the ONNX graph takes.
    batch : :class:`int`
        Images at a time; bounds the memory.

    Returns
    -------
    array (N, *output shape)
        float32 logits with the affine applied, or int64 class numbers where the graph ends in argmax.
    """
    return _batched(net, x, lambda q: decode(net, evaluate(net, q)), batch)


def classes(net: ir.Network, x: ArrayLike, *, batch: int = 256) -> Integers:
    """Return the class of each image: the first output if it is class numbers, else its argmax."""
    return decide(net, run(net, x, batch=batch))


def decide(net: ir.Network, out: NDArray) -> Integers:
    """Return the classes that the first output's values ``out`` (N, *graph shape) tell."""
    flat = out.reshape(len(out), int(np.prod(out.shape[1:])))
    return flat[:, 0].astype(np.int64) if net.outputs[0].scale is None and net.outputs[0].values is None \
        and isinstance(net.producer(net.outputs[0].tensor), ir.TopK) else flat.argmax(axis=1)


def integers(net: ir.Network, x: ArrayLike, *, batch: int = 256) -> Integers:
    """Return the integers of the first output's tensor, (N, *tensor shape)."""
    return _batched(net, x, lambda q: evaluate(net, q)[net.outputs[0].tensor], batch)


def _batched(net: ir.Network, x: ArrayLike, function: Callable[[Integers], NDArray], batch: int) -> NDArray:
    x = np.asarray(x)
    first = function(encode(net, x[:batch] if x.ndim else x))
    return np.concatenate([first, *(function(encode(net, x[n:n + batch])) for n in range(batch, len(x), batch))])


def encode(net: ir.Network, x: ArrayLike) -> Integers:
    """Turn images in the graph's form into the integers that enter the network, channels last."""
    spec, x = net.input, np.asarray(x)
    if x.ndim != len(spec.graph_shape) + 1 or x.shape[1:] != spec.graph_shape:
        raise UserError(f"Images must have shape N x {' x '.join(map(str, spec.graph_shape))}, not "
                        f"{' x '.join(map(str, x.shape))}")
    assert spec.axes is not None  # the constructor fills it in
    x = x.transpose(0, *(axis + 1 for axis in spec.axes)).reshape(len(x), *spec.shape)
    if spec.boundaries is None:
        if x.size and (not np.all(np.isfinite(x)) or np.any(x != np.floor(x)) or not spec.levels.holds(x)):
            raise UserError(f"Images must hold integers {spec.levels}, not {x.min()}..{x.max()} of {x.dtype}")
        return x.astype(np.int64)
    if not np.all(np.isfinite(x)):
        raise UserError("Images must hold finite numbers, and some are not")
    x = x.astype(np.float32)
    if spec.boundaries.ndim == 1:
        count = np.searchsorted(spec.boundaries, x, side="right")
    else:
        count = np.stack([np.searchsorted(row, x[..., c], side="right")
                          for c, row in enumerate(spec.boundaries)], axis=-1)
    return spec.levels.low + spec.levels.step * count.astype(np.int64)


def decode(net: ir.Network, tensors: Mapping[str, Integers], output: int = 0) -> NDArray:
    """Turn the integers of an output into the graph's values and shape."""
    spec = net.outputs[output]
    y = tensors[spec.tensor]
    levels = net.tensors[spec.tensor].levels
    if spec.values is not None:
        level = (y - levels.low) // levels.step
        channel = np.arange(y.shape[-1]) if len(spec.values) > 1 else 0
        y = spec.values[channel, level]
    elif spec.scale is not None and spec.bias is not None:
        y = (spec.scale * y + spec.bias).astype(np.float32)
    if spec.axes is not None:
        y = y.transpose(0, *(axis + 1 for axis in spec.axes))
    return y.reshape(len(y), *spec.graph_shape)


def evaluate(net: ir.Network, q: Integers) -> dict[str, Integers]:
    """Return every tensor of the network for the input integers ``q`` (N, *input shape), by name."""
    tensors = {net.input.name: np.asarray(q, np.int64)}
    for node in net.nodes:
        tensors[node.output] = apply(node, *(tensors[name] for name in node.inputs))
    return tensors


def apply(node: ir.Node, *inputs: Integers) -> Integers:
    """Return what one node makes of its inputs, int64 of shape (N, *tensor shape)."""
    return _MEANING[type(node)](node, *inputs)


def _type(low: int, high: int, weights: Integers) -> type:
    """The quickest type in which every partial sum of products with values of low..high is exact."""
    bound = max(abs(low), abs(high)) * int(np.abs(weights).sum(axis=-1).max(initial=0))
    return next((dtype for limit, dtype in ((2**24, np.float32), (2**53, np.float64)) if bound < limit), np.int64)


def _product(x: Integers, weights: Integers) -> Integers:
    """x @ weights.T, exactly."""
    dtype = _type(int(x.min(initial=0)), int(x.max(initial=0)), weights)
    return (x.astype(dtype) @ weights.T.astype(dtype)).astype(np.int64)


def _taps(x: NDArray, kernel, stride, dilation=(1, 1)):
    """For each place (ky, kx) of the window, the pixels (N, rows, columns, C) that it meets; views."""
    rows, columns = (window(size, k, s, d, 0, 0)
                     for size, k, s, d in zip(x.shape[1:3], kernel, stride, dilation, strict=True))
    for ky in range(kernel[0]):
        for kx in range(kernel[1]):
            y, x0 = ky * dilation[0], kx * dilation[1]
            yield x[:, y:y + (rows - 1) * stride[0] + 1:stride[0], x0:x0 + (columns - 1) * stride[1] + 1:stride[1]]


def _padded(x: NDArray, padding, value: int) -> NDArray:
    if not any(padding):
        return x
    top, left, bottom, right = padding
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value)


def _matmul(node: ir.MatMul, x: Integers) -> Integers:
    return _product(x, node.weights)


def _conv(node: ir.Conv, x: Integers) -> Integers:
    """Gather every window into a row, one group of channels beside another, and multiply; some images at a time."""
    groups, rows = node.groups, node.rows // node.groups
    weights = node.weights.reshape(groups, rows, node.columns)
    dtype = _type(int(x.min(initial=0)), int(x.max(initial=0)), weights)
    matrix = weights.transpose(0, 2, 1).astype(dtype)
    x = _padded(x.astype(dtype), node.padding, 0)
    height, width = (window(size, k, s, d, 0, 0) for size, k, s, d in
                     zip(x.shape[1:3], node.kernel, node.stride, node.dilation, strict=True))
    result = np.empty((len(x), height, width, groups, rows), np.int64)
    step = max(1, _GATHERED // (height * width * groups * node.columns))
    for start in range(0, len(x), step):
        part = x[start:start + step]
        taps = [tap.reshape(*tap.shape[:3], groups, -1) for tap in _taps(part, node.kernel, node.stride, node.dilation)]
        columns = np.stack(taps, axis=-2).reshape(len(part) * height * width, groups, node.columns)
        product = columns.transpose(1, 0, 2) @ matrix if groups > 1 else columns[:, 0] @ matrix[0]
        result[start:start + step] = (product.transpose(1, 0, 2) if groups > 1 else product).reshape(
            len(part), height, width, groups, rows)
    return result.reshape(len(x), height, width, node.rows)


def _threshold(node: ir.Threshold, x: Integers) -> Integers:
    x = x if np.all(node.signs == 1) else x * node.signs
    if node.thresholds.shape[1] == 1:
        return np.where(x >= node.thresholds[:, 0], node.levels.high, node.levels.low)
    if len(node.thresholds) == 1:
        count = np.searchsorted(node.thresholds[0], x, side="right")
    elif node.thresholds.shape[1] <= 8:
        count = np.zeros(x.shape, np.int64)
        for column in node.thresholds.T:
            count += x >= column
    else:
        count = np.stack([np.searchsorted(row, x[..., c], side="right")
                          for c, row in enumerate(node.thresholds)], axis=-1)
    return node.levels.low + node.levels.step * count


def _maxpool(node: ir.MaxPool, x: Integers) -> Integers:
    turned = not np.all(node.signs == 1)
    x = _padded(x * node.signs if turned else x, node.padding, np.iinfo(np.int64).min)
    y = reduce(np.maximum, _taps(x, node.kernel, node.stride))
    return y * node.signs if turned else y


def _sumpool(node: ir.SumPool, x: Integers) -> Integers:
    return reduce(np.add, _taps(_padded(x, node.padding, 0), node.kernel, node.stride))


def _depth_to_space(node: ir.DepthToSpace, x: Integers) -> Integers:
    n, height, width, channels = x.shape
    b = node.block
    blocks = x.reshape(n, height, width, b, b, channels // b**2)
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(n, height * b, width * b, channels // b**2)


_MEANING: dict[type[ir.Node], Callable[..., Integers]] = {
    ir.Add: lambda node, a, b: a + b,
    ir.Affine: lambda node, x: x * node.multipliers + node.offsets,
    ir.Concat: lambda node, *inputs: np.concatenate(inputs, axis=-1),
    ir.Conv: _conv,
    ir.DepthToSpace: _depth_to_space,
    ir.MatMul: _matmul,
    ir.MaxPool: _maxpool,
    ir.Pad: lambda node, x: _padded(x, node.padding, node.value),
    ir.Reshape: lambda node, x: x.reshape(len(x), *node.shape),
    ir.Slice: lambda node, x: x[..., node.start:node.stop],
    ir.SumPool: _sumpool,
    ir.Threshold: _threshold,
    ir.TopK: lambda node, x: np.argsort(-x, axis=-1, kind="stable")[..., :node.k],
    ir.Transpose: lambda node, x: x.transpose(0, *(axis + 1 for axis in node.axes)),
    ir.Upsample: lambda node, x: x.repeat(node.factors[0], axis=1).repeat(node.factors[1], axis=2),
}
