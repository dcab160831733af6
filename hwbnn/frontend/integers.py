"""Live values as integers and one scale per channel: what dot products and sums need."""

from dataclasses import replace
from typing import NoReturn

import numpy as np
import onnx
from numpy.typing import NDArray

from hwbnn import ir
from hwbnn.frontend.grid import common_unit, fit
from hwbnn.frontend.problems import refuse
from hwbnn.frontend.stepping import EXHAUSTIVE
from hwbnn.frontend.thresholds import find_steps, settle, step_through
from hwbnn.frontend.values import Chain, Live, NodeStep, Scale, Spread
from hwbnn.frontend.walk import Walk

__all__ = ["integers_of", "scale_of", "uniform"]

_MAX_LEVELS = 2**8   # that a chain without a quantizer may leave, other than affinely
_MAX_BITS = 31       # of the multipliers that make scales equal


def integers_of(walk: Walk, node: onnx.NodeProto, inputs, live: Live) -> Live:
    """Return ``live`` on a tensor of integers that a scale alone makes its values: see :func:`scale_of`.

    A chain that is more than a scale is evaluated at every integer, and the values must lie on an even grid, up to a
    few float32 roundings: the grid is what is meant. An affine map becomes :class:`~hwbnn.ir.Affine`, any other
    monotone one :class:`~hwbnn.ir.Threshold`.

    Raises
    ------
    UserError
        Where the value is float: not quantized, or with more levels than thresholds are worth.
    """
    if walk.is_float(live):
        refuse(node, inputs, "must read quantized values, and it reads the graph's float input",
               "put a Quant in front of it, or annotate the input with an integer datatype such as UINT8")
    live = settle(walk, node, inputs, live)
    if len(live.chain.steps) == 1 and isinstance(live.chain.steps[0], Scale):
        return live
    levels = walk.tensors[live.root].levels
    if len(levels) > EXHAUSTIVE:
        _unquantized(node, inputs, live)
    table = live.chain(levels.values()[:, None]).T.astype(np.float64)
    if not np.all(np.isfinite(table)):
        refuse(node, inputs, f"must read finite values, and {live.chain.labels} give NaN or infinity",
               "mend the constants of these nodes")
    found = fit(table, _hint(live))
    if found is None:
        _unquantized(node, inputs, live)
    integers, scale = found
    if np.all(integers[:, -1] < integers[:, 0]):  # rather a negative scale than falling integers
        integers, scale = -integers, -scale
    root = _mapped(walk, node, inputs, live, levels, integers)
    return replace(live, root=root, chain=Chain((Scale(node.name, scale[:1] if np.all(scale == scale[0]) else scale),)))


def scale_of(live: Live) -> NDArray[np.float64]:
    """The scale (1,) or (channels,) of what :func:`integers_of` returned."""
    (step,) = live.chain.steps
    assert isinstance(step, Scale)
    return step.scale


def _hint(live: Live) -> NDArray[np.float64] | None:
    """The scale that multiplications and divisions leave, were they the whole chain."""
    scale = np.ones(1)
    for step in live.chain.steps:
        if isinstance(step, Scale):
            scale = scale * step.scale
        elif isinstance(step, NodeStep) and step.node.op_type in ("Mul", "Div"):
            operand = next(o for o in step.operands if o is not None)
            if step.operands[0] is None and operand.spread is Spread.CHANNEL and operand.array is not None:
                factor = operand.row.astype(np.float64)
                scale = scale * (factor if step.node.op_type == "Mul" else 1 / factor)
    return None if not np.all(np.isfinite(scale)) or np.any(scale == 0) else scale


def _mapped(walk: Walk, node, inputs, live: Live, levels: ir.Levels, integers: NDArray[np.int64]) -> str:
    """Emit the map from the levels of the root to ``integers`` (channels or 1, levels)."""
    x = levels.values()
    rise = integers[:, -1] - integers[:, 0]
    slope = rise // max(1, levels.high - levels.low)
    offset = integers[:, 0] - slope * levels.low
    name, output = walk.fresh_node(f"{node.name}_input"), walk.fresh_tensor(f"{live.name}_integers")
    covers = [step.label for step in live.chain.steps]
    if np.all(slope[:, None] * x + offset[:, None] == integers):
        if np.all(slope == 1) and not np.any(offset):
            return live.root
        return walk.emit(ir.Affine(name, (live.root,), (output,), slope, offset), covers)
    if len(np.unique(integers)) > _MAX_LEVELS:
        _unquantized(node, inputs, live)
    made = ir.Levels.of(integers)
    channel = np.arange(len(integers)) if len(integers) > 1 else 0
    found = find_steps(node, inputs, lambda v: integers[channel, (v - levels.low) // levels.step], live.chain.labels,
                       walk.domain(live.root), made.values()[None, :], len(integers))
    step = onnx.helper.make_node("Quant", [live.name], [output], name=name)
    return step_through(walk, step, inputs, live, found, made, covers)


def uniform(walk: Walk, node: onnx.NodeProto, inputs, live: Live) -> Live:
    """Return ``live`` of :func:`integers_of` with one scale for all channels; several are made one by whole numbers."""
    scale = scale_of(live)
    if len(scale) == 1 or np.all(scale == scale[0]):
        return replace(live, chain=Chain((Scale(node.name, scale[:1]),)))
    found = common_unit(scale)
    if found is None or int(np.abs(found[0]).max()).bit_length() > _MAX_BITS:
        refuse(node, inputs, "must read channels of one scale, and their scales have no common unit",
               "use one activation scale per tensor, or scales that are powers of two")
    multipliers, unit = found
    name = walk.fresh_node(f"{node.name}_rescale")
    root = walk.emit(ir.Affine(name, (live.root,), (walk.fresh_tensor(name),), multipliers, np.zeros(1, np.int64)))
    return replace(live, root=root, chain=Chain((Scale(node.name, np.array([unit])),)))


def _unquantized(node, inputs, live: Live) -> NoReturn:
    refuse(node, inputs, f"must read quantized values, and {live.chain.labels} leave floats",
           "put a quantizer (Quant, BipolarQuant, MultiThreshold) behind these nodes")
