"""What a GPU does otherwise than a CPU, as far as a CPU can show it: places of tensors, bfloat16, copies."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

import hwbnn_train
from hwbnn_train import adam, training
from hwbnn_train.adam import Adam
from hwbnn_train.comparison import compare
from hwbnn_train.descent import Descent
from hwbnn_train.evaluation import evaluate
from hwbnn_train.export import export
from hwbnn_train.formats import DynamicFixed
from hwbnn_train.layers import QuantConv2d, QuantLinear
from hwbnn_train.loop import fit
from hwbnn_train.low_precision import rounded_parameters
from hwbnn_train.optimizers import parameter_groups
from hwbnn_train.parallel import ALONE, Place, on_cpu
from hwbnn_train.quantizers import LogGradient, Sign, fixed
from hwbnn_train.recipes import RECIPES
from hwbnn_train.settle import settle
from hwbnn_train.shift import ap2


def test_convolutions_of_a_gpu_are_cudnns_repeatable_ones():
    with training._reproducible(0, 1, ALONE):
        assert torch.backends.cudnn.enabled and torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark and not torch.backends.cudnn.allow_tf32


def test_a_loaded_optimizer_has_its_steps_where_the_parameters_are(monkeypatch):
    """A checkpoint is read to the CPU, and torch's optimizers leave the count of steps there."""
    trained, model = QuantLinear(8, 4, weight=Sign()), QuantLinear(8, 4, weight=Sign()).to("meta")
    before, optimizer = (Adam(parameter_groups(m)) for m in (trained, model))
    trained.weight.grad = torch.ones(4, 8)
    before.step()
    optimizer.load_state_dict(before.state_dict())
    model.weight.grad = torch.ones(4, 8, device="meta")
    seen = []
    monkeypatch.setattr(adam, "adam", lambda parameters, grads, means, squares, _, steps, **how: seen.extend(
        [*parameters, *grads, *means, *squares, *steps]))
    optimizer.step()
    assert len(seen) == 5 and {tensor.device.type for tensor in seen} == {"meta"}


@pytest.mark.parametrize("make", [
    lambda model: Adam(parameter_groups(model), lr=0.1, slope=2.0),
    lambda model: Descent(model.parameters(), 0.1, 0.7, rounded=rounded_parameters(model), max_norm=1.9),
])
def test_a_copy_of_an_optimizer_goes_on_like_it(make):
    torch.manual_seed(0)
    model = RECIPES["low-precision-mlp"].model((12,), 3)
    pairs = [(model, make(model))]
    pairs.append(copy.deepcopy(pairs[0]))
    for trained, optimizer in pairs:
        torch.manual_seed(1)
        for _ in range(2):
            for parameter in trained.parameters():
                parameter.grad = torch.randn(parameter.shape)
            optimizer.step()
    for found, expected in zip(*(trained.parameters() for trained, _ in pairs), strict=True):
        assert torch.equal(found, expected)


def test_within_the_block_a_model_is_on_the_cpu():
    model = nn.Linear(2, 3)
    weight = model.weight
    with on_cpu(model):
        assert model.weight is weight and weight.is_cpu
    assert model.weight is weight


GPU = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")]
DEVICES = ["cpu", pytest.param("cuda", marks=GPU)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["mnist-mlp", "gxnor-mlp", "adaption-mlp", "qnn-log-mlp", "few-multiplications-mlp",
                                  "bitpruning-mlp", "bnnplus-mlp", "ttq-mlp", "shift-mlp", "low-precision-mlp"])
def test_an_interrupted_training_goes_on(tmp_path, name, device):
    recipe = dataclasses.replace(RECIPES[name], data="digits", hidden=(64,), epochs=4, recalibration=500)
    calls = 0

    class Interrupted(type(recipe)):
        def augment(self, x):
            nonlocal calls
            calls += 1
            if calls == 35:  # of 56
                raise KeyboardInterrupt
            return super().augment(x)

    with pytest.raises(KeyboardInterrupt):
        hwbnn_train.train(Interrupted(**vars(recipe)), tmp_path, progress=False, device=device)
    metrics = hwbnn_train.train(recipe, tmp_path, progress=False, device=device, resume=True)
    assert metrics["config"]["device"] == device and metrics["accuracy"]["test"] > 0.2
    assert metrics["export_difference"] < 1e-3
    whole = hwbnn_train.train(recipe, tmp_path / "whole", progress=False, device=device)
    if device == "cpu":
        assert whole["accuracy"] == metrics["accuracy"] and whole["loss"] == metrics["loss"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["mnist-conv", "gxnor-conv", "few-multiplications-mlp", "shift-attention-conv"])
def test_a_convolutional_network_trains_and_is_exported(tmp_path, name, device):
    recipe = dataclasses.replace(RECIPES[name], channels=(8, 8), epochs=1)
    torch.manual_seed(0)
    labels = torch.randint(2, (1000,))
    images = torch.randint(128, (1000, 1, 12, 12)) + 127 * labels.view(-1, 1, 1, 1)
    where = Place(torch.device(device), mixed=device == "cuda")
    model = recipe.model((1, 12, 12), 2).to(device)
    data = images.to(device), labels.to(device)
    state = fit(model, recipe, data, data, config={}, file=tmp_path / "checkpoint.pt", place=where)
    assert state.best["accuracy"] > 0.7
    model.load_state_dict(state.best["model"])
    settle(model.eval())
    compare(model, export(model, (1, 12, 12)), images[:20].numpy())
    assert {tensor.device.type for tensor in model.state_dict().values()} == {device}


# bfloat16

@pytest.mark.parametrize("stochastic", [False, True])
def test_fixed_point_of_bfloat16_is_that_of_float32(stochastic):
    x = torch.linspace(-2.0, 2.0, 1001).bfloat16()
    results = []
    for values in (x, x.float()):
        torch.manual_seed(3)
        results.append(fixed.fixed_point(values, 2.0**-4, fixed.Levels(-31, 31), stochastic=stochastic))
    assert results[0].dtype == torch.bfloat16 and len(results[0].unique()) == 63
    assert torch.equal(results[0].float(), results[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_powers_of_two_of_short_floats(dtype):
    x = torch.linspace(-4.0, 4.0, 401).to(dtype)
    assert ap2(x).dtype == dtype and torch.equal(ap2(x).float(), ap2(x.float()))
    assert torch.equal(ap2(x.double()), ap2(x).double())


def test_quantized_gradients_of_convolutions_in_bfloat16():
    layer = QuantConv2d(2, 3, 3, weight=Sign(), gradient=LogGradient(3), bias=True)
    x = torch.randn(4, 2, 8, 8, requires_grad=True)
    gradients = []
    for mixed in (True, False):
        with Place(torch.device("cpu"), mixed=mixed).autocast(True):
            y = layer(x)
        gradients.append(torch.autograd.grad(y.float().square().sum(), [x, *layer.parameters()]))
    for found, expected in zip(*gradients, strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05 * float(expected.abs().max()))


# what trainings may meet

@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_the_search_for_a_range_ends(wrong):
    numbers = DynamicFixed(10, 1).train()
    numbers.searching.fill_(True)
    x = torch.full((100,), 5.0)
    x[3] = wrong
    for _ in range(10):
        numbers(x)
    assert numbers.integer == 1
    for _ in range(10):
        numbers(torch.full((100,), 5.0))
    assert numbers.integer == 3


@pytest.mark.parametrize("name", ["digits-mlp", "lab-mlp"])
def test_a_frozen_layer_stays_as_it_is(tmp_path, name):
    made = []

    class Frozen(type(RECIPES[name])):
        def model(self, shape, classes):
            model = super().model(shape, classes)
            model.fc1.weight.requires_grad_(False)
            made.append((model, model.fc1.weight.clone()))
            return model

    recipe = Frozen(**{**dataclasses.asdict(RECIPES[name]), "data": "digits", "hidden": (32,), "epochs": 2})
    metrics = hwbnn_train.train(recipe, tmp_path, progress=False)
    model, weight = made[0]
    assert metrics["accuracy"]["test"] > 0.5
    assert torch.equal(model.fc1.weight, weight) and model.fc1.weight.grad is None


def test_evaluation_of_images_and_of_texts_is_that_of_any_batch():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    data = torch.randn(2503, 4), torch.randint(3, (2503,))
    whole = evaluate(model, data, nn.functional.cross_entropy, batch=2503)
    found = evaluate(model, data, nn.functional.cross_entropy)
    assert found[0] == whole[0] and found[1] == pytest.approx(whole[1], rel=1e-6)
