"""Layers, losses and what the optimizers add."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from hwbnn_train.layers import QuantConv2d, QuantLinear, glorot
from hwbnn_train.losses import LOSSES, squared_hinge
from hwbnn_train.models import mlp
from hwbnn_train.optimizers import parameter_groups, prepare, set_learning_rate
from hwbnn_train.quantizers import LearnedWeightBits, MeanScaledSign, ScaledSign, Sign, TernaryWeights, Uniform


def binary(fan_in, fan_out, input):
    return QuantLinear(fan_in, fan_out, weight=Sign(), input=input)


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def test_linear_quantizes_input_and_weights():
    layer = QuantLinear(5, 3, weight=Sign(), input=Uniform(2), bias=True)
    layer.bias.data[:] = torch.tensor([0.5, 0.0, -1.0])
    x = torch.randn(4, 5) * 3
    signs = torch.where(layer.weight >= 0, 1.0, -1.0)
    assert torch.equal(layer(x), x.round().clamp(0, 3) @ signs.T + layer.bias)


def test_linear_without_input_quantizer_takes_the_input_as_it_is():
    layer = QuantLinear(5, 3, weight=Sign())
    x = torch.randn(4, 5)
    assert torch.equal(layer(x), functional.linear(x, layer.quantize_weight(layer.weight)))


def test_linear_weight_gradient_is_that_of_the_quantized_weights():
    layer = QuantLinear(5, 3, weight=Sign())
    x, upstream = torch.randn(4, 5), torch.randn(4, 3)
    layer(x).backward(upstream)
    assert torch.allclose(layer.weight.grad, upstream.T @ x)


def test_initial_weights_fill_the_limit():
    weight = QuantLinear(100, 100, weight=Sign(), limit=0.25).weight
    assert weight.abs().max() <= 0.25 and weight.max() > 0.24 and weight.min() < -0.24


def test_lr_scale():
    assert glorot(8, 4) == math.sqrt(1.5 / 12)
    assert QuantLinear(8, 4, weight=Sign()).lr_scale == 1 / math.sqrt(1.5 / 12)
    assert QuantLinear(8, 4, weight=Sign(), limit=0.5).lr_scale == 0.5 / math.sqrt(1.5 / 12)


def test_convolution_quantizes_then_pads_with_zeros():
    layer = QuantConv2d(2, 3, 3, padding=1, stride=2, weight=Sign(), input=Sign(), bias=True)
    layer.bias.data.normal_()
    x = torch.randn(4, 2, 5, 5)
    signs = [torch.where(t >= 0, 1.0, -1.0) for t in (x, layer.weight)]
    expected = functional.conv2d(functional.pad(signs[0], (1, 1, 1, 1)), signs[1], layer.bias, stride=2)
    assert torch.allclose(layer(x), expected)
    assert torch.allclose(layer.eval()(x), expected)
    assert layer.lr_scale == 1 / glorot(2 * 9, 3 * 9)


@pytest.mark.parametrize("make", [lambda: ScaledSign(3), MeanScaledSign])
@pytest.mark.parametrize("convolution", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_weights_for_one_product_are_the_quantized_weights(make, convolution, bias):
    if convolution:
        layer, x = QuantConv2d(8, 3, 3, weight=make(), bias=bias).double(), torch.randn(4, 8, 6, 5).double()
    else:
        layer, x = QuantLinear(8, 3, weight=make(), bias=bias).double(), torch.randn(4, 8).double()
    with torch.no_grad():
        layer.weight.mul_(1.5)
    x.requires_grad_()
    ways = []
    for way in (layer, lambda x: layer.product(x, layer.quantize_weight(layer.weight), layer.bias)):
        y = way(x)
        variables = [x, *layer.parameters()]
        ways.append([y, *torch.autograd.grad((y * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum(), variables)])
    for found, expected in zip(*ways, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kernel", [(3, 3), (5, 2), (1, 1)])
@pytest.mark.parametrize("stride", [1, (2, 1)])
@pytest.mark.parametrize("padding", [0, (1, 0)])
@pytest.mark.parametrize("bias", [False, True])
def test_narrow_convolution_is_a_convolution(kernel, stride, padding, bias):
    layer = QuantConv2d(2, 3, kernel, stride=stride, padding=padding, bias=bias, weight=Sign())
    x = torch.randint(0, 16, (4, 2, 9, 7)).float()
    y = layer(x)
    y.sum(dim=(0, 1)).square().sum().backward()
    assert torch.equal(y, functional.conv2d(x, layer.weight.sign(), layer.bias, stride, padding))
    found, layer.weight.grad = layer.weight.grad, None
    x.requires_grad_()  # which takes torch's own way
    layer(x).sum(dim=(0, 1)).square().sum().backward()
    assert torch.equal(found, layer.weight.grad)


@pytest.mark.parametrize("quantizer", [TernaryWeights(per_filter=True), ScaledSign(3),
                                       Uniform(4, signed=True, scale=0.1)])
def test_evaluation_is_training_with_the_scale_behind_the_product(quantizer):
    with torch.no_grad():
        for layer, x in ((QuantLinear(6, 3, weight=quantizer, bias=True), torch.randn(5, 6)),
                         (QuantConv2d(6, 3, 3, weight=quantizer, bias=True), torch.randn(5, 6, 4, 4))):
            layer.bias.normal_()
            assert torch.allclose(layer.train()(x), layer.eval()(x), atol=1e-5)


def test_bad_limit():
    with pytest.raises(ValueError, match=r"^QuantLinear limit must be positive, not 0$"):
        QuantLinear(2, 2, weight=Sign(), limit=0)


def test_mlp_names_and_order():
    model = mlp(12, (8, 6), 3, input=Uniform(4), layer=binary, activation=lambda: Sign(window=1.0), flatten=True)
    assert [name for name, _ in model.named_children()] == ["flatten", "fc1", "bn1", "fc2", "bn2", "fc3", "bn3"]
    assert isinstance(model.fc1.quantize_input, Uniform) and isinstance(model.fc3.quantize_input, Sign)
    assert (model.bn1.eps, model.bn1.momentum) == (1e-4, 0.1)
    assert model(torch.zeros(5, 3, 4)).shape == (5, 3)


@given(st.integers(1, 6), st.integers(2, 5), st.integers(0, 2**31))
def test_squared_hinge(images, classes, seed):
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(images, classes, generator=generator)
    labels = torch.randint(classes, (images,), generator=generator)
    total = sum(max(0.0, 1 - (1 if c == labels[n] else -1) * float(outputs[n, c]))**2
                for n in range(images) for c in range(classes))
    assert float(squared_hinge(outputs, labels)) == pytest.approx(total / (images * classes), rel=1e-5)
    assert LOSSES["squared-hinge"] is squared_hinge


def two_layers():
    model = mlp(12, (8,), 3, input=Uniform(4), layer=binary, activation=lambda: Sign(window=1.0))
    return model, torch.randn(16, 12) * 4, torch.randint(3, (16,))


def test_parameter_groups():
    model, _, _ = two_layers()
    groups = parameter_groups(model)
    assert {tuple(g["names"]): (g["lr_scale"], g["limit"]) for g in groups} == {
        ("fc1.weight",): (1 / glorot(12, 8), 1.0),
        ("fc2.weight",): (1 / glorot(8, 3), 1.0),
        ("bn1.weight", "bn1.bias", "bn2.weight", "bn2.bias"): (1.0, None),
    }
    assert {id(p) for g in groups for p in g["params"]} == {id(p) for p in model.parameters()}


def test_layers_of_equal_size_share_a_group():
    model = mlp(8, (8, 8), 3, input=Uniform(4), layer=binary, activation=Sign)
    assert ["fc1.weight", "fc2.weight"] in [g["names"] for g in parameter_groups(model)]


@pytest.mark.parametrize("make", [
    lambda groups: torch.optim.Adam(groups, lr=0.01, fused=True),
    lambda groups: torch.optim.Adamax(groups, lr=0.01),
    lambda groups: torch.optim.SGD(groups, lr=0.01),
    lambda groups: torch.optim.SGD(groups, lr=0.01, momentum=0.9, nesterov=True),
])
def test_scaled_rate_is_the_scaled_update_of_binaryconnect(make):
    """w <- clip(w + s (opt(w) - w)): the definition, against an unscaled optimizer on a copy of the parameters."""
    model, x, y = two_layers()
    optimizer = prepare(make(parameter_groups(model)))
    set_learning_rate(optimizer, 0.01)
    plain = [parameter.detach().clone().requires_grad_() for parameter in model.parameters()]
    reference = make(plain)
    scales = {id(p): (g["lr_scale"], g["limit"]) for g in optimizer.param_groups for p in g["params"]}
    for _ in range(3):
        model.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        expected = []
        for parameter, copy in zip(model.parameters(), plain, strict=True):
            copy.data.copy_(parameter.data)
            copy.grad = parameter.grad.clone()
        reference.step()
        for parameter, copy in zip(model.parameters(), plain, strict=True):
            scale, limit = scales[id(parameter)]
            moved = parameter.data + scale * (copy.data - parameter.data)
            expected.append(moved if limit is None else moved.clamp(-limit, limit))
        optimizer.step()
        for parameter, value in zip(model.parameters(), expected, strict=True):
            assert torch.allclose(parameter, value, atol=1e-6)


def test_weights_stay_within_the_limit():
    model, x, y = two_layers()
    optimizer = prepare(torch.optim.SGD(parameter_groups(model), lr=1.0))
    set_learning_rate(optimizer, 100.0)
    functional.cross_entropy(model(x), y).backward()
    optimizer.step()
    assert model.fc1.weight.abs().max() == 1.0
    assert model.bn2.bias.abs().max() > 1.0


def test_set_learning_rate():
    model, _, _ = two_layers()
    optimizer = prepare(torch.optim.Adam(parameter_groups(model)))
    set_learning_rate(optimizer, 0.5)
    assert sorted(g["lr"] for g in optimizer.param_groups) == sorted([0.5 / glorot(12, 8), 0.5 / glorot(8, 3), 0.5])


@pytest.mark.parametrize("options", [{}, {"bias": True}, {"bias": True, "gradient": nn.Identity()}])
@pytest.mark.parametrize("shape", [(5, 6), (3, 5, 6), (2, 3, 4, 6), (1, 6)])
def test_linear_layers_take_any_number_of_axes(options, shape):
    layer = QuantLinear(6, 3, weight=ScaledSign(3), **options)
    if layer.bias is not None:
        nn.init.normal_(layer.bias)
    x = torch.randn(shape, requires_grad=True)
    found, plain = layer.train()(x), functional.linear(x, layer.quantize_weight(layer.weight), layer.bias)
    torch.testing.assert_close(found, plain)
    upstream = torch.randn(found.shape)
    variables = [x, *layer.parameters()]
    for mine, torchs in zip(torch.autograd.grad((found * upstream).sum(), variables),
                            torch.autograd.grad((plain * upstream).sum(), variables), strict=True):
        torch.testing.assert_close(mine, torchs)
    torch.testing.assert_close(layer.eval()(x), plain)


def test_convolution_of_a_single_image():
    layer = QuantConv2d(4, 4, 3, padding=1, weight=ScaledSign(4), bias=True)
    nn.init.normal_(layer.bias)
    x = torch.randn(2, 4, 4, 7)
    for mode in (True, False):
        layer.train(mode)
        torch.testing.assert_close(layer(x[1]), layer(x)[1])


@pytest.mark.parametrize("weight", [MeanScaledSign(), ScaledSign(40), LearnedWeightBits(start=4.0), TernaryWeights(),
                                    LearnedWeightBits(start=8.0), Uniform(3, signed=True, scale=0.3)], ids=str)
def test_products_of_evaluation_are_of_integers(weight, monkeypatch):
    layer = QuantLinear(300, 40, weight=weight).eval()
    seen = []
    monkeypatch.setattr(layer, "product", lambda x, weights, bias: seen.append(weights) or x @ weights.T)
    layer(torch.ones(1, 300))
    assert torch.equal(seen[0], seen[0].round())
    assert weight.grid(layer.weight).levels.holds(seen[0].detach().numpy())


def test_other_padding_is_refused():
    with pytest.raises(ValueError, match=r"^QuantConv2d padding_mode must be zeros, not reflect$"):
        QuantConv2d(1, 2, 3, padding=1, weight=Sign(), padding_mode="reflect")
