"""The training loop."""

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from hwbnn_train import checkpoint as checkpoints
from hwbnn_train.checkpoint import Checkpoint
from hwbnn_train.evaluation import Data, evaluate, recalibrate
from hwbnn_train.finite import check_state, check_step
from hwbnn_train.layers import Quantized
from hwbnn_train.losses import LOSSES
from hwbnn_train.optimizers import set_learning_rate
from hwbnn_train.recipe import Recipe

__all__ = ["fit", "penalty"]


def penalty(model: nn.Module) -> Tensor | float:
    """Return the sum of what the quantizers of the weights add to the loss."""
    terms = (layer.quantize_weight.penalty(layer.weight) for layer in model.modules() if isinstance(layer, Quantized))
    return sum((term for term in terms if term is not None), start=0.0)


@torch.no_grad()
def _levels(model: nn.Module) -> dict[str, Tensor]:
    """Return each layer's weights as integers (as they are, where they are real)."""
    model.eval()
    return {name: layer.quantize_weight(layer.weight) / layer.quantize_weight.grid(layer.weight).scale
            for name, layer in model.named_modules() if isinstance(layer, Quantized)}


def fit(model: nn.Module, recipe: Recipe, train: Data, validation: Data, *, config: dict, file: Path,
        resume: bool = False, writer: SummaryWriter | None = None,
        report: Callable[[dict[str, float]], None] = lambda measured: None) -> Checkpoint:
    """Train ``model`` by ``recipe`` and return the state after the last epoch, with the best one in it.

    The best epoch is the one with the highest accuracy on the validation split, of equals the one with the
    lowest loss there. All random numbers come from torch's global generators.

    Parameters
    ----------
    model : Module
        Untrained; trained in place.
    train, validation : pair of Tensor
        Images, of any type, and labels, wholly in memory.
    config : :class:`dict`
        What a checkpoint must agree with to be resumed.
    file : Path
        The checkpoint, written after every epoch.
    resume : :class:`bool`
        Go on from ``file``. The result is that of an uninterrupted training, bit for bit.
    writer : SummaryWriter or None
        TensorBoard log.
    report : callable
        Called with what was measured, after every epoch.
    """
    x, y = train
    if recipe.batch > len(x):
        raise ValueError(f"Recipe batch must be at most the {len(x)} training images, not {recipe.batch}")
    loss_of = LOSSES[recipe.loss]
    optimizer = recipe.optimizer(model)
    state = Checkpoint(config, 0, {}, {}, {}, {"epoch": 0, "accuracy": -1.0, "loss": 0.0, "model": {}})
    if resume:
        state = checkpoints.load(file, config)
        model.load_state_dict(state.model)
        optimizer.load_state_dict(state.optimizer)
        torch.set_rng_state(state.random["cpu"])

    weights = _levels(model)
    for epoch in range(state.epoch, recipe.epochs):
        started = time.perf_counter()
        lr = recipe.learning_rate(epoch)
        set_learning_rate(optimizer, lr)

        model.train()
        total, steps = 0.0, len(x) // recipe.batch
        for chosen in torch.randperm(len(x))[:steps * recipe.batch].split(recipe.batch):
            images = recipe.augment(x[chosen].float())
            loss = loss_of(model(images), y[chosen]) + penalty(model)
            optimizer.zero_grad()
            loss.backward()
            check_step(loss, model, images, epoch)
            optimizer.step()
            total += float(loss.detach())
        check_state(model, epoch)

        if recipe.recalibration:
            recalibrate(model, x[:recipe.recalibration])
        accuracy, validation_loss = evaluate(model, validation, loss_of)
        before, weights = weights, _levels(model)
        measured = {"epoch": epoch + 1, "learning rate": lr, "loss/train": total / steps,
                    "loss/validation": validation_loss, "accuracy/validation": accuracy}
        for name, new in weights.items():
            gradient = model.get_submodule(name).weight.grad
            measured[f"gradient/{name}"] = float(gradient.square().mean().sqrt())
            measured[f"flips/{name}"] = float(((new - before[name]).abs() > 0.5).float().mean())

        state.epoch = epoch + 1
        if (accuracy, -validation_loss) > (state.best["accuracy"], -state.best["loss"]):
            state.best = {"epoch": epoch + 1, "accuracy": accuracy, "loss": validation_loss,
                          "model": {name: tensor.clone() for name, tensor in model.state_dict().items()}}
        state.model, state.optimizer = model.state_dict(), optimizer.state_dict()
        state.random = {"cpu": torch.get_rng_state()}
        state.history.append(measured)
        state.seconds += time.perf_counter() - started
        checkpoints.save(file, state)

        if writer is not None:
            for name, value in measured.items():
                writer.add_scalar(name, value, epoch + 1)
            if (epoch + 1) % max(1, recipe.epochs // 20) == 0:
                for name in weights:
                    writer.add_histogram(f"weights/{name}", model.get_submodule(name).weight, epoch + 1)
        report({**measured, "best epoch": state.best["epoch"], "best accuracy": state.best["accuracy"]})
    return state
