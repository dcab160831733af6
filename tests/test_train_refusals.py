"""What is refused before it costs a training, and what is said where that cannot be."""

import dataclasses
import re
from dataclasses import dataclass

import pytest
import torch

import hwbnn_train
from hwbnn import datasets
from hwbnn.datasets import files
from hwbnn.errors import UserError
from hwbnn_train import checkpoint as checkpoints
from hwbnn_train import training
from hwbnn_train.checkpoint import Checkpoint
from hwbnn_train.quantizers import BitwiseActivation, QFormat
from hwbnn_train.recipes import RECIPES
from hwbnn_train.recipes.digits import Digits
from hwbnn_train.recipes.published import PUBLISHED

SMALL = Digits(hidden=(16,), epochs=1, batch=50)
EXPORTED = [name for name, recipe in RECIPES.items() if recipe.exported and recipe not in PUBLISHED]


# what cannot be exported

@pytest.mark.parametrize(("name", "changes"), [
    ("ttq-mlp", {"scale_bits": None}), ("low-precision-mlp", {"format": "half"})])
def test_recipe_that_cannot_be_exported(tmp_path, name, changes):
    message = ("Layer fc1 must have quantized weights to become hardware, and .*; with the recipe's setting "
               "exported=false it is trained for comparison")
    recipe = dataclasses.replace(RECIPES[name], data="digits", hidden=(16,), **changes)
    with pytest.raises(UserError, match=f"^{message}$"):
        hwbnn_train.train(recipe, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", EXPORTED)
def test_looking_at_an_untrained_network_changes_nothing(name):
    shape = (1, 8, 8) if getattr(RECIPES[name], "channels", ()) else (64,)
    channels = {"channels": (4, 4)} if len(shape) == 3 else {}
    with torch.random.fork_rng([]):
        model = dataclasses.replace(RECIPES[name], hidden=(6,), **channels).model(shape, 10)
        random, before = torch.get_rng_state(), {key: value.clone() for key, value in model.state_dict().items()}
        training._check_exportable(model, shape)
        assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(module.training for module in model.modules())


# what does not suit the data

@pytest.fixture
def text(tmp_path, monkeypatch):
    """A folder with a text that has fewer training sequences than most batches."""
    monkeypatch.setitem(files.DIGESTS, ("tinyshakespeare", "tinyshakespeare.txt"), None)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "tinyshakespeare.txt").write_text("abcabdabe" * 500)
    return tmp_path


LANGUAGE = dataclasses.replace(RECIPES["float-rnn"], units=4, epochs=1, batch=10)


def test_text_that_is_too_short(text):
    sequences = len(datasets.load("tinyshakespeare", "train", text)[0])
    message = f"Recipe batch must be at most the {sequences} training sequences, not 50"
    assert sequences < 50
    with pytest.raises(UserError, match=f"^{message}$"):
        hwbnn_train.train("qnn-lstm", text / "out", data_root=text, progress=False)
    assert not (text / "out").exists()


def test_too_few_images(tmp_path):
    with pytest.raises(UserError, match=r"^Recipe batch must be at most the 1077 training images, not 2000$"):
        hwbnn_train.train(dataclasses.replace(SMALL, batch=2000), tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_resumed_on_another_text(text):
    hwbnn_train.train(LANGUAGE, text / "out", data_root=text, progress=False)
    before = (text / "out" / "checkpoint.pt").read_bytes()
    (text / "text" / "tinyshakespeare.txt").write_text("abdabcabe" * 500)
    with pytest.raises(UserError, match=r"^Resumed training must have the configuration of .*, whose contents is "
                                        r'"train \d+ x 100, validation \d+ x 100, 5 classes, [0-9a-f]{16}", not ".*$'):
        hwbnn_train.train(LANGUAGE, text / "out", data_root=text, resume=True, progress=False)
    assert (text / "out" / "checkpoint.pt").read_bytes() == before


def test_checkpoint_that_does_not_tell_the_data(tmp_path):
    """As earlier versions wrote it."""
    file, config = tmp_path / "c.pt", {"name": "x", "seed": 0}
    checkpoints.save(file, Checkpoint(config, 1, {}, {}, {}, {"model": {}}))
    assert checkpoints.load(file, {**config, "contents": "3 images"}).config == {**config, "contents": "3 images"}
    with pytest.raises(UserError, match=r"^Resumed .* whose name is \"x\", not \"y\"; .*$"):
        checkpoints.load(file, {"a": 1, "name": "y", "seed": 1, "contents": "3 images"})


# what leaves no epoch to choose

def test_bits_that_are_never_whole(tmp_path):
    recipe = dataclasses.replace(RECIPES["bitpruning-mlp"], data="digits", hidden=(16,), epochs=1, learning=0.99)
    message = ("BitPruning learning must be at most 0.9, which leaves one of 10 steps to train with whole bits, not "
               "0.99")
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        hwbnn_train.train(recipe, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
    dataclasses.replace(recipe, learning=0.9).check(1077)


@dataclass(frozen=True, kw_only=True)
class NeverReady(Digits):
    def ready(self, model):
        return False


@dataclass(frozen=True, kw_only=True)
class NeverFinite(Digits):
    def score(self, accuracy, loss):
        return accuracy, float("nan")


@pytest.mark.parametrize("kind", [NeverReady, NeverFinite])
def test_no_epoch_to_choose(tmp_path, kind):
    message = (f"Training must have an epoch that can be deployed and whose loss on the validation split is finite, "
               f"and none of 1 is; {tmp_path / 'checkpoint.pt'} is kept")
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        hwbnn_train.train(kind(**dataclasses.asdict(SMALL)), tmp_path, progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "tensorboard"]


# two phases

@pytest.mark.parametrize(("epochs", "second"), [(1, 0.5), (4, 2.0), (5, 2.5), (6, 1.0), (20, 15.0)])
def test_ranges_are_found_in_few_epochs_too(epochs, second):
    """``tuning`` and ``compression`` are 5; ``second`` is where the tuning begins, in epochs."""
    recipe = dataclasses.replace(RECIPES["adaption-mlp"], hidden=(4,), epochs=epochs)
    model = recipe.model((6,), 3)
    quantizer = next(module for module in model.modules() if isinstance(module, QFormat))
    for progress, measuring in ((0.0, True), (second - 1e-6, True), (second, False), (epochs - 1e-6, False)):
        recipe.advance(model, progress / epochs)
        assert quantizer.measuring is measuring


@pytest.mark.parametrize(("epochs", "second"), [(1, 0.5), (4, 2.0), (5, 2.5), (6, 5.0), (20, 5.0)])
def test_bits_are_trained_in_few_epochs_too(epochs, second):
    recipe = dataclasses.replace(RECIPES["bitwise-mlp"], hidden=(4,), epochs=epochs)
    model = recipe.model((6,), 3)
    quantizer = next(module for module in model.modules() if isinstance(module, BitwiseActivation))
    for progress, noisy in ((0.0, False), (second - 1e-6, False), (second, True), (epochs - 1e-6, True)):
        recipe.advance(model, progress / epochs)
        assert quantizer.noisy is noisy


# what trains a network of another kind than the one it is named for

@pytest.mark.parametrize(("name", "changes", "first"), [
    ("low-precision-mlp", {"search": 2}, 3), ("maxout-mlp", {"search": 2}, 3), ("adaption-mlp", {"tuning": 1}, 3),
    ("bitwise-mlp", {"compression": 2, "pixel_bits": 4}, 3),
])
def test_the_best_epoch_is_one_of_the_method(tmp_path, name, changes, first):
    recipe = dataclasses.replace(RECIPES[name], data="digits", hidden=(32,), epochs=3, lr=1e-5, lr_end=1e-5, **changes)
    assert hwbnn_train.train(recipe, tmp_path, progress=False)["best_epoch"] >= first


def test_pixels_have_the_bits_of_their_data(tmp_path):
    def config(recipe):
        return hwbnn_train.train(recipe, tmp_path, data="digits", progress=False)["config"]

    small = dataclasses.replace(RECIPES["mnist-mlp"], hidden=(8,), epochs=1)
    assert config(small)["pixel_bits"] == 4
    assert config(dataclasses.replace(small, pixel_bits=3))["pixel_bits"] == 3
    assert [datasets.pixel_bits(name) for name in ("digits", "mnist", "svhn")] == [4, 8, 8]


def test_pixels_that_become_one_value(tmp_path):
    recipe = dataclasses.replace(RECIPES["bitwise-mlp"], data="digits", hidden=(16,), epochs=1)
    message = ("Recipe bitwise-mlp must tell pixels apart, and with its settings all of digits, 0..16, become one "
               "value; set pixel_bits to 4")
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        hwbnn_train.train(recipe, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("changes", "message"), [
    ({"batch": 1}, "Recipe batch must be at least 2, two images for each process, for batch normalization, not 1"),
    ({"recalibration": 1}, "Recipe recalibration must be 0 or at least 2 images, not 1"),
])
def test_batches_of_one_image(tmp_path, changes, message):
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        hwbnn_train.train(dataclasses.replace(SMALL, **changes), tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
    bitwise = dataclasses.replace(RECIPES["bitwise-mlp"], data="digits", hidden=(8,), epochs=1, pixel_bits=4)
    hwbnn_train.train(dataclasses.replace(bitwise, **changes), tmp_path / "other", progress=False)  # has no statistics


@pytest.mark.parametrize(("name", "changes", "message"), [
    ("digits-mlp", {"threads": 100_000}, "Recipe threads must be at most 256, not 100000"),
    ("digits-mlp", {"noise": -5.0}, "Digits noise must be at least 0 and finite, not -5.0"),
    ("digits-mlp", {"noise": float("inf")}, "Digits noise must be at least 0 and finite, not inf"),
    ("mnist-mlp", {"lr": float("inf")},
     "Recipe lr and lr_end must satisfy 0 < lr_end <= lr, both finite, not lr=inf and lr_end=3e-05"),
    ("gxnor-mlp", {"slope": 0.0}, "Gxnor slope must be positive and finite, not 0.0"),
    ("gxnor-mlp", {"slope": float("nan")}, "Gxnor slope must be a number, not nan"),
    ("ternarynet-mlp", {"beta_end": -20.0}, "TernaryNet beta_end must be positive and finite, not -20.0"),
    ("bnnplus-mlp", {"rate": float("inf")}, "BnnPlus rate must be at least 0 and finite, not inf"),
    ("bitpruning-mlp", {"gamma": float("inf")}, "BitPruning gamma must be at least 0 and finite, not inf"),
    ("shift-attention-conv", {"attention_lr_scale": -1.0},
     "ShiftAttention attention_lr_scale must be positive and finite, not -1.0"),
    ("low-precision-mlp", {"max_norm": -1.0}, "LowPrecision max_norm must be positive and finite, not -1.0"),
    ("low-precision-mlp", {"pieces": 0}, "LowPrecision pieces must be a positive integer, not 0"),
    ("bitwise-mlp", {"pixel_bits": 0}, "Bitwise pixel_bits must be an integer from 1 to 16, not 0"),
])
def test_numbers_that_make_no_sense(name, changes, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        dataclasses.replace(RECIPES[name], **changes)


@pytest.mark.parametrize("integer", [2000, -100])
@pytest.mark.parametrize("form", ["fixed", "dynamic"])
def test_ranges_beyond_all_numbers(tmp_path, integer, form):
    recipe = dataclasses.replace(RECIPES["low-precision-mlp"], data="digits", hidden=(8,), format=form, integer=integer)
    kind = {"fixed": "Fixed", "dynamic": "DynamicFixed"}[form]
    message = f"its settings it cannot: {kind} integer must be from -40 to 40, not {integer}"
    with pytest.raises(UserError, match=f"{re.escape(message)}$"):
        hwbnn_train.train(recipe, tmp_path / "out", progress=False)


def test_weights_too_large_for_a_histogram(tmp_path):
    recipe = dataclasses.replace(RECIPES["bnnplus-mlp"], data="digits", hidden=(32,), epochs=1, rate=1e30)
    metrics = hwbnn_train.train(recipe, tmp_path, progress=False)
    assert 0 < metrics["accuracy"]["test"] < 1
