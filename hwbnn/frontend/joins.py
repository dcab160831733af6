"""Where branches meet: sums of two live values and concatenation."""

from dataclasses import replace
from fractions import Fraction
from math import gcd, lcm

import numpy as np
import onnx
from numpy.typing import NDArray

from hwbnn import ir
from hwbnn.frontend.elementwise import broadcast
from hwbnn.frontend.integers import integers_of, scale_of, uniform
from hwbnn.frontend.layout import as_map, as_vector, trimmed
from hwbnn.frontend.problems import refuse
from hwbnn.frontend.thresholds import settle
from hwbnn.frontend.values import Chain, Live, Scale, Side
from hwbnn.frontend.walk import Value, Walk, attributes, handles

__all__ = []


@handles("Add", "Sub")
def _sum(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    """Add constants in the chain, and two live values as integers of one unit.

    The sum of two live values is taken to be exact: unit · (multiplier · integer + multiplier · integer), rounded once.
    Equal scales need no multipliers; others are made equal by whole numbers, which exist for any two floats.
    """
    if not all(isinstance(value, Live) for value in inputs):
        return list(broadcast(walk, node, inputs))
    a, b = (integers_of(walk, node, inputs, live) for live in inputs)
    if a.shape != b.shape:
        refuse(node, inputs, "must add values of one shape", "expand the smaller one outside of the network")
    a, b = _aligned(walk, node, inputs, a, b)
    sign = -1 if node.op_type == "Sub" else 1
    left, right, unit = _common(node, inputs, scale_of(a), sign * scale_of(b))
    roots = [_scaled(walk, node, live.root, multipliers) for live, multipliers in ((a, left), (b, right))]
    root = walk.emit(ir.Add(walk.fresh_node(node.name), tuple(roots), (walk.fresh_tensor(node.output[0]),)),
                     [node.name])
    return [Live(node.output[0], root, a.index, Chain((Scale(node.name, unit),)))]


def _aligned(walk: Walk, node, inputs, a: Live, b: Live) -> tuple[Live, Live]:
    """Both values element by element in one order."""
    def same() -> bool:
        return walk.tensors[a.root].shape == walk.tensors[b.root].shape and np.array_equal(a.index, b.index)
    if not same():
        layout = as_map if len(a.shape) in (3, 4) else as_vector
        a, b = layout(walk, node, inputs, a), layout(walk, node, inputs, b)
    if not same():
        refuse(node, inputs, "must add values laid out alike, and one of them is permuted",
               "apply the same Reshape and Transpose to both branches")
    return a, b


def _common(node, inputs, a: NDArray, b: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Whole multipliers of two scales and their unit, per channel: ``a = left · unit``, ``b = right · unit``."""
    found = {}
    a, b = np.broadcast_arrays(a, b)
    for x, y in set(zip(a.tolist(), b.tolist(), strict=True)):
        fractions = Fraction(x), Fraction(y)
        denominator = lcm(*(f.denominator for f in fractions))
        numerators = [f.numerator * (denominator // f.denominator) for f in fractions]
        divisor = gcd(*numerators)
        found[x, y] = (numerators[0] // divisor, numerators[1] // divisor, float(Fraction(divisor, denominator)))
        if max(map(abs, numerators)) // divisor >= 2**62:
            refuse(node, inputs, f"must add values whose scales have a common unit, and {x:g} and {abs(y):g} have none "
                   f"within 63 bits", "use one scale for both branches, or powers of two")
    rows = [found[pair] for pair in zip(a.tolist(), b.tolist(), strict=True)]
    left, right, unit = (np.array(column) for column in zip(*rows, strict=True))
    return left, right, unit


def _scaled(walk: Walk, node, root: str, multipliers: NDArray) -> str:
    if np.all(multipliers == 1):
        return root
    multipliers = multipliers[:1] if np.all(multipliers == multipliers[0]) else multipliers
    name = walk.fresh_node(f"{node.name}_rescale")
    return walk.emit(ir.Affine(name, (root,), (walk.fresh_tensor(name),), multipliers, np.zeros(1, np.int64)))


@handles("Concat")
def _concat(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    lives = []
    for value in inputs:
        if not isinstance(value, Live) or walk.is_float(value):
            refuse(node, inputs, "must join values that are quantized and depend on the input, and one is not",
                   "quantize the input first, and add constants otherwise")
        lives.append(trimmed(walk, node, inputs, settle(walk, node, inputs, value)))
    shapes = [walk.tensors[live.root].shape for live in lives]
    if len({shape[:-1] for shape in shapes}) > 1:
        layout = as_map if len(lives[0].shape) in (3, 4) else as_vector
        lives = [layout(walk, node, inputs, live) for live in lives]
        shapes = [walk.tensors[live.root].shape for live in lives]
    if len({shape[:-1] for shape in shapes}) > 1:
        refuse(node, inputs, "must join channels of equal height and width", "concatenate along the channels")
    counts = [shape[-1] for shape in shapes]
    index, start = [], 0
    for live, count in zip(lives, counts, strict=True):
        pixel, channel = np.divmod(live.index, count)
        index.append(pixel * sum(counts) + start + channel)
        start += count
    roots = tuple(live.root for live in lives)
    root = walk.emit(ir.Concat(walk.fresh_node(node.name), roots, (walk.fresh_tensor(node.output[0]),)), [node.name])
    chain = _beside(node, lives, counts)
    return [Live(node.output[0], root, np.concatenate(index, axis=attributes(node)["axis"]), chain)]


def _beside(node, lives: list[Live], counts: list[int]) -> Chain:
    """The chain of a concatenation: one scale per channel where that is all there is."""
    scales = [live.chain.steps[0].scale if len(live.chain.steps) == 1 and isinstance(live.chain.steps[0], Scale)
              else None for live in lives]
    if all(scale is not None for scale in scales):
        joined = np.concatenate([np.broadcast_to(scale, (count,)) for scale, count in zip(scales, counts, strict=True)
                                 if scale is not None])
        return Chain((Scale(node.name, joined[:1] if np.all(joined == joined[0]) else joined),))
    return Chain((Side(node.name, tuple(live.chain for live in lives), tuple(counts)),))


@handles("DepthToSpace")
def _depth_to_space(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    attrs = attributes(node)
    block = attrs["blocksize"]
    live = settle(walk, node, inputs, inputs[0])
    if walk.is_float(live) or live.width > 1:  # blocks share what is behind them
        live = integers_of(walk, node, inputs, live)
    live = as_map(walk, node, inputs, live)
    height, width, channels = walk.tensors[live.root].shape
    if channels % block**2 or len(live.shape) != 4:
        refuse(node, inputs, f"must have a multiple of {block}² channels, not {channels}", "export it again")
    order = live.index[0, :, 0, 0]
    depth = channels // block**2
    # graph channel of block k's channel c, in the network's order: block outermost
    graph = np.arange(channels).reshape((block**2, depth) if attrs.get("mode", "DCR") == "DCR"
                                        else (depth, block**2))
    wanted = order[graph if attrs.get("mode", "DCR") == "DCR" else graph.T].ravel()
    if live.width > 1:
        rows = scale_of(live)[wanted].reshape(block**2, depth)
        live = uniform(walk, node, inputs, live) if np.any(rows != rows[0]) else live
    live = _permuted(walk, node, live, wanted)
    chain = live.chain.take(np.arange(depth)) if live.width > 1 else live.chain
    root = walk.emit(ir.DepthToSpace(walk.fresh_node(node.name), (live.root,), (walk.fresh_tensor(node.output[0]),),
                                     block), [node.name])
    index = np.arange(height * block * width * block * depth).reshape(height * block, width * block, depth)
    return [Live(node.output[0], root, index.transpose(2, 0, 1)[None], chain)]


def _permuted(walk: Walk, node, live: Live, wanted: NDArray[np.int64]) -> Live:
    """``live`` on a map whose channel k is the old channel ``wanted[k]``: a product with a permutation matrix.

    A later pass moves it into the layer that makes the channels.
    """
    if np.array_equal(wanted, np.arange(len(wanted))):
        return live
    matrix = np.zeros((len(wanted), len(wanted)), np.int64)
    matrix[np.arange(len(wanted)), wanted] = 1
    name = walk.fresh_node(f"{node.name}_permute")
    root = walk.emit(ir.MatMul(name, (live.root,), (walk.fresh_tensor(name),), matrix, ir.BINARY))
    place = np.argsort(wanted)
    pixel, channel = np.divmod(live.index, len(wanted))
    chain = live.chain.take(wanted) if live.width > 1 else live.chain
    return replace(live, root=root, index=pixel * len(wanted) + place[channel], chain=chain)


@handles("Resize", "Upsample")
def _resize(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    live = settle(walk, node, inputs, inputs[0])
    if walk.is_float(live):
        live = integers_of(walk, node, inputs, live)
    live = as_map(walk, node, inputs, live)
    mode = attributes(node).get("mode", "nearest")
    numbers = live.index.astype(np.float32)
    if mode != "nearest" or live.index.max() >= 2**24 or len(live.shape) != 4:
        refuse(node, inputs, f"must enlarge (1, channels, height, width) by repeating pixels, not by {mode}",
               "use mode = nearest")
    (enlarged,) = walk.execute(node, [numbers, *(None if value is None else value.value for value in inputs[1:])])
    factors = tuple(n // o for n, o in zip(enlarged.shape[2:], live.shape[2:], strict=True))
    if min(factors) < 1 or not np.array_equal(
            enlarged, numbers.repeat(factors[0], axis=2).repeat(factors[1], axis=3)):
        refuse(node, inputs, "must repeat every pixel a whole number of times, and it does not",
               "use integer scales with coordinate_transformation_mode = asymmetric and nearest_mode = floor")
    root = walk.emit(ir.Upsample(walk.fresh_node(node.name), (live.root,), (walk.fresh_tensor(node.output[0]),),
                                 factors), [node.name])
    height, width, channels = walk.tensors[root].shape
    order = live.index[0, :, 0, 0]
    index = (np.arange(height)[:, None] * width + np.arange(width)) * channels + order[:, None, None]
    return [replace(live, name=node.output[0], root=root, index=index[None])]
