"""Where the graph's values stand in the network's tensors: moving them where a layer wants them.

Every live value knows, element by element, which integer it comes from. Operations that only move values move these
numbers; a layer that needs its values in a certain order finds here what the network must do for it, often nothing.
"""

from dataclasses import replace
from itertools import permutations

import numpy as np
import onnx
from numpy.typing import NDArray

from hwbnn import ir
from hwbnn.frontend.problems import refuse
from hwbnn.frontend.thresholds import settle
from hwbnn.frontend.values import Live
from hwbnn.frontend.walk import Value, Walk, handles

__all__ = ["as_map", "as_vector", "fitted", "map_index", "moved", "trimmed"]


@handles("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "SpaceToDepth")
def _move(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    """Move values about: the operation itself, run on the numbers of the integers they come from."""
    live = inputs[0]
    if not isinstance(live, Live) or any(isinstance(value, Live) for value in inputs[1:]):
        refuse(node, inputs, "must have constant parameters, and one depends on the input", "make it a constant")
    index = live.index.astype(np.float64) if node.op_type == "SpaceToDepth" else live.index
    arrays = walk.execute(node, [index, *(None if value is None else value.value for value in inputs[1:])])
    if any(array.ndim < 1 or array.shape[0] != 1 for array in arrays):
        refuse(node, inputs, f"must keep the batch axis of 1 in front, and it makes {arrays[0].shape}",
               "leave the first axis alone")
    return [replace(live, name=name, index=array.astype(np.int64))
            for name, array in zip(node.output, arrays, strict=True)]


@handles("Shape")
def _shape(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    (array,) = walk.execute(node, [inputs[0].index])
    return [walk.constant(array)]


def moved(walk: Walk, node: onnx.NodeProto, inputs, live: Live, root: str, source: NDArray[np.int64]) -> Live:
    """``live`` on a tensor ``root`` whose element k is element ``source[k]`` of the old one."""
    old = walk.channels(live.root)
    channels = (source % old).reshape(-1, walk.channels(root))
    if live.chain.width == 1:
        chain = live.chain
    elif np.all(channels == channels[0]):
        chain = live.chain.take(channels[0])
    else:
        refuse(node, inputs, f"must read values whose channels are kept together, and {live.chain.labels} treat them "
               f"by channels that the reshaped values mix", "put a quantizer in front of the Reshape")
    place = np.full(int(np.prod(walk.tensors[live.root].shape)), -1, np.int64)
    place[source] = np.arange(len(source))
    return replace(live, root=root, index=place[live.index], chain=chain)


def as_vector(walk: Walk, node: onnx.NodeProto, inputs, live: Live) -> Live:
    """``live`` (without a waiting maximum) on a vector that holds its values, and maybe a few more."""
    assert live.pool is None
    shape = walk.tensors[live.root].shape
    count = int(np.prod(shape))
    if len(shape) > 1:
        name = walk.fresh_node(f"{node.name}_flatten")
        root = walk.emit(ir.Reshape(name, (live.root,), (walk.fresh_tensor(name),), (count,)))
        live = moved(walk, node, inputs, live, root, np.arange(count))
    return trimmed(walk, node, inputs, live)


def as_map(walk: Walk, node: onnx.NodeProto, inputs, live: Live) -> Live:
    """``live`` on a feature map (height, width, channels) in the order of pixels.

    The graph's axes must be (1, channels, height, width) or (1, channels, length). The channels may be permuted:
    ``index[0, c, y, x] = (y · width + x) · channels + p[c]``.
    """
    assert live.pool is None
    if len(live.shape) not in (3, 4):
        refuse(node, inputs, f"must read (1, channels, length) or (1, channels, height, width), not {live.shape}",
               "reshape its input")
    index = live.index[0] if len(live.shape) == 4 else live.index[0][..., None]
    if not _is_map(index, walk.tensors[live.root].shape):
        live = _rearranged(walk, node, inputs, trimmed(walk, node, inputs, live))
    return live


def fitted(walk: Walk, node: onnx.NodeProto, inputs, live: Live, *constants: NDArray) -> Live:
    """``live``, flattened to a vector where constants differ between positions of one channel."""
    if walk.is_float(live) or all(_by_channel(walk, live, constant) for constant in constants):
        return live
    return as_vector(walk, node, inputs, settle(walk, node, inputs, live))


def _by_channel(walk: Walk, live: Live, constant: NDArray) -> bool:
    """Whether a constant that is broadcast with ``live`` has one value per channel of the integers."""
    try:
        full = np.broadcast_to(constant, live.shape).ravel()
    except ValueError:
        return True  # refused elsewhere, with a better message
    channel = live.index.ravel() % walk.channels(live.root)
    found = np.zeros(walk.channels(live.root), full.dtype)
    found[channel] = full
    return bool(np.array_equal(found[channel], full, equal_nan=full.dtype.kind == "f"))


def map_index(shape: tuple[int, ...], order: NDArray[np.int64], rank: int) -> NDArray[np.int64]:
    """Index of a graph's (1, channels, height, width) on a map of ``shape`` whose channel ``order[c]`` is channel c."""
    height, width, channels = shape
    index = (np.arange(height)[:, None] * width + np.arange(width)) * channels + order[:, None, None]
    return index[None] if rank == 4 else index[None, ..., 0]


def _is_map(index: NDArray[np.int64], shape: tuple[int, ...]) -> bool:
    channels, height, width = index.shape
    if shape != (height, width, channels):
        return False
    order = index[:, 0, 0]
    return bool(np.array_equal(np.sort(order), np.arange(channels))
                and np.array_equal(index, map_index(shape, order, 4)[0]))


def trimmed(walk: Walk, node, inputs, live: Live) -> Live:
    """Drop the channels in front of the first and behind the last that ``live`` reads."""
    tensor = walk.tensors[live.root]
    read = np.unique(live.index % tensor.channels)
    start, stop = int(read[0]), int(read[-1]) + 1
    if (start, stop) == (0, tensor.channels):
        return live
    name = walk.fresh_node(f"{node.name}_slice")
    root = walk.emit(ir.Slice(name, (live.root,), (walk.fresh_tensor(name),), start, stop))
    source = np.arange(int(np.prod(tensor.shape))).reshape(tensor.shape)[..., start:stop].ravel()
    return moved(walk, node, inputs, live, root, source)


def _rearranged(walk: Walk, node, inputs, live: Live) -> Live:
    index = live.index[0] if len(live.shape) == 4 else live.index[0][..., None]
    if _is_map(index, walk.tensors[live.root].shape):
        return live
    size = int(np.prod(walk.tensors[live.root].shape))
    # the order of axes in which the tensor's stream is this map
    axes = next((axes for axes in permutations(range(3))
                 if np.array_equal(index.transpose(axes).ravel(), np.arange(size))), None)
    if axes is None:
        refuse(node, inputs, "must read a feature map in order, and its values are laid out otherwise",
               "keep every value of the layer before, and reshape or transpose whole axes only")
    root, stored = live.root, index.transpose(axes).shape
    if walk.tensors[root].shape != stored:
        name = walk.fresh_node(f"{node.name}_reshape")
        root = walk.emit(ir.Reshape(name, (root,), (walk.fresh_tensor(name),), stored))
    if axes != (1, 2, 0):
        name = walk.fresh_node(f"{node.name}_transpose")
        wanted = tuple(axes.index(axis) for axis in (1, 2, 0))
        root = walk.emit(ir.Transpose(name, (root,), (walk.fresh_tensor(name),), wanted))
    return moved(walk, node, inputs, live, root, index.transpose(1, 2, 0).ravel())
