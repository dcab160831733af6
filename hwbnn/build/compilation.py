"""From a network to a build directory: fold, generate Verilog, write everything or nothing."""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from math import isfinite
from pathlib import Path
from typing import Any

from hwbnn import ir
from hwbnn.build.facade import Build
from hwbnn.build.provenance import commands, entry, versions
from hwbnn.build.swap import draft_beside, move_into
from hwbnn.builddir import BuildDirectory, Manifest
from hwbnn.classify import classifier
from hwbnn.errors import UserError
from hwbnn.fold import choose, parse
from hwbnn.plan import Fold, lower
from hwbnn.rtl import verilog
from hwbnn_boards import board as find_board

__all__ = ["OUTPUTS", "compile"]

OUTPUTS = ("class", "logits")
_FILES = ("network.npz", "rtl/accelerator.v", "training.json", "commands.json", "build.json")  # the last makes it valid
_RESULTS = ("estimate.json", "accuracy.json", "sim", "synth", "report.html")  # true for one Verilog and no other


def compile(net: ir.Network, path: str | os.PathLike, *, board: str, target_fps: float | None = None,
            folds: Mapping[str, Fold | tuple[int, int]] | None = None, output: str = "class", seed: int = 1,
            source: str | os.PathLike | None = None, command: str = "hwbnn.compile") -> Build:
    """Fold ``net`` for a board, generate its Verilog, and write the build directory ``path``.

    Everything is made beside ``path`` first and moved there at the end, so a failure or an interrupt leaves
    what was there. Results of an earlier compile are kept where the new one makes the same hardware, and
    removed otherwise.

    Parameters
    ----------
    board : :class:`str`
        Name of a board; :func:`hwbnn_boards.names` lists them.
    target_fps : :class:`float`
        Images per second at the board's clock; the cheapest folding that reaches it is chosen.
    folds : mapping
        Instead of ``target_fps``: PE and SIMD of each matrix product, by node name.
    output : :class:`str`
        ``class`` sends the class number, ``logits`` the integers of the graph's output.
    seed : :class:`int`
        Seed of the placement.
    source : path
        File the network came from, for provenance; a ``metrics.json`` beside it is taken along.
    command : :class:`str`
        The command to note in ``build.json``.

    Raises
    ------
    UserError
        Where an argument cannot be used; among others, where the rate cannot be reached.
    """
    start = time.monotonic()
    if (target_fps is None) == (folds is None):
        raise UserError("Folding must be given by a rate (--target-fps 100000) or by PE and SIMD of each layer "
                        f"(--fold NAME=PExSIMD), and {'neither was' if folds is None else 'both were'}")
    if target_fps is not None and not (isfinite(target_fps) and target_fps > 0):
        raise UserError(f"Target rate must be a positive number of frames per second, not {target_fps}")
    if output not in OUTPUTS:
        raise UserError(f"Output must be one of {', '.join(OUTPUTS)}, not {output}")
    target = find_board(board)
    path = _usable(path)
    network = classifier(net) if output == "class" else net
    if target_fps is not None:
        chosen = choose(network, clock_hz=target.clock_hz, target_fps=target_fps, technology=target.technology)
    else:
        chosen = parse(network, {name: asdict(fold) if isinstance(fold, Fold) else {"pe": fold[0], "simd": fold[1]}
                                 for name, fold in (folds or {}).items()})
    text = verilog(lower(network, chosen))
    manifest = Manifest(
        board=target.name, clock_hz=target.clock_hz, target_fps=target_fps, output=output,
        folds={name: {"pe": fold.pe, "simd": fold.simd} for name, fold in chosen.items()},
        network=ir.digest(network), source="" if source is None else str(source), seed=seed, versions=versions(),
        command=command)
    same = _same_hardware(path, manifest, text)
    with draft_beside(path) as draft:
        directory = BuildDirectory(draft)
        ir.save(network, draft / "network.npz")
        (draft / "rtl").mkdir()
        (draft / "rtl" / "accelerator.v").write_text(text)
        training = None if source is None else _training(Path(source))
        if training is not None:
            directory.write_json("training.json", training)
        earlier = commands(BuildDirectory(path)) if same else {}
        directory.write_json("commands.json", {**earlier, "compile": entry(command, start)})
        directory.write_json("build.json", manifest)
        move_into(path, draft, names=_FILES, outdated=() if same else _RESULTS)
    return Build(path)


def _usable(path: str | os.PathLike) -> Path:
    path = Path(path)
    for folder in (path, *path.parents):
        if folder.exists() and not folder.is_dir():
            raise UserError(f"Build directory {path} must be a folder, and {folder} is a file")
    if path.is_dir() and not (path / "build.json").exists() and any(path.iterdir()):
        raise UserError(f"Build directory must be new, empty or an earlier build, and {path} holds other files")
    return path


def _same_hardware(path: Path, manifest: Manifest, text: str) -> bool:
    """Tell whether the results in ``path`` still hold for this manifest and Verilog."""
    try:
        old = BuildDirectory(path).manifest
        unchanged = (path / "rtl" / "accelerator.v").read_text() == text
    except (UserError, OSError):
        return False
    free = {"target_fps": None, "source": "", "versions": {}, "command": ""}
    return unchanged and replace(old, **free) == replace(manifest, **free)


def _training(model: Path) -> dict[str, Any] | None:
    """What training wrote beside the model, where it is about that very file."""
    try:
        record = json.loads(model.with_name("metrics.json").read_text())
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
    except (OSError, ValueError):  # the model may come from anywhere
        return None
    return record if isinstance(record, dict) and record.get("model_sha256") == digest else None
