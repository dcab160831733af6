"""The loop: it learns, it can be interrupted and resumed bit for bit, and it stops where numbers stop being finite."""

import dataclasses
import re
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from hwbnn.errors import UserError
from hwbnn_train import checkpoint as checkpoints
from hwbnn_train.averaging import Average
from hwbnn_train.evaluation import evaluate
from hwbnn_train.finite import check_state, check_step
from hwbnn_train.layers import QuantLinear
from hwbnn_train.loop import fit
from hwbnn_train.losses import LOSSES, squared_hinge
from hwbnn_train.models import mlp
from hwbnn_train.quantizers import Sign, Uniform
from hwbnn_train.recipe import Recipe


def binary(fan_in, fan_out, input):
    return QuantLinear(fan_in, fan_out, weight=Sign(), input=input)


@dataclass(frozen=True, kw_only=True)
class Tiny(Recipe):
    name: str = "tiny"
    data: str = "digits"
    epochs: int = 4
    batch: int = 16
    lr: float = 1e-2
    lr_end: float = 1e-3
    loss: str = "squared-hinge"
    noise: float = 0.5

    def model(self, shape, classes):
        return mlp(*shape, (16,), classes, input=Uniform(4), layer=binary, activation=lambda: Sign(window=1.0))

    def augment(self, x):
        return x + self.noise * torch.randn_like(x)


def clusters(count, seed):
    """Return points of 12 values around 4 corners, and which corner."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, 16, (4, 12), generator=torch.Generator().manual_seed(0)).float()
    y = torch.randint(4, (count,), generator=generator)
    return (corners[y] + 2 * torch.randn(count, 12, generator=generator)).clamp(0, 15), y


TRAIN, VALIDATION = clusters(200, 1), clusters(80, 2)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # quicker than two for networks this small
    yield
    torch.set_num_threads(before)


def run(file, recipe=Tiny(), *, seed=0, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = recipe.model((12,), 4)
        state = fit(model, recipe, TRAIN, VALIDATION, config={**recipe.config(), "seed": seed}, file=file, **options)
    return model, state


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted training, for others to be compared with."""
    return run(tmp_path_factory.mktemp("whole") / "c.pt")


def test_it_learns(tmp_path):
    model, state = run(tmp_path / "c.pt")
    assert state.history[-1]["loss/train"] < state.history[0]["loss/train"] / 2
    assert state.best["accuracy"] > 0.95
    model.load_state_dict(state.best["model"])
    assert evaluate(model, VALIDATION, squared_hinge) == (state.best["accuracy"], state.best["loss"])


def test_best_epoch_is_the_most_accurate_then_the_one_of_lowest_loss(whole):
    _, state = whole
    order = [(e["accuracy/validation"], -e["loss/validation"]) for e in state.history]
    assert state.best["epoch"] == 1 + order.index(max(order))


def test_same_seed_same_network(tmp_path, whole):
    assert_same(run(tmp_path / "a.pt")[0].state_dict(), whole[0].state_dict())
    other = run(tmp_path / "c.pt", seed=1)[0].state_dict()
    assert not torch.equal(other["fc1.weight"], whole[0].state_dict()["fc1.weight"])


@pytest.mark.parametrize("stopped", [1, 3, 4])
def test_resumed_training_is_the_uninterrupted_one(tmp_path, whole, stopped):
    whole_model, whole = whole

    def stop(measured):
        if measured["epoch"] == stopped:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "part.pt", report=stop)
    model, state = run(tmp_path / "part.pt", resume=True)
    assert_same(model.state_dict(), whole_model.state_dict())
    assert_same(state.best["model"], whole.best["model"])
    assert state.history == whole.history and state.best["epoch"] == whole.best["epoch"]
    for key, moments in whole.optimizer["state"].items():
        assert_same(state.optimizer["state"][key], moments)


@dataclass(frozen=True, kw_only=True)
class Averaged(Tiny):
    recalibration: int = 200
    averaging: float = 0.9


def test_average_is_what_is_deployed_and_is_resumed(tmp_path):
    def stop(measured):
        if measured["epoch"] == 2:
            raise KeyboardInterrupt

    model, whole = run(tmp_path / "whole.pt", Averaged())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "part.pt", Averaged(), report=stop)
    resumed, state = run(tmp_path / "part.pt", Averaged(), resume=True)
    assert_same(resumed.state_dict(), model.state_dict())
    assert_same(state.average, whole.average)
    assert_same(state.best["model"], whole.best["model"])
    assert state.history == whole.history
    assert not torch.equal(whole.average["fc1.weight"], whole.model["fc1.weight"])
    model.load_state_dict(whole.best["model"])
    assert evaluate(model, VALIDATION, squared_hinge) == (whole.best["accuracy"], whole.best["loss"])
    assert whole.best["accuracy"] > 0.95


def test_average_forgets_where_it_began():
    model = torch.nn.Linear(1, 1)
    torch.nn.init.zeros_(model.weight)
    average, mean = Average(model, 0.75), 0.0
    for steps, value in enumerate([1.0, -2.0, 3.0, 0.5, 8.0, -1.0]):
        torch.nn.init.constant_(model.weight, value)
        average.follow()
        share = min(0.75, (1 + steps) / (10 + steps))
        mean = share * mean + (1 - share) * value
        assert average.model.weight.item() == pytest.approx(mean)


def test_bad_averaging():
    with pytest.raises(ValueError, match=r"^Recipe averaging must be at least 0 and below 1, not 1\.0$"):
        Averaged(averaging=1.0)
    with pytest.raises(ValueError, match=r"^Recipe averaging must go with recalibration"):
        Averaged(recalibration=0)


def test_interrupt_within_an_epoch_keeps_the_last_complete_one(tmp_path, whole):
    calls = 0

    @dataclass(frozen=True, kw_only=True)
    class Interrupted(Tiny):
        def augment(self, x):
            nonlocal calls
            calls += 1
            if calls == 30:
                raise KeyboardInterrupt
            return super().augment(x)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "c.pt", Interrupted())
    assert checkpoints.load(tmp_path / "c.pt", {**Tiny().config(), "seed": 0}).epoch == 2
    assert_same(run(tmp_path / "c.pt", resume=True)[0].state_dict(), whole[0].state_dict())


def test_reported_and_logged_figures(tmp_path):
    seen, logged = [], []

    class Writer:
        def add_scalar(self, name, value, step):
            logged.append((name, value, step))

        def add_histogram(self, name, value, step):
            logged.append((name, value.shape, step))

    _, state = run(tmp_path / "c.pt", Tiny(epochs=2), report=seen.append, writer=Writer())
    assert [m["epoch"] for m in seen] == [1, 2]
    assert [m["learning rate"] for m in state.history] == [1e-2, 1e-2 * 0.1**0.5]
    assert 0 < state.history[0]["flips/fc1"] < 1 and 0 < state.history[0]["flips/fc2"] < 1
    assert state.history[0]["gradient/fc1"] > 0 and ("weights/fc1", (16, 12), 2) in logged
    assert {(name, 2) for name in state.history[1] if name != "epoch"} <= {(name, step) for name, _, step in logged}


def test_incomplete_last_batch_is_left_out(tmp_path):
    sizes = []

    @dataclass(frozen=True, kw_only=True)
    class Counting(Tiny):
        def augment(self, x):
            sizes.append(len(x))
            return x

    run(tmp_path / "c.pt", Counting(epochs=1, batch=64))
    assert sizes == [64, 64, 64]


def test_batch_larger_than_the_set(tmp_path):
    with pytest.raises(ValueError, match=r"^Recipe batch must be at most the 200 training images, not 201$"):
        run(tmp_path / "c.pt", Tiny(batch=201))


# what is not finite

@dataclass(frozen=True, kw_only=True)
class Poisoned(Tiny):
    """From a step on, something is not finite."""

    at: int = 30
    where: str = "images"

    def model(self, shape, classes):
        model = super().model(shape, classes)
        steps = 0

        def poison(module, inputs):
            nonlocal steps
            steps += 1
            if steps >= self.at and model.training:
                tensor = inputs[0] if self.where == "images" else model.get_parameter(self.where)
                tensor.data.view(-1)[0] = float("nan")

        model.register_forward_pre_hook(poison)
        return model


@pytest.mark.parametrize(("where", "named"), [
    ("images", "the images"), ("bn1.bias", "bn1.bias"), ("bn2.weight", "bn2.weight"), ("fc2.weight", "fc2.weight")])
def test_training_stops_where_numbers_stop_being_finite(tmp_path, where, named):
    """Signs hide what is not a number from the loss: the images are found by a gradient, a weight by its state."""
    message = (f"Training must stay finite, and in epoch 3 the first tensor that is not is {named}; the checkpoint of "
               f"epoch 2 is kept; a lower learning rate may help")
    recipe = Poisoned(where=where)
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        run(tmp_path / "c.pt", recipe)
    kept = checkpoints.load(tmp_path / "c.pt", {**recipe.config(), "seed": 0})
    assert kept.epoch == 2
    assert all(torch.isfinite(t).all() for t in kept.model.values())


def test_first_epoch_not_finite(tmp_path):
    message = ("Training must stay finite, and in epoch 1 the first tensor that is not is the images; no epoch was "
               "completed; a lower learning rate may help")
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        run(tmp_path / "c.pt", Poisoned(at=1))
    assert not (tmp_path / "c.pt").exists()


class Blows(nn.Module):
    def forward(self, x):
        return x / 0


@pytest.mark.parametrize(("model", "named"), [
    (nn.Sequential(nn.Identity(), Blows(), nn.Identity()), "the output of 1"), (nn.Identity(), "the loss")])
def test_first_tensor_of_the_forward_pass_is_named(model, named):
    with pytest.raises(UserError, match=rf"^Training .* the first tensor that is not is {named}; .*$"):
        check_step(torch.tensor(float("inf")), model, torch.ones(2), epoch=0)


def test_gradients_are_looked_at():
    model = nn.Sequential(nn.Linear(2, 2))
    loss = model(torch.ones(1, 2)).sum()
    loss.backward()
    model[0].weight.grad[0, 0] = float("nan")
    with pytest.raises(UserError, match=r"^Training .* not is the gradient of 0.weight; .*$"):
        check_step(loss, model, torch.ones(1, 2), epoch=0)


def test_buffers_are_looked_at():
    model = nn.Sequential(nn.BatchNorm1d(2))
    model[0].running_var[1] = float("inf")
    with pytest.raises(UserError, match=r"^Training must stay finite, and in epoch 1 the first tensor that is not is "
                                        r"0.running_var; .*$"):
        check_state(model, 0)


# checkpoints

def test_resume_with_another_configuration(tmp_path):
    file = tmp_path / "c.pt"
    run(file, Tiny(epochs=1))
    before = file.read_bytes()
    message = (f"Resumed training must have the configuration of {file}, whose lr is 0.01, not 0.02; train without "
               f"--resume to start anew")
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        run(file, Tiny(epochs=1, lr=2e-2), resume=True)
    with pytest.raises(UserError, match=r"^Resumed training .* whose seed is 0, not 1; .*$"):
        run(file, Tiny(epochs=1), seed=1, resume=True)
    assert file.read_bytes() == before


def test_resume_without_a_checkpoint(tmp_path):
    message = f"Checkpoint {tmp_path / 'c.pt'} must exist to resume from; train without --resume first"
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        run(tmp_path / "c.pt", resume=True)


@pytest.mark.parametrize("damage", [lambda b: b[:len(b) // 2], lambda b: b"", lambda b: b"not a checkpoint" * 9])
def test_damaged_checkpoint(tmp_path, damage):
    file = tmp_path / "c.pt"
    run(file, Tiny(epochs=1))
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UserError, match=rf"^Checkpoint {re.escape(str(file))} must be one that this program wrote, and "
                                        r"it cannot be read; train without --resume$"):
        run(file, Tiny(epochs=1), resume=True)


def test_checkpoint_of_something_else(tmp_path):
    file = tmp_path / "c.pt"
    torch.save({"a": 1}, file)
    message = (f"Checkpoint {file} must be one that this program wrote, in format 3; train without --resume")
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        run(file, resume=True)


def test_checkpoint_on_a_full_disk(tmp_path, monkeypatch):
    file = tmp_path / "c.pt"
    run(file, Tiny(epochs=1))
    before = file.read_bytes()

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "write_atomic", full)
    message = (f"Checkpoint {file} must be written, and that fails: No space left on device; what was there before is "
               f"still there")
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        run(file, Tiny(epochs=1))
    assert file.read_bytes() == before


# recipes as records

@pytest.mark.parametrize(("changes", "message"), [
    ({"epochs": 0}, "Recipe epochs must be a positive integer, not 0"),
    ({"batch": 1.5}, "Recipe batch must be a positive integer, not 1.5"),
    ({"threads": 0}, "Recipe threads must be a positive integer, not 0"),
    ({"lr": 0.0}, "Recipe lr and lr_end must satisfy 0 < lr_end <= lr, both finite, not lr=0.0 and lr_end=0.001"),
    ({"lr_end": 1.0}, "Recipe lr and lr_end must satisfy 0 < lr_end <= lr, both finite, not lr=0.01 and lr_end=1.0"),
    ({"loss": "mse"}, "Recipe loss must be one of squared-hinge, cross-entropy, not 'mse'"),
])
def test_bad_recipes(changes, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        dataclasses.replace(Tiny(), **changes)


def test_learning_rate_falls_exponentially():
    recipe = Tiny(epochs=4, lr=1.0, lr_end=1e-4)
    assert [recipe.learning_rate(e) for e in range(4)] == pytest.approx([1, 0.1, 0.01, 0.001])


def test_recipe_without_a_model():
    recipe = Recipe(name="x", data="digits", epochs=1, batch=1, lr=1.0, lr_end=1.0, loss=next(iter(LOSSES)))
    with pytest.raises(NotImplementedError):
        recipe.model((1,), 1)
