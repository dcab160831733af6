"""A torch network as QONNX: readable names, and integer-valued weights behind explicit quantizers.

Only a sequence of known layers can be exported; every layer that has no meaning in hardware is refused by name.
:func:`hwbnn_train.comparison.compare` checks what is written.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from hwbnn.errors import UserError
from hwbnn.ir import BIPOLAR, Levels
from hwbnn_train.layers import QuantConv2d, Quantized, QuantLinear
from hwbnn_train.low_precision import Maxout, Multiply
from hwbnn_train.parallel import on_cpu
from hwbnn_train.quantizers import Grid, Quantizer
from hwbnn_train.recurrent import LanguageModel, Recurrent
from hwbnn_train.shift import ShiftBatchNorm, ap2

__all__ = ["export"]

QONNX_DOMAIN = "qonnx.custom_op.general"
OPSET = 13


@dataclass
class _Graph:
    """An ONNX graph under construction; ``tensor`` is where the next layer reads."""

    tensor: str
    shape: tuple[int, ...]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    values: list[onnx.ValueInfoProto] = field(default_factory=list)

    def constant(self, name: str, value: Tensor | NDArray | float) -> str:
        value = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        array = np.array(value, np.float32, order="C")
        self.initializers.append(numpy_helper.from_array(array, name))
        self.values.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape))  # qonnx asks for it
        return name

    def node(self, operation: str, name: str, inputs: list[str], shape: tuple[int, ...], *, domain: str = "",
             **attributes: Any) -> str:
        """Add a node and return the name of its output, of ``shape`` (with batch, if it has one)."""
        output = f"{name}_out"
        self.nodes.append(helper.make_node(operation, inputs, [output], name=name, domain=domain, **attributes))
        self.values.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, shape))
        return output

    def step(self, operation: str, name: str, inputs: list[str], shape: tuple[int, ...] | None = None,
             **attributes: Any) -> None:
        """Add a node that reads the current tensor first, and whose output becomes the current one."""
        self.shape = self.shape if shape is None else shape
        self.tensor = self.node(operation, name, [self.tensor, *inputs], (1, *self.shape), **attributes)

    def quantizer(self, name: str, tensor: str, shape: tuple[int, ...], grid: Grid) -> str:
        """Add the node that maps ``tensor`` to ``grid`` and return its output."""
        if grid.levels is None:
            raise UserError(f"Quantizer {name} must give a few levels to become hardware, not real numbers")
        if grid.thresholds is not None:
            return self._multithreshold(name, tensor, shape, grid)
        scale = self.constant(f"{name}_scale", grid.scale)
        if grid.levels == BIPOLAR:
            return self.node("BipolarQuant", name, [tensor, scale], shape, domain=QONNX_DOMAIN)
        bits, signed, narrow, levels = _quant_attributes(grid.levels)
        if levels != grid.levels:
            raise UserError(f"Quantizer {name} must have levels that a Quant node can give, not {grid.levels}")
        inputs = [tensor, scale, self.constant(f"{name}_zero_point", 0.0), self.constant(f"{name}_bits", bits)]
        return self.node("Quant", name, inputs, shape, domain=QONNX_DOMAIN, signed=int(signed),
                         narrow=int(narrow), rounding_mode="ROUND")

    def _multithreshold(self, name: str, tensor: str, shape: tuple[int, ...], grid: Grid) -> str:
        low, step = grid.levels.low, grid.levels.step
        scale = float(grid.scale)
        thresholds = self.constant(f"{name}_thresholds", grid.thresholds.reshape(1, -1))
        bits, signed, _, _ = _quant_attributes(grid.levels)
        return self.node("MultiThreshold", name, [tensor, thresholds], shape, domain=QONNX_DOMAIN,
                         out_scale=scale * step, out_bias=scale * low,
                         out_dtype=f"{'INT' if signed else 'UINT'}{bits}")


def _quant_attributes(levels: Levels) -> tuple[int, bool, bool, Levels]:
    """Return bits, signed, narrow, and the levels that a Quant node with these has: the fewest that hold ``levels``."""
    low, high = levels.low, levels.high
    if low >= 0:
        bits = max(1, high.bit_length())
        return bits, False, False, Levels(0, 2**bits - 1)
    bits = max(high, -low - 1).bit_length() + 1
    narrow = low > -2**(bits - 1)
    return bits, True, narrow, Levels(-2**(bits - 1) + narrow, 2**(bits - 1) - 1)


def export(model: nn.Module, shape: tuple[int, ...], *, properties: Mapping[str, object] = {}) -> onnx.ModelProto:
    """Return ``model``, in evaluation mode, as a QONNX model with one input ``images`` and one output ``logits``.

    Parameters
    ----------
    model : Sequential
        Of the layers that this module knows; sequences may nest.
    shape : tuple of :class:`int`
        Of one image. The graph's batch is 1.
    properties : mapping
        Written into the model's metadata.

    Raises
    ------
    UserError
        Where a layer cannot become hardware; the message names it and says why.
    """
    graph = _Graph("images", tuple(shape))
    with on_cpu(model):
        _emit(model, "", graph)
    if not graph.nodes:
        raise UserError("Model must have at least one layer that does something, and it has none")
    graph.nodes[-1].output[0] = "logits"
    output = graph.values.pop()
    output.name = "logits"
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, (1, *shape))
    proto = helper.make_model(
        helper.make_graph(graph.nodes, str(properties.get("recipe", "network")), [images], [output],
                          graph.initializers, value_info=graph.values),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(QONNX_DOMAIN, 1)],
        producer_name="hwbnn_train", ir_version=8)
    helper.set_model_props(proto, {key: str(value) for key, value in properties.items()})
    return proto


@singledispatch
def _emit(layer: nn.Module, name: str, graph: _Graph) -> None:
    raise UserError(f"Layer {name or 'at the top'} must be one that can become hardware, not "
                    f"{type(layer).__name__}: {_reason(layer)}")


def _reason(layer: nn.Module) -> str:
    if isinstance(layer, Recurrent | nn.RNNBase):
        return "it carries a state from step to step, and hardware here keeps none between vectors"
    if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return "its weights are real numbers; use a layer with a weight quantizer"
    if isinstance(layer, nn.LayerNorm | nn.GroupNorm | nn.InstanceNorm1d | nn.InstanceNorm2d):
        return "it normalizes by statistics of each image; use batch normalization"
    if isinstance(layer, Maxout):
        return "it takes the largest of several channels, and hardware compares none with each other; use rectifiers"
    if isinstance(layer, nn.Softmax | nn.LogSoftmax | nn.Softmin):
        return "it mixes channels; leave it to the loss, the largest logit is the class"
    return "the exporter knows no integer form of it"


@_emit.register
def _(layer: nn.Sequential, name: str, graph: _Graph) -> None:
    for child, module in layer._modules.items():  # named_children leaves out a layer that comes again
        _emit(module, f"{name}_{child}" if name else child, graph)


@_emit.register
def _(layer: LanguageModel, name: str, graph: _Graph) -> None:
    _emit(layer.recurrent, f"{name}_recurrent" if name else "recurrent", graph)


@_emit.register(nn.Identity)
@_emit.register(nn.Dropout)
def _(layer: nn.Module, name: str, graph: _Graph) -> None:
    """Nothing happens in evaluation mode."""


@_emit.register
def _(layer: Multiply, name: str, graph: _Graph) -> None:
    graph.step("Mul", name, [graph.constant(f"{name}_factor", layer.factor)])


@_emit.register
def _(layer: nn.Flatten, name: str, graph: _Graph) -> None:
    if (layer.start_dim, layer.end_dim) != (1, -1):
        raise UserError(f"Layer {name} must flatten all axes but the batch, not {layer.start_dim} to {layer.end_dim}")
    graph.step("Flatten", name, [], (int(np.prod(graph.shape)),), axis=1)


@_emit.register
def _(layer: Quantizer, name: str, graph: _Graph) -> None:
    grid = layer.grid(torch.zeros(()))
    graph.tensor = graph.quantizer(name, graph.tensor, (1, *graph.shape), grid)


@_emit.register
def _(layer: QuantLinear, name: str, graph: _Graph) -> None:
    if graph.shape != (layer.in_features,):
        raise UserError(f"Layer {name} must get {layer.in_features} values per image, not shape {graph.shape}")
    scale = _weights(layer, name, graph, lambda w: w.T)
    graph.step("MatMul", name, [f"{name}_weight_quant_out"], (layer.out_features,))
    _scale_and_bias(layer, name, graph, scale)


@_emit.register
def _(layer: QuantConv2d, name: str, graph: _Graph) -> None:
    if len(graph.shape) != 3 or graph.shape[0] != layer.in_channels:
        raise UserError(f"Layer {name} must get {layer.in_channels} channels of pixels, not shape {graph.shape}")
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        raise UserError(f"Layer {name} must be padded with a number of zeros, not {layer.padding_mode} "
                        f"{layer.padding!r}")
    scale = _weights(layer, name, graph, lambda w: w)
    (top, left), pixels = layer.padding, _pixels(layer, graph.shape[1:])
    graph.step("Conv", name, [f"{name}_weight_quant_out"], (layer.out_channels, *pixels), group=layer.groups,
               kernel_shape=layer.kernel_size, strides=layer.stride, pads=(top, left, top, left),
               dilations=layer.dilation)
    _scale_and_bias(layer, name, graph, scale)


@_emit.register
def _(layer: nn.MaxPool2d, name: str, graph: _Graph) -> None:
    kernel, stride, padding, dilation = (_pair(v) for v in (layer.kernel_size, layer.stride, layer.padding,
                                                            layer.dilation))
    if layer.ceil_mode or dilation != (1, 1) or layer.return_indices:
        raise UserError(f"Layer {name} must pool without ceil_mode, dilation and indices")
    if len(graph.shape) != 3:
        raise UserError(f"Layer {name} must get channels of pixels, not shape {graph.shape}")
    pixels = tuple((n + 2 * p - k) // s + 1
                   for n, p, k, s in zip(graph.shape[1:], padding, kernel, stride, strict=True))
    graph.step("MaxPool", name, [], (graph.shape[0], *pixels), kernel_shape=kernel, strides=stride, pads=padding * 2)


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _pixels(layer: QuantConv2d, pixels: tuple[int, ...]) -> tuple[int, ...]:
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in
                 zip(pixels, layer.padding, layer.dilation, layer.kernel_size, layer.stride, strict=True))


def _weights(layer: Quantized, name: str, graph: _Graph, arrange: Callable[[Tensor], Tensor]) -> Tensor:
    """Add the input's quantizer, and the weights as integers behind a quantizer; return what to scale the product by.

    The scale is left to a node behind the product, so that every executor adds integers.
    """
    if layer.quantize_input is not None:
        _emit(layer.quantize_input, f"{name}_input", graph)
    _check_finite(layer.weight, f"{name}.weight")
    with torch.no_grad():
        grid = layer.quantize_weight.grid(layer.weight)
        if grid.levels is None:
            raise UserError(f"Layer {name} must have quantized weights to become hardware, and "
                            f"{layer.quantize_weight.obstacle}")
        integers = arrange((layer.quantize_weight(layer.weight) / grid.scale).round())
    if not grid.levels.holds(integers.numpy()):
        raise RuntimeError(f"Weights of {name} must be {grid.levels} times their scale, and are not")
    levels = grid.levels if grid.levels == BIPOLAR else _quant_attributes(grid.levels)[3]
    constant = graph.constant(f"{name}_weight", integers)
    graph.quantizer(f"{name}_weight_quant", constant, tuple(integers.shape), Grid(levels, torch.ones(())))
    return grid.scale


def _scale_and_bias(layer: Quantized, name: str, graph: _Graph, scale: Tensor) -> None:
    if bool((scale != 1).any()):
        factors = layer.along_channels(scale)
        graph.step("Mul", f"{name}_scale", [graph.constant(f"{name}_scale_value", factors)])
    if layer.bias is not None:
        _check_finite(layer.bias, f"{name}.bias")
        values = layer.along_channels(layer.offset())
        graph.step("Add", f"{name}_bias", [graph.constant(f"{name}_bias_value", values)])


@_emit.register(nn.BatchNorm1d)
@_emit.register(nn.BatchNorm2d)
def _(layer: nn.BatchNorm1d | nn.BatchNorm2d, name: str, graph: _Graph) -> None:
    if layer.running_mean is None or layer.running_var is None:
        raise UserError(f"Layer {name} must keep running statistics to become hardware, and it does not")
    ones = torch.ones(layer.num_features)
    tensors = {"scale": ones if layer.weight is None else layer.weight,
               "bias": ones * 0 if layer.bias is None else layer.bias,
               "mean": layer.running_mean, "var": layer.running_var}
    for part, tensor in tensors.items():
        _check_finite(tensor, f"{name}.{part}")
    graph.step("BatchNormalization", name, [graph.constant(f"{name}_{p}", t) for p, t in tensors.items()],
               epsilon=layer.eps)


@_emit.register
def _(layer: ShiftBatchNorm, name: str, graph: _Graph) -> None:
    """Shifts are multiplications by powers of two, and batch normalization of epsilon 0 has them exactly."""
    inverse = ap2(layer.running_inverse)
    tensors = {"scale": ap2(layer.weight), "bias": layer.bias, "mean": layer.running_mean, "var": inverse**-2}
    for part, tensor in tensors.items():
        _check_finite(tensor, f"{name}.{part}")
    graph.step("BatchNormalization", name, [graph.constant(f"{name}_{p}", t) for p, t in tensors.items()],
               epsilon=0.0)


def _check_finite(tensor: Tensor, name: str) -> None:
    if not bool(torch.isfinite(tensor).all()):
        raise UserError(f"Tensor {name} must be finite to become hardware, and it is not")
