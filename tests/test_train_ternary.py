"""Three values and more: ternary weights, few multiplications, GXNOR's discrete states."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tensors import gradient, weights

from hwbnn.ir import BIPOLAR, TERNARY, Levels
from hwbnn_train.layers import QuantLinear
from hwbnn_train.losses import squared_hinge
from hwbnn_train.optimizers import parameter_groups, prepare, set_learning_rate, transition
from hwbnn_train.quantizers import (
    Sign,
    States,
    Steps,
    StochasticPower,
    StochasticSign,
    StochasticTernary,
    TernaryWeights,
    space,
)
from hwbnn_train.quantizers.discrete import snap, step
from hwbnn_train.recipes import RECIPES

pytestmark = pytest.mark.usefixtures("seeded")


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
