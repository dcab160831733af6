"""``hwbnn compile``: from a model to Verilog in a build directory."""

import json
import re
from typing import Annotated

import typer

from hwbnn import ir
from hwbnn.build import OUTPUTS, Build, load
from hwbnn.build import compile as compile_network
from hwbnn.cli import console
from hwbnn.cli.group import command_line
from hwbnn.cli.options import single
from hwbnn.cost import estimate
from hwbnn.errors import UserError
from hwbnn.fold import parse, read
from hwbnn.plan import Fold, Stream

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
    net = load(model)
    build = compile_network(net, output_dir, board=board, target_fps=target_fps,
                            folds=_folds(net, fold or [], folds_file), output=output, seed=seed, source=model,
                            command=command_line(ctx))
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
        rows.append((stage.name, type(stage).__name__.removesuffix("Stage"), _stream(stage.i), _stream(stage.o),
                     fold and fold.pe, fold and fold.simd, stage.ii, stage.flip_flops,
                     sum(memory.bits for memory in stage.memories) or None))
    console.table(f"{build.network.name} on {build.board.title}",
                  ["stage", "component", "takes", "gives", ">PE", ">SIMD", ">cycles per frame", ">flip- flops",
                   ">memory bits"], rows, footer=("", "", "", "", "", "", cycles.interval, plan.flip_flops,
                                sum(memory.bits for memory in plan.memories)))
    target = build.manifest.target_fps
    console.facts([
        ("Rate", f"{console.count(clock / cycles.interval)} frames/s at {clock / 1e6:g} MHz "
                 f"({cycles.interval} cycles/frame)"
                 + (f", asked for {console.count(target)}" if target is not None else "")),
        ("Latency", f"{cycles.first} cycles, {1e6 * cycles.first / clock:.2f} µs"),
        ("Lanes", f"{console.count(plan.lanes)} products per cycle"),
        ("Chip", _fits(build)),
        ("Verilog", str(build.path / "rtl" / "accelerator.v")),
    ])


def _fits(build: Build) -> str:
    """Whether it will fit, by estimate: known here, minutes before synthesis tells."""
    result = estimate(build.plan, build.board.technology, build.manifest.clock_hz)
    first = result.exhausted_first
    told = f"{first.used} of {first.available:,.0f}, without the host link"
    return {"yes": f"fits {result.title}: {told}",
            "no": f"[red]does not fit {result.title}: {told}; ask for a lower rate[/red]",
            "uncertain": f"[yellow]may not fit {result.title}: {told}; `hwbnn synth` tells[/yellow]"}[result.fits]


def _stream(stream: Stream) -> str:
    """Beats, values per beat, and what they are."""
    levels = str(stream.levels)
    return f"{stream.beats}×{stream.lanes} {levels if len(levels) <= 11 else f'{stream.levels.bits} bits'}"


def _folds(net: ir.Network, words: list[str], file: str | None) -> dict[str, Fold] | None:
    if file is not None and words:
        raise UserError("Folding must be given by --fold or by --folds, and both were")
    if file is not None:
        return read(net, file)
    if not words:
        return None
    record = {}
    for word in words:
        match = re.fullmatch(r"(.+)=(\d+)[x×](\d+)", word)
        if match is None:
            raise UserError(f"Folding must be NAME=PExSIMD, such as fc1=8x16, not {word}")
        if match[1] in record:
            raise UserError(f"Folding of {match[1]} must be given once, and it is given twice")
        record[match[1]] = {"pe": int(match[2]), "simd": int(match[3])}
    return parse(net, record)
