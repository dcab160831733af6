"""Shift attention: the quantizer by its formula, and kernels that end with one tap."""

import dataclasses
import re

import numpy as np
import pytest
import torch

from hwbnn.frontend import load_onnx
from hwbnn.ir import TERNARY, Conv, Levels
from hwbnn_train import QuantConv2d, export, settle
from hwbnn_train.diagnostics import diagnose
from hwbnn_train.quantizers import MeanScaledSign, OneTap, Sign, Uniform
from hwbnn_train.recipes import RECIPES

RECIPE = dataclasses.replace(RECIPES["shift-attention-conv"], channels=(4, 6, 8), hidden=())


pytestmark = pytest.mark.usefixtures("seeded")


def test_attention_in_training():
    quantizer = OneTap((2, 3, 3, 3), Uniform(4, scale=0.125, signed=True), temperature=2.5)
    w = torch.rand(2, 3, 3, 3) * 2 - 1
    a = quantizer.attention.detach().numpy().astype(np.float64)
    e = np.exp(2.5 * a / a.std(axis=-1, ddof=1, keepdims=True))
    p = (e / e.sum(axis=-1, keepdims=True)).reshape(w.shape)
    assert np.allclose(quantizer(w).detach().numpy(), p * Uniform(4, scale=0.125, signed=True)(w).numpy(), atol=1e-6)


def test_gradients_reach_attention_and_weights():
    layer = QuantConv2d(3, 2, 3, weight=Sign())
    layer.quantize_weight = OneTap((2, 3, 3, 3), Sign())
    layer(torch.randn(4, 3, 5, 5)).square().sum().backward()
    assert layer.weight.grad.abs().sum() > 0 and layer.quantize_weight.attention.grad.abs().sum() > 0


def test_one_tap_in_evaluation():
    quantizer = OneTap((4, 5, 3, 3), Sign()).eval()
    w = torch.randn(4, 5, 3, 3)
    q = quantizer(w)
    assert torch.equal((q != 0).sum(dim=(2, 3)), torch.ones(4, 5, dtype=torch.long))
    chosen = q.abs().flatten(2).argmax(dim=-1)
    assert torch.equal(chosen, quantizer.attention.argmax(dim=-1))
    assert quantizer.grid(w).levels == TERNARY and quantizer.stored(w) == (20, 1 + 4)


def test_equal_attention_leaves_one_tap():
    quantizer = OneTap((1, 1, 2, 2), Sign())
    quantizer.attention.data.fill_(0.5)
    assert torch.isfinite(quantizer(torch.ones(1, 1, 2, 2))).all()
    assert int((quantizer.eval()(torch.ones(1, 1, 2, 2)) != 0).sum()) == 1


def test_inner_quantizer_keeps_its_levels_and_scale():
    w = torch.randn(2, 3, 3, 3)
    assert OneTap((2, 3, 3, 3), Uniform(3, signed=True)).grid(w).levels == Levels(-4, 3)
    scaled = OneTap((2, 3, 3, 3), MeanScaledSign())
    assert torch.equal(scaled.grid(w).scale, MeanScaledSign().grid(w).scale) and scaled.grid(w).levels == TERNARY
    assert scaled.group() == {} and scaled.penalty(w) is None


def test_temperature_grows_with_every_step():
    model = RECIPE.model((1, 8, 8), 10)
    assert isinstance(model.conv1.quantize_weight, Uniform)  # the first convolution is an ordinary one
    for progress, temperature in ((0.0, RECIPE.cold), (0.5, (RECIPE.cold * RECIPE.hot)**0.5)):
        RECIPE.advance(model, progress)
        for layer in (model.conv2, model.conv3):
            assert float(layer.quantize_weight.temperature) == pytest.approx(temperature)


@pytest.mark.parametrize("weight_bits", [1, 4])
def test_exported_kernels_have_at_most_one_tap(tmp_path, weight_bits):
    model = dataclasses.replace(RECIPE, weight_bits=weight_bits).model((1, 8, 8), 10).eval()
    settle(model)
    (tmp_path / "m.onnx").write_bytes(export(model, (1, 8, 8)).SerializeToString())
    convolutions = [node for node in load_onnx(tmp_path / "m.onnx").nodes if isinstance(node, Conv)]
    taps = [(node.weights != 0).sum(axis=(1, 2)) for node in convolutions]
    assert taps[0].max() > 1 and all(t.max() == 1 for t in taps[1:])
    if weight_bits == 1:
        assert all(t.min() == 1 for t in taps[1:])


def test_a_third_of_the_plain_networks_weights():
    recipe = RECIPES["shift-attention-conv"]
    same = dataclasses.replace(RECIPES["mnist-conv"], channels=recipe.channels)
    plain, shifted = (chosen.model((1, 28, 28), 10) for chosen in (same, recipe))
    x = torch.zeros(1, 1, 28, 28)
    whole, kept = (sum(report.stored for report in diagnose(model, x)) for model in (plain, shifted))
    assert (whole, kept) == (47_520, 10_656) and 3 * kept <= whole


@pytest.mark.parametrize(("make", "message"), [
    (lambda: OneTap((2, 2, 1, 1), Sign()), "OneTap shape must have kernels of at least 2 taps, not (2, 2, 1, 1)"),
    (lambda: OneTap((2, 2, 3, 3), Sign(), temperature=0.0), "OneTap temperature must be positive and finite, not 0.0"),
    (lambda: dataclasses.replace(RECIPE, cold=60.0),
     "ShiftAttention cold and hot must satisfy 0 < cold <= hot, not cold=60.0 and hot=50.0"),
])
def test_bad_parameters(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


def test_representations():
    assert repr(OneTap((1, 1, 3, 3), Sign())).startswith("OneTap(\n  temperature=1, lr_scale=1.0")
