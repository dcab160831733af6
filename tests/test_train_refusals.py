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

@pytest.mark.parametrize(("name", "changes", "message"), [
    ("ttq-mlp", {"scale_bits": None}, "Layer fc1 must have quantized weights to become hardware, and .*"),
    ("low-precision-mlp", {"format": "half"}, "Layer fc1 must have quantized weights to become hardware, and .*"),
])
def test_recipe_that_cannot_be_exported(tmp_path, name, changes, message):
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
