"""Pooling in passes of our own is torch's, bit for bit; so are convolutions pooled at once, and those in bfloat16."""

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn import functional

from hwbnn_train import layers
from hwbnn_train.layers import QuantConv2d
from hwbnn_train.models import ConvNet
from hwbnn_train.pooling import MaxPool2d, is_one_pass
from hwbnn_train.quantizers import MeanScaledSign, Real, ScaledSign, Sign, States, Steps, TernaryWeights, Uniform


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


def first_layers(weight=None, input=None, *, channels=1, kernel=3, padding=1, pool=None, **options):
    torch.manual_seed(3)
    layer = QuantConv2d(channels, 24, kernel, padding=padding, weight=weight or Sign(), input=input or Uniform(8),
                        **options)
    with torch.no_grad():
        if isinstance(weight, ScaledSign | MeanScaledSign):  # scales whose sums are not rounded
            layer.weight.sign_().mul_(0.25)
        layer.quantize_weight.initialize(layer.weight)
    return ConvNet(OrderedDict(conv=layer, pool=pool or MaxPool2d(2), flatten=nn.Flatten()))


def value_and_gradients(model, x):
    for parameter in model.parameters():
        parameter.grad = None
    y = model(x)
    y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(1)))
    return y, [parameter.grad for parameter in model.parameters()]


def watched(model):
    model[0].register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize("weight", [Sign(), States(1), Real(), ScaledSign(24), MeanScaledSign()], ids=str)
@pytest.mark.parametrize("channels,kernel,padding,size", [
    (1, 3, 1, (28, 28)), (1, 3, 0, (28, 28)), (1, 5, 2, (13, 18)), (3, 3, 1, (17, 12)), (1, (3, 2), (0, 1), (15, 15)),
])
def test_convolution_and_pooling_in_one_pass_are_the_two(weight, channels, kernel, padding, size):
    pytest.importorskip("numba")
    x = torch.randint(256, (7, channels, *size), generator=torch.Generator().manual_seed(2)).float()
    model = first_layers(weight, channels=channels, kernel=kernel, padding=padding)
    assert is_one_pass(model[0], model[1], x)
    y, gradients = value_and_gradients(model, x)
    assert not is_one_pass(*watched(model)[:2], x)
    expected, expected_gradients = value_and_gradients(model, x)
    if not isinstance(weight, Real):
        assert torch.equal(y, expected)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-3)
    for mine, torchs in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(mine, torchs, rtol=1e-4, atol=1e-2 * float(torchs.abs().max()))


IMAGES = torch.zeros(8, 1, 28, 28)


@pytest.mark.parametrize("model,x", [
    (first_layers(), IMAGES.double()),
    (first_layers(), IMAGES.clone().requires_grad_()),
    (first_layers(), IMAGES.transpose(2, 3)[:, :, ::2]),
    (first_layers(), IMAGES[:1, :, :8, :8]),
    (first_layers(channels=4), IMAGES.repeat(1, 4, 1, 1)),
    (first_layers(bias=True), IMAGES),
    (first_layers(stride=2), IMAGES),
    (first_layers(gradient=nn.Identity()), IMAGES),
    (first_layers(error=nn.Identity()), IMAGES),
    (first_layers(pool=MaxPool2d(3)), IMAGES),
    (first_layers(pool=nn.MaxPool2d(2)), IMAGES),
    (first_layers().eval(), IMAGES),
    (watched(first_layers()), IMAGES),
], ids=range(13))
def test_one_after_the_other_where_one_pass_cannot_be(model, x):
    pytest.importorskip("numba")
    assert not is_one_pass(model[0], model[1], x)


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
