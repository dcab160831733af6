"""Checkpoints: everything an interrupted training needs to go on as if nothing had happened."""

import io
import json
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from hwbnn.builddir import write_atomic
from hwbnn.errors import UserError
from hwbnn_train.packing import pack_states, unpack_states

__all__ = ["Checkpoint", "load", "save"]

_FORMAT = 3
_READ = (2, 3)  # 2 has no packed weights
_TELLING = ("name", "data", "epochs", "seed")  # the first to be named of several that differ


@dataclass
class Checkpoint:
    """The state of a training after ``epoch`` complete epochs.

    Parameters
    ----------
    config : :class:`dict`
        The recipe's fields, the seed, and what else must be the same to go on: ``contents`` tells the data, and is
        not in checkpoints of earlier versions.
    epoch : :class:`int`
        Complete epochs.
    model, optimizer, average : :class:`dict`
        Their ``state_dict``; the last one empty where weights are not averaged.
    random : :class:`dict`
        States of torch's random number generators, by device.
    best : :class:`dict`
        ``epoch``, ``score``, ``accuracy``, ``loss`` (on the validation split) and ``model`` of the best epoch so far.
    history : list of :class:`dict`
        What was measured in each epoch.
    seconds : :class:`float`
        Time spent in the epochs.
    spaces : :class:`dict`
        Of the weights that are states, which a file holds packed: see :func:`hwbnn_train.packing.spaces`.
    """

    config: dict[str, Any]
    epoch: int
    model: dict[str, Any]
    optimizer: dict[str, Any]
    random: dict[str, torch.Tensor]
    best: dict[str, Any]
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    average: dict[str, Any] = field(default_factory=dict)
    spaces: dict[str, int] = field(default_factory=dict)


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write ``checkpoint`` to ``path``; the file that was there stays until the new one is complete."""
    buffer = io.BytesIO()
    torch.save({"format": _FORMAT, **vars(_with_models(checkpoint, pack_states))}, buffer)
    try:
        write_atomic(path, buffer.getvalue())
    except OSError as error:
        raise UserError(f"Checkpoint {path} must be written, and that fails: {error.strerror}; what was there "
                        f"before is still there") from None


def load(path: Path, config: dict[str, Any]) -> Checkpoint:
    """Read the checkpoint at ``path``, which must be of a training with the same ``config``."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"Checkpoint {path} must exist to resume from; train without --resume first") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError):
        raise UserError(f"Checkpoint {path} must be one that this program wrote, and it cannot be read; train without "
                        f"--resume") from None
    if not isinstance(content, dict) or content.get("format") not in _READ:
        raise UserError(f"Checkpoint {path} must be one that this program wrote, in format {_FORMAT}; "
                        f"train without --resume")
    del content["format"]
    checkpoint = Checkpoint(**content)
    stored_config = {"contents": config.get("contents"), **checkpoint.config}
    for key in dict.fromkeys((*_TELLING, *sorted(config.keys() | stored_config.keys()))):
        asked, stored = config.get(key), stored_config.get(key)
        if asked != stored:
            raise UserError(f"Resumed training must have the configuration of {path}, whose {key} is "
                            f"{json.dumps(stored)}, not {json.dumps(asked)}; train without --resume to start anew")
    checkpoint.config = config
    return _with_models(checkpoint, unpack_states)


def _with_models(checkpoint: Checkpoint, change: Callable[[Mapping[str, Any], Mapping[str, int]], dict]) -> Checkpoint:
    """Return a checkpoint whose three sets of weights are changed, as their discrete spaces say."""
    model, average, best = (change(tensors, checkpoint.spaces) for tensors in (
        checkpoint.model, checkpoint.average, checkpoint.best["model"]))
    return replace(checkpoint, model=model, average=average, best={**checkpoint.best, "model": best})
