"""From a trained network of real numbers to one with quantized weights and activations, to be trained on."""

import copy
import inspect
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeGuard

import torch
from torch import nn

from hwbnn.errors import UserError
from hwbnn_train.layers import QuantConv2d, Quantized, QuantLinear
from hwbnn_train.quantizers import Quantizer, Uniform
from hwbnn_train.shift import ShiftBatchNorm

__all__ = ["convert"]

_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Tanh, nn.Sigmoid, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU)


def convert(model: nn.Sequential, *, weights: Quantizer | Callable[[int], Quantizer],
            activations: Quantizer | Callable[[], Quantizer], input: Quantizer | None = None) -> nn.Sequential:
    """Return a copy of ``model`` whose layers have quantized weights and whose activations are quantizers.

    Linear layers and 2-D convolutions keep their real weights and biases, which training goes on from; their bound is
    the largest magnitude they have. Activation functions are replaced by quantizers, in the same places; everything
    else is copied. The layers' names stay, and which parameters are frozen. The copy is in the mode (training or
    evaluation), of the type and on the device of ``model``.

    Parameters
    ----------
    model : Sequential
        Sequences may nest. Of any other module with layers inside, only its code knows their order, and which
        functions stand between them.
    weights : Quantizer or callable
        Copied for the weights of each layer, or makes the quantizer of those of a layer with so many outputs. A class
        whose quantizers are the same for any number of outputs is called without.
    activations : Quantizer or callable
        Copied for each activation function, or makes the quantizer that replaces one.
    input : Quantizer or None
        Applied to the images, at the input of the first layer; None: pixels of 0..255, unsigned and of 8 bits.

    Raises
    ------
    UserError
        Where ``model`` is no sequence or has no layer to quantize, where an activation function or a module in it
        cannot be replaced, and where what should be a quantizer is none.
    """
    if not _is_sequence(model):
        raise UserError(f"Model to convert must be a Sequential, not {type(model).__name__}")
    waiting = [_checked("Input", Uniform(8) if input is None else input)]
    converted = _sequence(model, "", _maker("Weights", weights), _maker("Activations", activations), waiting)
    if waiting:
        raise UserError("Model to convert must have a linear layer or a convolution, and it has none")
    return converted.to(next(model.parameters()).device).train(model.training)


def _is_sequence(module: nn.Module | None) -> TypeGuard[nn.Sequential]:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _checked(what: str, quantizer: object) -> Quantizer:
    if not isinstance(quantizer, Quantizer):
        raise UserError(f"{what} must have a quantizer, not {type(quantizer).__name__}")
    return quantizer


def _maker(what: str, given: Quantizer | Callable[..., Quantizer]) -> Callable[..., Quantizer]:
    """Return what makes a new quantizer each time."""
    if isinstance(given, Quantizer):
        return lambda *sizes: copy.deepcopy(given)
    if isinstance(given, nn.Module) or not callable(given):
        raise UserError(f"{what} must have a quantizer, or a callable that makes them, not {type(given).__name__}")
    if isinstance(given, type) and "filters" not in inspect.signature(given).parameters:
        return lambda *sizes: _checked(what, given())  # the size is not what its first parameter means
    return lambda *sizes: _checked(what, given(*sizes))


def _sequence(model: nn.Sequential, path: str, weights: Callable[[int], Quantizer],
              activations: Callable[[], Quantizer], waiting: list[Quantizer]) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, module in model._modules.items():
        assert module is not None
        if _is_sequence(module):
            layers[name] = _sequence(module, f"{path}{name}.", weights, activations, waiting)
        elif isinstance(module, nn.Linear | nn.Conv2d) and not isinstance(module, Quantized):
            layers[name] = _layer(module, path + name, weights, waiting.pop() if waiting else None)
        elif isinstance(module, _ACTIVATIONS):
            layers[name] = activations()
        else:
            _check_copied(module, path + name)
            layers[name] = copy.deepcopy(module)
    return nn.Sequential(layers)


def _check_copied(module: nn.Module, name: str) -> None:
    """Refuse what would stay real in a copy without a trace: other activation functions, and what is inside modules."""
    kind = type(module)
    if isinstance(module, nn.Softmax | nn.LogSoftmax | nn.Softmin | nn.Softmax2d):
        raise UserError(f"Layer {name} must be left to the loss, not be {kind.__name__}: it mixes channels, and the "
                        f"largest logit is the class")
    if kind.__module__ == nn.ReLU.__module__:
        raise UserError(f"Layer {name} must be an activation function that quantizers replace, not {kind.__name__}: "
                        f"replace it by one of {', '.join(a.__name__ for a in _ACTIVATIONS)}, or by a quantizer")
    known = isinstance(module, Quantized | Quantizer | nn.BatchNorm1d | nn.BatchNorm2d | ShiftBatchNorm)
    if not known and next(module.parameters(recurse=False), None) is not None:
        raise UserError(f"Layer {name} must be linear, a 2-D convolution or batch normalization, not {kind.__name__}: "
                        f"its parameters would stay real")
    if not known and next(module.children(), None) is not None:
        raise UserError(f"Layer {name} must be a Sequential or a single layer, not {kind.__name__}: the order of the "
                        f"layers inside it stands in its code")


def _layer(module: nn.Linear | nn.Conv2d, name: str, weights: Callable[[int], Quantizer], input: Quantizer | None
           ) -> Quantized:
    if isinstance(module.weight, nn.UninitializedParameter) or not bool(torch.isfinite(module.weight).all()):
        raise UserError(f"Layer {name} weights must be finite numbers to be quantized, and they are not")
    limit = float(module.weight.detach().abs().max()) or 1.0
    options = {"weight": weights(module.weight.shape[0]), "input": input, "bias": module.bias is not None,
               "limit": limit}
    if isinstance(module, nn.Conv2d):
        if module.padding_mode != "zeros":
            raise UserError(f"Layer {name} padding_mode must be zeros, not {module.padding_mode}")
        layer = QuantConv2d(module.in_channels, module.out_channels, module.kernel_size, stride=module.stride,
                            padding=module.padding, dilation=module.dilation, groups=module.groups, **options)
    else:
        layer = QuantLinear(module.in_features, module.out_features, **options)
    layer.to(module.weight)  # its type and device
    layer.weight.requires_grad_(module.weight.requires_grad)
    with torch.no_grad():
        layer.weight.copy_(module.weight)
        layer.quantize_weight.initialize(layer.weight)
        if module.bias is not None:
            layer.bias.copy_(module.bias)
            layer.bias.requires_grad_(module.bias.requires_grad)
    return layer
