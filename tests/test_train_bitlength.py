"""Learned bitlengths: the quantizers by their formulas, what bits cost, and that fewer are learned."""

import dataclasses
import re

import numpy as np
import pytest
import torch

from hwbnn.ir import BIPOLAR, Levels
from hwbnn_train.bitcost import WEIGHTINGS, BitCost, learned
from hwbnn_train.optimizers import parameter_groups
from hwbnn_train.quantizers import LearnedActivationBits, LearnedWeightBits
from hwbnn_train.recipes import RECIPES

RECIPE = dataclasses.replace(RECIPES["bitpruning-mlp"], hidden=(16, 8), batch=50)


pytestmark = pytest.mark.usefixtures("seeded")


def weights_of(w, bits):
    """The nearest of the levels of so many bits, as the docstring says."""
    if bits == 1:
        return np.where(w >= 0, 1.0, -1.0) * np.abs(w).mean()
    scale = np.abs(w).max() / 2**(bits - 1)
    return np.clip(np.rint(w / scale), -2**(bits - 1), 2**(bits - 1) - 1) * scale


@pytest.mark.parametrize("n", [1.0, 1.25, 2.0, 2.75, 7.5, 8.0])
def test_weights_between_two_bitlengths(n):
    w = torch.randn(30, 7, requires_grad=True)
    quantizer = LearnedWeightBits(start=n)
    y = quantizer(w)
    v, below = w.detach().numpy().astype(np.float64), int(n)
    low, high = weights_of(v, below), weights_of(v, min(below + 1, 8))
    assert np.allclose(y.detach().numpy(), low + (n - below) * (high - low), atol=1e-6)
    upstream = torch.randn(30, 7)
    y.backward(upstream)
    assert torch.equal(w.grad, upstream)  # straight through
    assert float(quantizer.bits.grad) == pytest.approx(float((upstream.numpy() * (high - low)).sum()), abs=1e-4)


def test_activations_between_two_bitlengths():
    quantizer = LearnedActivationBits(start=2.5)
    quantizer.range.fill_(3.0)
    quantizer.momentum = 1e-9
    x = torch.tensor([-1.0, 0.4, 0.6, 1.4, 2.9, 3.0, 9.0], requires_grad=True)
    low = torch.tensor([0.0, 0, 1, 1, 3, 3, 3])
    high = torch.tensor([0.0, 1, 1, 3, 7, 7, 7]) * 3 / 7
    y = quantizer(x)
    assert torch.allclose(y, (low + high) / 2, atol=1e-6)
    y.sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 1, 1, 0]
    assert float(quantizer.bits.grad) == pytest.approx(float((high - low).sum()), abs=1e-5)


def test_range_follows_the_greatest_value():
    quantizer = LearnedActivationBits(momentum=0.25)
    quantizer(torch.tensor([1.0, 2.0]))
    assert float(quantizer.range) == 2.0
    quantizer(torch.tensor([6.0, -9.0]))
    assert float(quantizer.range) == 3.0
    quantizer.eval()(torch.tensor([100.0]))
    assert float(quantizer.range) == 3.0


def test_evaluation_rounds_bits_up():
    w, quantizer = torch.randn(9, 9), LearnedWeightBits(start=2.1).eval()
    assert np.allclose(quantizer(w).numpy(), weights_of(w.numpy(), 3), atol=1e-6) and quantizer.whole == 3
    assert quantizer.grid(w).levels == Levels(-4, 3)
    assert LearnedWeightBits(start=1.0).grid(w).levels == BIPOLAR
    assert LearnedActivationBits(start=1.5).grid(w).levels == Levels(0, 3)


def test_frozen_bits_stay():
    w, quantizer = torch.randn(9, 9), LearnedWeightBits(start=2.1)
    quantizer.freeze()
    quantizer.bits.data.fill_(3.2)  # what an optimizer's momentum may still do
    assert quantizer.whole == 3
    assert np.allclose(quantizer.train()(w).detach().numpy(), weights_of(w.numpy(), 3), atol=1e-6)
    other = LearnedWeightBits()
    other.load_state_dict(quantizer.state_dict())
    assert other.whole == 3


def test_bits_stay_within_bounds():
    quantizer = LearnedWeightBits(most=4, start=4.0)
    for value, kept in ((0.3, 1.0), (5.0, 4.0)):
        quantizer.bits.data.fill_(value)
        quantizer(torch.randn(3, 3))
        assert quantizer.bits.item() == kept


def test_zeros_have_a_scale():
    assert LearnedWeightBits()(torch.zeros(3, 3)).abs().max() == 0
    assert LearnedActivationBits()(torch.zeros(3)).abs().max() == 0
    assert LearnedWeightBits(start=1.0).grid(torch.zeros(3, 3)).scale > 0


# costs

@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("bits", [1, 3, 8])
def test_equal_bits_cost_that_many(weighting, bits):
    recipe = dataclasses.replace(RECIPE, weighting=weighting)
    model = recipe.model((12,), 4)
    for quantizer in learned(model):
        quantizer.bits.data.fill_(float(bits))
    cost = model.bit_cost().item()
    if weighting != "luts":
        assert cost == pytest.approx(bits)
    elif bits == 8:
        assert cost == pytest.approx(8)
    else:
        assert 0 < cost < 8 and model.bit_cost.luts().item() < model.bit_cost.whole


def test_weights_of_the_groups():
    """By hand: 12 inputs, then layers of 16, 8 and 4 outputs."""
    model = RECIPE.model((12,), 4)
    products, values = [192, 128, 32], [192, 128, 16, 32, 8]
    for weighting, sizes in (("operations", [192, 128, 128, 32, 32]), ("footprint", values), ("bits", [1] * 5)):
        cost = BitCost(model, (12,), weighting)
        assert [size for _, size in cost.groups] == sizes
        cost().backward()
        gradients = [float(quantizer.bits.grad) for quantizer, _ in cost.groups]
        assert gradients == pytest.approx([size / sum(sizes) for size in sizes])
        model.zero_grad()
    assert [site.operations for site in cost.sites] == products


def test_convolutions_count_their_pixels():
    recipe = dataclasses.replace(RECIPE, channels=(4, 6), hidden=())
    cost = recipe.model((1, 8, 8), 10).bit_cost
    assert [(site.rows, site.columns, site.pixels, site.inputs) for site in cost.sites] == [
        (4, 9, 64, 64), (6, 36, 16, 64), (10, 24, 1, 24)]


def test_look_up_tables_between_bitlengths():
    """The cost is linear in each bitlength between integers, and that of the cost model at integers."""
    model = dataclasses.replace(RECIPE, weighting="luts").model((12,), 4)
    cost, first = model.bit_cost, learned(model)[0]

    def at(bits):
        first.bits.data.fill_(bits)
        model.zero_grad()
        luts = cost.luts()
        luts.backward()
        return luts.item(), first.bits.grad.item()

    (low, _), (middle, slope), (high, _) = at(2.0), at(2.25), at(3.0)
    assert middle == pytest.approx(0.75 * low + 0.25 * high)
    assert slope == pytest.approx(high - low, rel=1e-4) and slope > 0


# recipes

def test_bits_have_their_own_rate():
    groups = parameter_groups(RECIPE.model((12,), 4))
    (bits,) = [group for group in groups if group["lr_scale"] == RECIPE.bits_lr_scale]
    assert len(bits["params"]) == 5 and all(name.endswith(".bits") for name in bits["names"])


def test_bits_are_learned_and_then_frozen(tmp_path):
    from hwbnn import datasets
    from hwbnn_train.loop import fit
    recipe = dataclasses.replace(RECIPE, gamma=0.5, epochs=4, bits_lr_scale=30.0, learning=0.5)
    data = {split: tuple(map(torch.as_tensor, datasets.load("digits", split))) for split in ("train", "validation")}
    model = recipe.model((64,), 10)
    state = fit(model, recipe, data["train"], data["validation"], config={}, file=tmp_path / "c.pt")
    means = [epoch["bits/mean"] for epoch in state.history]
    assert means[1] < means[0] < 8 and means[2] == means[3] == round(means[3] * 5) / 5
    assert state.best["epoch"] > 2 and recipe.ready(model)
    assert all(quantizer.whole <= 8 and int(quantizer.frozen) for quantizer in learned(model))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: LearnedWeightBits(most=17), "LearnedWeightBits most must be an integer from 1 to 16, not 17"),
    (lambda: LearnedWeightBits(start=0.5), "LearnedWeightBits start must lie in 1..8, not 0.5"),
    (lambda: LearnedWeightBits(lr_scale=0.0), "LearnedWeightBits lr_scale must be positive and finite, not 0.0"),
    (lambda: LearnedActivationBits(momentum=0.0),
     "LearnedActivationBits momentum must lie above 0 and up to 1, not 0.0"),
    (lambda: dataclasses.replace(RECIPE, weighting="x"),
     "BitPruning weighting must be one of bits, operations, footprint, luts, not 'x'"),
    (lambda: dataclasses.replace(RECIPE, gamma=-1.0), "BitPruning gamma must be at least 0 and finite, not -1.0"),
    (lambda: dataclasses.replace(RECIPE, learning=1.0), "BitPruning learning must lie between 0 and 1, not 1.0"),
    (lambda: BitCost(RECIPE.model((12,), 4), (12,), "x"),
     "BitCost weighting must be one of bits, operations, footprint, luts, not 'x'"),
])
def test_bad_parameters(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


def test_representations():
    assert repr(LearnedWeightBits(start=3.0)) == "LearnedWeightBits(bits=3, most=8, lr_scale=1.0)"
