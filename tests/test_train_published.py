"""The papers' own sizes, made but not trained, and dropout behind a quantizer."""

import dataclasses

import pytest
import torch

from hwbnn_train import export
from hwbnn_train.layers import Quantized
from hwbnn_train.quantizers import Dropped, Sign
from hwbnn_train.recipes import RECIPES
from hwbnn_train.recipes.published import PUBLISHED


@pytest.mark.parametrize(("name", "shapes"), [
    ("binarynet-mnist-published", [(4096, 784), (4096, 4096), (4096, 4096), (10, 4096)]),
    ("binarynet-cifar10-published", [(128, 3, 3, 3), (128, 128, 3, 3), (256, 128, 3, 3), (256, 256, 3, 3),
                                     (512, 256, 3, 3), (512, 512, 3, 3), (1024, 8192), (1024, 1024), (10, 1024)]),
    ("gxnor-mnist-published", [(32, 1, 5, 5), (64, 32, 5, 5), (512, 1024), (10, 512)]),
    ("gxnor-cifar10-published", [(128, 3, 3, 3), (128, 128, 3, 3), (256, 128, 3, 3), (256, 256, 3, 3),
                                 (512, 256, 3, 3), (512, 512, 3, 3), (1024, 8192), (10, 1024)]),
])
def test_networks_of_the_papers(name, shapes):
    recipe = RECIPES[name]
    with torch.device("meta"):
        model = recipe.model({"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}[recipe.data], 10)
    assert [tuple(layer.weight.shape) for layer in model if isinstance(layer, Quantized)] == shapes


def test_narrow_ones_are_exported():
    for recipe in PUBLISHED:
        small = {"channels": tuple(c // 32 for c in recipe.channels), "hidden": (16,)}
        shape = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}[recipe.data]
        model = dataclasses.replace(recipe, **small).model(shape, 10)
        model(torch.randint(0, 256, (4, *shape)).float())
        assert export(model.eval(), shape).graph.output[0].name == "logits"


def test_dropped_values():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        quantizer = Dropped(Sign(window=1.0), 0.25)
        x = torch.randn(20_000, requires_grad=True)
        y = quantizer(x)
    assert y.unique().tolist() == pytest.approx([-4 / 3, 0, 4 / 3])
    assert float((y == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    y.sum().backward()
    assert torch.equal(x.grad != 0, (y != 0) & (x.abs() <= 1))
    assert set(quantizer.eval()(x).unique().tolist()) == {-1, 1} and quantizer.grid(x) == Sign().grid(x)


def test_dropped_pixels_are_grey():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = dataclasses.replace(RECIPES["binarynet-mnist-published"], hidden=(4,)).model((1, 28, 28), 10)
        pixels = model.fc1.quantize_input
        x = torch.randint(0, 256, (5000,)).float()
        y = pixels(x)
    kept = y != 127.5
    assert float(kept.float().mean()) == pytest.approx(0.8, abs=0.02)
    authors = x / 127.5 - 1  # pixels of -1..1, over the share of them that is kept
    assert torch.allclose(y[kept] / 127.5 - 1, authors[kept] / 0.8, atol=1e-5)
    assert torch.equal(pixels.eval()(x), x)


def test_rate_falls_tenfold_besides():
    recipe = RECIPES["gxnor-cifar10-published"]
    fall = [1e-2 * (3e-5 / 1e-2) ** (epoch / 2000) for epoch in (0, 999, 1000, 1599, 1600)]
    expected = [lr * tenths for lr, tenths in zip(fall, (1, 1, 0.1, 0.1, 0.01), strict=True)]
    assert [recipe.learning_rate(epoch) for epoch in (0, 999, 1000, 1599, 1600)] == pytest.approx(expected)
    assert recipe.r == 1.0 and recipe.config()["steps"] == [1000, 1600]


def test_bad_rate():
    with pytest.raises(ValueError, match=r"^Dropped rate must lie between 0 and 1, not 1.0$"):
        Dropped(Sign(), 1.0)
    assert repr(Dropped(Sign(), 0.5)).startswith("Dropped(\n  rate=0.5, center=0.0")
