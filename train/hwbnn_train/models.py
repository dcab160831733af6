"""Networks, as plain sequences of named layers, so that an exported graph has readable names."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import pairwise

from torch import nn

from hwbnn_train.layers import QuantLinear
from hwbnn_train.quantizers import Quantizer

__all__ = ["mlp"]


def mlp(inputs: int, hidden: Sequence[int], classes: int, *, input: Quantizer,
        layer: Callable[[int, int, Quantizer], QuantLinear], activation: Callable[[], Quantizer],
        flatten: bool = False) -> nn.Sequential:
    """Return ``fc1, bn1, fc2, bn2, ...``: quantized linear layers, each followed by batch normalization.

    The quantizers of activations sit at the inputs of the layers; the last layer ends in batch normalization, whose
    outputs are the logits (BinaryNet, arXiv:1602.02830; eps 1e-4 and momentum 0.1 as in the authors' ``mnist.py``).

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
    flatten : :class:`bool`
        Whether images have more than one axis.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    if flatten:
        layers["flatten"] = nn.Flatten()
    widths = [inputs, *hidden, classes]
    for number, (fan_in, fan_out) in enumerate(pairwise(widths), 1):
        layers[f"fc{number}"] = layer(fan_in, fan_out, input if number == 1 else activation())
        layers[f"bn{number}"] = nn.BatchNorm1d(fan_out, eps=1e-4, momentum=0.1)
    return nn.Sequential(layers)
