"""Pooling in passes of our own is torch's, bit for bit; so are products of what bfloat16 holds."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from hwbnn_train import layers
from hwbnn_train.layers import QuantConv2d
from hwbnn_train.pooling import MaxPool2d
from hwbnn_train.quantizers import Sign, States, Steps, TernaryWeights, Uniform


def images(height, width, channels=24, seed=0, special=True):
    """Return images with channels innermost, of few values, so that many are equal."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-2, 3, (5, channels, height, width), generator=generator).float()
    if special:
        x[0, 0, :2, :2] = torch.tensor([[0.0, -0.0], [float("inf"), float("nan")]])
        x[0, 1, :2, :2] = torch.tensor([[float("nan"), 1.0], [float("nan"), 3.0]])
        x[0, 2, :2, :2] = float("-inf")
    return x.contiguous(memory_format=torch.channels_last)


def value_and_gradient(layer, x):
    x = x.clone().requires_grad_()
    y = layer(x)
    y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(1)))
    return y, x.grad


@pytest.mark.parametrize("size", [(14, 14), (16, 10), (13, 14), (14, 13), (15, 15)])
def test_pooling_is_that_of_torch(size):
    pytest.importorskip("numba")
    y, by_x = value_and_gradient(MaxPool2d(2), images(*size))
    assert y.grad_fn.next_functions[0][0].name() == "_LargestOfFourBackward"
    expected, expected_by_x = value_and_gradient(nn.MaxPool2d(2), images(*size))
    assert torch.equal(y.nan_to_num(9.0), expected.nan_to_num(9.0))
    assert torch.equal(y.isnan(), expected.isnan())
    assert torch.equal(by_x, expected_by_x)
    assert y.stride() == expected.stride()


@pytest.mark.parametrize("layer,x", [
    (MaxPool2d(3), images(15, 15)),
    (MaxPool2d(2, stride=1), images(14, 14)),
    (MaxPool2d(2, padding=1), images(14, 14)),
    (MaxPool2d(2, ceil_mode=True), images(15, 15)),
    (MaxPool2d(2, dilation=2), images(14, 14)),
    (MaxPool2d(2), images(14, 14).contiguous()),  # channels outermost
    (MaxPool2d(2), images(14, 14).double()),
    (MaxPool2d(2).eval(), images(14, 14)),
    (MaxPool2d(2), images(4, 4, channels=2, special=False)),  # too few to be worth it
    (MaxPool2d(2), images(14, 14)[0]),
], ids=str)
def test_other_pooling_is_left_to_torch(layer, x):
    plain = nn.MaxPool2d(layer.kernel_size, layer.stride, layer.padding, layer.dilation, ceil_mode=layer.ceil_mode)
    for own, torchs in zip(value_and_gradient(layer, x), value_and_gradient(plain, x), strict=True):
        assert torch.equal(own.nan_to_num(9.0), torchs.nan_to_num(9.0))


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(layers, "_has_bfloat16", lambda: True)


def convolution(weight, input, **options):
    torch.manual_seed(0)
    layer = QuantConv2d(16, 8, 3, padding=1, weight=weight, input=input, **options)
    with torch.no_grad():
        layer.quantize_weight.initialize(layer.weight)
    return layer


@pytest.mark.parametrize("weight,input", [(Sign(), Sign(1.0)), (States(1), Steps(1)), (Sign(), Steps(1))], ids=str)
@pytest.mark.parametrize("bias", [False, True])
def test_short_products_are_exact(quick, weight, input, bias, monkeypatch):
    layer = convolution(weight, input, bias=bias)
    x = torch.randn(4, 16, 9, 9)
    y, by_x = value_and_gradient(layer, x)
    by_weights = layer.weight.grad
    layer.weight.grad = None
    with torch.no_grad():
        exact = functional.conv2d(layer.quantize_input(x), layer.quantize_weight(layer.weight), layer.bias, padding=1)
    assert torch.equal(y, exact)  # sums of up to 144, integers
    monkeypatch.setattr(layers, "_has_bfloat16", lambda: False)
    expected, expected_by_x = value_and_gradient(layer, x)
    assert torch.equal(y, expected)
    assert 0 < (by_x - expected_by_x).norm() / expected_by_x.norm() < 2**-8
    assert 0 < (by_weights - layer.weight.grad).norm() / layer.weight.grad.norm() < 2**-8


@pytest.mark.parametrize("layer", [
    convolution(TernaryWeights(), Sign(1.0)),  # has a scale
    convolution(Sign(), Uniform(9)),
    convolution(Sign(), None),
    convolution(Sign(), Sign(1.0), gradient=nn.Identity()),
    convolution(Sign(), Sign(1.0), error=nn.Identity()),
    convolution(Sign(), Sign(1.0)).eval(),
], ids=range(6))
def test_other_products_are_of_float32(quick, layer, monkeypatch):
    taken = []
    original = functional.conv2d
    monkeypatch.setattr(functional, "conv2d", lambda x, *args: taken.append(x.dtype) or original(x, *args))
    layer(torch.randn(2, 16, 9, 9))
    assert taken == [torch.float32]
