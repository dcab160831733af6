"""Networks, as plain sequences of named layers, so that an exported graph has readable names."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from hwbnn_train.layers import QuantConv2d, QuantLinear
from hwbnn_train.pooling import MaxPool2d, is_one_pass, pooled_convolution
from hwbnn_train.quantizers import Quantizer

__all__ = ["ConvNet", "batch_norm", "convnet", "mlp"]


def batch_norm(channels: int, axes: int) -> nn.Module:
    """Return batch normalization for tensors with so many axes behind the channels, with BinaryNet's constants."""
    return (nn.BatchNorm2d if axes else nn.BatchNorm1d)(channels, eps=1e-4, momentum=0.1)


def mlp(inputs: int, hidden: Sequence[int], classes: int, *, input: Quantizer,
        layer: Callable[[int, int, Quantizer], QuantLinear], activation: Callable[[], Quantizer],
        norm: Callable[[int, int], nn.Module | None] = batch_norm, flatten: bool = False) -> nn.Sequential:
    """Return ``fc1, bn1, fc2, bn2, ...``: quantized linear layers, each followed by batch normalization.

    The quantizers of activations sit at the inputs of the layers; the last layer ends in batch normalization, whose
    outputs are the logits (BinaryNet, arXiv:1602.02830).

    Parameters
    ----------
    inputs, classes : :class:`int`
        Values per image, and outputs.
    hidden : sequence of :class:`int`
        Widths of the hidden layers.
    input : Quantizer
        Applied to the images.
    layer : callable
        Makes a layer of so many inputs and outputs with the given quantizer at its input.
    activation : callable
        Makes the quantizer of a hidden layer's output.
    norm : callable
        Makes the normalization of so many channels with so many axes behind them, or None for none.
    flatten : :class:`bool`
        Whether images have more than one axis.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if flatten:
        layers["flatten"] = nn.Flatten()
    widths = [inputs, *hidden, classes]
    for number, (fan_in, fan_out) in enumerate(pairwise(widths), 1):
        layers[f"fc{number}"] = layer(fan_in, fan_out, input if number == 1 else activation())
        _add(layers, f"bn{number}", norm(fan_out, 0))
    return nn.Sequential(layers)


def convnet(shape: tuple[int, int, int], channels: Sequence[int], hidden: Sequence[int], classes: int, *,
            input: Quantizer, convolution: Callable[[int, int, Quantizer], QuantConv2d],
            layer: Callable[[int, int, Quantizer], QuantLinear], activation: Callable[[], Quantizer],
            pooled: Sequence[int], norm: Callable[[int, int], nn.Module | None] = batch_norm,
            shrink: int = 0) -> nn.Sequential:
    """Return ``conv1, pool1, conv1_bn, conv2, ..., flatten, fc1, fc1_bn, ...``.

    Pooling comes before batch normalization and the quantizer after it, the order of BinaryNet and GXNOR-Net.

    Parameters
    ----------
    shape : tuple of :class:`int`
        Channels, height and width of an image.
    channels : sequence of :class:`int`
        Outputs of the convolutions.
    hidden : sequence of :class:`int`
        Widths of the hidden linear layers.
    convolution, layer : callable
        Make a convolution, or a linear layer, of so many inputs and outputs with the given quantizer at its input.
    pooled : sequence of :class:`int`
        Numbers, from 1, of the convolutions that are followed by 2 x 2 max pooling.
    shrink : :class:`int`
        By how many pixels a convolution makes height and width less.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    _, height, width = shape
    for number, (fan_in, fan_out) in enumerate(pairwise([shape[0], *channels]), 1):
        layers[f"conv{number}"] = convolution(fan_in, fan_out, input if number == 1 else activation())
        height, width = height - shrink, width - shrink
        if number in pooled:
            layers[f"pool{number}"] = MaxPool2d(2)
            height, width = height // 2, width // 2
        _add(layers, f"conv{number}_bn", norm(fan_out, 2))
    layers["flatten"] = nn.Flatten()
    for number, (fan_in, fan_out) in enumerate(pairwise([channels[-1] * height * width, *hidden, classes]), 1):
        layers[f"fc{number}"] = layer(fan_in, fan_out, activation())
        _add(layers, f"fc{number}_bn", norm(fan_out, 0))
    # channels innermost: pooling on a CPU is then eight times faster
    return ConvNet(layers).to(memory_format=torch.channels_last)


class ConvNet(nn.Sequential):
    """Layers one after another; a training takes a first convolution and its pooling as one, where that is faster."""

    def forward(self, input: Tensor) -> Tensor:
        first, second, *others = self
        x = pooled_convolution(first, input) if is_one_pass(first, second, input) else second(first(input))
        for layer in others:
            x = layer(x)
        return x


def _add(layers: OrderedDict[str, nn.Module], name: str, layer: nn.Module | None) -> None:
    if layer is not None:
        layers[name] = layer
