"""From a network to a build directory: fold, generate Verilog, write everything or nothing."""

import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hwbnn import ir
from hwbnn.build.facade import Build
from hwbnn.build.models import load
from hwbnn.build.provenance import entry, versions
from hwbnn.build.swap import draft_beside, move_into
from hwbnn.builddir import BuildDirectory, Manifest
from hwbnn.classify import classifier
from hwbnn.cost import pace, technology
from hwbnn.errors import UserError
from hwbnn.fold import MINIMIZE, Goal, Minimize, record, solve
from hwbnn.plan import Fold, Plan, UnitOptions
from hwbnn.rtl import verilog
from hwbnn_boards import board as find_board
from hwbnn_boards.footprint import footprint

__all__ = ["OUTPUTS", "compile"]

OUTPUTS = ("class", "logits")
_FILES = ("network.npz", "rtl/accelerator.v", "rtl/behavioural.v", "fold.json", "training.json", "commands.json",
          "build.json")  # the last makes it valid
_RESULTS = ("estimate.json", "activity.json", "accuracy.json", "faults", "sim", "synth",
            "report.html")  # true for one Verilog and no other


def compile(net: ir.Network | str | os.PathLike, path: str | os.PathLike, *, board: str,
            target_fps: float | None = None, max_luts: int | None = None, max_latency: int | str | None = None,
            fit: bool = False,
            folds: Mapping[str, Fold | tuple[int, int] | Mapping[str, Any]] | str | os.PathLike | None = None,
            options: Mapping[str, UnitOptions] = MappingProxyType({}), minimize: Minimize = "share",
            clock_hz: int | None = None, output: str = "class", seed: int = 1,
            source: str | os.PathLike | None = None, command: str = "hwbnn.compile") -> Build:
    """Fold ``net`` for a board, generate its Verilog, and write the build directory ``path``.

    Everything is made beside ``path`` first and moved there at the end, so a failure or an interrupt leaves
    what was there. Results of an earlier compile are kept where the new one makes the same hardware, and
    removed otherwise. The folding is asked for in exactly one way: ``target_fps``, ``max_luts``, ``max_latency``,
    ``fit`` or ``folds``.

    Parameters
    ----------
    net : :class:`ir.Network` or path
        The network, or what :func:`hwbnn.load` reads it from.
    board : :class:`str`
        Name of a board; :func:`hwbnn_boards.names` lists them.
    target_fps : :class:`float`
        Images per second at the board's clock; the cheapest folding that reaches it is chosen.
    max_luts : :class:`int`
        Look-up tables of the accelerator, in the chip's cells; the fastest folding within them that fits is chosen.
    max_latency : :class:`int` or :class:`str`
        Cycles, or a time such as ``50us``, of a frame on the idle accelerator; the cheapest folding is chosen.
    fit : :class:`bool`
        The fastest folding that fits the board, its host link included.
    folds : mapping or path
        PE and SIMD of each layer, by node name, or a file that holds them, such as another build's ``fold.json``.
    options : mapping
        How layers are built beyond PE and SIMD, by node name.
    minimize : :class:`str`
        What is cheapest: the least ``share`` of look-up tables and memories together, or the fewest ``luts``, block
        memory being used as long as there is enough.
    clock_hz : :class:`int`
        Frequency that registers are set for and that the board makes; None: its oscillator's.
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
        Where an argument cannot be used; among others, where the rate cannot be reached or the board is too small.
    """
    start = time.monotonic()
    if not isinstance(net, ir.Network):
        source = net if source is None else source
        net = load(net)
    goal = Goal.of(target_fps=target_fps, max_luts=max_luts, max_latency=max_latency, fit=fit, folds=folds)
    if output not in OUTPUTS:
        raise UserError(f"Output must be one of {', '.join(OUTPUTS)}, not {output}")
    if minimize not in MINIMIZE:
        raise UserError(f"What to minimize must be one of {', '.join(MINIMIZE)}, not {minimize}")
    target = find_board(board)
    registers = pace(technology(target.technology), target.clock_hz if clock_hz is None else clock_hz,
                     deep=minimize == "luts")
    if clock_hz is not None:
        target = target.at(clock_hz)
    path = _usable(path)
    network = classifier(net) if output == "class" else net
    folding = solve(network, goal, clock_hz=target.clock_hz, technology=target.technology,
                    beside=lambda image, result: footprint(target, image, result), options=options, pace=registers,
                    minimize=minimize)
    lut_memory = technology(target.technology).lut_memory is not None
    text, behaviour = _both_forms(folding.plan, target.family, lut_memory)
    manifest = Manifest(
        board=target.name, clock_hz=target.clock_hz, target_fps=target_fps, output=output,
        folds={name: fold.record for name, fold in folding.folds.items()},
        network=ir.digest(network), rtl=_digest(text),
        behavioural="" if behaviour == text else _digest(behaviour),
        source="" if source is None else str(source), seed=seed, versions=versions(), command=command,
        pace=registers.record)
    same = _same_hardware(path, manifest, text)
    with draft_beside(path) as draft:
        directory = BuildDirectory(draft)
        ir.save(network, draft / "network.npz")
        (draft / "rtl").mkdir()
        (draft / "rtl" / "accelerator.v").write_text(text)
        if behaviour != text:
            (draft / "rtl" / "behavioural.v").write_text(behaviour)
        directory.write_json("fold.json", record(network, folding))
        training = None if source is None else _training(Path(source))
        if training is not None:
            directory.write_json("training.json", training)
        earlier = BuildDirectory(path).commands if same else {}
        directory.write_json("commands.json", {**earlier, "compile": entry(command, start)})
        directory.write_json("build.json", manifest)
        move_into(path, draft, names=_FILES, outdated=() if same else _RESULTS)
    return Build(path)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _usable(path: str | os.PathLike) -> Path:
    path = Path(path)
    for folder in (path, *path.parents):
        if folder.exists() and not folder.is_dir():
            raise UserError(f"Build directory {path} must be a folder, and {folder} is a file")
    if path.is_dir() and not (path / "build.json").exists():  # what is left of an interrupted build may go
        ours = {name.split("/")[0] for name in (*_FILES, *_RESULTS)}
        others = sorted(entry.name for entry in path.iterdir() if entry.name not in ours)
        if others:
            raise UserError(f"Build directory must be new, empty or an earlier build, and {path} holds {others[0]}; "
                            "name another with -o")
    return path


def _both_forms(plan: Plan, family: str, lut_memory: bool) -> tuple[str, str]:
    """Return the Verilog of the family's cells and that of none, made at the same time where processes can fork."""
    if "fork" not in multiprocessing.get_all_start_methods():
        return verilog(plan, family=family, lut_memory=lut_memory), verilog(plan, lut_memory=lut_memory)
    context = multiprocessing.get_context("fork")
    received, sent = context.Pipe(duplex=False)

    def make():
        with suppress(BaseException):  # made again below, where it is told
            sent.send(verilog(plan, lut_memory=lut_memory))

    other = context.Process(target=make, daemon=True)
    other.start()
    sent.close()
    try:
        text = verilog(plan, family=family, lut_memory=lut_memory)
        try:
            return text, received.recv()
        except EOFError:
            return text, verilog(plan, lut_memory=lut_memory)
    finally:
        other.terminate()
        other.join()


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
