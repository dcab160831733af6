"""Layers of the methods, above all of their convolutional networks, and that a network of each trains and exports."""

import dataclasses
import math
import re

import pytest
import torch
from agreement import agree

from hwbnn import datasets
from hwbnn_train.layers import QuantConv2d, Quantized
from hwbnn_train.loop import fit
from hwbnn_train.quantizers import BitwiseWeights, Sign, StochasticPower, StochasticTernary
from hwbnn_train.recipes import RECIPES
from hwbnn_train.recipes.published import PUBLISHED

CONVNETS = [name for name, recipe in RECIPES.items() if not recipe.text and recipe.channels and recipe.exported
            and recipe not in PUBLISHED]

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


def test_sparsity_is_of_biases_too():
    layer = dataclasses.replace(RECIPES["bitwise-mlp"], sparsity=0.4).linear(20, 5, Sign()).eval()
    layer.bias.data = torch.tensor([0.1, -0.2, 0.3, -0.4, 0.5])
    assert (layer.offset() / layer.quantize_bias.scale).tolist() == [0, 0, 1, -1, 1]
    assert (layer.quantize_weight(layer.weight) == 0).sum() == 40


def test_low_precision_has_no_convolutions():
    with pytest.raises(ValueError, match=f"^{re.escape('LowPrecision channels must be (), not (4, 4): its networks')}"):
        dataclasses.replace(RECIPES["low-precision-mlp"], channels=(4, 4))


# a network of each, through the whole of its way

CONVOLUTIONAL = [
    *((name, {}) for name in CONVNETS),
    ("bnnplus-mlp", {}),  # a scale per filter
    ("twn-mlp", {"per_filter": True}),
    ("gxnor-mlp", {"weight_states": 2, "activation_states": 2}),
    ("few-multiplications-mlp", {}),
    ("bitwise-mlp", {"compression": 1, "pixel_bits": 4}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "changes"), CONVOLUTIONAL)
def test_a_few_steps_of_a_convnet_then_torch_qonnx_and_golden_agree(tmp_path, name, changes):
    model, history, images = trained(tmp_path, name, epochs=2, channels=(6, 8), hidden=(12,), **changes)
    assert history[1]["loss/train"] < history[0]["loss/train"]
    agree(tmp_path, model, images)


@pytest.mark.parametrize("name", ["mnist-conv", "gxnor-conv", "shift-attention-conv"])
def test_hardware_of_a_trained_convnet_is_exact(tmp_path, name):
    """Padding, pooling and thresholds of a small network, in Amaranth's simulator."""
    model, _, images = trained(tmp_path, name, epochs=1, channels=(4, 6), hidden=())
    agree(tmp_path, model, images, simulated=2)


def trained(folder, name, **changes):
    """Train a small network on digits; return it with what was logged of its epochs, and some images."""
    recipe = dataclasses.replace(RECIPES[name], batch=50, **changes)
    train, test = (tuple(map(torch.as_tensor, datasets.load("digits", split))) for split in ("train", "test"))
    train, test = ((x.reshape(-1, 1, 8, 8), y) for x, y in (train, test))
    model = recipe.model((1, 8, 8), 10)
    state = fit(model, recipe, train, test, config={}, file=folder / "c.pt")
    return model, state.history, test[0][:60].numpy()


def test_convnet_needs_pixels():
    with pytest.raises(ValueError, match=r"^Recipe mnist-conv must have images of channels, height and width, and "
                                         r"those of mnist have shape \(64,\)$"):
        RECIPES["mnist-conv"].model((64,), 10)


def test_small_convnet_is_small():
    model = RECIPES["mnist-conv"].model((1, 28, 28), 10)
    assert sum(layer.weight.numel() for layer in model if isinstance(layer, Quantized)) == 58_608 <= 60_000
