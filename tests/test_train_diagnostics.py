"""Diagnostics, against counts and angles made by hand."""

import math
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch import nn

from hwbnn_train import QuantConv2d, QuantLinear, Sign, Uniform, diagnose
from hwbnn_train.plots import _POINTS, _scatter, plot
from hwbnn_train.quantizers import Real, States, Steps, TernaryWeights


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def test_linear_layer():
    layer = QuantLinear(3, 2, weight=States(1), input=Uniform(2))
    layer.weight.data = torch.tensor([[1.0, 0.0, -1.0], [0.0, 0.0, 1.0]])
    x = torch.tensor([[1.0, 2.0, 0.0], [1.0, 0.0, 3.0]])
    (report,) = diagnose(nn.Sequential(layer), x)
    assert (report.name, report.weights, report.bits, report.training_bits) == ("0", 6, 2, 2)
    assert report.zeros == 0.5 and report.angle == 0 and report.proportionality == pytest.approx(1)
    # non-zero pairs: image 0: input 0 with row 0; image 1: input 0 with row 0, input 2 with both rows
    assert report.resting == pytest.approx(1 - 4 / 12)
    assert report.dead == pytest.approx(1 / 3)


def test_padding_is_not_counted():
    layer = QuantConv2d(1, 1, 3, padding=1, weight=Sign())
    (report,) = diagnose(nn.Sequential(layer), torch.ones(2, 1, 4, 4))
    assert report.resting == 0 and report.dead == 1 and report.bits == 1 and report.training_bits == 32


def test_angle_of_a_random_direction_and_its_signs():
    layer = QuantLinear(1000, 200, weight=Sign())
    nn.init.normal_(layer.weight)
    (report,) = diagnose(nn.Sequential(layer), torch.randn(50, 1000))
    assert report.angle == pytest.approx(math.degrees(math.acos(math.sqrt(2 / math.pi))), abs=0.3)
    assert report.proportionality == pytest.approx(math.sqrt(2 / math.pi), abs=0.02)  # the cosine of the angle


def test_ternary_resting_of_uniform_states():
    """Of uniform ternary inputs and weights 1 - (2/3)^2 rest, as the paper counts."""
    layer = QuantLinear(300, 300, weight=TernaryWeights(), input=Steps())
    layer.weight.data = torch.randint(-1, 2, (300, 300)).float()
    (report,) = diagnose(nn.Sequential(layer), torch.randint(-1, 2, (200, 300)).float())
    assert report.resting == pytest.approx(5 / 9, abs=0.01)


def test_every_layer_is_reported_and_real_weights_too():
    model = nn.Sequential(QuantConv2d(1, 2, 3, weight=Sign()), nn.Flatten(), QuantLinear(8, 3, weight=Real()))
    reports = diagnose(model, torch.randint(0, 2, (5, 1, 4, 4), dtype=torch.uint8))
    assert [(r.name, r.bits, r.training_bits) for r in reports] == [("0", 1, 32), ("2", 32, 32)]
    assert all(np.isfinite([r.angle, r.proportionality, r.resting, r.dead]).all() for r in reports)


def test_inputs_before_and_behind_their_quantizer():
    """A sign keeps the direction of random inputs as well as it keeps that of weights."""
    layer = QuantLinear(1000, 200, weight=Sign(), input=Sign(window=1.0))
    (report,) = diagnose(nn.Sequential(layer), torch.randn(50, 1000))
    assert report.input_proportionality == pytest.approx(math.sqrt(2 / math.pi), abs=0.02)
    (same,) = diagnose(nn.Sequential(QuantLinear(9, 4, weight=Sign())), torch.randn(5, 9))
    assert same.input_proportionality == pytest.approx(1)


def test_plot():
    """Well formed, a row of four charts for each layer, and every point and bar within its frame."""
    model = nn.Sequential(QuantConv2d(1, 2, 3, weight=Sign()), nn.Flatten(),
                          QuantLinear(8, 3, weight=TernaryWeights(), input=Sign(window=1.0)))
    root = ElementTree.fromstring(plot(model, torch.randint(0, 9, (5, 1, 4, 4), dtype=torch.uint8)))
    name = "{http://www.w3.org/2000/svg}"
    charts = root.findall(f"{name}g")
    assert len(charts) == 8
    scatter, histogram = charts[4], charts[7]
    assert len(scatter.findall(f"{name}circle")) == 5 * 3
    assert all(0 <= float(dot.get(axis)) <= 220 for dot in scatter.findall(f"{name}circle") for axis in ("cx", "cy"))
    assert len(histogram.findall(f"{name}rect")) == 3  # -1, 0 and 1
    words = [text.text for text in root.findall(f"{name}text")]
    assert words[4] == "0" and "18 weights" in words and "of 1 bit" in words and "of 2 bits" in words


def test_plot_of_equal_sums():
    model = nn.Sequential(QuantLinear(3, 2, weight=Real()))
    assert "nan" not in plot(model, torch.zeros(4, 3))


def test_points_are_chosen_from_more_values_than_floats_count():
    # a float has 24 bits: the last of so many rounds up to one behind it
    many = torch.zeros(25_088_000)
    assert _scatter(many, many).count('class="dot"') == _POINTS
