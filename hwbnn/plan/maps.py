"""Stages of nodes that work on feature maps: convolutions, pooling, and values that only move."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from hwbnn import ir
from hwbnn.plan.matrices import Matrix
from hwbnn.plan.pad import PadStage
from hwbnn.plan.pool import PoolStage
from hwbnn.plan.records import Fold, Stream, ceil_div
from hwbnn.plan.storage import spares_luts
from hwbnn.plan.tables import Borders
from hwbnn.plan.window import Loop, WindowStage

if TYPE_CHECKING:  # which imports this module
    from hwbnn.plan.build import Builder

__all__ = ["MAPS", "corrections", "input_lanes", "padding_value", "push_window", "replays", "windows"]


_WORDS, _REPLAYED = 16, 72  # of a LUT memory; bits of such that a buffer to replay from should stand for


def input_lanes(network: ir.Network, node: ir.MatMul | ir.Conv, fold: Fold) -> int:
    """Lanes of the stream that the stages of a matrix begin with, for a folding.

    A window is no wider than the unit takes its beats, where that takes them evenly: those of a vector each in its own
    pass, or a vector at once while it works at the one before.
    """
    matrix = Matrix.of(node)
    assert matrix is not None  # of these nodes there is one
    if isinstance(node, ir.MatMul):
        return fold.simd
    if matrix.is_depthwise:
        return fold.pe
    most = math.gcd(fold.simd, node.weights.shape[3])  # all, where kernels have one tap
    sf, nf, taps = matrix.columns // fold.simd, matrix.rows // fold.pe, math.prod(node.kernel)
    if taps == 1 or matrix.taps is not None or (sf > 1 and nf > 1 and not replays(fold, matrix)):
        return most
    height, width, channels = network.tensors[node.input].shape
    top, left, bottom, right = node.padding
    pixels = network.tensors[node.output].pixels
    values = channels * max((height + top + bottom) * (width + left + right), pixels * taps)
    return next(lanes for lanes in range(1, most + 1)
                if most % lanes == 0 and (values <= lanes * pixels * matrix.uses * sf * nf or lanes == most))


def replays(fold: Fold, matrix: Matrix) -> bool:
    """Whether the inputs of a matrix come out of a buffer for every pass: where its unit would keep a vector of beats.

    Instead of that memory, the multiplexer behind it, and a FIFO in front that holds another vector.
    """
    options, (sf, nf) = fold.options, (matrix.columns // fold.simd, matrix.rows // fold.pe)
    kept = fold.simd * ceil_div(2 * sf, _WORDS)
    return (options.storage == "block" and options.zeros in ("auto", "none") and sf > 1 and nf > 1
            and kept >= _REPLAYED and spares_luts(fold.simd, 2 * sf) and not matrix.is_depthwise
            and matrix.taps is None)


def padding_value(levels: ir.Levels) -> int:
    """What is streamed for a padded pixel: 0 where it is a level, else the level nearest to it."""
    return min(levels.values().tolist(), key=abs) if len(levels) < 2**16 else min((levels.low, 0), key=abs)


def _taps(size: int, kernel: int, stride: int, dilation: int, before: int, count: int) -> list[tuple[bool, ...]]:
    """For each window along one axis, which of its taps are padded."""
    return [tuple(not 0 <= n * stride + k * dilation - before < size for k in range(kernel)) for n in range(count)]


def corrections(node: ir.Conv, shape: tuple[int, ...], out: tuple[int, ...], value: int):
    """What padding with ``value`` in place of 0 takes away, for each class of pixels.

    Returns
    -------
    borders : :class:`Borders`
    values : int64 array (classes, rows)
        ``-value`` times the sum of the weights of the padded taps.
    """
    rows = _taps(shape[0], node.kernel[0], node.stride[0], node.dilation[0], node.padding[0], out[0])
    columns = _taps(shape[1], node.kernel[1], node.stride[1], node.dilation[1], node.padding[1], out[1])
    row_classes, column_classes = list(dict.fromkeys(rows)), list(dict.fromkeys(columns))
    taps = node.weights.sum(axis=3)
    values = [-value * taps[:, np.array(y)[:, None] | np.array(x)[None, :]].sum(axis=1)
              for y in row_classes for x in column_classes]
    return Borders(tuple(map(row_classes.index, rows)), tuple(map(column_classes.index, columns))), np.array(values)


def windows(shape: tuple[int, ...], out: tuple[int, ...], kernel, stride, dilation, *, lanes: int,
            groups: int = 1, apart: bool = False) -> tuple[tuple[Loop, ...], tuple[Loop, ...]]:
    """The loops of a sliding window over a map of ``shape`` without padding.

    Columns run (ky, kx, c) within each of ``groups``; or (ky, kx) for one beat of channels after another where
    these are kept ``apart``.
    """
    beats = shape[2] // lanes
    outer = (Loop(out[0], stride[0] * shape[1] * beats), Loop(out[1], stride[1] * beats))
    taps = (Loop(kernel[0], dilation[0] * shape[1] * beats), Loop(kernel[1], dilation[1] * beats))
    if apart:
        return outer, (Loop(beats, 1), *taps)
    return outer, (Loop(groups, beats // groups), *taps, Loop(beats // groups, 1))


def push_window(b: "Builder", name: str, outer, inner, *, nodes: tuple[str, ...] = (), start: int = 0) -> bool:
    """Append a window unit unless it would do nothing; tell whether it was."""
    stream = b.stream
    beats = math.prod(loop.count for loop in (*outer, *inner))
    stage = WindowStage(name=name, nodes=nodes, i=stream, o=Stream(stream.levels, stream.lanes, beats), outer=outer,
                        inner=inner, start=start, style=b.styles.get(f"{name}.buffer"))
    if stage.is_identity:
        return False
    if stage.style is None and b.storage == "block" and spares_luts(stage.i.bits, stage.depth):
        stage = replace(stage, style="block")
    b.push(stage)
    return True


def _push_pad(b: "Builder", name: str, shape, padding, values, *, levels: ir.Levels | None = None,
              nodes: tuple[str, ...] = ()) -> tuple[int, int, int]:
    """Append a border of ``values`` (channels or 1); return the padded shape."""
    (height, width, channels), (top, left, bottom, right) = shape, padding
    padded = (height + top + bottom, width + left + right, channels)
    if padded != tuple(shape):
        stream = b.stream
        b.push(PadStage(name=name, nodes=nodes, i=stream, height=height, width=width, padding=tuple(padding),
                        o=Stream(levels or stream.levels, stream.lanes, math.prod(padded) // stream.lanes),
                        values=np.broadcast_to(np.asarray(values, np.int64), (channels,))))
    return padded


def conv(b: "Builder", node: ir.Conv) -> ir.Node:
    """Pad, slide, multiply; a 1 x 1 window that meets every pixel needs no unit of its own."""
    shape, out = b.network.tensors[node.input].shape, b.network.tensors[node.output].shape
    fold, matrix = b.folds[node.name], Matrix.of(node)
    assert matrix is not None  # of a Conv there is one
    b.storage = fold.options.storage
    b.convert(input_lanes(b.network, node, fold), node.name)
    value, borders, values = padding_value(b.stream.levels), None, None
    if any(node.padding) and value:
        borders, values = corrections(node, shape, out, value)
    padded = _push_pad(b, f"{node.name}.pad", shape, node.padding, value)
    outer, inner = windows(padded, out, node.kernel, node.stride, node.dilation, lanes=b.stream.lanes,
                           groups=matrix.groups, apart=matrix.is_depthwise or matrix.taps is not None)
    push_window(b, f"{node.name}.window", outer, inner)
    return b.matrix(node, borders=borders, corrections=values)


def pool(b: "Builder", node: ir.MaxPool | ir.SumPool):
    """Pad with what cannot win, or with 0; slide over each beat of channels by itself; reduce."""
    tensor, out = b.network.tensors[node.input], b.network.tensors[node.output]
    channels, levels = tensor.channels, tensor.levels
    b.convert(math.gcd(b.stream.lanes, channels), node.name)
    if isinstance(node, ir.SumPool):
        signs, values = np.ones(channels, np.int64), 0
        padded_levels = levels.hull(ir.Levels(0, 0)) if any(node.padding) else levels
    else:
        signs = np.broadcast_to(node.signs, (channels,))
        values, padded_levels = np.where(signs > 0, levels.low, levels.high), levels
    padded = _push_pad(b, f"{node.name}.pad", tensor.shape, node.padding, values, levels=padded_levels)
    outer, inner = windows(padded, out.shape, node.kernel, node.stride, (1, 1), lanes=b.stream.lanes, apart=True)
    taps = math.prod(node.kernel)
    push_window(b, f"{node.name}.window" if taps > 1 else node.name, outer, inner,
                 nodes=() if taps > 1 else (node.name,))
    if taps > 1:
        b.push(PoolStage(name=node.name, nodes=(node.name,), i=b.stream, o=b.out(node, b.stream.lanes), taps=taps,
                         kind="sum" if isinstance(node, ir.SumPool) else "max", signs=signs))


def pad(b: "Builder", node: ir.Pad):
    tensor, levels = b.network.tensors[node.input], b.network.tensors[node.output].levels
    b.convert(math.gcd(b.stream.lanes, tensor.channels), node.name)
    _push_pad(b, node.name, tensor.shape, node.padding, node.value, levels=levels, nodes=(node.name,))


def upsample(b: "Builder", node: ir.Upsample):
    height, width, channels = b.network.tensors[node.input].shape
    b.convert(math.gcd(b.stream.lanes, channels), node.name)
    beats = channels // b.stream.lanes
    push_window(b, node.name, (Loop(height, width * beats),),
                 (Loop(node.factors[0], 0), Loop(width, beats), Loop(node.factors[1], 0), Loop(beats, 1)),
                 nodes=(node.name,))


def depth_to_space(b: "Builder", node: ir.DepthToSpace):
    height, width, channels = b.network.tensors[node.input].shape
    block, kept = node.block, channels // node.block**2
    b.convert(math.gcd(b.stream.lanes, kept), node.name)
    pixel, beats = channels // b.stream.lanes, kept // b.stream.lanes
    push_window(b, node.name, (Loop(height, width * pixel),),
                 (Loop(block, block * beats), Loop(width, pixel), Loop(block, beats), Loop(beats, 1)),
                 nodes=(node.name,))


def transpose(b: "Builder", node: ir.Transpose):
    """A whole frame is held, unless nothing moves; channels that stay last move as beats."""
    shape = b.network.tensors[node.input].shape
    moved = [axis for axis in node.axes if shape[axis] > 1]
    if moved == sorted(moved):
        return
    last = len(shape) - 1
    b.convert(math.gcd(b.stream.lanes, shape[-1]) if node.axes[-1] == last else 1, node.name)
    lanes = b.stream.lanes
    loops = tuple(Loop(shape[axis] // (lanes if axis == last else 1),
                       1 if axis == last else math.prod(shape[axis + 1:]) // lanes) for axis in node.axes)
    push_window(b, node.name, (), loops, nodes=(node.name,))


MAPS: dict[type[ir.Node], Callable[["Builder", ir.Node], ir.Node | None]] = {
    ir.Conv: conv, ir.MaxPool: pool, ir.SumPool: pool, ir.Pad: pad, ir.Upsample: upsample,
    ir.DepthToSpace: depth_to_space, ir.Transpose: transpose,
}  # pyright: ignore[reportAssignmentType]  # each is called with nodes of its own kind
