"""Quantizers: where a chain of floats becomes few levels, and so thresholds of integers."""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from qonnx.custom_op.general.intquant import max_int, min_int

from hwbnn import ir
from hwbnn.frontend.grid import fit
from hwbnn.frontend.layout import fitted
from hwbnn.frontend.problems import refuse
from hwbnn.frontend.stepping import EXHAUSTIVE, Crossings, Floats
from hwbnn.frontend.thresholds import find_steps, step_through
from hwbnn.frontend.values import Chain, Constant, Live, NodeStep, Operand, Scale, Spread, Table
from hwbnn.frontend.walk import Value, Walk, attributes, handles

__all__ = ["Lattice", "fold", "quantize"]

MAX_BITS = 16          # of an activation; each level is a threshold per channel
_MAX_THRESHOLDS = 2**24  # of one quantizer, all channels together


@dataclass(frozen=True, eq=False)
class Lattice:
    """What a quantizer may give: float32 values by channel and level, and the integers they stand for.

    ``values`` (width, n) ascend in each row. ``integers`` (n,) are evenly spaced and ``scale`` (width,) makes them
    values; both are None where the values are no multiples of one scale per channel.
    """

    values: NDArray[np.float32]
    integers: NDArray[np.int64] | None
    scale: NDArray[np.float64] | None

    @classmethod
    def of(cls, values: NDArray, hint) -> "Lattice":
        """Find the integers and the scale of ``values``."""
        values = np.asarray(values, np.float32)
        found = fit(values, hint)
        if found is None or np.any(found[0] != found[0][0]) or np.any(found[1] < 0):
            return cls(values, None, None)
        steps = np.diff(found[0][0])
        if len(steps) and np.any(steps != steps[0]):
            return cls(values, None, None)
        return cls(values, found[0][0], found[1])


def quantize(walk: Walk, node: onnx.NodeProto, inputs, live: Live, step: NodeStep, lattice: Lattice) -> Live:
    """Turn the chain of ``live`` and the quantizer ``step`` into thresholds; return what the quantizer gives."""
    chain = live.chain.then(step)
    domain = walk.domain(live.root)
    count = max(chain.width, len(lattice.values)) * (lattice.values.shape[1] - 1)
    if count > _MAX_THRESHOLDS:
        refuse(node, inputs, f"must need at most {_MAX_THRESHOLDS} thresholds, not {count}",
               "quantize the activation to fewer bits")
    found = find_steps(node, inputs, chain, chain.labels, domain, lattice.values,
                       max(chain.width, len(lattice.values)))
    if isinstance(domain, Floats) and not np.any(found.rising):
        found, lattice = _mirrored(found, lattice, len(domain))
    integers = np.arange(lattice.values.shape[1]) if lattice.integers is None else lattice.integers
    levels = ir.Levels.of(integers)
    root = step_through(walk, node, inputs, live, found, levels, [step.label for step in chain.steps])
    after = Scale(node.name, lattice.scale) if lattice.scale is not None else Table(node.name, levels, lattice.values)
    result = Live(node.output[0], root, live.index, Chain((after,)))
    walk.quantizers[node.output[0]] = result
    return result


def _mirrored(found: Crossings, lattice: Lattice, size: int) -> tuple[Crossings, Lattice]:
    """Count the levels of a function that falls in every channel from the other end, so that it rises."""
    crossings = Crossings(size - found.ordinals[:, ::-1], ~found.rising)
    if lattice.integers is None or lattice.scale is None:
        return crossings, Lattice(lattice.values[:, ::-1], None, None)
    return crossings, Lattice(lattice.values[:, ::-1], -lattice.integers[::-1], -lattice.scale)


# -- the quantizers of qonnx ------------------------------------------------------------------------------------


def _parameters(node, inputs, names: tuple[str, ...]) -> list[NDArray]:
    arrays = []
    for name, value in zip(names, inputs[1:], strict=False):
        if not isinstance(value, Constant):
            refuse(node, inputs, f"must have a constant {name}, and it depends on the input", "freeze the quantizer")
        arrays.append(np.asarray(value.value))
    if len(arrays) != len(names):
        refuse(node, inputs, f"must have the inputs x, {', '.join(names)}, and it has {len(inputs)}", "export it again")
    return arrays


def _positive(node, inputs, scale: NDArray, name: str = "scale"):
    if not np.all(np.isfinite(scale)) or np.any(scale <= 0):
        bad = scale[~(np.isfinite(scale) & (scale > 0))].flat[0]
        refuse(node, inputs, f"must have a {name} that is positive and finite, not {bad}", "train the quantizer again")


def _bits(node, inputs, bits: NDArray, name: str = "bit width") -> int:
    if bits.size != 1 or bits.flat[0] != np.floor(bits.flat[0]) or not 1 <= bits.flat[0] <= 32:
        refuse(node, inputs, f"must have a {name} that is an integer from 1 to 32, not {bits.tolist()}",
               "choose another width")
    return int(bits.flat[0])


def _range(attrs, bits: int) -> NDArray[np.int64]:
    """The integers of a ``Quant`` before the zero point is taken off."""
    signed, narrow = bool(attrs.get("signed", 1)), bool(attrs.get("narrow", 1))
    if bits == 1 and signed:
        return np.array([-1, 1])
    return np.arange(int(min_int(signed, narrow, bits)), int(max_int(signed, narrow, bits)) + 1)


def _narrow_enough(node, inputs, bits: int):
    if bits > MAX_BITS:
        refuse(node, inputs, f"must have at most {MAX_BITS} bits, not {bits}", "quantize the activation to fewer bits")


def _integer_parameters(node, inputs):
    scale, zero, bits = _parameters(node, inputs, ("scale", "zero point", "bit width"))
    _positive(node, inputs, scale)
    if not np.all(np.isfinite(zero)):
        refuse(node, inputs, "must have a finite zero point, and it is NaN or infinite", "train the quantizer again")
    return scale.astype(np.float32), zero.astype(np.float32), _bits(node, inputs, bits)


@handles("Quant", "IntQuant")
def _quant(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    live = inputs[0]
    scale, zero, bits = _integer_parameters(node, inputs)
    _narrow_enough(node, inputs, bits)
    live = fitted(walk, node, inputs, live, scale, zero)
    operands = (None, walk.operand(node, inputs, live, scale), walk.operand(node, inputs, live, zero),
                Operand(np.array(bits, np.float32), Spread.WHOLE))
    step = NodeStep(node.name, node, walk.execute, operands)
    scales, zeros = (np.broadcast_to(row, (step.width,)) for row in (operands[1].row, operands[2].row))
    codes = _range(attributes(node), bits).astype(np.float32)
    values = (codes - zeros[:, None]) * scales[:, None]  # as int_quant computes it, in float32
    return [quantize(walk, node, inputs, live, step, Lattice.of(values, scales.astype(np.float64)))]


@handles("BipolarQuant")
def _bipolar(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    live = inputs[0]
    (scale,) = _parameters(node, inputs, ("scale",))
    _positive(node, inputs, scale)
    live = fitted(walk, node, inputs, live, scale)
    operands = (None, walk.operand(node, inputs, live, scale.astype(np.float32)))
    step = NodeStep(node.name, node, walk.execute, operands)
    scales = operands[1].row
    values = np.array([-1, 1], np.float32) * scales[:, None]
    return [quantize(walk, node, inputs, live, step, Lattice.of(values, scales.astype(np.float64)))]


def fold(walk: Walk, node: onnx.NodeProto, inputs) -> Constant:
    """Quantize a constant (weights), keeping the integers, the scale and the set they were drawn from."""
    x = inputs[0].value
    if x.dtype.kind == "f" and not np.all(np.isfinite(x)):
        refuse(node, inputs, "must quantize finite weights, and one is NaN or infinite", "train the model again")
    if node.op_type == "BipolarQuant":
        (scale,) = _parameters(node, inputs, ("scale",))
        _positive(node, inputs, scale)
        integers, levels = np.where(x >= 0, 1, -1), ir.BIPOLAR
    else:
        scale, zero, bits = _integer_parameters(node, inputs)
        codes = _range(attributes(node), bits)
        if not np.all(zero == np.floor(zero)):
            refuse(node, inputs, "must have a whole zero point for weights, and it is a fraction",
                   "quantize weights symmetrically")
        integers = None
        levels = ir.Levels(int(codes[0]), int(codes[-1]), int(codes[1] - codes[0]) if len(codes) > 1 else 1)
    (value,) = walk.execute(node, [v.value for v in inputs])
    scales = np.broadcast_to(scale.astype(np.float64), value.shape)
    if integers is None:
        integers = np.rint(value / scales).astype(np.int64)
        offset = np.unique(zero.astype(np.int64))
        levels = ir.Levels(levels.low - int(offset.max()), levels.high - int(offset.min()), levels.step) \
            if len(offset) == 1 else ir.Levels(levels.low - int(offset.max()), levels.high - int(offset.min()))
    return Constant(value, integers, scales, levels)


@handles("MultiThreshold")
def _multithreshold(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    live = inputs[0]
    (thresholds,) = _parameters(node, inputs, ("thresholds",))
    attrs = attributes(node)
    scale, bias = float(attrs.get("out_scale", 1.0)), float(attrs.get("out_bias", 0.0))
    _positive(node, inputs, np.array(scale), "out_scale")
    layout = attrs.get("data_layout", "") or {2: "NC", 3: "NWC", 4: "NCHW"}.get(len(live.shape), "NC")
    axis = layout.index("C") if "C" in layout else 1
    if thresholds.ndim != 2 or np.any(np.diff(thresholds, axis=1) < 0):
        refuse(node, inputs, "must have thresholds (channels, n) that ascend in each row, and they do not",
               "sort the thresholds")
    if len(thresholds) > 1:
        numbers = np.arange(live.shape[axis]).reshape(-1, *[1] * (len(live.shape) - axis - 1))
        live = fitted(walk, node, inputs, live, numbers)
    rows = walk.axis_operand(node, inputs, live, thresholds.astype(np.float32), axis, Spread.ROWS)
    local = onnx.NodeProto()
    local.CopyFrom(node)
    del local.attribute[:]
    local.attribute.extend([a for a in node.attribute if a.name != "data_layout"])
    local.attribute.append(onnx.helper.make_attribute("data_layout", "NC"))
    step = NodeStep(node.name, local, walk.execute, (None, rows))
    values = scale * np.arange(thresholds.shape[1] + 1, dtype=np.float32) + bias
    return [quantize(walk, node, inputs, live, step, Lattice.of(values[None, :], scale))]


@handles("Sign")
def _sign(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    """Three levels, or two where the chain never gives exactly 0."""
    live = inputs[0]
    step = NodeStep(node.name, node, walk.execute, (None,))
    three = np.array([[-1, 0, 1]], np.float32)
    chain = live.chain.then(step)
    found = find_steps(node, inputs, chain, chain.labels, walk.domain(live.root), three, chain.width)
    never_zero = np.all(found.ordinals[:, 0] == found.ordinals[:, 1])
    return [quantize(walk, node, inputs, live, step, Lattice.of(three[:, ::2] if never_zero else three, 1.0))]


@handles("Greater", "GreaterOrEqual", "Less", "LessOrEqual")
def _compare(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    """Binarization at a threshold; the result is a truth value."""
    live = next(value for value in inputs if isinstance(value, Live))
    if sum(isinstance(value, Live) for value in inputs) != 1:
        refuse(node, inputs, "must compare with a constant, and both operands depend on the input",
               "compare with a constant")
    live = fitted(walk, node, inputs, live, *(value.value for value in inputs if isinstance(value, Constant)))
    operands = tuple(None if isinstance(value, Live) else walk.operand(node, inputs, live, value.value)
                     for value in inputs)
    step = NodeStep(node.name, node, walk.execute, operands)
    lattice = Lattice(np.array([[False, True]]), None, None)  # pyright: ignore[reportArgumentType]  # truth values
    return [quantize(walk, node, inputs, live, step, lattice)]


@handles("Trunc")
def _trunc(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    """Fewer bits of a quantized value: whatever levels the operation gives for the integers there are."""
    live = inputs[0]
    second = walk.execute.opset(node.domain) >= 2
    names = ("scale", "zero point", "input bit width", *(("output scale",) if second else ()), "output bit width")
    parameters = _parameters(node, inputs, names)
    scales = [parameters[0], parameters[3]] if second else [parameters[0]]
    for scale in scales:
        _positive(node, inputs, scale)
    domain = walk.domain(live.root)
    if len(domain) > EXHAUSTIVE:
        refuse(node, inputs, f"must truncate a value of at most {EXHAUSTIVE} levels, not {len(domain)}",
               "quantize with Quant instead, or quantize the layers before to fewer bits")
    channelled = {0, 1, 3} if second else {0, 1}
    operands = [None, *(walk.operand(node, inputs, live, p.astype(np.float32)) if k in channelled
                        else Operand(p.astype(np.float32), Spread.WHOLE) for k, p in enumerate(parameters))]
    step = NodeStep(node.name, node, walk.execute, tuple(operands))
    given = live.chain.then(step)(domain.at(np.arange(len(domain)))[:, None])
    unit = np.broadcast_to(operands[4 if second else 1].row.astype(np.float64), given.shape[1:])
    integers = np.unique(np.rint(given / unit))
    integers = np.arange(integers[0], integers[-1] + 1, dtype=np.float32)
    values = integers * unit[:, None].astype(np.float32)
    return [quantize(walk, node, inputs, live, step, Lattice.of(values, unit))]
