"""``hwbnn compile``: from a model to Verilog in a build directory."""

import json
import math
from typing import Annotated, cast

import typer

from hwbnn.build import OUTPUTS, Build, load
from hwbnn.build import compile as compile_network
from hwbnn.cli import console
from hwbnn.cli.group import command_line
from hwbnn.cli.options import single
from hwbnn.cost import estimate
from hwbnn.errors import UserError
from hwbnn.fold import Minimize, option_words, words
from hwbnn.plan import Plan, Stream
from hwbnn_boards.footprint import footprint

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
    max_luts: Annotated[int | None, typer.Option(
        "--max-luts", metavar="N", show_default=False,
        help="Instead: the fastest within that many of the chip's look-up tables, host link not counted.")] = None,
    max_latency: Annotated[str | None, typer.Option(
        "--max-latency", metavar="CYCLES|TIME", show_default=False,
        help="Instead: the cheapest with the first result after so many cycles, or so long, as 50us.")] = None,
    fit: Annotated[bool, typer.Option(
        "--fit", help="Instead: the fastest that fits the board, its host link included.")] = False,
    fold: Annotated[list[str] | None, typer.Option(
        "--fold", metavar="NAME=PExSIMD", show_default=False,
        help="Instead: PE and SIMD of a layer; repeat it for each.")] = None,
    folds_file: Annotated[str | None, typer.Option(
        "--folds", metavar="FILE.json", show_default=False,
        help="Instead: a file with the PE and SIMD of each layer, such as a build's fold.json.")] = None,
    datapath: Annotated[list[str] | None, typer.Option(
        "--datapath", metavar="NAME=lanes|planes|multipliers|parallel", show_default=False,
        help="What makes the products of a layer (or of [bold]all[/bold]); the cost model decides otherwise.")] = None,
    weights: Annotated[list[str] | None, typer.Option(
        "--weights", metavar="NAME=block|distributed|logic|spram", show_default=False,
        help="What a layer's weight memory is made of.")] = None,
    storage: Annotated[list[str] | None, typer.Option(
        "--storage", metavar="NAME=block", show_default=False,
        help="Keep whatever else a layer keeps in block memory where that spares look-up tables.")] = None,
    minimize: Annotated[str, typer.Option(
        "--minimize", metavar="share|luts",
        help="What is cheapest: the share of look-up tables and memories, or look-up tables alone.")] = "share",
    zeros: Annotated[list[str] | None, typer.Option(
        "--zeros", metavar="NAME=none|static|dynamic|isolate", show_default=False,
        help="What a layer does about zero weights and activations.")] = None,
    loadable: Annotated[list[str] | None, typer.Option(
        "--loadable", metavar="NAME|all", show_default=False,
        help="A layer whose weights can be written at run time.")] = None,
    clock: Annotated[float | None, typer.Option(
        "--clock", metavar="MHZ", show_default=False,
        help="Frequency to set registers for, which the board's PLL then makes; otherwise its oscillator's.")] = None,
    output: Annotated[str, typer.Option("--output", metavar="|".join(OUTPUTS),
                                        help="What the accelerator sends.")] = "class",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the placement.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print build.json instead of tables.")] = False,
):
    """Turn a model into Verilog for a board, in a build directory.

    Say what the folding is to be in exactly one way: --target-fps, --max-luts, --max-latency, --fit, --folds or
    --fold. There is no default, because it decides what the accelerator costs. The choice is kept in fold.json.
    """
    net = load(model)
    if fold and folds_file is not None:
        raise UserError("Folding must be given by --fold or by --folds, and both were")
    build = compile_network(net, output_dir, board=board, target_fps=target_fps, max_luts=max_luts,
                            max_latency=max_latency, fit=fit, folds=words(fold) if fold else folds_file,
                            options=option_words(net, {"datapath": datapath or (), "weights": weights or (),
                                                       "storage": storage or (), "zeros": zeros or (),
                                                       "loadable": loadable or ()}),
                            minimize=cast(Minimize, minimize), clock_hz=None if clock is None else hertz(clock),
                            output=output, seed=seed, source=model, command=command_line(ctx))
    if as_json:
        console.print_json(json.loads((build.path / "build.json").read_text()))
        return
    show(build)


def hertz(megahertz: float) -> int:
    """A frequency as ``--clock`` takes it, in whole hertz."""
    if not math.isfinite(megahertz) or megahertz <= 0:
        raise UserError(f"Clock must be a positive number of MHz, not {megahertz:g}")
    return round(1e6 * megahertz)


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
    choice = build.directory.read_json("fold.json", "hwbnn compile")
    console.say(f" [bold]Folding: {choice['goal']}[/bold]")
    console.facts([(f" {name}", f"{fold.pe}×{fold.simd}, {choice['reasons'][name]}")
                   for name, fold in build.folds.items()])
    console.say()
    console.facts([
        ("Rate", f"{console.count(clock / cycles.interval)} frames/s at {clock / 1e6:g} MHz "
                 f"({console.cycles(cycles.interval)} a frame)"
                 + (f", asked for {console.count(target)}" if target is not None else "")),
        ("Latency", f"{console.cycles(cycles.first + 1)}, {1e6 * (cycles.first + 1) / clock:.2f} µs"),
        ("Lanes", f"{console.count(plan.lanes)} products per cycle"),
        ("Chip", _fits(build, plan)),
        ("Verilog", str(build.path / "rtl" / "accelerator.v")),
        ("Folding", f"{build.path / 'fold.json'}; edit it and give it back with --folds"),
    ])


def _fits(build: Build, plan: Plan) -> str:
    """Whether it will fit, by estimate: known here, minutes before synthesis tells."""
    board = build.board
    result = estimate(plan, board.technology, build.manifest.clock_hz, beside=footprint(board, plan.input, plan.output))
    first = result.exhausted_first
    told = f"{first.whole} of {first.available:,.0f}, with the host link"
    return {"yes": f"fits {result.title}: {told}",
            "no": f"[red]does not fit {result.title}: {told}[/red]",
            "uncertain": f"[yellow]may not fit {result.title}: {told}; `hwbnn synth` tells[/yellow]"}[result.fits]


def _stream(stream: Stream) -> str:
    """Beats, values per beat, and what they are."""
    levels = str(stream.levels)
    return f"{stream.beats}×{stream.lanes} {levels if len(levels) <= 11 else f'{stream.levels.bits} bits'}"
