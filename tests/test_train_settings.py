"""Recipes changed from a command line, listed in it, and what it prints of a training."""

import dataclasses
import json
import re

import pytest
import torch
from torch import nn

import hwbnn_train
from hwbnn.cli import trained
from hwbnn.cli.train import app
from hwbnn.errors import UserError
from hwbnn_train import QuantLinear, Sign, Uniform, diagnose, summary, with_settings
from hwbnn_train.plots import plot
from hwbnn_train.quantizers import States, TernaryWeights
from hwbnn_train.recipes import RECIPES, recipe


def command(*words):
    app(list(words), standalone_mode=False)


# --set

@pytest.mark.parametrize(("name", "settings", "changes"), [
    ("gxnor-mlp", ["window=triangular", "weight_states=2", "hidden=64,32"],
     {"window": "triangular", "weight_states": 2, "hidden": (64, 32)}),
    ("bitwise-mlp", ["input=fixed-point", "sparsity=0.25", "window=inf"],
     {"input": "fixed-point", "sparsity": 0.25, "window": float("inf")}),
    ("bitpruning-mlp", ["weighting=luts"], {"weighting": "luts"}),
    ("qnn-mlp", ["gradient_bits=6"], {"gradient_bits": 6}),
    ("qnn-log-mlp", ["gradient_bits=none"], {"gradient_bits": None}),
    ("twn-mlp", ["per_filter=true", "hidden=none", "lr=1e-2", "lr=2e-2"],
     {"per_filter": True, "hidden": (), "lr": 2e-2}),
    ("mnist-mlp", [], {}),
])
def test_settings(name, settings, changes):
    assert with_settings(recipe(name), settings) == dataclasses.replace(recipe(name), **changes)


@pytest.mark.parametrize("name", RECIPES)
def test_every_field_can_be_set_to_what_it_is(name):
    chosen = recipe(name)

    def text(value):
        words = {True: "true", False: "false", None: "none"}
        if isinstance(value, tuple):
            return ",".join(map(str, value))
        return words[value] if value is None or isinstance(value, bool) else str(value)

    settings = [f"{field.name}={text(getattr(chosen, field.name))}" for field in dataclasses.fields(chosen)
                if field.name != "name"]
    same = with_settings(chosen, settings)
    assert same == chosen and same.config() == chosen.config()


@pytest.mark.parametrize(("setting", "message"), [
    ("windw=triangular", r"Setting of recipe gxnor-mlp must be one of data, .*, not 'windw'; did you mean 'window'\?"),
    ("name=mine", r"Setting of recipe gxnor-mlp must be one of .*, not 'name'.*"),
    ("epochs", r"Setting must be FIELD=VALUE, such as epochs=5, not 'epochs'"),
    ("epochs=1.5", r"Setting epochs must be a whole number, not '1\.5'"),
    ("epochs=0", r"Recipe epochs must be a positive integer, not 0"),
    ("lr=fast", r"Setting lr must be a number, not 'fast'"),
    ("r=nan", r"Setting r must be a number, not 'nan'"),
    ("exported=yes", r"Setting exported must be true or false, not 'yes'"),
    ("hidden=64,x", r"Setting hidden must be whole numbers such as 512,512, or none, not '64,x'"),
    ("hidden=64,0", r"Network hidden must be at least 1, not \(64, 0\)"),
    ("loss=mse", r"Recipe loss must be one of .*, not 'mse'"),
])
def test_settings_that_are_refused(setting, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        with_settings(recipe("gxnor-mlp"), [setting])


def test_a_number_or_none():
    with pytest.raises(UserError, match=r"^Setting gradient_bits must be a whole number or none, not 'six'$"):
        with_settings(recipe("qnn-mlp"), ["gradient_bits=six"])


@pytest.mark.parametrize(("setting", "message"), [
    ("weight_states=9", (r"Recipe gxnor-mlp must make a network, and with its settings it cannot: GXNOR space N must "
                         r"be an integer from 0 to 8, not 9")),
    ("window=round", r"Recipe gxnor-mlp must make a network, .*: Steps window must be rectangular or triangular, .*"),
    ("momentum=1.5", r"Adam betas must be at least 0 and below 1, not \(1\.5, 0\.999\)"),
    ("batch=5000", r"Recipe batch must be at most the \d+ training images, not 5000"),
])
def test_settings_that_the_parts_of_a_recipe_refuse(tmp_path, setting, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        command("gxnor-mlp", "-o", str(tmp_path), "--data", "digits", "--set", setting)


# --list

def test_list(capsys):
    command("--list")
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= 100 and "…" not in "".join(lines)
    assert [line.split()[0] for line in lines[-len(RECIPES) - 1:] if line] == list(RECIPES)
    assert next(line.split(maxsplit=2)[2] for line in lines if " gxnor-conv " in line) == (
        "−1, 0, 1    −1, 0, 1  GXNOR-Net")
    command("--list", "--json")
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == list(RECIPES)


@pytest.mark.parametrize(("name", "expected"), [
    ("digits-mlp", ("digits", "±1", "±1", "BinaryNet on 8 x 8 digits", "1602.02830")),
    ("binaryconnect-stochastic-mlp", ("mnist", "±1", "4 bits", "BinaryConnect, stochastic", "1511.00363")),
    ("ttq-mlp", ("mnist", "−Wn, 0, Wp", "4 bits", "Trained ternary quantization", "1612.01064")),
    ("qnn-log-mlp", ("mnist", "2^k", "2^k", "QNN, logarithmic", "1609.07061")),
    ("bitpruning-luts-mlp", ("mnist", "learned", "learned", "BitPruning, luts", "2002.03090")),
    ("low-precision-mlp", ("mnist", "10 bits", "9 bits", "Low precision", "1412.7024")),
    ("lab-lstm", ("tinyshakespeare", "±1", "real", "Language model, lab", "")),
])
def test_summary(name, expected):
    before = torch.get_rng_state()
    assert dataclasses.astuple(summary(recipe(name))) == (name, *expected)
    assert torch.equal(torch.get_rng_state(), before)


# what is printed

@pytest.fixture(scope="module")
def gxnor(tmp_path_factory):
    chosen = with_settings(recipe("gxnor-mlp"), ["data=digits", "hidden=48,48", "epochs=1"])
    return hwbnn_train.train(chosen, tmp_path_factory.mktemp("gxnor"), progress=False)


def printed(metrics, capsys):
    trained.results(metrics, "m.onnx", "log")
    out = capsys.readouterr().out
    tables = [line.rstrip() for line in out[out.index("\n\n"):].splitlines()]
    assert max(map(len, tables)) <= 100 and "…" not in out
    return out


def test_printed_of_gxnor(gxnor, capsys):
    assert gxnor["config"]["hidden"] == [48, 48]  # --set is recorded
    out = printed(gxnor, capsys)
    assert re.search(r"Training keeps +1,464 bytes of weights, 16 times less than the 23,424 of real numbers; ", out)
    assert re.search(r"\n fc2 +2,304 +2 +2 +\d+\.\d % +0\.0° +– +1\.000 ", out)
    assert re.search(r"\n fc2 +ternary \(gated XNOR\) +2,304 +0 +0 +[\d,]+ +48 +\d+\.\d %", out)
    assert re.search(r"\n total +5,856 +0 +", out) and re.search(r"\n full precision +5,856 +5,856 +0 +0 +0\.0 %", out)


def test_printed_of_real_weights_learned_bits_and_texts(gxnor, capsys):
    share = {"test": 0.975, "validation": 0.5, "train": 1.0}
    out = printed({**gxnor, "accuracy_real_weights": share, "figures": {
        "bits/fc1 weights": 2.0, "bits/fc2 weights": 3.0, "bits/fc2 inputs": 1.0, "bits/mean": 2.0, "steps": 4.0}},
        capsys)
    assert re.search(r"\nWith real weights +97\.50 % test, 50\.00 % validation, 100\.00 % train", out)
    assert re.search(r"\n fc1 +2 +–\s*\n fc2 +3 +1\s*\n[\s\S]* mean of all +2\s*\n", out)
    assert re.search(r"\nsteps +4", out)
    loss = {"test": 2.0, "validation": 1.0, "train": 0.0}
    out = printed({**gxnor, "data": "tinyshakespeare", "loss": loss,
                   "config": {**gxnor["config"], "loss": "cross-entropy"}}, capsys)
    assert re.search(r"\nCross-entropy +2\.0000 test, 1\.0000 validation, 0\.0000 train, in nats", out)
    assert re.search(r"\nPerplexity +7\.389 test, 2\.718 validation, 1\.000 train", out)
    assert "Accuracy" not in out and "Operations of one token" in out


def test_random_angles_beside_those_of_layers():
    """Only one bit and ternary weights have one, that of the best of all thresholds for numbers of a normal law."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(*(QuantLinear(4, 4, weight=weight) for weight in (
            Sign(), TernaryWeights(), Uniform(4, signed=True, scale=0.125), States(1))))
        x = torch.randn(5, 4)
        assert [report.random_angle for report in diagnose(model, x)] == [37.07, 25.85, None, None]
        drawing = plot(model, x)
        assert re.findall(r">\((random [^<]*)\)<", drawing) == ["random 37.07°", "random ≥ 25.85°"]
        w = torch.randn(1_000_000, dtype=torch.float64).abs().sort(descending=True).values
        # of ternary vectors that keep the k largest the cosine is their sum over the root of k
        cosines = w.cumsum(0) / (torch.arange(1, len(w) + 1).sqrt() * w.norm())
        assert float(cosines.max().acos().rad2deg()) == pytest.approx(25.85, abs=0.05)
        assert float(cosines[-1].acos().rad2deg()) == pytest.approx(37.07, abs=0.05)
