"""``hwbnn compile``: from a model to Verilog in a build directory."""

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from hwbnn.build import OUTPUTS, Build, compile as compile_network, load
from hwbnn.cli import console
from hwbnn.cli.group import command_line
from hwbnn.cli.options import single
from hwbnn.errors import UserError
from hwbnn.plan import Fold

app = single()


@app.command("compile")
def compile_(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", show_default=False,
                                         help="A QONNX file, or a network.npz.")],
    board: Annotated[str, typer.Option("--board", metavar="NAME", show_default=False,
                                       help="The board; [bold]hwbnn boards[/bold] lists them.")],
    output_dir: Annotated[str, typer.Option("--output-dir", "-o", metavar="BUILD", show_default=False,
                                            help="The build directory to write.")],
    target_fps: Annotated[float | None, typer.Option(
        "--target-fps", metavar="RATE", show_default=False,
        help="Frames per second to reach; the cheapest PE and SIMD of each layer that do are chosen.")] = None,
    fold: Annotated[list[str] | None, typer.Option(
        "--fold", metavar="NAME=PExSIMD", show_default=False,
        help="Instead of a rate: PE and SIMD of a layer; repeat it for each.")] = None,
    folds_file: Annotated[str | None, typer.Option(
        "--folds", metavar="FILE.json", show_default=False,
        help="Instead of a rate: a file with the PE and SIMD of each layer, as build.json has them.")] = None,
    output: Annotated[str, typer.Option("--output", metavar="|".join(OUTPUTS),
                                        help="What the accelerator sends.")] = "class",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the placement.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print build.json instead of tables.")] = False,
):
    """Turn a model into Verilog for a board, in a build directory.

    Give a rate with --target-fps, or the folding with --fold; there is no default, because it decides what
    the accelerator costs.
    """
    folds = _folds(fold or [], folds_file)
    net = load(model)
    build = compile_network(net, output_dir, board=board, target_fps=target_fps, folds=folds, output=output,
                            seed=seed, source=model, command=command_line(ctx))
    if as_json:
        console.print_json(json.loads((build.path / "build.json").read_text()))
        return
    show(build)


def show(build: Build) -> None:
    """Print the stages of a build, and what to do next."""
    plan, clock = build.plan, build.manifest.clock_hz
    cycles = plan.cycles
    rows = []
    for stage in plan.stages:
        fold = getattr(stage, "fold", None)
        pe, simd = (fold.pe, fold.simd) if fold else (None, None)
        bits = sum(memory.bits for memory in stage.memories)
        rows.append((stage.name, type(stage).__name__.removesuffix("Stage"), str(stage.i.levels),
                     f"{stage.i.lanes} × {stage.i.beats}", str(stage.o.levels), f"{stage.o.lanes} × {stage.o.beats}",
                     pe, simd, stage.ii, bits or None))
    console.table(f"{build.network.name} on {build.board.title}",
                  ["stage", "component", "takes", ">lanes × beats", "gives", ">lanes × beats", ">PE", ">SIMD",
                   ">cycles/frame", ">memory bits"], rows)
    target = build.manifest.target_fps
    console.facts([
        ("Rate", f"{console.count(clock / cycles.interval)} frames/s at {clock / 1e6:g} MHz "
                 f"({cycles.interval} cycles/frame)"
                 + (f", asked for {console.count(target)}" if target is not None else "")),
        ("Latency", f"{cycles.first} cycles, {1e6 * cycles.first / clock:.2f} µs"),
        ("Lanes", f"{console.count(plan.lanes)} products per cycle"),
        ("Verilog", str(build.path / "rtl" / "accelerator.v")),
    ])


def _folds(words: list[str], file: str | None) -> dict[str, Fold] | None:
    if file is not None and words:
        raise UserError("Folding must be given by --fold or by --folds, and both were")
    if file is None and not words:
        return None
    pairs = _from_file(file) if file is not None else [_from_word(word) for word in words]
    folds: dict[str, Fold] = {}
    for name, pe, simd in pairs:
        if name in folds:
            raise UserError(f"Folding of {name} must be given once, and it is given twice")
        try:
            folds[name] = Fold(pe, simd)
        except (TypeError, ValueError) as error:
            raise UserError(f"Folding of {name} cannot be used: {error}") from None
    return folds


def _from_word(word: str) -> tuple[str, int, int]:
    match = re.fullmatch(r"(.+)=(\d+)[x×](\d+)", word)
    if match is None:
        raise UserError(f"Folding must be NAME=PExSIMD, such as fc1=8x16, not {word}")
    return match[1], int(match[2]), int(match[3])


def _from_file(file: str) -> list[tuple[str, int, int]]:
    try:
        content = json.loads(Path(file).read_text())
        content = content.get("folds", content)
        return [(name, fold["pe"], fold["simd"]) for name, fold in content.items()]
    except (ValueError, AttributeError, KeyError, TypeError):
        raise UserError(f'Folds file {file} must hold {{"NAME": {{"pe": 8, "simd": 16}}, ...}}, and it does not'
                        ) from None
