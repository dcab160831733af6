"""The graph's outputs: what the last integers mean, value by value."""

from itertools import permutations

import numpy as np
import onnx
from numpy.typing import NDArray

from hwbnn import ir
from hwbnn.errors import UserError
from hwbnn.frontend.layout import as_map, trimmed
from hwbnn.frontend.thresholds import settle
from hwbnn.frontend.values import Function, Live, NodeStep, Scale
from hwbnn.frontend.walk import Walk, attributes

__all__ = ["MAX_VALUES", "output_of", "outputs"]

MAX_VALUES = 2**23  # entries of a table of output values; beyond, a scale and a bias


def outputs(walk: Walk) -> ir.Network:
    """Close the network: outputs, metadata."""
    made = []
    for name in walk.graph.outputs:
        live = walk.values.get(name)
        if not isinstance(live, Live):
            raise UserError(f"Output {name} must be an imported value that depends on the graph's input, and it is "
                            f"not; remove it")
        if walk.is_float(live) or walk.input is None:
            raise UserError(f"Output {name} must be made of quantized values, and it is the graph's float input; "
                            f"put a quantizer behind the input")
        end = onnx.helper.make_node("Output", [name], [name], name=name)
        live = trimmed(walk, end, [live], settle(walk, end, [live], live))
        if _axes(walk, live) is None and len(live.shape) in (3, 4):
            live = as_map(walk, end, [live], live)
        made.append(output_of(walk, name, live))
    assert walk.input is not None  # or no output would be made of integers
    return ir.Network(walk.graph.name, walk.input, tuple(walk.nodes), tuple(made), walk.notes)


def output_of(walk: Walk, name: str, live: Live) -> ir.Output:
    """What the integers behind ``live`` mean in the graph, as exactly as the graph computes it."""
    tensor = walk.tensors[live.root]
    axes = _axes(walk, live)
    if axes is None:
        raise UserError(f"Output {name} must hold every value of its layer once, in order of some axes, and "
                        f"it does not; remove the last Reshape, Transpose or Slice")
    axes = None if axes == tuple(range(len(axes))) else axes
    shape = live.shape[1:]
    steps = live.chain.steps
    count = live.width * len(tensor.levels)
    if count > MAX_VALUES:
        scale, bias = _line(walk, name, live)
        return ir.Output(name, live.root, shape, scale, bias, None, axes)
    values = live.chain(tensor.levels.values()[:, None]).T
    if not np.all(np.isfinite(values)):
        raise UserError(f"Output {name} must be finite, and {live.chain.labels} give NaN or infinity; mend the "
                        f"constants of these nodes")
    if values.dtype.kind != "f" and len(steps) <= 1:
        return ir.Output(name, live.root, shape, None, None, None, axes)
    return ir.Output(name, live.root, shape, None, None, values.astype(np.float32), axes)


def _axes(walk: Walk, live: Live) -> tuple[int, ...] | None:
    """The order of the tensor's axes in which its values are those of ``live``."""
    shape = walk.tensors[live.root].shape
    order = np.arange(np.prod(shape)).reshape(shape)
    return next((axes for axes in permutations(range(len(shape)))
                 if np.array_equal(order.transpose(axes).ravel(), live.index.ravel())), None)


def _line(walk: Walk, name: str, live: Live) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale and bias of a chain over too many integers to tabulate: its steps joined in float64.

    They give what the graph's float32 approximates; the difference is tested to be rounding.
    """
    gain, bias = np.ones(1), np.zeros(1)
    for step in live.chain.steps:
        line = _step_line(step)
        if line is None:
            gain = gain * np.nan  # no line, so no agreement below
            break
        gain, bias = gain * line[0], bias * line[0] + line[1]
    levels = walk.tensors[live.root].levels
    x = levels.low + levels.step * np.linspace(0, len(levels) - 1, 257).astype(np.int64)
    y = live.chain(x[:, None]).astype(np.float64)
    error = np.abs(gain * x[:, None] + bias - y).max(axis=0)
    if not np.all(error <= 2.0**-20 * np.abs(y).max(axis=0)):
        raise UserError(f"Output {name} must be an affine function of its integers where they are more than "
                        f"{MAX_VALUES}, and {live.chain.labels} are not; end the graph earlier")
    return np.broadcast_arrays(gain, bias)  # pyright: ignore[reportReturnType]  # two arrays, two results


def _step_line(step: Function) -> tuple[NDArray, NDArray] | None:
    """Gain and bias of one step, in float64; None where it is not known to be affine."""
    if isinstance(step, Scale):
        return step.scale, np.zeros(1)
    if not isinstance(step, NodeStep) or step.node.op_type not in _LINES:
        return None
    constants = [o.array.astype(np.float64).reshape(-1) for o in step.operands if o is not None and o.array is not None]
    return _LINES[step.node.op_type](constants, step.operands[0] is None, attributes(step.node))


def _norm_line(constants, first, attrs):
    gain, offset, mean, variance = constants
    gain = gain / np.sqrt(variance + attrs.get("epsilon", 1e-5))
    return gain, offset - gain * mean


_ONE, _NONE = np.ones(1), np.zeros(1)
_LINES = {
    "Mul": lambda c, first, attrs: (c[0], _NONE),
    "Div": lambda c, first, attrs: (1 / c[0], _NONE) if first else None,
    "Add": lambda c, first, attrs: (_ONE, c[0]),
    "Sub": lambda c, first, attrs: (_ONE, -c[0]) if first else (-_ONE, c[0]),
    "Neg": lambda c, first, attrs: (-_ONE, _NONE),
    "Cast": lambda c, first, attrs: (_ONE, _NONE),
    "BatchNormalization": _norm_line,
}
