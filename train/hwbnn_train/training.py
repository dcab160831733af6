"""``train``: a recipe's name in, a folder with an exported network and its figures out."""

import copy
import dataclasses
import hashlib
import json
import os
import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

import hwbnn
from hwbnn import datasets
from hwbnn.builddir import write_atomic
from hwbnn.errors import UserError
from hwbnn_train import checkpoint as checkpoints
from hwbnn_train import parallel
from hwbnn_train.allocation import keep_freed_memory
from hwbnn_train.comparison import compare
from hwbnn_train.diagnostics import diagnose
from hwbnn_train.evaluation import Data, evaluate, real_weights, recalibrate
from hwbnn_train.export import export
from hwbnn_train.loop import fit
from hwbnn_train.losses import LOSSES
from hwbnn_train.operations import operations
from hwbnn_train.packing import memory
from hwbnn_train.plots import plot
from hwbnn_train.quantizers import Quantizer
from hwbnn_train.recipe import Recipe
from hwbnn_train.recipes import recipe as find_recipe
from hwbnn_train.settle import settle
from hwbnn_train.shift import ShiftBatchNorm

__all__ = ["train"]


def train(recipe: str | Recipe, output_dir: str | os.PathLike, *, seed: int = 0, epochs: int | None = None,
          resume: bool = False, data: str | None = None, data_root: str | os.PathLike | None = None,
          device: str = "auto", progress: bool = True) -> dict[str, Any]:
    """Train by ``recipe``, export the best epoch, and return what ``metrics.json`` holds.

    The epoch is chosen on the validation split; the test split is looked at once, after that. ``model.onnx``
    and ``metrics.json`` are replaced only when training, export and the check of the export have succeeded;
    ``checkpoint.pt`` is that of the latest training, finished or not.

    Parameters
    ----------
    recipe : :class:`str` or Recipe
        A name of :func:`hwbnn_train.recipes`, or a record of your own.
    output_dir : path
        Gets ``model.onnx`` (unless the recipe is for comparison only), ``metrics.json``, ``layers.svg``,
        ``checkpoint.pt`` and ``tensorboard/``; made if missing.
    seed : :class:`int`
        Of all random numbers. The same seed gives the same network on the same machine and versions; on a GPU up
        to the order of sums.
    epochs : :class:`int` or None
        Instead of the recipe's.
    resume : :class:`bool`
        Go on from ``checkpoint.pt``, which must be of the same recipe, seed, number of epochs, kind of device and
        number of processes.
    data : :class:`str` or None
        A set of :mod:`hwbnn.datasets` instead of the recipe's; pixels get the bits that they have there.
    data_root : path or None
        Where the data sets lie; see :mod:`hwbnn.datasets`.
    device : :class:`str`
        ``cpu``, ``cuda``, or ``auto`` for a GPU where there is one. Under ``torchrun`` every process calls this, and
        the first one writes the files.
    progress : :class:`bool`
        Show a progress bar.

    Raises
    ------
    UserError
        Unknown recipe, settings that make no network, missing data, a recipe that does not suit them or whose network
        cannot be exported, another configuration's checkpoint, a loss that is not finite, a folder that cannot be
        written.
    RuntimeError
        The check of the export failed, which is a defect of this program; the checkpoint is kept.
    KeyboardInterrupt
        With a message that says how to go on; the checkpoint of the last complete epoch is kept.
    """
    chosen = find_recipe(recipe) if isinstance(recipe, str) else recipe
    if epochs is not None:
        if epochs < 1:
            raise UserError(f"Epochs must be at least 1, not {epochs}")
        chosen = dataclasses.replace(chosen, epochs=epochs)
    if data is not None:
        chosen = _of_data(chosen, data)
    if datasets.is_text(chosen.data) != chosen.text:
        fitting = [name for name in datasets.names() if datasets.is_text(name) == chosen.text]
        raise UserError(f"Recipe {chosen.name} must have {'a text' if chosen.text else 'images'}, one of "
                        f"{', '.join(fitting)}, not {chosen.data}")
    if not 0 <= seed < 2**63:
        raise UserError(f"Seed must be from 0 to 2^63-1, not {seed}")
    loaded = {split: datasets.load(chosen.data, split, data_root) for split in ("train", "validation")}
    splits = {split: _tensors(*arrays) for split, arrays in loaded.items()}
    shape, classes = tuple(splits["train"][0].shape[1:]), datasets.classes(chosen.data, data_root)
    directory = Path(output_dir)
    file = directory / "checkpoint.pt"

    keep_freed_memory()
    with parallel.place(device) as place, _reproducible(seed, chosen.threads, place):
        config = {**chosen.config(), "seed": seed, "device": place.device.type, "processes": place.processes}
        identity = {**config, "contents": _contents(loaded, classes)}
        # before anything is written, and long before the training ends
        if resume:
            checkpoints.load(file, identity)
        chosen.check(len(splits["train"][0]), place.processes)
        model = _model(chosen, shape, classes)
        _check_batches(model, chosen, place.processes)
        _check_pixels(model, chosen, splits["train"][0])
        if chosen.exported:
            _check_exportable(model, shape)
        if place.is_first:
            _check_writable(directory)
        splits = {split: _to(data, place.device) for split, data in splits.items()}
        model = model.to(place.device)
        with _bar(chosen.epochs, progress and place.is_first) as report, _log(directory, resume, place) as writer:
            kept = resume  # whether there is a checkpoint of this training

            def note(measured: dict[str, float]) -> None:
                nonlocal kept
                kept = True
                report(measured)

            try:
                state = fit(model, chosen, splits["train"], splits["validation"], config=identity, file=file,
                            resume=resume, writer=writer, report=note, place=place)
            except KeyboardInterrupt:
                raise KeyboardInterrupt(f"Training was interrupted; go on with --resume, from {file}" if kept else
                                        "Training was interrupted in its first epoch") from None

        model.load_state_dict(state.best["model"])
        settled = settle(model.cpu().eval())
        deployed = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        model.to(place.device)
        splits["test"] = _to(_tensors(*datasets.load(chosen.data, "test", data_root)), place.device)
        measured = {split: evaluate(model, data, LOSSES[chosen.loss]) for split, data in splits.items()}
        accuracy = {split: right for split, (right, _) in measured.items()}
        real = _with_real_weights(model, chosen, splits) if chosen.real_weights else {}
        model.cpu().eval().load_state_dict(deployed)  # the statistics of the real weights are gone
        images = splits["validation"][0][:1000].cpu()
        try:
            exported, content = _export(model, chosen, shape, accuracy, splits, seed) if chosen.exported else (
                {"not_exported": _why_not(model, shape)}, None)
        except RuntimeError as error:
            raise RuntimeError(f"{error}; the trained network is kept in {file}, from which --resume goes on, and "
                               f"earlier results are as they were") from error
        layers = [dataclasses.asdict(report) for report in diagnose(model, images)]
        counted = dataclasses.asdict(operations(model, images))
        drawing = plot(model, images)

    metrics = {
        "recipe": chosen.name,
        "data": chosen.data,
        "seed": seed,
        "accuracy": accuracy,
        "loss": {split: loss for split, (_, loss) in measured.items()},
        **real,
        "epochs": chosen.epochs,
        "best_epoch": state.best["epoch"],
        "seconds": round(state.seconds, 3),
        "parameters": sum(p.numel() for p in model.parameters()),
        **exported,
        "settled_channels": settled.moved,
        "unclear_channels": settled.unclear,
        "figures": chosen.figures(model),
        "layers": layers,
        "operations": counted,
        "training_memory": memory(model, state.optimizer["state"]),
        "config": config,
        "versions": {"hwbnn": hwbnn.__version__, "python": platform.python_version(),
                     **{name: version(name) for name in ("torch", "numpy", "onnx", "qonnx")}},
    }
    if not place.is_first:
        return metrics
    try:
        if content is not None:
            write_atomic(directory / "model.onnx", content)
        write_atomic(directory / "layers.svg", drawing)
        write_atomic(directory / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    except OSError as error:
        raise UserError(f"Results must be written to {directory}, and that fails: {error.strerror}; make room and "
                        f"go on with --resume") from None
    return metrics


def _model(recipe: Recipe, shape: tuple[int, ...], classes: int) -> torch.nn.Module:
    """Return the untrained network; what its parts refuse, and torch, the user can mend in the recipe."""
    try:
        return recipe.model(shape, classes)
    except UserError:
        raise
    except (ValueError, RuntimeError) as error:
        raise UserError(f"Recipe {recipe.name} must make a network, and with its settings it cannot: "
                        f"{' '.join(str(error).split())}") from None


def _export(model: torch.nn.Module, chosen: Recipe, shape: tuple[int, ...], accuracy: dict[str, float],
            splits: dict[str, Data], seed: int) -> tuple[dict[str, Any], bytes]:
    """Return what to say about the exported and checked model, and its file's contents."""
    proto = export(model, shape, properties={"recipe": chosen.name, "data": chosen.data, "seed": seed,
                                             "accuracy_test": accuracy["test"]})
    images = splits["test"][0][:100].cpu().numpy()
    found = compare(model, proto, images)
    content = proto.SerializeToString()
    return {"export_difference": found.difference, "export_images": len(images),
            "export_images_differing": found.images, "model_sha256": hashlib.sha256(content).hexdigest()}, content


def _of_data(recipe: Recipe, data: str) -> Recipe:
    """Return the recipe for other data; pixels get the bits that theirs have, unless the recipe is of other bits."""
    bits = getattr(recipe, "pixel_bits", None)
    if bits is None or data not in datasets.names() or bits != datasets.pixel_bits(recipe.data):
        return dataclasses.replace(recipe, data=data)
    return dataclasses.replace(recipe, data=data, pixel_bits=datasets.pixel_bits(data))


def _check_batches(model: torch.nn.Module, chosen: Recipe, processes: int) -> None:
    """Raise :class:`UserError` where batch normalization would get single images."""
    if any(isinstance(layer, torch.nn.BatchNorm1d | ShiftBatchNorm) for layer in model.modules()):
        if chosen.batch // processes < 2:
            raise UserError(f"Recipe batch must be at least {2 * processes}, two images for each process, for batch "
                            f"normalization, not {chosen.batch}")
        if chosen.recalibration == 1:
            raise UserError("Recipe recalibration must be 0 or at least 2 images, not 1")


def _check_pixels(model: torch.nn.Module, chosen: Recipe, images: torch.Tensor) -> None:
    """Raise :class:`UserError` where the first quantizer gives all pixels the same value."""
    first = next((layer for layer in model.modules() if isinstance(layer, Quantizer)), None)
    if first is None or chosen.text:
        return
    low, high = float(images.min()), float(images.max())
    values = copy.deepcopy(first).eval()(torch.linspace(low, high, 100)[:, None])  # a range it learns stays as it is
    if torch.unique(values).numel() == 1:
        raise UserError(f"Recipe {chosen.name} must tell pixels apart, and with its settings all of {chosen.data}, "
                        f"{low:g}..{high:g}, become one value; set pixel_bits to {datasets.pixel_bits(chosen.data)}")


def _check_exportable(model: torch.nn.Module, shape: tuple[int, ...]) -> None:
    """Raise :class:`UserError` where an untrained model has a layer that cannot become hardware; change nothing."""
    with torch.random.fork_rng([]):
        try:
            export(copy.deepcopy(model).eval(), shape)
        except UserError as error:
            raise UserError(f"{error}; with the recipe's setting exported=false it is trained for comparison") from None


def _why_not(model: torch.nn.Module, shape: tuple[int, ...]) -> str:
    """Return what keeps a model that a recipe does not export from becoming hardware."""
    try:
        export(model, shape)
    except UserError as error:
        return str(error)
    return "the recipe is for comparison only"


def _with_real_weights(model: torch.nn.Module, chosen: Recipe, splits: dict[str, Data]) -> dict[str, Any]:
    """Return the accuracies with real weights; the model is used up, its statistics are those of the real weights."""
    with real_weights(model):
        recalibrate(model, splits["train"][0][:chosen.recalibration or 5000])
        return {"accuracy_real_weights": {split: evaluate(model, data, LOSSES[chosen.loss])[0]
                                          for split, data in splits.items()}}


def _contents(splits: dict[str, tuple[np.ndarray, np.ndarray]], classes: int) -> str:
    """Return what tells data sets of the same name apart: sizes, and a digest of all labels and some of the inputs."""
    digest = hashlib.sha256()
    for x, y in splits.values():
        for array in (y, x[::100]):
            digest.update(np.ascontiguousarray(array).tobytes())
    sizes = ", ".join(f"{split} {' x '.join(map(str, x.shape))}" for split, (x, _) in splits.items())
    return f"{sizes}, {classes} classes, {digest.hexdigest()[:16]}"


def _tensors(x: np.ndarray, y: np.ndarray) -> Data:
    return torch.as_tensor(x), torch.as_tensor(y)


def _to(data: Data, device: torch.device) -> Data:
    x, y = data
    return x.to(device), y.to(device)


def _check_writable(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_atomic(directory / ".writable", "")
        (directory / ".writable").unlink()
    except OSError as error:
        raise UserError(f"Output folder {directory} must be writable: {error.strerror}") from None


@contextmanager
def _quiet_log_thread() -> Iterator[None]:
    """Keep TensorBoard's writer thread from printing a traceback on a full disk: the main thread meets it too."""
    before = threading.excepthook

    def hook(failed: threading.ExceptHookArgs) -> None:
        if not issubclass(failed.exc_type, OSError):
            before(failed)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


@contextmanager
def _log(directory: Path, resume: bool, place: parallel.Place) -> Iterator[SummaryWriter | None]:
    """Yield the first process's TensorBoard log."""
    if not place.is_first:
        yield None
        return
    with _quiet_log_thread(), SummaryWriter(_log_folder(directory / "tensorboard", resume)) as writer:
        yield writer


def _log_folder(parent: Path, resume: bool) -> str:
    """Return a new folder for each training, and the newest one again for a resumed training."""
    numbers = [int(p.name.removeprefix("run-")) for p in parent.glob("run-*") if p.name[4:].isdecimal()]
    latest = max(numbers, default=0)
    return str(parent / f"run-{latest if resume and latest else latest + 1}")


@contextmanager
def _reproducible(seed: int, threads: int, place: parallel.Place) -> Iterator[None]:
    """Seed torch, set its threads, and keep a GPU's convolutions repeatable and exact; put all back afterwards."""
    before = torch.get_num_threads()
    gpus = [place.device] if place.device.type == "cuda" else []
    exact = {"enabled": True, "deterministic": True, "benchmark": False, "allow_tf32": False}
    with torch.random.fork_rng(gpus), torch.backends.cudnn.flags(**exact):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@contextmanager
def _bar(epochs: int, show: bool) -> Iterator[Callable[[dict[str, float]], None]]:
    columns = (TextColumn("epoch {task.completed}/{task.total}"), BarColumn(bar_width=20), TimeRemainingColumn(),
               TextColumn("{task.fields[figures]}"))
    with Progress(*columns, console=Console(stderr=True), disable=not show) as progress:
        task = progress.add_task("training", total=epochs, figures="")

        def report(measured: dict[str, float]) -> None:
            figures = (f"loss {measured['loss/train']:.3f} val {measured['accuracy/validation']:.1%} "
                       f"best {measured['best accuracy']:.1%}")
            progress.update(task, completed=measured["epoch"], figures=figures)

        yield report
