"""Chains that end in few levels, as thresholds of integers; and the maxima that wait in front of them."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from hwbnn import ir
from hwbnn.frontend.problems import refuse
from hwbnn.frontend.stepping import Crossings, Floats, Integers, NotMonotoneError, UnknownValueError, crossings
from hwbnn.frontend.values import Chain, Live, Pool
from hwbnn.frontend.walk import Walk

__all__ = ["find_steps", "settle", "step_through"]

_PLACES = 2**16  # where the direction of a chain in front of a maximum is tested
_CHUNK = 2**20


def find_steps(node: onnx.NodeProto, inputs, function: Callable[[NDArray], NDArray], labels: str,
               domain: Integers | Floats, values: NDArray, width: int) -> Crossings:
    """Where ``function`` steps through ``values``; a refusal names the nodes in ``labels``."""
    try:
        return crossings(function, domain, values, width)
    except NotMonotoneError as error:
        refuse(node, inputs, f"must be reached through a monotone function of each channel, and {labels} turn in "
               f"channel {error.channel} near {error.x}", "put a quantizer in front of the operation that turns")
    except UnknownValueError as error:
        refuse(node, inputs, f"must give one of its {values.shape[1]} levels, and {labels} give {error.value} in "
               f"channel {error.channel}", "mend the constants of these nodes")


def step_through(walk: Walk, node: onnx.NodeProto, inputs, live: Live, found: Crossings, levels: ir.Levels,
                 covers: Sequence[str]) -> str:
    """Emit what turns the root of ``live`` into ``levels`` at the crossings, and a waiting maximum behind it.

    Returns the tensor of levels: the root itself where it is these integers already.
    """
    domain = walk.domain(live.root)
    if isinstance(domain, Floats):
        root = _boundaries(walk, node, inputs, live, found, levels, covers)
    else:
        root = _thresholds(walk, node, live, domain.levels, found, levels, covers)
    if live.pool is None:
        return root
    rising = np.broadcast_to(found.rising, (max(len(found.rising), live.width),))
    return _pool(walk, root, live.pool, _direction(walk, node, inputs, live, len(rising)) == rising)


def _thresholds(walk: Walk, node, live: Live, x: ir.Levels, found: Crossings, levels: ir.Levels, covers) -> str:
    rising = found.rising[:, None]
    signed = np.where(rising, x.low, -x.high) + x.step * found.ordinals
    thresholds = np.where(found.ordinals == len(x), np.where(rising, x.high, -x.low) + 1, signed)
    if np.all(found.rising) and levels == x and np.all(thresholds == x.values()[1:]):
        return live.root
    signs = np.where(found.rising, 1, -1)
    if np.all(thresholds == thresholds[0]) and np.all(signs == signs[0]):
        thresholds = thresholds[:1]
    signs = signs[:1] if np.all(signs == signs[0]) else signs
    return walk.emit(ir.Threshold(walk.fresh_node(node.name), (live.root,), (walk.fresh_tensor(node.output[0]),),
                                  thresholds, levels, signs), covers)


def _boundaries(walk: Walk, node, inputs, live: Live, found: Crossings, levels: ir.Levels, covers) -> str:
    if not np.all(found.rising):
        refuse(node, inputs, "must rise with the graph's input, and it falls", "negate the input outside of the graph")
    floats = Floats()
    places = np.minimum(found.ordinals, len(floats) - 1)
    boundaries = np.where(found.ordinals == len(floats), np.float32(np.inf), floats.at(places))
    boundaries = boundaries[:1] if np.all(boundaries == boundaries[0]) else boundaries
    return walk.quantize_input(node, inputs, levels, boundaries, covers)


def settle(walk: Walk, node: onnx.NodeProto, inputs, live: Live) -> Live:
    """Take a waiting maximum now, of the integers in front of the chain."""
    if live.pool is None:
        return live
    upward = _direction(walk, node, inputs, live, live.width)
    return Live(live.name, _pool(walk, live.root, live.pool, upward), live.index, live.chain)


def _pool(walk: Walk, root: str, pool: Pool, upward: NDArray[np.bool_]) -> str:
    signs = np.where(upward, 1, -1)
    signs = signs[:1] if np.all(signs == signs[0]) else signs
    name = walk.fresh_node(pool.name)
    return walk.emit(ir.MaxPool(name, (root,), (walk.fresh_tensor(pool.output),), pool.kernel, pool.stride,
                                pool.padding, signs), [pool.name])


def _direction(walk: Walk, node, inputs, live: Live, width: int) -> NDArray[np.bool_]:
    """Whether the part of the chain in front of the waiting maximum rises, per channel."""
    assert live.pool is not None
    before = Chain(live.chain.steps[:live.pool.before])
    domain = walk.domain(live.root)
    places = np.unique(np.linspace(0, len(domain) - 1, min(len(domain), _PLACES)).astype(np.int64))
    rows = max(1, _CHUNK // width)
    rises, falls = np.zeros(width, bool), np.zeros(width, bool)
    for start in range(0, len(places), rows):
        part = places[max(start - 1, 0):start + rows]
        y = np.broadcast_to(before(domain.at(part)[:, None]), (len(part), width))
        rises |= np.any(y[1:] > y[:-1], axis=0)
        falls |= np.any(y[1:] < y[:-1], axis=0)
    if np.any(rises & falls):
        refuse(node, inputs, f"must be reached through a monotone function of each channel, and {before.labels} turn "
               f"in channel {int(np.argmax(rises & falls))} in front of {live.pool.name}",
               "put a quantizer in front of the pooling")
    return ~falls
