"""Convolutional networks of the methods: their layers."""

import dataclasses
import math
import re

import pytest
import torch

from hwbnn_train.layers import QuantConv2d, Quantized
from hwbnn_train.quantizers import BitwiseWeights, StochasticPower, StochasticTernary
from hwbnn_train.recipes import RECIPES

pytestmark = pytest.mark.usefixtures("seeded")


# layers of convolutional networks are those of perceptrons

def layers(name):
    model = dataclasses.replace(RECIPES[name], channels=(4, 6), hidden=(12,)).model((1, 8, 8), 10)
    found = [layer for layer in model if isinstance(layer, Quantized)]
    assert [isinstance(layer, QuantConv2d) for layer in found] == [True, True, False, False]
    return found


def test_few_multiplications_of_convolutions():
    for layer, fans in zip(layers("few-multiplications-mlp"), [9 + 36, 36 + 54, 24 + 12, 12 + 10], strict=True):
        scale = math.sqrt(6.0 / fans) / 2.0
        assert isinstance(layer.quantize_weight, StochasticTernary) and layer.quantize_weight.scale == scale
        assert isinstance(layer.quantize_gradient, StochasticPower)
        assert (layer.limit, layer.spread, layer.lr_scale) == (scale, 2.0 * scale, 1.0)
        assert float(layer.weight.detach().abs().max()) <= 2.0 * scale


def test_powers_reach_the_gradient_of_convolutions():
    layer = layers("few-multiplications-mlp")[1]
    x, upstream = torch.randn(5, 4, 8, 8), torch.randn(5, 6, 8, 8)
    layer.quantize_input, layer.quantize_gradient = None, StochasticPower(0, 0)  # every magnitude becomes 1
    layer(x).backward(upstream)
    ones = torch.where(x >= 0, 1.0, -1.0)
    assert torch.allclose(layer.weight.grad, torch.nn.grad.conv2d_weight(ones, layer.weight.shape, upstream, padding=1),
                          rtol=1e-4, atol=1e-4)


def test_bitwise_convolutions_have_bits_for_biases():
    for layer, fan_in in zip(layers("bitwise-mlp"), [9, 36, 24, 12], strict=True):
        scale = 2.0 ** -(fan_in.bit_length() // 2)
        for quantizer in (layer.quantize_weight, layer.quantize_bias):
            assert isinstance(quantizer, BitwiseWeights) and quantizer.scale == scale
        assert layer.bias is not None


def test_low_precision_has_no_convolutions():
    with pytest.raises(ValueError, match=f"^{re.escape('LowPrecision channels must be (), not (4, 4): its networks')}"):
        dataclasses.replace(RECIPES["low-precision-mlp"], channels=(4, 4))
