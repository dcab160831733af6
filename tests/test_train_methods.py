"""What each method adds to BinaryNet: its quantizers, its optimizer, and that a network of it trains and exports."""

import dataclasses
import math
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from agreement import agree
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.nn import functional

from hwbnn import datasets
from hwbnn.ir import BIPOLAR, TERNARY, Levels
from hwbnn_train import export
from hwbnn_train.evaluation import evaluate, real_weights, recalibrate
from hwbnn_train.layers import Quantized, QuantLinear
from hwbnn_train.loop import fit
from hwbnn_train.losses import penalty, squared_hinge
from hwbnn_train.optimizers import loss_aware, parameter_groups, prepare, set_learning_rate, transition
from hwbnn_train.quantizers import (
    LossAware,
    MeanScaledSign,
    Real,
    ScaledSign,
    Sign,
    States,
    Steps,
    StochasticPower,
    StochasticSign,
    StochasticTernary,
    SwishSign,
    TernaryWeights,
    Uniform,
    sign,
    space,
)
from hwbnn_train.quantizers.discrete import snap, step
from hwbnn_train.recipes import RECIPES
from hwbnn_train.recipes.published import PUBLISHED

weights = hnp.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=st.floats(-1, 1, width=32))
ROUNDS = {"adaption-mlp", "bitwise-mlp", "low-precision-mlp"}  # in test_train_formats.py
PERCEPTRONS = [name for name, recipe in RECIPES.items() if recipe.data == "mnist" and not recipe.channels
               and recipe.exported and recipe not in PUBLISHED and name not in ROUNDS]
CONVNETS = [name for name, recipe in RECIPES.items() if not recipe.text and recipe.channels and recipe.exported
            and recipe not in PUBLISHED]


pytestmark = pytest.mark.usefixtures("seeded")


def gradient(quantizer, x):
    x = torch.tensor(x, requires_grad=True)
    quantizer(x).sum().backward()
    return x.grad


# every quantizer of weights

@pytest.mark.parametrize("make", [
    lambda filters: Sign(), lambda filters: StochasticSign(), lambda filters: TernaryWeights(),
    lambda filters: TernaryWeights(per_filter=True), lambda filters: StochasticTernary(0.3),
    lambda filters: LossAware(), lambda filters: MeanScaledSign(), ScaledSign,
    lambda filters: Uniform(3, signed=True, scale=0.25), lambda filters: States()])
@given(w=weights)
def test_values_lie_on_the_grid(make, w):
    quantizer = make(len(w)).eval()
    w = torch.tensor(w)
    with torch.no_grad():
        quantizer.initialize(w)
        grid = quantizer.grid(w)
        ratio = quantizer(w) / grid.scale
    assert torch.equal(ratio, ratio.round()) and grid.levels.holds(ratio.numpy())


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


# ternary weights

@given(weights, st.booleans())
def test_ternary_weights(w, per_filter):
    quantizer = TernaryWeights(per_filter=per_filter)
    got = quantizer(torch.tensor(w)).numpy()
    for rows in (range(n, n + 1) for n in range(len(w))) if per_filter else (range(len(w)),):
        part = w[rows].astype(np.float64)
        delta = 0.7 * np.abs(part).mean()
        sure = np.abs(np.abs(part) - delta) > 1e-6  # the rest may round either way
        kept = np.abs(got[rows]) > 0
        assert np.array_equal(kept[sure], (np.abs(part) > delta)[sure])
        assert np.array_equal(np.sign(got[rows])[kept], np.sign(part)[kept])
        if kept.any():
            assert np.allclose(np.abs(got[rows])[kept], np.abs(part[kept]).mean(), rtol=1e-5)


def test_ternary_scale_fits_best():
    w = torch.randn(1, 1000)
    quantizer = TernaryWeights()
    alpha = quantizer.grid(w).scale
    t = (quantizer(w) / alpha).round()
    assert torch.allclose(alpha, (w * t).sum() / (t * t).sum())


def test_ternary_gradient_and_zeros():
    assert gradient(TernaryWeights(), [[-0.5, 0.01, 0.7]]).tolist() == [[1, 1, 1]]
    assert TernaryWeights()(torch.zeros(2, 2)).tolist() == [[0, 0], [0, 0]]
    assert TernaryWeights().grid(torch.zeros(2, 2)).levels == TERNARY


# few multiplications

@pytest.mark.parametrize(("quantizer", "values"), [(StochasticSign(0.5), {-0.5, 0.5}),
                                                   (StochasticTernary(0.5), {-0.5, 0.0, 0.5})])
def test_drawn_weights_are_unbiased(quantizer, values):
    w = torch.tensor([-0.5, -0.3, 0.0, 0.125, 0.5])
    drawn = quantizer(w.repeat(40_000, 1))
    assert set(drawn.unique().tolist()) == values
    assert torch.allclose(drawn.mean(dim=0), w, atol=0.01)
    assert gradient(quantizer, [-3.0, 0.0]).tolist() == [1, 1]


def test_ternary_connect_in_evaluation():
    w = torch.tensor([-0.5, -0.26, -0.25, 0.0, 0.25, 0.26])
    assert StochasticTernary(0.5).eval()(w).tolist() == [-0.5, -0.5, 0, 0, 0, 0.5]


def test_powers_are_unbiased():
    x = torch.tensor([0.0, 1.0, -3.0, 0.3, 5e-3, 100.0])
    drawn = StochasticPower()(x.repeat(100_000, 1))
    for column, value in zip(drawn.T, x.tolist(), strict=True):
        below = 2.0**math.floor(math.log2(abs(value))) if value else 0.0
        assert set(column.abs().tolist()) <= {below, 2 * below}
        assert float(column.mean()) == pytest.approx(value, rel=0.01)


def test_clipped_powers():
    x = torch.tensor([0.0, 1e-6, -1e-6, 1e6, 1.0])
    assert StochasticPower(-4, 3)(x).tolist() == [0, 2**-4, -(2**-4), 8, 1]


def test_quantized_back_propagation_changes_the_gradient_of_the_weights_only():
    class Double(torch.nn.Module):
        def forward(self, x):
            return 2 * x

    x, upstream = torch.randn(5, 6), torch.randn(5, 3)
    plain, other = (QuantLinear(6, 3, weight=Sign(), bias=True, gradient=g) for g in (None, Double()))
    other.load_state_dict(plain.state_dict())
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    outputs = [layer(i) for layer, i in zip((plain, other), inputs, strict=True)]
    for y in outputs:
        y.backward(upstream)
    assert torch.equal(*outputs) and torch.allclose(inputs[0].grad, inputs[1].grad)
    assert torch.allclose(other.weight.grad, 2 * plain.weight.grad) and torch.equal(other.bias.grad, plain.bias.grad)


# GXNOR

def test_spaces():
    assert [space(n) for n in range(4)] == [BIPOLAR, TERNARY, Levels(-2, 2), Levels(-4, 4)]
    assert [step(n) for n in range(4)] == [2, 1, 0.5, 0.25]


@given(hnp.arrays(np.float32, 7, elements=st.floats(-2, 2, width=32)), st.integers(0, 4))
def test_snap_is_the_nearest_state(x, n):
    states = np.linspace(-1, 1, 2**n + 1)
    got = snap(torch.tensor(x), n).numpy()
    assert set(got) <= set(states.astype(np.float32))
    clipped = np.clip(x.astype(np.float64), -1, 1)
    assert np.allclose(np.abs(got - clipped), np.abs(clipped[:, None] - states).min(axis=1), atol=1e-6)


def test_states_start_and_stay_in_the_space():
    layer = QuantLinear(20, 20, weight=States(2))
    assert set(layer.weight.unique().tolist()) == {-1.0, -0.5, 0.0, 0.5, 1.0}
    assert gradient(States(2), [0.5, -1.0]).tolist() == [1, 1]


def test_steps_of_a_ternary_activation():
    phi = Steps(r=0.5)
    assert phi(torch.tensor([-9.0, -0.50001, -0.5, 0.0, 0.5, 0.50001, 9.0])).tolist() == [-1, -1, 0, 0, 0, 1, 1]


@given(hnp.arrays(np.float32, 9, elements=st.floats(-2, 2, width=32)), st.integers(1, 4), st.sampled_from([0.25, 0.5]))
def test_steps_count_the_thresholds_passed(x, n, r):
    count = 2**(n - 1)
    thresholds = [r + k * (1 - r) / count for k in range(count)]
    expected = np.sign(x) * np.array([sum(abs(v) > np.float32(t) for t in thresholds) for v in x]) / count
    assert np.array_equal(Steps(n, r=r)(torch.tensor(x)).numpy(), expected)


@pytest.mark.parametrize(("window", "slopes"), [
    ("rectangular", [0, 1, 1, 1, 1, 0]), ("triangular", [0, 0, 1, 2, 1, 0])])
def test_step_windows(window, slopes):
    """r = 1 and a = 0.5 is what the authors' code amounts to: slope 1 where 0.5 <= |x| <= 1.5."""
    x = [0.25, 0.5, 0.75, 1.0, 1.25, 1.75]
    phi = Steps(r=1.0, window=window)
    assert gradient(phi, x).tolist() == slopes == gradient(phi, [-v for v in x]).tolist()


@pytest.mark.parametrize("window", ["rectangular", "triangular"])
@pytest.mark.parametrize(("n", "a"), [(1, 0.3), (2, 0.1), (3, 0.05)])
def test_area_below_the_windows_is_the_height_of_the_steps(window, n, a):
    x = torch.linspace(0, 2, 20_001)
    area = gradient(Steps(n, r=0.5, a=a, window=window), x.tolist()).mean() * 2
    assert float(area) == pytest.approx(1.0, rel=1e-2)


def test_transition_goes_whole_states_and_one_more_by_chance():
    w = torch.zeros(50_000, 6)
    dw = torch.tensor([0.0, 0.1, -0.1, 0.5, 1.0, -7.0])
    moved = transition(w, dw.expand_as(w), 1)
    chances = [0, math.tanh(0.3), math.tanh(0.3), math.tanh(1.5), 1, 1]
    assert torch.allclose((moved != 0).float().mean(dim=0), torch.tensor(chances), atol=0.01)
    assert set(moved[:, 1].tolist()) == {0.0, 1.0} and set(moved[:, 2].tolist()) == {0.0, -1.0}
    assert (moved[:, 4] == 1).all() and (moved[:, 5] == -1).all()


@given(hnp.arrays(np.float32, 8, elements=st.floats(-3, 3, width=32)), st.integers(0, 4), st.integers(0, 99))
def test_transition_stays_in_the_space_and_goes_the_way_of_the_update(dw, n, seed):
    torch.manual_seed(seed)
    w = snap(torch.rand(8) * 2 - 1, n)
    moved = transition(w, torch.tensor(dw), n)
    assert torch.equal(snap(moved, n), moved)
    assert torch.all((moved - w) * torch.tensor(dw) >= 0)


@pytest.mark.parametrize("make", [lambda groups: torch.optim.Adam(groups, fused=True),
                                  lambda groups: torch.optim.SGD(groups, momentum=0.9)])
def test_any_optimizer_moves_states(make):
    model = RECIPES["gxnor-mlp"].model((12,), 3)
    optimizer = prepare(make(parameter_groups(model)))
    set_learning_rate(optimizer, 0.1)
    before = model.fc1.weight.detach().clone()
    bias = model.bn1.bias.detach().clone()
    for _ in range(3):
        model.zero_grad()
        squared_hinge(model(torch.randn(16, 12)), torch.randint(3, (16,))).backward()
        optimizer.step()
    assert set(model.fc1.weight.unique().tolist()) == {-1.0, 0.0, 1.0}
    assert not torch.equal(model.fc1.weight, before) and not torch.equal(model.bn1.bias, bias)


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


# bad parameters

@pytest.mark.parametrize(("make", "message"), [
    (lambda: StochasticSign(0), "StochasticSign limit must be positive and finite, not 0"),
    (lambda: TernaryWeights(1.0), "TernaryWeights factor must be at least 0 and below 1, not 1.0"),
    (lambda: States(9), "GXNOR space N must be an integer from 0 to 8, not 9"),
    (lambda: Steps(0), "Steps n must be at least 1, not 0: for two states use Sign"),
    (lambda: Steps(r=0.0), "Steps r must lie in 0..1, below 1 for n > 1, not 0.0"),
    (lambda: Steps(2, r=1.0), "Steps r must lie in 0..1, below 1 for n > 1, not 1.0"),
    (lambda: Steps(a=0.0), "Steps a must be positive and finite, not 0.0"),
    (lambda: Steps(window="round"), "Steps window must be rectangular or triangular, not 'round'"),
    (lambda: SwishSign(0.0), "SwishSign beta must be positive, not 0.0"),
    (lambda: ScaledSign(3, kind="l3"), "ScaledSign kind must be manhattan or euclidean, not 'l3'"),
    (lambda: ScaledSign(3, rate=-1.0), "ScaledSign rate must be at least 0, not -1.0"),
    (lambda: Uniform(2, window=0.0), "Uniform window must be positive, not 0.0"),
    (lambda: QuantLinear(2, 2, weight=Sign(), spread=0.0), "QuantLinear spread must be positive, not 0.0"),
    (lambda: StochasticTernary(0.0), "StochasticTernary scale must be positive and finite, not 0.0"),
    (lambda: StochasticPower(3, 2), "StochasticPower low must be at most high, not low=3 and high=2"),
    (lambda: dataclasses.replace(RECIPES["few-multiplications-mlp"], mode="x"),
     "FewMultiplications mode must be binary or ternary, not 'x'"),
    (lambda: dataclasses.replace(RECIPES["binaryconnect-mlp"], mode="x"),
     "BinaryConnect mode must be deterministic or stochastic, not 'x'"),
    (lambda: dataclasses.replace(RECIPES["mnist-mlp"], recalibration=-1),
     "Recipe recalibration must be an integer of at least 0, not -1"),
])
def test_bad_parameters(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


def test_representations():
    assert repr(StochasticSign()) == "StochasticSign(limit=1.0)"
    assert repr(StochasticTernary()) == "StochasticTernary(scale=1.0)"
    assert repr(StochasticPower(-4, 3)) == "StochasticPower(low=-4, high=3)"
    assert repr(TernaryWeights()) == "TernaryWeights(factor=0.7, per_filter=False)"
    assert repr(States(2)) == "States(n=2)"
    assert repr(Steps()) == "Steps(n=1, r=0.5, a=0.5, window='rectangular')"
    assert repr(SwishSign()) == "SwishSign(beta=5.0)"
    assert repr(ScaledSign(3)) == "ScaledSign(filters=3, kind='manhattan', rate=1e-06)"


# every method, through the whole of its way

VARIANTS = [
    *((name, {}) for name in PERCEPTRONS),
    ("few-multiplications-mlp", {"mode": "binary"}),
    ("qnn-mlp", {"weight_bits": 4, "activation_bits": 4}),
    ("twn-mlp", {"per_filter": True}),
    ("gxnor-mlp", {"weight_states": 2, "activation_states": 3, "r": 0.3}),
    ("gxnor-mlp", {"weight_states": 0, "window": "triangular", "r": 1.0}),
    ("bnnplus-mlp", {"regularizer": "euclidean"}),
    ("qnn-mlp", {"gradient_bits": 6}),
    ("ttq-mlp", {"scale_bits": 2}),
]
CONVOLUTIONAL = [
    *((name, {}) for name in CONVNETS),
    ("bnnplus-mlp", {}),  # a scale per filter
    ("twn-mlp", {"per_filter": True}),
    ("gxnor-mlp", {"weight_states": 2, "activation_states": 2}),
]


@pytest.mark.parametrize(("name", "changes"), VARIANTS)
def test_a_few_steps_then_torch_qonnx_and_golden_agree(tmp_path, name, changes):
    recipe = dataclasses.replace(RECIPES[name], epochs=2, batch=50, hidden=(16, 12), **changes)
    digits = {split: tuple(map(torch.as_tensor, datasets.load("digits", split))) for split in ("train", "test")}
    model = recipe.model((64,), 10)
    state = fit(model, recipe, digits["train"], digits["test"], config={}, file=tmp_path / "c.pt")
    assert state.history[1]["loss/train"] < state.history[0]["loss/train"]
    agree(tmp_path, model, digits["test"][0].numpy(), simulated=1)


@pytest.mark.parametrize(("name", "changes"), CONVOLUTIONAL)
def test_a_few_steps_of_a_convnet_then_torch_qonnx_and_golden_agree(tmp_path, name, changes):
    recipe = dataclasses.replace(RECIPES[name], epochs=2, batch=50, channels=(6, 8), hidden=(12,), **changes)
    train, test = (tuple(map(torch.as_tensor, datasets.load("digits", split))) for split in ("train", "test"))
    train, test = ((x.reshape(-1, 1, 8, 8), y) for x, y in (train, test))
    model = recipe.model((1, 8, 8), 10)
    state = fit(model, recipe, train, test, config={}, file=tmp_path / "c.pt")
    assert state.history[1]["loss/train"] < state.history[0]["loss/train"]
    agree(tmp_path, model, test[0][:60].numpy())


def test_convnet_needs_pixels():
    with pytest.raises(ValueError, match=r"^Recipe mnist-conv must have images of channels, height and width, and "
                                         r"those of mnist have shape \(64,\)$"):
        RECIPES["mnist-conv"].model((64,), 10)


def test_small_convnet_is_small():
    model = RECIPES["mnist-conv"].model((1, 28, 28), 10)
    assert sum(layer.weight.numel() for layer in model if isinstance(layer, Quantized)) == 58_608 <= 60_000


def test_networks_with_real_weights_are_refused():
    model = torch.nn.Sequential()
    model.add_module("fc", QuantLinear(4, 2, weight=Real()))
    with pytest.raises(ValueError, match=r"^Layer fc must have quantized weights to become hardware, and they are real "
                                         r"numbers$"):
        export(model.eval(), (4,))
    model = torch.nn.Sequential()
    model.add_module("act", Real())
    with pytest.raises(ValueError, match=r"^Quantizer act must give a few levels to become hardware, not real "
                                         r"numbers$"):
        export(model, (4,))


DATA = os.environ.get("HWBNN_DATA")


@pytest.mark.slow
@pytest.mark.skipif(not DATA or not (Path(DATA) / "mnist").is_dir(),
                    reason="HWBNN_DATA does not name a folder with mnist/")
@pytest.mark.parametrize("name", PERCEPTRONS)
def test_each_method_learns_mnist(tmp_path, name):
    """Two epochs on 10,000 images with 2 x 128 hidden units; whole trainings are in benchmarks/training.py."""
    plain = {"averaging": 0.0} if RECIPES[name].averaging else {}  # the mean of two epochs lags behind
    recipe = dataclasses.replace(RECIPES[name], epochs=2, hidden=(128, 128), recalibration=0, **plain)
    mnist = {split: tuple(map(torch.as_tensor, datasets.load("mnist", split, DATA))) for split in datasets.SPLITS}
    train, validation = (tuple(part[:count] for part in mnist[split])
                         for split, count in (("train", 10_000), ("validation", 1000)))
    model = recipe.model((1, 28, 28), 10)
    state = fit(model, recipe, train, validation, config={}, file=tmp_path / "c.pt")
    model.load_state_dict(state.best["model"])
    recalibrate(model, train[0][:2000])
    assert evaluate(model, mnist["test"], squared_hinge)[0] >= 0.85
    agree(tmp_path, model, mnist["test"][0][2000:2300].numpy())
