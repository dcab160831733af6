"""Elementwise operations: steps of a chain, evaluated later and never interpreted."""

from dataclasses import replace

import numpy as np
import onnx

from hwbnn.frontend.layout import fitted
from hwbnn.frontend.problems import refuse
from hwbnn.frontend.values import Constant, Live, NodeStep, Operand, Spread
from hwbnn.frontend.walk import Value, Walk, attributes, handles

__all__ = ["add_step"]

# inputs beside the first are broadcast (two-operand operations) or scalars of the operation itself
_BROADCAST = ("Mul", "Div", "PRelu", "Min", "Max", "Pow", "Where")
_UNARY = ("Relu", "LeakyRelu", "Clip", "Tanh", "Sigmoid", "HardSigmoid", "Neg", "Abs", "Floor", "Ceil", "Round", "Elu",
          "Selu", "Celu", "Softsign", "ThresholdedRelu", "Sqrt", "Exp", "Log", "Erf", "HardSwish", "Cast", "Not",
          "Reciprocal")


def add_step(walk: Walk, node: onnx.NodeProto, inputs, live: Live, operands) -> Live:
    """Append ``node`` to the chain of ``live``."""
    step = NodeStep(node.name, node, walk.execute, tuple(operands))
    return live.then(node.output[0], step)


@handles(*_UNARY)
def _unary(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    live = inputs[0]
    operands: list[Operand | None] = [None]
    for value in inputs[1:]:
        if isinstance(value, Live):
            refuse(node, inputs, "must have constant parameters, and one depends on the input", "make it a constant")
        operands.append(Operand(value.value if value else None, Spread.WHOLE))
    return [add_step(walk, node, inputs, live, operands)]


@handles(*_BROADCAST)
def broadcast(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    """Lower an operation of one live value and constants that are broadcast to it."""
    lives = [value for value in inputs if isinstance(value, Live)]
    if len(lives) != 1:
        refuse(node, inputs, "must combine one value that depends on the input with constants, not two",
               "only Add and Sub of two such values can be imported")
    constants = [value.value for value in inputs if isinstance(value, Constant)]
    live = fitted(walk, node, inputs, _widened(lives[0], [constant.shape for constant in constants]), *constants)
    operands = [None if isinstance(value, Live) else walk.operand(node, inputs, live, value.value)
                for value in inputs]
    divisor = operands[-1]
    if node.op_type == "Div" and divisor is not None and np.any(divisor.row == 0):
        refuse(node, inputs, "must divide by numbers other than 0", "mend the constant")
    return [add_step(walk, node, inputs, live, operands)]


def _widened(live: Live, shapes) -> Live:
    """Give ``live`` the leading axes of size 1 that broadcasting with longer shapes adds."""
    rank = max([len(live.shape), *map(len, shapes)])
    shape = (1,) * (rank - len(live.shape)) + live.shape
    return live if shape == live.shape else replace(live, index=live.index.reshape(shape))


@handles("Identity", "Dropout")
def _identity(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    live = inputs[0]
    if node.op_type == "Dropout" and len(inputs) > 2 and inputs[2] is not None and np.any(inputs[2].value):
        refuse(node, inputs, "must be in inference mode, not in training mode", "export the model in eval mode")
    return [live.then(node.output[0])]


@handles("BatchNormalization")
def _batch_normalization(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    live = inputs[0]
    if attributes(node).get("training_mode", 0) or not isinstance(live, Live):
        refuse(node, inputs, "must be in inference mode, not in training mode", "export the model in eval mode")
    live = fitted(walk, node, inputs, live, np.arange(live.shape[1]).reshape(-1, *[1] * (len(live.shape) - 2)))
    operands: list[Operand | None] = [None]
    for value in inputs[1:5]:
        if not isinstance(value, Constant):
            refuse(node, inputs, "must have constant parameters, and one depends on the input", "make it a constant")
        operands.append(walk.axis_operand(node, inputs, live, value.value, 1, Spread.VECTOR))
    variance = inputs[4].value + np.float32(attributes(node).get("epsilon", 1e-5))
    if np.any(variance <= 0):
        refuse(node, inputs, f"must have variances above 0, epsilon included, not {variance.min()}",
               "train the model again")
    return [add_step(walk, node, inputs, live, operands)]
