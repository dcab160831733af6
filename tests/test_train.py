"""``train``: what it writes, what it says, and what it never destroys."""

import dataclasses
import hashlib
import json
import os
import re

import numpy as np
import onnx
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import hwbnn_train
from hwbnn import datasets
from hwbnn.errors import UserError
from hwbnn_train import training
from hwbnn_train.recipes import RECIPES, recipe
from hwbnn_train.recipes.digits import Digits
from hwbnn_train.recipes.published import PUBLISHED

SMALL = Digits(hidden=(16, 16), epochs=3, batch=50)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return folder, hwbnn_train.train(SMALL, folder, progress=False)


def files(folder):
    return {name: (folder / name).read_bytes() for name in ("model.onnx", "metrics.json")}


def test_metrics(finished):
    folder, metrics = finished
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    assert metrics["recipe"] == "digits-mlp" and metrics["data"] == "digits" and metrics["seed"] == 0
    assert metrics["config"] == {**SMALL.config(), "seed": 0, "device": "cpu", "processes": 1}
    assert set(metrics["accuracy"]) == set(datasets.SPLITS) and all(0.3 < a < 1 for a in metrics["accuracy"].values())
    assert 1 <= metrics["best_epoch"] <= metrics["epochs"] == 3
    assert metrics["parameters"] == 64 * 16 + 16 * 16 + 16 * 10 + 2 * (16 + 16 + 10)
    assert metrics["model_sha256"] == hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    assert metrics["versions"]["torch"] == torch.__version__


def test_exported_model_has_the_reported_accuracy(finished):
    folder, metrics = finished
    proto = onnx.load(folder / "model.onnx")
    for split in ("validation", "test"):
        x, y = datasets.load("digits", split)
        assert np.mean(hwbnn_train.execute(proto, x).argmax(axis=1) == y) == metrics["accuracy"][split]
    properties = {p.key: p.value for p in proto.metadata_props}
    assert properties == {"recipe": "digits-mlp", "data": "digits", "seed": "0",
                          "accuracy_test": str(metrics["accuracy"]["test"])}


def test_same_seed_same_file(finished, tmp_path):
    hwbnn_train.train(SMALL, tmp_path, progress=False)
    assert (tmp_path / "model.onnx").read_bytes() == (finished[0] / "model.onnx").read_bytes()
    other = hwbnn_train.train(SMALL, tmp_path, seed=1, progress=False)
    assert other["model_sha256"] != finished[1]["model_sha256"]


def test_interrupted_and_resumed(finished, tmp_path, monkeypatch):
    class Interrupted(Digits):
        def augment(self, x):
            nonlocal steps
            steps += 1
            if steps == 50:
                raise KeyboardInterrupt
            return super().augment(x)

    steps = 0
    file = tmp_path / "checkpoint.pt"
    message = f"Training was interrupted; go on with --resume, from {file}"
    with pytest.raises(KeyboardInterrupt, match=f"^{re.escape(message)}$"):
        hwbnn_train.train(Interrupted(**dataclasses.asdict(SMALL)), tmp_path, progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pt", "tensorboard"]
    metrics = hwbnn_train.train(SMALL, tmp_path, resume=True, progress=False)
    assert metrics["model_sha256"] == finished[1]["model_sha256"]
    assert [p.name for p in (tmp_path / "tensorboard").iterdir()] == ["run-1"]


@pytest.mark.parametrize("earlier", [False, True])
def test_interrupted_in_the_first_epoch(tmp_path, earlier):
    if earlier:
        hwbnn_train.train(SMALL, tmp_path, epochs=1, progress=False)

    class Interrupted(Digits):
        def augment(self, x):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"^Training was interrupted in its first epoch$"):
        hwbnn_train.train(Interrupted(**dataclasses.asdict(SMALL)), tmp_path, progress=False)


def test_random_state_and_threads_are_put_back(tmp_path):
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    hwbnn_train.train(dataclasses.replace(SMALL, threads=1 + threads % 2), tmp_path, epochs=1, progress=False)
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads


def test_log_is_in_a_new_folder_for_each_training(tmp_path):
    for _ in range(2):
        hwbnn_train.train(SMALL, tmp_path, epochs=1, progress=False)
    assert sorted(p.name for p in (tmp_path / "tensorboard").iterdir()) == ["run-1", "run-2"]


def test_log_holds_the_figures(tmp_path):
    hwbnn_train.train(SMALL, tmp_path, epochs=2, progress=False)
    log = EventAccumulator(str(tmp_path / "tensorboard" / "run-1")).Reload()
    assert {"loss/train", "loss/validation", "accuracy/validation", "learning rate", "flips/fc1", "gradient/fc1",
            "dead/fc2", "angle/fc1", "proportionality/fc3"} <= set(log.Tags()["scalars"])
    assert {"weights/fc1", "gradients/fc1"} <= set(log.Tags()["histograms"])
    assert [event.step for event in log.Scalars("accuracy/validation")] == [1, 2]


def test_progress_goes_to_the_error_stream(tmp_path, capsys):
    hwbnn_train.train(SMALL, tmp_path, epochs=1)
    out, err = capsys.readouterr()
    assert out == "" and re.search(r"epoch 1/1 .* loss \d\.\d+ val \d+\.\d% best \d+\.\d%", err)


# what is never destroyed

def test_failures_leave_the_result(finished, tmp_path, monkeypatch):
    hwbnn_train.train(SMALL, tmp_path, epochs=1, progress=False)
    before = files(tmp_path)

    class Diverges(Digits):
        def augment(self, x):
            return x * float("nan")

    with pytest.raises(UserError, match=r"^Training must stay finite, and in epoch 1 .*$"):
        hwbnn_train.train(Diverges(**dataclasses.asdict(SMALL)), tmp_path, progress=False)
    with pytest.raises(UserError, match=r"^Resumed training must have the configuration of .*$"):
        hwbnn_train.train(SMALL, tmp_path, resume=True, seed=5, progress=False)

    def different(*args):
        raise RuntimeError("differs")

    monkeypatch.setattr(training, "compare", different)
    message = (f"differs; the trained network is kept in {tmp_path / 'checkpoint.pt'}, from which --resume goes on, "
               f"and earlier results are as they were")
    with pytest.raises(RuntimeError, match=f"^{re.escape(message)}$"):
        hwbnn_train.train(SMALL, tmp_path, epochs=1, seed=2, progress=False)
    assert files(tmp_path) == before
    monkeypatch.undo()
    hwbnn_train.train(SMALL, tmp_path, epochs=1, seed=2, resume=True, progress=False)
    assert files(tmp_path) != before


def test_full_disk(tmp_path, monkeypatch):
    hwbnn_train.train(SMALL, tmp_path, epochs=1, progress=False)
    before = files(tmp_path)

    def full(path, content):
        if path.name == "model.onnx":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(training, "write_atomic", full)
    message = (f"Results must be written to {tmp_path}, and that fails: No space left on device; make room and go on "
               f"with --resume")
    monkeypatch.setattr(training, "_check_writable", lambda path: None)
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        hwbnn_train.train(SMALL, tmp_path, epochs=1, seed=1, progress=False)
    assert files(tmp_path) == before


def test_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "f").write_text("")
    message = f"Output folder {tmp_path / 'f'} must be writable: File exists"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        hwbnn_train.train(SMALL, tmp_path / "f", progress=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match=f"^Output folder {re.escape(str(tmp_path))} must be writable: .*$"):
        hwbnn_train.train(SMALL, tmp_path, progress=False)


# what the user typed

def test_recipes():
    assert hwbnn_train.recipes() == list(RECIPES)
    assert {"digits-mlp", "mnist-mlp"} <= set(RECIPES)
    for name in RECIPES:
        assert recipe(name).name == name and recipe(name).data in datasets.names()


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe not in PUBLISHED])
def test_recipes_make_networks(name):
    """Small ones of each are exported in test_train_methods and test_train_convnets."""
    chosen = recipe(name)
    shape = {"digits": (64,), "mnist": (1, 28, 28), "cifar10": (3, 32, 32), "tinyshakespeare": (100,)}[chosen.data]
    expected = (2, 10, 100) if chosen.text else (2, 10)
    with torch.no_grad(), torch.random.fork_rng():
        assert chosen.model(shape, 10).eval()(torch.zeros(2, *shape)).shape == expected


def test_recipe_for_comparison_only(tmp_path):
    chosen = dataclasses.replace(recipe("float-mlp"), data="digits", hidden=(16,), epochs=4, lr=1e-2)
    metrics = hwbnn_train.train(chosen, tmp_path, progress=False)
    assert metrics["accuracy"]["test"] > 0.5 and "model_sha256" not in metrics
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pt", "layers.svg", "metrics.json", "tensorboard"]
    with pytest.raises(UserError, match=r"^Layer fc1 must have quantized weights .*$"):
        hwbnn_train.train(dataclasses.replace(chosen, exported=True), tmp_path, progress=False)


def test_real_weights_are_reported_apart(tmp_path):
    chosen = dataclasses.replace(recipe("binaryconnect-stochastic-mlp"), hidden=(16,), epochs=2)
    metrics = hwbnn_train.train(chosen, tmp_path, data="digits", progress=False)
    assert metrics["data"] == "digits" and metrics["config"]["data"] == "digits"
    assert metrics["accuracy_real_weights"].keys() == metrics["accuracy"].keys()
    assert metrics["accuracy_real_weights"] != metrics["accuracy"]


def test_unknown_recipe(tmp_path):
    message = ("Recipe must be one that hwbnn has, not 'digit-mlp'; did you mean 'digits-mlp'? `hwbnn train --list` "
               "names all")
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        hwbnn_train.train("digit-mlp", tmp_path)
    with pytest.raises(UserError, match=r"^Recipe must be one that hwbnn has, not 'zzz'; `hwbnn train --list` .*$"):
        hwbnn_train.train("zzz", tmp_path)


@pytest.mark.parametrize(("options", "message"), [
    ({"epochs": 0}, "Epochs must be at least 1, not 0"),
    ({"seed": -1}, r"Seed must be from 0 to 2\^63-1, not -1"),
])
def test_bad_options(tmp_path, options, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        hwbnn_train.train("digits-mlp", tmp_path, **options)


def test_unknown_data(tmp_path):
    with pytest.raises(UserError, match=r"^Data set must be one of .*, not 'minst'; did you mean 'mnist'\?$"):
        hwbnn_train.train("mnist-mlp", tmp_path / "out", data="minst")


def test_nothing_to_resume(tmp_path):
    with pytest.raises(UserError, match=r"^Checkpoint .* must exist to resume from; train without --resume first$"):
        hwbnn_train.train(SMALL, tmp_path / "out", resume=True)
    assert not (tmp_path / "out").exists()


def test_missing_data(tmp_path):
    message = (r"^Data set mnist must have the file .*; put it there, from "
               r"https://ossci-datasets\.s3\.amazonaws\.com/mnist/, or .*$")
    with pytest.raises(UserError, match=message):
        hwbnn_train.train("mnist-mlp", tmp_path / "out", data_root=tmp_path)
    assert not (tmp_path / "out").exists()


# the bars

@pytest.mark.slow
def test_digits_reach_95_percent(tmp_path):
    metrics = hwbnn_train.train("digits-mlp", tmp_path, progress=False)
    assert metrics["accuracy"]["test"] >= 0.95
    x, _ = datasets.load("digits", "test")
    with torch.no_grad():
        model = recipe("digits-mlp").model((64,), 10)
        model.load_state_dict(torch.load(tmp_path / "checkpoint.pt", weights_only=True)["best"]["model"])
        hwbnn_train.settle(model.eval())
        assert hwbnn_train.compare(model, onnx.load(tmp_path / "model.onnx"), x).difference <= 1e-5
