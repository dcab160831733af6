"""Steps of optimizers in one pass over the weights are those of torch and of what follows it."""

import math

import pytest
import torch
from torch import nn

from hwbnn_train import formats, fused, low_precision
from hwbnn_train.adam import Adam
from hwbnn_train.averaging import Average
from hwbnn_train.descent import Descent
from hwbnn_train.layers import QuantLinear
from hwbnn_train.optimizers import parameter_groups, prepare
from hwbnn_train.quantizers import Sign, States, discrete, scaled
from hwbnn_train.shift import ShiftAdaMax

pytest.importorskip("numba")

SHAPE = (120, 70)


def layer(weight, **options):
    torch.manual_seed(5)
    return nn.Sequential(QuantLinear(SHAPE[1], SHAPE[0], weight=weight, **options), nn.BatchNorm1d(SHAPE[0]))


def steps(optimizer, model, count=4):
    for index in range(count):
        for seed, parameter in enumerate(model.parameters()):
            generator = torch.Generator().manual_seed(100 * index + seed)
            parameter.grad = 0.1 * torch.randn(parameter.shape, generator=generator)
        optimizer.step()


@pytest.mark.parametrize("limit", [1.0, math.inf])
def test_adam_is_torchs_fused_one_with_clipping(limit):
    mine, other = (layer(Sign(), limit=limit, spread=1.0) for _ in range(2))
    optimizer = Adam(parameter_groups(mine), lr=0.3)
    reference = prepare(torch.optim.Adam(parameter_groups(other), lr=0.3, fused=True))
    steps(optimizer, mine)
    steps(reference, other)
    for (name, found), expected in zip(mine.named_parameters(), other.parameters(), strict=True):
        # the same bits where torch, too, has fused multiplications and additions
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7, msg=name)
    state, expected = optimizer.state_dict()["state"], reference.state_dict()["state"]
    assert state.keys() == expected.keys() and all(state[key].keys() == expected[key].keys() for key in state)
    optimizer.load_state_dict(reference.state_dict())
    steps(optimizer, mine, 1)


@pytest.mark.parametrize("share", [0.999, 0.3])
def test_adam_takes_the_mean_of_the_weights_in_the_same_pass(share):
    mine, other = layer(Sign()), layer(Sign())
    optimizer, reference = (Adam(parameter_groups(model), lr=0.3) for model in (mine, other))
    optimizer.average, average = (Average(model, share) for model in (mine, other))
    for _ in range(12):  # the mean begins with more than half of the newest weights
        steps(optimizer, mine, 1)
        optimizer.average.follow()
        steps(reference, other, 1)
        average.follow()
    for found, expected in ((mine, other), (optimizer.average.model, average.model)):
        for name, parameter in found.named_parameters():
            assert torch.equal(parameter, expected.get_parameter(name)), name


@pytest.mark.parametrize("make", [
    lambda p: Adam(p, lr=0.1), lambda p: Descent(p, 0.1), lambda p: Descent(p, 0.1, 0.9), ShiftAdaMax])
@pytest.mark.parametrize("weight", [Sign, lambda: States(1)])
def test_graphs_from_before_a_step_know_of_it(make, weight):
    model = layer(weight())
    x = torch.randn(5, SHAPE[1], requires_grad=True)
    first, second = model[0](x).square().sum(), (model[0].weight * model[0].weight).sum()
    first.backward()
    make(parameter_groups(model[0])).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        second.backward()


def test_a_penalty_behind_a_step_is_of_the_new_weights():
    model = layer(scaled.ScaledSign(SHAPE[0], rate=0.1))[0]
    optimizer = Adam(parameter_groups(model), lr=0.1)
    x = torch.randn(5, SHAPE[1])
    model(x).square().sum().backward()
    optimizer.step()
    model(x)
    steps(optimizer, model, 1)
    expected = 0.1 * (model.weight.abs() - model.quantize_weight.alpha.abs()[:, None]).abs().sum()
    torch.testing.assert_close(model.quantize_weight.penalty(model.weight), expected)


def prepared_sgd(model, **options):
    return prepare(torch.optim.SGD(parameter_groups(model), lr=0.3, **options))


def rounded_layer(update, storage):
    kinds = formats.Single(), formats.Single(), update(), storage()
    model = layer(low_precision.RoundedParameter(*kinds), limit=math.inf, spread=0.5, lr_scale=1.0)
    return model.train()


@pytest.mark.parametrize("make,by,reference", [
    (lambda: layer(Sign()), lambda m: Descent(parameter_groups(m), 0.3), prepared_sgd),
    (lambda: layer(Sign()), lambda m: Descent(parameter_groups(m), 0.3, 0.7), lambda m: prepared_sgd(m, momentum=0.7)),
    (lambda: layer(States(1)), lambda m: Descent(parameter_groups(m), 0.3), prepared_sgd),
    (lambda: layer(Sign()), lambda m: ShiftAdaMax(parameter_groups(m)), lambda m: unfused(ShiftAdaMax, m)),
])
def test_other_optimizers_end_their_steps_in_the_same_pass(make, by, reference):
    mine, other = make(), make()
    for trained, optimizer in ((mine, by(mine)), (other, reference(other))):
        torch.manual_seed(6)
        steps(optimizer, trained)
    for found, expected in zip(mine.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


def unfused(kind, model):
    class Unfused(kind):
        def step(self, closure=None):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(fused, "_is_there", lambda: False)
                return super().step(closure)
    return Unfused(parameter_groups(model))


@pytest.mark.parametrize("max_norm", [None, 1.9])
@pytest.mark.parametrize("update,storage", [
    (formats.Single, formats.Single), (lambda: formats.Fixed(10, 1), formats.Single),
    (lambda: formats.DynamicFixed(10, -1, every=10), lambda: formats.DynamicFixed(12, 1, every=10)),
    (formats.Half, lambda: formats.Fixed(12, 1)),
])
def test_rounded_updates_are_those_of_any_optimizer(update, storage, max_norm):
    mine, other = rounded_layer(update, storage), rounded_layer(update, storage)
    optimizer = Descent(mine.parameters(), 0.1, 0.7, rounded=low_precision.rounded_parameters(mine), max_norm=max_norm)
    sgd = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.7)
    steps(optimizer, mine, 12)
    steps(low_precision.round_updates(sgd, other, max_norm=max_norm), other, 12)
    for name, tensor in mine.state_dict().items():
        # a norm whose sum is rounded otherwise may lead to the neighbouring fixed-point number
        difference = (tensor.float() - other.state_dict()[name].float()).abs()
        assert difference.max() <= 2.0**-9 and (difference > 1e-6).float().mean() < 0.01, name


@pytest.mark.parametrize("n", [0, 1, 3])
def test_transition_in_one_pass_is_the_transition(n):
    mine, other = (layer(States(n)) for _ in range(2))
    optimizer = Adam(parameter_groups(mine), lr=0.4)
    reference = prepare(torch.optim.Adam(parameter_groups(other), lr=0.4, fused=True))
    for trained, by in ((mine, optimizer), (other, reference)):
        torch.manual_seed(6)
        steps(by, trained)
    found, expected = mine[0].weight, other[0].weight
    assert torch.equal(found, discrete.snap(found, n))
    # an exponential off by 2^-22 may decide once in a million draws, and what follows differs
    assert (found != expected).sum() <= 2


def test_transition_in_one_pass_has_the_probability_it_should():
    model = layer(States(1))
    optimizer = Adam(parameter_groups(model), lr=0.1)
    weight = model[0].weight
    with torch.no_grad():
        weight.zero_()
    weight.grad = torch.where(torch.arange(SHAPE[1]) % 2 == 0, 1.0, -1.0).expand(SHAPE).contiguous()
    torch.manual_seed(7)
    optimizer.step()  # the first step is the learning rate against the gradient's sign
    moved = (weight * weight.grad)
    assert ((moved == 0) | (moved == -1)).all()
    share, expected = float((moved == -1).float().mean()), math.tanh(0.3)
    assert abs(share - expected) < 5 * math.sqrt(expected * (1 - expected) / moved.numel())
