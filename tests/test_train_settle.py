"""Decision points are moved off the integers, and nothing else changes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from hwbnn_train.layers import QuantConv2d, QuantLinear
from hwbnn_train.quantizers import Real, ScaledSign, Sign, Steps, Uniform
from hwbnn_train.settle import _distance, _shift, activations, decisions, settle


def network(quantizer, *, means, gains, weight=None):
    """A layer with 4 inputs of 2 bits, batch normalization with the given means and gains, and a quantizer."""
    channels = len(means)
    model = nn.Sequential(QuantLinear(4, channels, weight=weight or Sign(), input=Uniform(2)),
                          nn.BatchNorm1d(channels, eps=0.0), nn.Dropout(), quantizer)
    model[1].running_mean[:] = torch.tensor(means)
    model[1].weight.data = torch.tensor(gains)
    return model.eval()


def points(model, cuts=0.0):
    """Decision points as sums."""
    norm = model[1]
    return norm.running_mean.double() + (cuts - norm.bias.double()) / norm.weight.double()


@pytest.mark.parametrize(("quantizer", "expected"), [
    (Sign(), [0.0]), (Uniform(2), [0.5, 1.5, 2.5]), (Uniform(2, signed=True, scale=0.5), [-0.75, -0.25, 0.25])])
def test_decisions(quantizer, expected):
    assert decisions(quantizer).tolist() == expected
    x = torch.tensor(expected)
    steps = quantizer(x + 1e-4) - quantizer(x - 1e-4)
    assert (steps > 0).all()


def test_decisions_of_steps():
    assert decisions(Steps(2, r=0.25)).tolist() == pytest.approx([-0.625, -0.25, 0.25, 0.625], abs=1e-6)


def test_points_on_integers_are_moved_and_others_stay():
    model = network(Sign(), means=[3.0, -2.0, 0.4, 5.0 + 1e-6], gains=[1.0, -2.0, 1.0, 0.5])
    before = model[1].running_mean.clone()
    assert settle(model) == (3, 0)
    moved = (points(model) - points(model).round()).abs()
    assert (moved > 1e-6).all() and (moved[[0, 1, 3]] < 1e-4).all()
    assert model[1].running_mean[2] == before[2]
    assert settle(model) == (0, 0)


def test_clear_decisions_stay_as_they_are():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = torch.randint(0, 4, (500, 4)).float()
        means = (torch.randint(-5, 6, (64,)) + torch.tensor([0.0, 0.5, 1e-6, 0.25]).repeat(16)).tolist()
        model = network(Uniform(2), means=means, gains=torch.linspace(0.1, 2, 64).tolist())
        before = model(x)
        exact = model[1].running_mean.double()
        sums = model[0](x).double()
        scaled = (sums - exact) * model[1].weight.double()
        clear = ((scaled[..., None] - decisions(Uniform(2))).abs() > 1e-4).all(dim=-1)
        assert settle(model).moved > 0
        assert torch.equal(model(x)[clear], before[clear]) and clear.float().mean() > 0.9


@given(st.lists(st.integers(-40, 40), min_size=1, max_size=6), st.floats(0.05, 3), st.sampled_from([1.0, -1.0]),
       st.integers(1, 4))
def test_all_points_of_several_levels_are_moved(means, gain, sign, bits):
    model = network(Uniform(bits, scale=0.25), means=[float(m) for m in means], gains=[sign * gain] * len(means))
    settle(model)
    where = torch.stack([points(model, float(cut)) for cut in decisions(Uniform(bits, scale=0.25))])
    near = (where - where.round()).abs() <= 1e-6
    assert not near.any()


def test_scales_of_weights_and_inputs_are_steps():
    scaled = ScaledSign(2)
    model = network(Sign(), means=[0.9, 1.0], gains=[1.0, 1.0], weight=scaled)
    scaled.alpha.data = torch.tensor([0.3, 0.3])
    assert settle(model) == (1, 0)  # 0.9 is three steps, 1.0 none


@pytest.mark.parametrize("model", [
    nn.Sequential(QuantLinear(2, 2, weight=Real(), input=Sign()), nn.BatchNorm1d(2), Sign()),
    nn.Sequential(QuantLinear(2, 2, weight=Sign()), nn.BatchNorm1d(2), Sign()),
    nn.Sequential(QuantLinear(2, 2, weight=Sign(), input=Sign(), bias=True), nn.BatchNorm1d(2), Sign()),
    nn.Sequential(QuantLinear(2, 2, weight=Sign(), input=Sign()), nn.BatchNorm1d(2), Real()),
    nn.Sequential(QuantLinear(2, 2, weight=Sign(), input=Sign()), nn.BatchNorm1d(2)),
    nn.Sequential(QuantLinear(2, 2, weight=Sign(), input=Sign()), nn.ReLU(), nn.BatchNorm1d(2), Sign()),
])
def test_what_is_not_a_cut_integer_is_left_alone(model):
    assert settle(model.eval()) == (0, 0)


def test_convolutions_and_inputs_of_the_next_layer():
    first = nn.Sequential(Sign(), QuantConv2d(1, 2, 3, weight=Sign()), nn.MaxPool2d(2))
    model = nn.Sequential(first, nn.BatchNorm2d(2), nn.Flatten(), QuantLinear(8, 3, weight=Sign(), input=Sign()))
    assert settle(model.eval()) == (2, 0)


def test_gain_of_zero_decides_nothing():
    assert settle(network(Sign(), means=[1.0], gains=[0.0])) == (0, 0)


def test_channel_that_cannot_be_cleared_is_counted():
    """At a million the margin is more than half a step."""
    model = network(Sign(), means=[3.0, 1e6, 0.5], gains=[1.0, 1.0, 1.0])
    assert settle(model) == (1, 1)
    assert model[1].running_mean[1] == 1e6
    assert settle(model) == (0, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_rounding_is_that_of_the_terms(channels):
    model = network(Uniform(2), means=[100.0] * channels, gains=[0.5] * channels)
    (_, nothing), (quantizer, sums) = activations(model)
    assert nothing is None and quantizer is model[3]
    expected = [2e-6 * (0.5 * 101 + (cut + 50) + cut) for cut in (0.5, 1.5, 2.5)]
    assert torch.allclose(sums.rounding(decisions(quantizer)), torch.tensor([expected] * channels).double())


@pytest.mark.parametrize("count", [1, 3, 15, 255])
@pytest.mark.parametrize("room", [1e-5, 1e-3, 0.02])
def test_the_shift_is_the_first_that_fits(count, room):
    for seed in range(20):
        points = torch.randn(count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 50
        points[:1] = points[:1].round()
        rooms = room * (1 + points.abs() / 100)
        clear = _distance(points) >= rooms
        expected = None
        for k in range(1, 200):
            shift = (k + 1) // 2 * float(rooms.max()) * (1 if k % 2 else -1)
            after = points + shift
            if bool((_distance(after) >= rooms).all()) and bool(
                    (after.floor() == points.floor())[clear].all()):
                expected = shift
                break
        assert _shift(points, rooms) == expected
