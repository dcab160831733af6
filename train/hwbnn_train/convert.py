"""From a trained network of real numbers to one with quantized weights and activations, to be trained on."""

import copy
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn

from hwbnn.errors import UserError
from hwbnn_train.layers import QuantConv2d, Quantized, QuantLinear
from hwbnn_train.quantizers import Quantizer

__all__ = ["convert"]

_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Tanh, nn.Sigmoid, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU)


def convert(model: nn.Sequential, *, weights: Callable[[int], Quantizer], activations: Callable[[], Quantizer],
            input: Quantizer) -> nn.Sequential:
    """Return a copy of ``model`` whose layers have quantized weights and whose activations are quantizers.

    Linear layers and 2-D convolutions keep their real weights and biases, which training goes on from; their bound is
    the largest magnitude they have. Activation functions are replaced by quantizers, in the same places; everything
    else is copied. The layers' names stay. The copy is in the mode (training or evaluation) of ``model``.

    Parameters
    ----------
    model : Sequential
        Sequences may nest.
    weights : callable
        Makes the quantizer of the weights of a layer with so many outputs.
    activations : callable
        Makes the quantizer that replaces an activation function.
    input : Quantizer
        Applied to the images, at the input of the first layer.

    Raises
    ------
    UserError
        Where ``model`` is no sequence or has no layer to quantize.
    """
    if not isinstance(model, nn.Sequential):
        raise UserError(f"Model to convert must be a Sequential, not {type(model).__name__}")
    waiting: list[Quantizer] = [input]
    converted = _sequence(model, weights, activations, waiting)
    if waiting:
        raise UserError("Model to convert must have a linear layer or a convolution, and it has none")
    return converted.train(model.training)


def _sequence(model: nn.Sequential, weights, activations, waiting: list[Quantizer]) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, module in model._modules.items():
        if isinstance(module, nn.Sequential):
            layers[name] = _sequence(module, weights, activations, waiting)
        elif isinstance(module, nn.Linear | nn.Conv2d) and not isinstance(module, Quantized):
            layers[name] = _layer(module, weights, waiting.pop() if waiting else None)
        elif isinstance(module, _ACTIVATIONS):
            layers[name] = activations()
        else:
            layers[name] = copy.deepcopy(module)
    return nn.Sequential(layers)


def _layer(module: nn.Linear | nn.Conv2d, weights: Callable[[int], Quantizer], input: Quantizer | None) -> Quantized:
    limit = float(module.weight.detach().abs().max()) or 1.0
    options = {"weight": weights(module.weight.shape[0]), "input": input, "bias": module.bias is not None,
               "limit": limit}
    if isinstance(module, nn.Conv2d):
        layer = QuantConv2d(module.in_channels, module.out_channels, module.kernel_size, stride=module.stride,
                            padding=module.padding, dilation=module.dilation, groups=module.groups,
                            padding_mode=module.padding_mode, **options)
    else:
        layer = QuantLinear(module.in_features, module.out_features, **options)
    with torch.no_grad():
        layer.weight.copy_(module.weight)
        layer.quantize_weight.initialize(layer.weight)
        if module.bias is not None:
            layer.bias.copy_(module.bias)
    return layer
