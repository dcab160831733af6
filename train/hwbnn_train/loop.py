"""The training loop."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from hwbnn.errors import UserError
from hwbnn_train import checkpoint as checkpoints
from hwbnn_train.adam import Adam
from hwbnn_train.averaging import Average
from hwbnn_train.checkpoint import Checkpoint
from hwbnn_train.diagnostics import diagnose
from hwbnn_train.evaluation import Data, evaluate, recalibrate
from hwbnn_train.finite import check_state, check_step
from hwbnn_train.layers import Quantized
from hwbnn_train.losses import LOSSES
from hwbnn_train.optimizers import set_learning_rate
from hwbnn_train.packing import spaces
from hwbnn_train.parallel import ALONE, Draws, Place
from hwbnn_train.recipe import Recipe

__all__ = ["fit"]


@torch.no_grad()
def _levels(model: nn.Module) -> dict[str, Tensor]:
    """Return each layer's weights as integers (as they are, where they are real)."""
    model.eval()
    return {name: layer.quantize_weight(layer.weight) / layer.quantize_weight.grid(layer.weight).scale
            for name, layer in model.named_modules() if isinstance(layer, Quantized)}


def fit(model: nn.Module, recipe: Recipe, train: Data, validation: Data, *, config: dict, file: Path,
        resume: bool = False, writer: SummaryWriter | None = None,
        report: Callable[[dict[str, float]], None] = lambda measured: None,
        place: Place = ALONE) -> Checkpoint:
    """Train ``model`` by ``recipe`` and return the state after the last epoch, with the best one in it.

    The best epoch is, of those that the recipe calls ready, the one with the highest score on the validation split:
    for most recipes the highest accuracy, of equals the lowest loss. All random numbers come from torch's global
    generators.

    Parameters
    ----------
    model : Module
        Untrained; trained in place.
    train, validation : pair of Tensor
        Images, of any type, and labels, wholly in the memory of the place's device, as the model is.
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
    place : Place
        Which process this is. All of them must call this with equal models; each trains on its share of every batch,
        and they end with equal models.

    Raises
    ------
    UserError
        What :meth:`~hwbnn_train.recipe.Recipe.check` says; another configuration's checkpoint; numbers that are not
        finite; no epoch that can be deployed.
    """
    x, y = train
    recipe.check(len(x), place.processes)
    loss_of = LOSSES[recipe.loss]
    try:
        optimizer = recipe.optimizer(model)
    except ValueError as error:
        raise UserError(str(error)) from None
    average = Average(model, recipe.averaging) if recipe.averaging else None
    deployed = model if average is None else average.model
    if isinstance(optimizer, Adam):
        optimizer.average = average
    state = Checkpoint(config, 0, {}, {}, {}, {"epoch": 0, "score": [], "accuracy": 0.0, "loss": 0.0, "model": {}})
    if resume:
        state = checkpoints.load(file, config)
        model.load_state_dict(state.model)
        optimizer.load_state_dict(state.optimizer)
        place.restore(state.random)
        if average is not None:
            average.model.load_state_dict(state.average)
            average.steps = state.epoch * (len(x) // recipe.batch)

    state.spaces = spaces(model)
    replica, draws = place.replica(model), Draws(place)
    weights = _levels(model)
    for epoch in range(state.epoch, recipe.epochs):
        started = time.perf_counter()
        lr = recipe.learning_rate(epoch)
        set_learning_rate(optimizer, lr)
        draws.renew()

        model.train()
        total, steps = torch.zeros((), dtype=torch.float64, device=place.device), len(x) // recipe.batch
        batches = torch.randperm(len(x))[:steps * recipe.batch].split(recipe.batch)
        for step, batch in enumerate(batches):
            recipe.advance(model, (epoch + step / steps) / recipe.epochs)
            chosen = place.share(batch).to(place.device)
            with draws.own():
                images = recipe.augment(x[chosen].float())
                with place.autocast(recipe.mixed):
                    outputs = replica(images)
                loss = loss_of(outputs.float(), y[chosen]) + recipe.penalty(model)
            optimizer.zero_grad()
            loss.backward()
            check_step(loss, model, images, epoch)
            optimizer.step()
            if average is not None:
                average.follow()
            total += loss.detach()
        place.agree(model)
        check_state(model, epoch)

        if average is not None:
            average.take_buffers(model)
        if recipe.recalibration:
            recalibrate(deployed, x[:recipe.recalibration])
        accuracy, validation_loss = evaluate(deployed, validation, loss_of)
        before, weights = weights, _levels(model)
        measured = {"epoch": epoch + 1, "learning rate": lr, "loss/train": float(total) / steps,
                    "loss/validation": validation_loss, "accuracy/validation": accuracy, **recipe.figures(model)}
        for name, new in weights.items():
            gradient = model.get_submodule(name).weight.grad
            if gradient is not None:
                measured[f"gradient/{name}"] = float(gradient.square().mean().sqrt())
            measured[f"flips/{name}"] = float(((new - before[name]).abs() > 0.5).float().mean())

        state.epoch = epoch + 1
        score = list(recipe.score(accuracy, validation_loss))
        if recipe.ready(model) and all(map(math.isfinite, score)) and score > state.best["score"]:
            state.best = {"epoch": epoch + 1, "score": score, "accuracy": accuracy, "loss": validation_loss,
                          "model": {name: tensor.clone() for name, tensor in deployed.state_dict().items()}}
        state.model, state.optimizer = model.state_dict(), optimizer.state_dict()
        state.average = {} if average is None else average.model.state_dict()
        state.random = place.random()
        state.history.append(measured)
        state.seconds += time.perf_counter() - started
        if place.is_first:
            checkpoints.save(file, state)

        if writer is not None:
            for name, value in measured.items():
                if name != "epoch":
                    writer.add_scalar(name, value, epoch + 1)
            if (epoch + 1) % -(-recipe.epochs // 20) == 0:  # 20 times at most
                for name in weights:
                    weight = model.get_submodule(name).weight
                    for kind, numbers in (("weights", weight.detach()), ("gradients", weight.grad)):
                        if numbers is not None and float(numbers.abs().max()) < 1e20:  # TensorBoard's last bin
                            writer.add_histogram(f"{kind}/{name}", numbers, epoch + 1)
                for found in diagnose(deployed, validation[0][:500]):
                    for what in ("dead", "angle", "proportionality", "input_proportionality", "zeros", "resting"):
                        writer.add_scalar(f"{what}/{found.name}", getattr(found, what), epoch + 1)
        report({**measured, "best epoch": state.best["epoch"], "best accuracy": state.best["accuracy"]})
    if not state.best["model"]:
        raise UserError(f"Training must have an epoch that can be deployed and whose loss on the validation split is "
                        f"finite, and none of {recipe.epochs} is; {file} is kept")
    return state
