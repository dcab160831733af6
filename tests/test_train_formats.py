"""Bitwise networks, powers of two, fixed point, trained ternary magnitudes, and trainings in rounds."""

import copy
import dataclasses
import pickle
import re

import numpy as np
import pytest
import torch
from agreement import agree
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hwbnn import datasets
from hwbnn.errors import UserError
from hwbnn.ir import BIPOLAR, TERNARY, Levels
from hwbnn_train import export
from hwbnn_train.formats import DynamicFixed, Fixed, Half, Single
from hwbnn_train.layers import QuantLinear
from hwbnn_train.loop import fit
from hwbnn_train.low_precision import Maxout, Rounded, RoundedParameter, round_updates
from hwbnn_train.quantizers import (
    BitwiseActivation,
    BitwiseWeights,
    Cuts,
    LogActivation,
    LogGradient,
    LogWeights,
    QFormat,
    Sign,
    TernaryTanh,
    TrainedTernary,
    fixed_point,
    sign,
)
from hwbnn_train.recipes import RECIPES

VALUES = hnp.arrays(np.float32, 12, elements=st.floats(-4, 4, width=32))


pytestmark = pytest.mark.usefixtures("seeded")


def gradient(function, x):
    x = torch.as_tensor(x).clone().requires_grad_()
    function(x).sum().backward()
    return x.grad


# bitwise networks

def test_compressed_weights():
    w = torch.linspace(-2, 2, 9)
    quantizer = BitwiseWeights(0.5)
    assert torch.allclose(quantizer(w), 0.5 * torch.tanh(w))
    assert torch.allclose(gradient(quantizer, w), 0.5 * (1 - torch.tanh(w)**2))


def test_noisy_weights():
    w = torch.tensor([0.1, -0.2, 0.3, -0.4, 0.0])
    quantizer = BitwiseWeights(0.25)
    quantizer.noisy = True
    assert torch.equal(quantizer(w), 0.25 * sign(w)) and gradient(quantizer, w).tolist() == [1] * 5
    sparse = BitwiseWeights(sparsity=0.4).eval()
    assert sparse(w).tolist() == [0, -1, 1, -1, 0] and sparse.grid(w).levels == TERNARY
    assert BitwiseWeights().grid(w).levels == BIPOLAR


def test_bitwise_activation():
    x = torch.tensor([-2.0, -0.5, 0.0, 2.0])
    phi = BitwiseActivation(1.0)
    assert torch.equal(phi(x), torch.tanh(x))
    phi.noisy = True
    assert phi(x).tolist() == [-1, -1, 1, 1] == phi.eval()(x).tolist() and gradient(phi, x).tolist() == [0, 1, 1, 0]


def test_cuts():
    x = torch.tensor([0.0, 63.0, 64.0, 200.0, 255.0])
    assert Cuts([64, 128, 192], Levels(-3, 3, 2), scale=0.5)(x).tolist() == [-1.5, -1.5, -0.5, 1.5, 1.5]


@pytest.mark.parametrize(("input", "sparsity"), [("bipolar", 0.0), ("binary", 0.0), ("fixed-point", 0.3)])
def test_bitwise_network(tmp_path, input, sparsity):
    trained(tmp_path, "bitwise-mlp", input=input, sparsity=sparsity, compression=1, pixel_bits=4)


# powers of two

@given(VALUES)
def test_log_weights_are_the_nearest_powers(w):
    values = LogWeights(3)(torch.tensor(w)).numpy()
    magnitude = np.maximum(np.abs(w.astype(np.float64)), 1e-30)
    exponent = np.clip(np.rint(np.log2(magnitude)), -3, 0)
    near_half = np.abs(np.log2(magnitude) % 1 - 0.5) < 1e-5
    assert np.array_equal(values[~near_half], (np.where(w >= 0, 1, -1) * 2.0**exponent)[~near_half])
    assert gradient(LogWeights(3), w).tolist() == [1] * 12


@pytest.mark.parametrize(("bits", "high"), [(1, 0), (2, 1), (3, 1), (3, -2)])
@given(VALUES)
def test_log_activation_counts_its_thresholds(bits, high, x):
    phi = LogActivation(bits, high=high)
    grid = phi.grid(torch.zeros(()))
    x = torch.cat([torch.tensor(x), grid.thresholds, torch.nextafter(grid.thresholds, torch.tensor(0.0))])
    counted = (x[:, None] >= grid.thresholds).sum(dim=1) * grid.scale
    assert torch.equal(phi(x), counted) and len(grid.thresholds) == grid.levels.high
    assert len(counted.unique()) <= 2**bits
    assert torch.equal(gradient(phi, x), ((x >= 0) & (x <= 2.0**high)).float())


def test_log_gradient():
    g = torch.tensor([3.0, -0.7, 0.0, 2.0**-9, 4.0])
    assert LogGradient(3)(g).tolist() == [4, 0, 0, 0, 4]  # exponents 0, 1, 2; AP2(0.7) is 0.5
    assert LogGradient(6)(g).tolist() == [4, -0.5, 0, 2.0**-9, 4]
    assert LogGradient(4)(torch.zeros(2)).tolist() == [0, 0]


def test_quantized_errors_reach_weights_and_inputs():
    layer = QuantLinear(4, 3, weight=Sign(), error=LogGradient(4))
    x, upstream = torch.randn(5, 4, requires_grad=True), torch.randn(5, 3)
    layer(x).backward(upstream)
    error = LogGradient(4)(upstream)
    assert torch.allclose(layer.weight.grad, error.T @ x) and torch.allclose(x.grad, error @ sign(layer.weight))


# TernaryNet and TTQ

def test_ternary_tanh():
    x = torch.tensor([-0.6, -0.5, 0.2, 0.5, 0.51], dtype=torch.float32)
    phi = TernaryTanh(3.0)
    assert torch.allclose(phi(x), 0.5 * torch.tanh(6 * x - 3) + 0.5 * torch.tanh(6 * x + 3))
    assert phi.eval()(x).tolist() == [-1, 0, 0, 0, 1]


def test_steepness_grows_with_the_steps():
    recipe = RECIPES["ternarynet-mlp"]
    model = recipe.model((12,), 3)
    for progress, beta in ((0.0, 3.0), (0.5, 5.5)):
        recipe.advance(model, progress)
        assert float(model.fc2.quantize_input.beta) == beta


def test_trained_ternary():
    w = torch.tensor([[1.0, -0.5, 0.01, 0.2]], requires_grad=True)
    quantizer = TrainedTernary()
    quantizer.positive.data.fill_(2.0)
    quantizer.negative.data.fill_(0.5)
    y, upstream = quantizer(w), torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    assert y.tolist() == [[2.0, -0.5, 0.0, 2.0]]
    y.backward(upstream)
    assert w.grad.tolist() == [[2.0, 1.0, 3.0, 8.0]]
    assert quantizer.positive.grad == 5.0 and quantizer.negative.grad == -2.0


def test_trained_ternary_of_few_bits_has_a_unit():
    quantizer = TrainedTernary(bits=3)
    quantizer.positive.data.fill_(0.9)
    quantizer.negative.data.fill_(0.5)
    w = torch.tensor([1.0, -1.0, 0.0])
    grid = quantizer.grid(w)
    assert grid.levels == Levels(-3, 3) and torch.allclose(grid.scale, torch.tensor(0.3))
    assert torch.allclose(quantizer(w) / grid.scale, torch.tensor([3.0, -2.0, 0.0]))


def test_two_real_magnitudes_are_refused():
    model = torch.nn.Sequential()
    model.add_module("fc", QuantLinear(4, 2, weight=TrainedTernary()))
    with pytest.raises(UserError, match=r"^Layer fc must have quantized weights to become hardware, and their two "
                                        r"trained magnitudes have no common unit; round them to a few bits$"):
        export(model.eval(), (4,))


# fixed point

@given(VALUES, st.integers(2, 12), st.integers(-3, 6))
def test_fixed_point(x, bits, fraction):
    high = 2**(bits - 1) - 1
    expected = np.clip(np.rint(x.astype(np.float64) * 2.0**fraction), -high, high) / 2.0**fraction
    assert np.array_equal(fixed_point(torch.tensor(x), 2.0**-fraction, Levels(-high, high)).numpy(), expected)


def test_drawn_fixed_point_is_unbiased():
    x = torch.tensor([0.3, -0.3, 5.0]).repeat(40_000, 1)
    mean = fixed_point(x, 0.5, Levels(-3, 3), stochastic=True).mean(dim=0)
    assert torch.allclose(mean, torch.tensor([0.3, -0.3, 1.5]), atol=0.01)


@pytest.mark.parametrize(("largest", "fraction"), [(1.0, 7), (0.99, 7), (1.01, 6), (0.25, 9), (100.0, 0)])
def test_q_format_takes_the_range_it_saw(largest, fraction):
    quantizer = QFormat(8)
    quantizer.measuring = True
    x = torch.tensor([largest, -largest / 3])
    assert torch.equal(quantizer(x), x)
    quantizer.measuring = False
    assert quantizer.fraction == fraction
    assert torch.equal(quantizer(x), (x * 2.0**fraction).round().clamp(-127, 127) / 2.0**fraction)
    assert QFormat(8, rectified=True)(torch.tensor([-1.0])).tolist() == [0]


def test_adaption(tmp_path):
    trained(tmp_path, "adaption-mlp", tuning=1, epochs=3, weight_bits=5, activation_bits=5)


# low precision

def test_formats():
    x = torch.tensor([0.3, -100.0, 1e-9])
    assert torch.equal(Single()(x), x) and torch.equal(Half()(x), x.half().float())
    assert Fixed(5, 2)(x).tolist() == [0.25, -3.75, 0]  # 15 steps of 2^-2 on each side


def test_range_follows_the_numbers():
    numbers = DynamicFixed(8, 0, every=10)
    for _ in range(10):
        numbers(torch.full((100,), 3.0))
    assert int(numbers.integer) == 1  # too many at the end of the range: it doubles
    for _ in range(20):
        numbers(torch.full((100,), 0.1))
    assert int(numbers.integer) == -1
    numbers.eval()
    assert numbers(torch.tensor(9.0)) == 127 * 2.0**-8 and float(numbers.counts[0]) == 0


def test_range_is_that_in_the_buffer_however_it_came_there():
    numbers = DynamicFixed(8, 2)
    assert numbers.unit == 2.0**-5 and not numbers.is_searching
    other = copy.deepcopy(numbers)
    other.integer += 1
    other.searching.fill_(True)
    assert other.unit == 2.0**-4 and other.is_searching
    assert copy.deepcopy(other).unit == 2.0**-4 and numbers.unit == 2.0**-5
    numbers.load_state_dict(other.state_dict())
    assert numbers.unit == 2.0**-4 and numbers.is_searching
    numbers.load_state_dict(DynamicFixed(8, 0).state_dict(), assign=True)
    assert numbers.unit == 2.0**-7 and not numbers.is_searching
    with torch.inference_mode():
        numbers.integer.fill_(1)  # as it comes from another process
    assert numbers.unit == 2.0**-6
    assert pickle.loads(pickle.dumps(numbers)).unit == 2.0**-6


def test_range_is_found_at_once_while_searching():
    numbers = DynamicFixed(8)
    numbers.searching.fill_(True)
    x = torch.linspace(0, 0.01, 1000)
    for _ in range(10):
        assert torch.equal(numbers(x), x)
    assert int(numbers.integer) == -6  # 2^-6 > 0.01


def test_values_and_gradients_are_rounded_apart():
    x = torch.tensor([0.3, -0.3], requires_grad=True)
    y = Rounded(Fixed(3, 1), Fixed(4, 0), rectified=True)(x)
    assert y.tolist() == [0.5, 0.0]
    y.backward(torch.tensor([0.3, 0.3]))
    assert x.grad.tolist() == [0.25, 0.0]


def test_updates_and_storage_are_rounded():
    layer = QuantLinear(6, 4, weight=RoundedParameter(Fixed(4, 0), Single(), Fixed(6, 0), Fixed(8, 1)))
    old = layer.weight.detach().clone()
    optimizer = round_updates(torch.optim.SGD(layer.parameters(), lr=0.1), layer)
    layer(torch.randn(3, 6)).square().sum().backward()
    step = -0.1 * layer.weight.grad
    optimizer.step()
    assert torch.equal(layer.weight, Fixed(8, 1)(old + Fixed(6, 0)((old + step) - old)))


def test_norms_are_bounded():
    layer = QuantLinear(6, 4, weight=RoundedParameter(Single(), Single(), Single(), Single()))
    optimizer = round_updates(torch.optim.SGD(layer.parameters(), lr=0.0), layer, max_norm=0.5)
    norms = layer.weight.detach().norm(dim=1)
    layer(torch.randn(3, 6)).sum().backward()
    optimizer.step()
    assert torch.allclose(layer.weight.norm(dim=1), norms.clamp(max=0.5), rtol=1e-5)


def test_maxout():
    assert Maxout(2)(torch.tensor([[1.0, 3.0, -2.0, -5.0]])).tolist() == [[3.0, -2.0]]


def test_maxout_is_refused_by_name():
    recipe = dataclasses.replace(RECIPES["maxout-mlp"], hidden=(4,))
    with pytest.raises(UserError, match=r"^Layer maxout1 must be one that can become hardware, not Maxout: it takes "
                                        r"the largest of several channels, and hardware compares none with each other; "
                                        r"use rectifiers$"):
        export(recipe.model((6,), 3).eval(), (6,))


def test_weights_start_anew_behind_the_search():
    recipe = dataclasses.replace(RECIPES["low-precision-mlp"], epochs=4, search=2, hidden=(5,))
    model = recipe.model((6,), 3)
    before = model.fc1.weight.detach().clone()
    recipe.advance(model, 1.75 / 4)
    assert torch.equal(model.fc1.weight, before) and bool(model.sum1.values.searching)
    recipe.advance(model, 0.5)
    assert not torch.equal(model.fc1.weight, before) and not bool(model.sum1.values.searching)
    before = model.fc1.weight.detach().clone()
    recipe.advance(model, 0.5)
    assert torch.equal(model.fc1.weight, before)
    assert [recipe.learning_rate(epoch) for epoch in range(4)] == pytest.approx([0.1, 0.1, 0.1, 0.001])


@pytest.mark.parametrize("changes", [{"search": 1, "epochs": 4}, {"format": "fixed", "bits": 12, "integer": 2}])
def test_low_precision_network(tmp_path, changes):
    """Sums of 10 bits are a thousand thresholds a channel, too wide a word for Amaranth's simulator: golden only."""
    trained(tmp_path, "low-precision-mlp", pixel_bits=4, simulated=0, **changes)


def test_low_precision_hardware(tmp_path):
    trained(tmp_path, "low-precision-mlp", pixel_bits=4, search=1, bits=6, storage_bits=8)


def trained(folder, name, *, simulated=1, **changes):
    """Train a small network on digits, expect nothing of it but that everything it becomes agrees."""
    recipe = dataclasses.replace(RECIPES[name], **{"epochs": 2, "batch": 50, "hidden": (16, 12), **changes})
    train, test = (tuple(map(torch.as_tensor, datasets.load("digits", split))) for split in ("train", "test"))
    model = recipe.model((64,), 10)
    state = fit(model, recipe, train, test, config={}, file=folder / "c.pt")
    agree(folder, model, test[0].numpy(), simulated=simulated)
    return state


@pytest.mark.parametrize(("make", "message"), [
    (lambda: BitwiseWeights(0.0), "BitwiseWeights scale must be positive and finite, not 0.0"),
    (lambda: BitwiseWeights(sparsity=1.0), "BitwiseWeights sparsity must be at least 0 and below 1, not 1.0"),
    (lambda: BitwiseActivation(0.0), "BitwiseActivation window must be positive, not 0.0"),
    (lambda: Cuts([1, 1], TERNARY), "Cuts thresholds must be 2 that ascend, not [1, 1]"),
    (lambda: Cuts([1], BIPOLAR, scale=0.0), "Cuts scale must be positive and finite, not 0.0"),
    (lambda: LogWeights(5), "LogWeights bits must be an integer from 2 to 4, not 5"),
    (lambda: LogActivation(0), "LogActivation bits must be an integer from 1 to 3, not 0"),
    (lambda: LogGradient(1), "LogGradient bits must be an integer from 2 to 8, not 1"),
    (lambda: TernaryTanh(0.0), "TernaryTanh beta must be positive and finite, not 0.0"),
    (lambda: TrainedTernary(1.0), "TrainedTernary threshold must be at least 0 and below 1, not 1.0"),
    (lambda: TrainedTernary(bits=1), "TrainedTernary bits must be an integer from 2 to 8 or None, not 1"),
    (lambda: QFormat(1), "QFormat bits must be an integer from 2 to 16, not 1"),
    (lambda: Fixed(1, 0), "Fixed bits must be an integer from 2 to 22, not 1"),
    (lambda: DynamicFixed(8, rate=0.0), "DynamicFixed rate must lie between 0 and 1, not 0.0"),
    (lambda: DynamicFixed(8, every=5), "DynamicFixed every must be a positive multiple of 10, not 5"),
    (lambda: Maxout(0), "Maxout pieces must be a positive integer, not 0"),
    (lambda: dataclasses.replace(RECIPES["bitwise-mlp"], input="x"),
     "Bitwise input must be one of bipolar, binary, fixed-point, not 'x'"),
    (lambda: dataclasses.replace(RECIPES["bitwise-mlp"], compression=-1),
     "Bitwise compression must be an integer of at least 0, not -1"),
    (lambda: dataclasses.replace(RECIPES["qnn-mlp"], scale="x"), "QNN scale must be linear or logarithmic, not 'x'"),
    (lambda: dataclasses.replace(RECIPES["adaption-mlp"], tuning=0),
     "Adaption tuning must be a positive integer, not 0"),
    (lambda: dataclasses.replace(RECIPES["low-precision-mlp"], format="x"),
     "LowPrecision format must be one of float, half, fixed, dynamic, not 'x'"),
    (lambda: dataclasses.replace(RECIPES["low-precision-mlp"], search=-1),
     "LowPrecision search must be an integer of at least 0, not -1"),
])
def test_bad_parameters(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()
