"""Dot products of integers: MatMul and Gemm."""

from dataclasses import replace

import numpy as np
import onnx
from onnx import helper

from hwbnn import ir
from hwbnn.frontend.integers import integers_of, scale_of, uniform
from hwbnn.frontend.layout import as_vector
from hwbnn.frontend.problems import refuse
from hwbnn.frontend.values import Chain, Constant, Live, NodeStep, Scale
from hwbnn.frontend.walk import Value, Walk, attributes, handles
from hwbnn.frontend.weights import Weights, weights_of

__all__ = ["with_bias"]


def with_bias(walk: Walk, node: onnx.NodeProto, inputs, live: Live, bias: Constant | None) -> Live:
    """Add the bias of a layer (one value per channel, axis 1) as a step of the chain."""
    if bias is None:
        return live
    shape = [1] * len(live.shape)
    shape[1] = -1
    operand = walk.operand(node, inputs, live, bias.value.astype(np.float32).reshape(shape))
    add = helper.make_node("Add", [node.output[0], node.input[2]], [node.output[0]], name=node.name)
    return live.then(node.output[0], NodeStep(node.name, add, walk.execute, (None, operand)))


@handles("MatMul")
def _matmul(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    live, constant = inputs
    if isinstance(live, Live) and isinstance(constant, Live):
        refuse(node, inputs, "must multiply by constant weights, and both operands depend on the input",
               "products of two activations (attention) cannot be imported")
    if not isinstance(live, Live):
        refuse(node, inputs, "must have its weights as the second operand, and they are the first",
               "transpose the product")
    if constant.value.ndim != 2:
        refuse(node, inputs, f"must have weights of two axes, not {constant.value.ndim}", "use one matrix")
    return [_product(walk, node, inputs, live, weights_of(walk, node, inputs, constant, rows_last=True))]


@handles("Gemm")
def _gemm(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    live, constant, bias = (*inputs, None)[:3]
    attrs = attributes(node)
    if not isinstance(live, Live) or not isinstance(constant, Constant) or isinstance(bias, Live):
        refuse(node, inputs, "must multiply the live value by constant weights and add a constant",
               "write it as MatMul of an activation and constant weights")
    if attrs.get("transA", 0):
        refuse(node, inputs, "must not transpose its first operand", "export with transA = 0")
    weights = weights_of(walk, node, inputs, constant, rows_last=not attrs.get("transB", 0))
    weights = replace(weights, scale=weights.scale * float(attrs.get("alpha", 1.0)))
    result = _product(walk, node, inputs, live, weights)
    if bias is not None:
        beta = np.float32(attrs.get("beta", 1.0))
        bias = Constant(np.broadcast_to(bias.value * beta, (*bias.value.shape[:-1], result.shape[-1]))
                        if bias.value.ndim else np.full(result.shape[-1], bias.value * beta))
    return [with_bias(walk, node, inputs, result, bias)]


def _product(walk: Walk, node, inputs, live: Live, weights: Weights) -> Live:
    """Emit the :class:`~hwbnn.ir.MatMul` over the last axis of ``live``."""
    if live.shape[-1] != weights.columns:
        refuse(node, inputs, f"must have {live.shape[-1]} weights per output, not {weights.columns}", "export it again")
    live = integers_of(walk, node, inputs, live)
    if len(live.shape) == 2:
        live = as_vector(walk, node, inputs, live)
    channels = walk.tensors[live.root].channels
    pixel, channel = np.divmod(live.index.reshape(-1, live.shape[-1]), channels)
    distinct = len(np.unique(channel[0])) == channel.shape[1]
    if distinct and np.all(pixel == pixel[:, :1]) and np.all(channel == channel[0]):
        columns, pixels = channel[0], pixel[:, 0]
    elif len(pixel) == 1:  # a vector, and some of it read twice
        live = as_vector(walk, node, inputs, live)
        columns, pixels = live.index.ravel(), np.zeros(1, np.int64)
    else:
        refuse(node, inputs, "must multiply along the channels of every pixel, and its values are laid out otherwise",
               "move the channels last with a Transpose, or flatten everything")
    live = uniform(walk, node, inputs, live)
    matrix = np.zeros((weights.rows, walk.tensors[live.root].channels), np.int64)
    if len(np.unique(columns)) == len(columns):
        matrix[:, columns] = weights.matrix
    else:  # the graph reads some value more than once
        np.add.at(matrix.T, columns, weights.matrix.T)
    levels = weights.levels if weights.levels.holds(matrix) else weights.levels.hull(ir.Levels.of(matrix))
    output = walk.emit(ir.MatMul(walk.fresh_node(node.name), (live.root,), (walk.fresh_tensor(node.output[0]),),
                                 matrix, levels), [*weights.covers, node.name])
    index = pixels.reshape(*live.shape[:-1], 1) * weights.rows + np.arange(weights.rows)
    return Live(node.output[0], output, index, Chain((Scale(node.name, scale_of(live) * weights.scale),)))
