"""Recurrent layers against torch's own, language models, and what is said of them at export."""

import dataclasses
import re

import pytest
import torch
from torch import nn

import hwbnn_train
from hwbnn import datasets
from hwbnn.datasets import files
from hwbnn.errors import UserError
from hwbnn_train import diagnose, export
from hwbnn_train.evaluation import evaluate
from hwbnn_train.losses import LOSSES
from hwbnn_train.optimizers import clip_gradients, parameter_groups
from hwbnn_train.quantizers import LossAware, Real, Sign, Uniform
from hwbnn_train.recipes import RECIPES
from hwbnn_train.recurrent import LSTM, RNN

SMALL = {"units": 12, "epochs": 2, "batch": 10}


pytestmark = pytest.mark.usefixtures("seeded")


def real(signed):
    return Real()


@pytest.fixture
def text(tmp_path, monkeypatch):
    """A text whose next character is known from the last two."""
    monkeypatch.setitem(files.DIGESTS, ("tinyshakespeare", "tinyshakespeare.txt"), None)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "tinyshakespeare.txt").write_text("abcabdabe" * 800)
    return tmp_path


# layers

def test_rnn_is_torchs():
    ours, theirs = RNN(7, 5, weight=Real, activation=real), nn.RNN(7, 5, batch_first=True)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(ours.input.weight)
        theirs.weight_hh_l0.copy_(ours.hidden.weight)
        theirs.bias_ih_l0.copy_(ours.input.bias.normal_())
        theirs.bias_hh_l0.zero_()
    tokens = torch.randint(7, (3, 20))
    expected, _ = theirs(nn.functional.one_hot(tokens, 7).float())
    for training in (True, False):
        assert torch.allclose(ours.train(training)(tokens.float()), expected, atol=1e-5)


def test_lstm_is_torchs():
    """torch orders the gates i, f, g, o; ours are i, f, o, g."""
    ours, theirs = LSTM(7, 5, weight=Real, activation=real), nn.LSTM(7, 5, batch_first=True)
    assert ours.input.bias.tolist() == [0.0] * 5 + [1.0] * 5 + [0.0] * 10  # forget by default nothing
    order = torch.cat([torch.arange(10), torch.arange(15, 20), torch.arange(10, 15)])
    with torch.no_grad():
        ours.input.bias.normal_()
        theirs.weight_ih_l0.copy_(ours.input.weight[order])
        theirs.weight_hh_l0.copy_(ours.hidden.weight[order])
        theirs.bias_ih_l0.copy_(ours.input.bias[order])
        theirs.bias_hh_l0.zero_()
    tokens = torch.randint(7, (3, 20))
    expected, _ = theirs(nn.functional.one_hot(tokens, 7).float())
    for training in (True, False):
        assert torch.allclose(ours.train(training)(tokens), expected, atol=1e-5)


@pytest.mark.parametrize("layer", [RNN, LSTM])
def test_states_and_weights_are_quantized(layer):
    recipe = RECIPES["qnn-lstm"]
    ours = layer(7, 6, weight=recipe.weight, activation=recipe.activation)
    tokens = torch.randint(7, (4, 30))
    states = ours(tokens) * 7
    assert torch.allclose(states, states.round(), atol=1e-5) and states.abs().max() <= 7.001
    assert torch.allclose(ours.eval()(tokens) * 7, states, atol=1e-4)  # integers and scales, or their products
    states.sum().backward()
    assert ours.hidden.weight.grad.abs().sum() > 0 and ours.input.weight.grad.abs().sum() > 0


def test_activation_levels():
    signed, unsigned = (RECIPES["qnn-lstm"].activation(s) for s in (True, False))
    x = torch.tensor([-1.0, 0.0, 1.0])
    assert signed(x).tolist() == pytest.approx([-1, 0, 1]) and unsigned(x).tolist() == pytest.approx([0, 0, 1])
    assert len(signed.levels) == 15 and len(unsigned.levels) == 16


def test_methods():
    kinds = {name: type(RECIPES[f"{name}-lstm"].model((100,), 9).recurrent.hidden.quantize_weight)
             for name in ("float", "qnn", "lab", "binaryconnect")}
    assert kinds == {"float": Real, "qnn": Uniform, "lab": LossAware, "binaryconnect": Sign}


def test_gradients_are_clipped():
    layer = nn.Linear(2, 1, bias=False)
    optimizer = clip_gradients(torch.optim.SGD(parameter_groups(layer), lr=1.0), 0.5)
    before = layer.weight.detach().clone()
    (layer.weight * torch.tensor([[9.0, -0.25]])).sum().backward()
    optimizer.step()
    assert torch.allclose(before - layer.weight, torch.tensor([[0.5, -0.25]]))
    with pytest.raises(ValueError, match=r"^Bound of gradients must be positive, not 0.0$"):
        clip_gradients(optimizer, 0.0)


# training

@pytest.mark.parametrize("name", ["qnn-lstm", "lab-lstm", "qnn-rnn"])
def test_a_language_is_learned(text, name):
    recipe = dataclasses.replace(RECIPES[name], **{**SMALL, "epochs": 5, "lr": 3e-2, "lr_end": 3e-3})
    metrics = hwbnn_train.train(recipe, text / "run", data_root=text, progress=False, device="cpu")
    assert metrics["loss"]["test"] < 1.2 and metrics["accuracy"]["test"] > 0.5  # log 5 = 1.61
    assert metrics["not_exported"] == (
        f"Layer recurrent must be one that can become hardware, not {recipe.layer.upper()}: it carries a state from "
        f"step to step, and hardware here keeps none between vectors")
    assert [layer["name"] for layer in metrics["layers"]] == ["recurrent.hidden", "output"]
    written = sorted(path.name for path in (text / "run").iterdir())
    assert written == ["checkpoint.pt", "layers.svg", "metrics.json", "tensorboard"]


def test_best_epoch_has_the_lowest_loss():
    recipe = RECIPES["qnn-lstm"]
    assert recipe.score(0.9, 2.0) < recipe.score(0.1, 1.0)


def test_every_label_counts():
    class Fixed(nn.Module):
        def forward(self, x):
            return torch.stack([x, 1 - x], dim=1)  # class 0 where x is 1

    x = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    y = torch.tensor([[0, 1, 1], [0, 0, 1]])
    accuracy, loss = evaluate(Fixed(), (x, y), LOSSES["cross-entropy"], batch=3)
    assert accuracy == pytest.approx(4 / 6)
    assert loss == pytest.approx(float(nn.functional.cross_entropy(Fixed()(x), y)))


def test_recurrent_layers_are_diagnosed():
    model = dataclasses.replace(RECIPES["qnn-lstm"], **SMALL).model((100,), 9)
    reports = diagnose(model, torch.randint(9, (4, 100)))
    assert [(r.name, r.bits) for r in reports] == [("recurrent.hidden", 4), ("output", 4)]


# bad input

@pytest.mark.parametrize("layer", [nn.LSTM(4, 3), nn.GRU(4, 3)])
def test_torchs_recurrent_layers_are_refused_too(layer):
    model = nn.Sequential()
    model.add_module("memory", layer)
    with pytest.raises(UserError, match=rf"^Layer memory must be one that can become hardware, not "
                                        rf"{type(layer).__name__}: it carries a state from step to step, .*$"):
        export(model, (4,))


def test_texts_and_images_are_not_mixed(tmp_path):
    texts = ", ".join(name for name in datasets.names() if datasets.is_text(name))
    with pytest.raises(UserError, match=f"^Recipe qnn-lstm must have a text, one of {texts}, not digits$"):
        hwbnn_train.train("qnn-lstm", tmp_path / "out", data="digits")
    with pytest.raises(UserError, match=r"^Recipe digits-mlp must have images, one of digits, mnist, .*svhn-extra, not "
                                        r"ptb-words$"):
        hwbnn_train.train("digits-mlp", tmp_path / "out", data="ptb-words")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("make", "message"), [
    (lambda: dataclasses.replace(RECIPES["qnn-lstm"], layer="gru"),
     "Language layer must be one of lstm, rnn, not 'gru'"),
    (lambda: dataclasses.replace(RECIPES["qnn-lstm"], method="x"),
     "Language method must be one of float, qnn, binaryconnect, lab, not 'x'"),
    (lambda: RNN(0, 3, weight=Real, activation=real), "RNN tokens and units must be positive, not 0 and 3"),
])
def test_bad_parameters(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


def test_representation():
    assert repr(RNN(3, 4, weight=Real, activation=real)).startswith("RNN(\n  3, 4")
