"""What the methods share: grids of weights, refusals, and that a network of each trains and exports."""

import dataclasses
import os
import re
from pathlib import Path

import pytest
import torch
from agreement import agree
from hypothesis import given
from tensors import weights

from hwbnn import datasets
from hwbnn_train import export
from hwbnn_train.evaluation import evaluate, recalibrate
from hwbnn_train.layers import QuantLinear
from hwbnn_train.loop import fit
from hwbnn_train.losses import squared_hinge
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
)
from hwbnn_train.recipes import RECIPES
from hwbnn_train.recipes.published import PUBLISHED

ROUNDS = {"adaption-mlp", "bitwise-mlp", "low-precision-mlp"}  # in test_train_formats.py
PERCEPTRONS = [name for name, recipe in RECIPES.items() if recipe.data == "mnist" and not recipe.channels
               and recipe.exported and recipe not in PUBLISHED and name not in ROUNDS]

pytestmark = pytest.mark.usefixtures("seeded")


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
    assert repr(SwishSign()) == "SwishSign(beta=5, learned=False)"
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


@pytest.mark.parametrize(("name", "changes"), VARIANTS)
def test_a_few_steps_then_torch_qonnx_and_golden_agree(tmp_path, name, changes):
    recipe = dataclasses.replace(RECIPES[name], epochs=2, batch=50, hidden=(16, 12), **changes)
    digits = {split: tuple(map(torch.as_tensor, datasets.load("digits", split))) for split in ("train", "test")}
    model = recipe.model((64,), 10)
    state = fit(model, recipe, digits["train"], digits["test"], config={}, file=tmp_path / "c.pt")
    assert state.history[1]["loss/train"] < state.history[0]["loss/train"]
    agree(tmp_path, model, digits["test"][0].numpy(), simulated=1)


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
