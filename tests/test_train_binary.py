"""One bit and a few: BinaryConnect, QNN, BNN+, XNOR-Net, loss-aware binarization."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tensors import gradient
from torch.nn import functional

from hwbnn.ir import BIPOLAR, Levels
from hwbnn_train.evaluation import real_weights, recalibrate
from hwbnn_train.layers import QuantLinear
from hwbnn_train.losses import penalty
from hwbnn_train.optimizers import loss_aware, parameter_groups, prepare, set_learning_rate
from hwbnn_train.quantizers import LossAware, MeanScaledSign, ScaledSign, StochasticSign, SwishSign, sign
from hwbnn_train.recipes import RECIPES

pytestmark = pytest.mark.usefixtures("seeded")


# BinaryConnect

def test_stochastic_sign_has_the_hard_sigmoid_as_its_chance():
    w = torch.tensor([-1.5, -1.0, -0.5, 0.0, 0.25, 1.0, 2.0]).repeat(20_000, 1)
    drawn = StochasticSign()(w)
    assert set(drawn.unique().tolist()) == {-1.0, 1.0}
    assert torch.allclose((drawn > 0).float().mean(dim=0), ((w[0] + 1) / 2).clamp(0, 1), atol=0.015)


def test_stochastic_sign_is_the_sign_in_evaluation():
    w = torch.randn(100)
    assert torch.equal(StochasticSign().eval()(w), sign(w))


@pytest.mark.parametrize("training", [True, False])
def test_stochastic_sign_passes_every_gradient(training):
    assert gradient(StochasticSign().train(training), [-3.0, 0.0, 3.0]).tolist() == [1, 1, 1]


def test_real_weights_within_the_block_only():
    layer = QuantLinear(6, 4, weight=StochasticSign()).eval()
    x = torch.randn(3, 6)
    with real_weights(layer):
        assert torch.equal(layer(x), functional.linear(x, layer.weight))
    assert torch.allclose(layer(x), functional.linear(x, sign(layer.weight)))


def test_recalibrated_statistics_are_those_of_the_deployed_network():
    model = RECIPES["binaryconnect-stochastic-mlp"].model((12,), 3)
    x = torch.randint(0, 256, (3000, 12))
    recalibrate(model, x)
    with torch.no_grad():
        sums = model.fc1(x.float()).reshape(3, 1000, -1)
    assert torch.allclose(model.bn1.running_mean, sums.mean(dim=(0, 1)), rtol=1e-4)
    assert torch.allclose(model.bn1.running_var, sums.var(dim=1).mean(dim=0), rtol=1e-4)
    assert model.bn1.momentum == 0.1 and not any(module.training for module in model.modules())


def test_fewer_images_than_a_batch_are_recalibrated_from():
    model = RECIPES["binaryconnect-mlp"].model((12,), 3)
    x = torch.randint(0, 256, (30, 12))
    recalibrate(model, x)
    assert torch.allclose(model.bn1.running_mean, model.fc1(x.float()).mean(dim=0), rtol=1e-4)


# QNN

@pytest.mark.parametrize(("bits", "levels"), [(1, BIPOLAR), (2, Levels(-2, 1)), (4, Levels(-8, 7))])
def test_qnn_levels(bits, levels):
    recipe = dataclasses.replace(RECIPES["qnn-mlp"], weight_bits=bits, activation_bits=bits)
    for quantizer in (recipe.weight(3), recipe.activation()):
        grid = quantizer.grid(torch.zeros(1))
        assert grid.levels == levels and grid.scale == 2.0**(1 - bits)
    assert gradient(recipe.activation(), [-1.01, -1.0, 0.99, 1.0, 1.01]).tolist() == [0, 1, 1, 1, 0]
    assert gradient(recipe.weight(3), [-1.01, 1.0]).tolist() == [1, 1]


def test_qnn_formula():
    x = np.linspace(-1.5, 1.5, 1001, dtype=np.float32)
    recipe = dataclasses.replace(RECIPES["qnn-mlp"], activation_bits=3)
    assert np.array_equal(recipe.activation()(torch.tensor(x)).numpy(), np.clip(np.rint(x * 4) / 4, -1, 0.75))


# BNN+

@given(st.floats(-3, 3), st.sampled_from([1.0, 5.0]))
def test_swish_sign_slope_is_the_derivative_of_swish(x, beta):
    x = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    s = torch.sigmoid(beta * x)
    (2 * s * (1 + beta * x * (1 - s)) - 1).backward()
    assert gradient(SwishSign(beta), x.item()).item() == pytest.approx(float(x.grad), abs=1e-5)


def test_swish_sign_far_out():
    assert SwishSign()(torch.tensor([0.0, -1e9])).tolist() == [1, -1]
    assert gradient(SwishSign(), [0.0, 1e9, -1e9]).tolist() == pytest.approx([5, 0, 0], abs=1e-12)


def test_learned_steepness():
    phi, x = SwishSign(2.0, learned=True), torch.randn(50, dtype=torch.float64)
    upstream = torch.randn(50, dtype=torch.float64)
    (phi(x) * upstream).sum().backward()
    beta = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    s = torch.sigmoid(beta * x)
    ((2 * s * (1 + beta * x * (1 - s)) - 1) * upstream).sum().backward()
    assert phi.beta.grad.item() == pytest.approx(beta.grad.item(), rel=1e-5)
    phi.beta.data.fill_(-1.0)
    phi(x)
    assert phi.beta.item() == pytest.approx(0.01)
    model = dataclasses.replace(RECIPES["bnnplus-mlp"], learned_beta=True).model((12,), 3)
    assert [name for name, _ in model.named_parameters() if name.endswith("beta")] == [
        f"fc{n}.quantize_input.beta" for n in (2, 3, 4)]


def test_scaled_sign():
    layer = QuantLinear(3, 2, weight=ScaledSign(2))
    w = layer.weight
    assert torch.allclose(layer.quantize_weight.alpha, w.abs().mean(dim=1))
    layer.quantize_weight.alpha.data = torch.tensor([0.5, -2.0])  # a scale is positive
    assert torch.equal(layer.quantize_weight(w), sign(w) * torch.tensor([[0.5], [2.0]]))
    layer(torch.ones(1, 3)).sum().backward()
    assert torch.allclose(w.grad, torch.tensor([[0.5], [2.0]]).expand(2, 3))
    assert torch.allclose(layer.quantize_weight.alpha.grad, sign(w).sum(dim=1) * torch.tensor([1.0, -1.0]))


@pytest.mark.parametrize("kind", ["manhattan", "euclidean"])
def test_regularizer(kind):
    """Against R1 and R2's derivatives by hand."""
    quantizer = ScaledSign(2, kind=kind, rate=0.1)
    quantizer.alpha.data = torch.tensor([0.5, 0.2])
    w = torch.tensor([[0.75, -0.25], [0.5, -0.125]], requires_grad=True)
    a = torch.tensor([[0.5], [0.2]])
    gap = a - w.detach().abs()
    quantizer.penalty(w).backward()
    if kind == "manhattan":
        assert torch.allclose(w.grad, -0.1 * w.detach().sign() * gap.sign())
        assert torch.allclose(quantizer.alpha.grad, 0.1 * gap.sign().sum(dim=1))
    else:
        assert torch.allclose(w.grad, -0.2 * w.detach().sign() * gap)
        assert torch.allclose(quantizer.alpha.grad, 0.2 * gap.sum(dim=1))


def test_penalty_of_a_network_is_the_sum_of_its_layers():
    model = RECIPES["bnnplus-mlp"].model((12,), 3)
    layers = [model.fc1, model.fc2, model.fc3, model.fc4]
    assert penalty(model).item() == pytest.approx(sum(fc.quantize_weight.penalty(fc.weight).item() for fc in layers))
    assert penalty(RECIPES["mnist-mlp"].model((12,), 3)) == 0.0


# XNOR-Net

def test_mean_scaled_sign():
    w = torch.tensor([[0.5, -0.25, 0.0], [-2.0, 1.0, 0.5]], requires_grad=True)
    upstream = torch.tensor([[1.0, 2.0, -1.0], [0.5, -1.0, 3.0]])
    y = MeanScaledSign()(w)
    assert torch.allclose(y, torch.tensor([[0.25, -0.25, 0.25], [-3.5 / 3, 3.5 / 3, 3.5 / 3]]))
    y.backward(upstream)
    signs, alpha = sign(w), w.detach().abs().mean(dim=1, keepdim=True)
    within = (upstream * signs).sum(dim=1, keepdim=True) * signs / 3
    assert torch.allclose(w.grad, alpha * upstream * (w.detach().abs() <= 1) + within)


# loss-aware binarization

def test_loss_aware_scale_weighs_by_curvature():
    layer = QuantLinear(12, 3, weight=LossAware())
    assert torch.allclose(layer.quantize_weight.alpha, layer.weight.abs().mean())
    optimizer = loss_aware(prepare(torch.optim.Adam(parameter_groups(layer))), layer)
    set_learning_rate(optimizer, 1e-3)
    layer(torch.randn(5, 12)).square().sum().backward()
    optimizer.step()
    d = optimizer.state[layer.weight]["exp_avg_sq"].sqrt() + 1e-8
    alpha = (d * layer.weight.abs()).sum() / d.sum()
    assert torch.allclose(layer.quantize_weight.alpha, alpha)
    assert torch.allclose(layer.quantize_weight(layer.weight), alpha * sign(layer.weight))
    assert gradient(layer.quantize_weight, [-5.0, 0.0]).tolist() == [1, 1]


def test_loss_aware_needs_second_moments():
    layer = QuantLinear(12, 3, weight=LossAware())
    optimizer = loss_aware(prepare(torch.optim.SGD(parameter_groups(layer))), layer)
    layer(torch.randn(5, 12)).sum().backward()
    with pytest.raises(TypeError, match=r"^Loss-aware binarization must have an optimizer that keeps second moments, "
                                        r"not SGD$"):
        optimizer.step()
