"""``hwbnn estimate``: what an accelerator will cost, by closed forms, by the tools, or with activity on images."""

import math
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from hwbnn.build import Build, on_target
from hwbnn.build.asic import Asic, of_library
from hwbnn.build.estimation import synthesized
from hwbnn.calibrate import validate
from hwbnn.cli import console, views
from hwbnn.cli.group import changed, command_line
from hwbnn.cli.options import DataRoot, read_images, single
from hwbnn.cost import TIERS, Estimate, Quantity, Unknown, technology
from hwbnn.cost.comparison import compare
from hwbnn.cost.gating import resting_of_layers
from hwbnn.cost.roofline import roofline
from hwbnn.errors import UserError
from hwbnn.fold import words
from hwbnn.plan import Plan
from hwbnn.report.text import parts, reasons
from hwbnn_boards.pll import fastest

app = single()


@app.command()
def estimate(
    ctx: typer.Context,
    path: Annotated[str | None, typer.Argument(metavar="BUILD", show_default=False,
                                               help="Build directory, made by [bold]hwbnn compile[/bold]; with "
                                                    "--target also a QONNX file or a network.npz.")] = None,
    tier: Annotated[str, typer.Option("--tier", metavar="|".join(TIERS),
                                      help="Closed forms, in milliseconds; counts of Yosys and nextpnr; with the "
                                           "toggles of the netlist on images.")] = "model",
    target: Annotated[str | None, typer.Option("--target", metavar="NAME", show_default=False,
                                               help="A chip without a board, instead of the build's; nothing is kept "
                                                    "in the directory.")] = None,
    clock: Annotated[float | None, typer.Option("--clock", metavar="MHZ", show_default=False,
                                                help="With --target: its clock, instead of the build's or 25.")] = None,
    images: Annotated[str | None, typer.Option("--images", metavar="SET:SPLIT[:START:STOP]|FILE.npy",
                                               show_default=False,
                                               help="Images for --tier activity, and for the zeros that --compare "
                                                    "counts.")] = None,
    data_root: DataRoot = None,
    comparing: Annotated[bool, typer.Option("--compare", help="Show the network as float32, int8, ternary and "
                                                              "binary, and its zeros.")] = False,
    roof: Annotated[bool, typer.Option("--roofline",
                                       help="Show how far each layer is from the chip's limits.")] = False,
    asic: Annotated[str | None, typer.Option("--asic", metavar="osu018|FILE.lib", show_default=False,
                                             help="Show area and energy as gates of a Liberty library.")] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Show energy by layer and cause.")] = False,
    validating: Annotated[int | None, typer.Option("--validate", metavar="N", show_default=False,
                                                   help="With --target and without a build: measure N parts of the "
                                                        "calibration again.")] = None,
    target_fps: Annotated[float | None, typer.Option("--target-fps", metavar="RATE", show_default=False,
                                                     help="With --target: fold for this rate.")] = None,
    max_luts: Annotated[int | None, typer.Option("--max-luts", metavar="N", show_default=False,
                                                 help="With --target: fold for so many look-up tables.")] = None,
    max_latency: Annotated[str | None, typer.Option("--max-latency", metavar="CYCLES|TIME", show_default=False,
                                                    help="With --target: fold for this latency.")] = None,
    fit: Annotated[bool, typer.Option("--fit", help="With --target: the fastest folding that fits.")] = False,
    fold: Annotated[list[str] | None, typer.Option("--fold", metavar="NAME=PExSIMD", show_default=False,
                                                   help="With --target: PE and SIMD of a layer; repeat it for "
                                                        "each.")] = None,
    folds_file: Annotated[str | None, typer.Option("--folds", metavar="FILE.json", show_default=False,
                                                   help="With --target: a file with PE and SIMD.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a record for another program instead of tables.")
                       ] = False,
):
    """Predict cycles, logic, memories, frequency and energy per inference.

    Cycles, flip-flops and memory bits are exact; the rest comes as an interval, with the source of each constant
    in estimate.json. What nobody has published is said to be unknown.
    """
    if tier not in TIERS:
        raise UserError(f"Tier must be one of {', '.join(TIERS)}, not {tier}")
    if validating is not None:
        _validate(path, target, validating, as_json)
        return
    if path is None:
        raise UserError("Build must be given, and none was; make one with `hwbnn compile MODEL --board NAME -o BUILD`")
    command = command_line(ctx)
    if target is None and Path(path).is_file():
        raise UserError(f"Target must be given for a network file, and none was; run `{command} --target ecp5-85"
                        f"{'' if any((target_fps, max_luts, max_latency, fit, fold, folds_file)) else ' --fit'}`, or "
                        "another --target")
    goals = {"target_fps": target_fps, "max_luts": max_luts, "max_latency": max_latency, "fit": fit,
             "folds": words(fold) if fold else folds_file}
    if target is None:
        given = [name for name, value in (("--clock", clock), *goals.items()) if value]
        if given:
            name = given[0] if given[0].startswith("--") else "--" + given[0].replace("_", "-")
            raise UserError(f"Option {name} must be given with --target, since a build has its own; run "
                            f"`{command} --target {Build(path).board.technology}`")
        plan, result, x = _of_build(path, tier, images, data_root, command)
    else:
        plan, result, x = _of_target(path, target, tier, clock, images, data_root, goals)
    tech = technology(result.technology)
    rest = resting_of_layers(plan.network, x) if comparing else []
    views_asked: dict[str, Any] = {}
    if comparing:
        views_asked["comparison"] = [row.to_json() for row in compare(plan, tech, rest)]
        views_asked["zeros"] = [vars(row) for row in rest]
    if roof:
        views_asked["roofline"] = roofline(plan, tech).to_json()
    made = None if asic is None else _as_gates(plan, asic, result)
    if made is not None:
        views_asked["asic"] = made.to_json()
    if as_json:
        console.print_json({**result.to_json(), **views_asked})
        return
    show(result, _slower(Build(path), result) if target is None else changed(command, "--clock", _reached(result)))
    if layers:
        views.breakdown(result)
    if comparing:
        views.comparison(compare(plan, tech, rest), result.title)
        views.zeros(rest, images, command)
    if roof:
        views.roofline(roofline(plan, tech), result.title)
    if made is not None:
        views.asic(made)


def _as_gates(plan: Plan, library: str, result: Estimate) -> Asic:
    with console.spinner("Mapping to gates"):
        return of_library(plan, library, result.timing.interval)


def _of_build(path: str, tier: str, images: str | None, data_root: str | None, command: str
              ) -> tuple[Plan, Estimate, Any]:
    build = Build(path)
    x = None if images is None else read_images(images, build.network, data_root).x
    with console.bar("Simulating the netlist") as report:
        result = build.estimate(tier=tier, x=x if tier == "activity" else None, images=images or "array",
                                progress=report, command=command)
    return build.plan, result, x


def _of_target(path: str, target: str, tier: str, clock: float | None, images: str | None, data_root: str | None,
               goals: dict[str, Any]) -> tuple[Plan, Estimate, Any]:
    if tier == "activity":
        raise UserError(f"Tier activity must be of a build's own board, not of --target {target}; run "
                        f"`hwbnn synth {path}` and leave --target out")
    if clock is not None and not 0 < clock < 1e5:
        raise UserError(f"Clock must be a frequency in MHz, such as 25, not {clock:g}")
    found = on_target(path, target, clock_hz=None if clock is None else round(clock * 1e6), **goals)
    if tier == "synth":
        with console.spinner(f"Running the tools on {target}"):
            found = synthesized(found)
    x = None if images is None else read_images(images, found.plan.network, data_root).x
    return found.plan, found.estimate, x


def _validate(path: str | None, target: str | None, count: int, as_json: bool) -> None:
    if path is not None or target is None:
        raise UserError("Validation must be of a --target, without a build; for instance `hwbnn estimate --validate 4 "
                        "--target ice40-up5k`")
    tech = technology(target)
    with console.bar(f"Measuring on {target}", "parts") as report:
        checks = validate(tech, count=count, progress=lambda name, done, total: report(done, total))
    if as_json:
        console.print_json([{"part": c.part, "figure": c.figure, "estimated": c.estimated.to_json(),
                             "measured": c.measured, "inside": c.inside, "error": c.error} for c in checks])
        return
    console.table(f"{tech.title}: the corpus again", ["part", "figure", ">estimated", ">measured", ">error", "inside"],
                  [(c.part, c.figure, str(c.estimated), f"{c.measured:,.0f}",
                    console.percent(c.error, 1), {True: "yes", False: "[red]no[/red]", None: ""}[c.inside])
                   for c in checks])


def _reached(result: Estimate) -> str:
    """The clock that a design certainly reaches, in MHz, as ``--clock`` takes it."""
    return "" if isinstance(result.fmax, Unknown) else f"{math.floor(result.fmax.low / 1e4) / 100:g}"


def _slower(build: Build, result: Estimate) -> str:
    """The command that makes a build again with a clock that it reaches and the board makes; empty if there is none."""
    if result.reaches != "no" or isinstance(result.fmax, Unknown):
        return ""
    board, path = build.board, build.path
    hertz = fastest(board.family, board.oscillator_hz, result.fmax.low)
    if hertz is None:
        return ""
    command = build.manifest.command
    if not command.startswith("hwbnn compile "):  # made from Python
        source = build.manifest.source or path / "network.npz"
        command = shlex.join(["hwbnn", "compile", str(source), "--board", board.name, "--output", build.manifest.output,
                              "--folds", str(path / "fold.json"), "-o", str(path)])
    return changed(command, "--clock", f"{hertz / 1e6:g}")


def show(result: Estimate, slower: str = "") -> None:
    """Print the stages, the chip's use, time and energy; ``slower`` is the command that asks for a clock it reaches."""
    rows = [{title: text for title, text in row.items() if title != "component"} for row in result.rows()]
    titles = [title if title == "stage" else f">{title}" for title in rows[0]]
    console.table(f"{result.network} on {result.title}", titles, [list(row.values()) for row in rows[:-1]],
                  footer=["accelerator", *list(rows[-1].values())[1:]])  # without the host link, which stands above it
    title = "Of the chip, with the host link" if result.beside is not None else "Of the chip"
    console.table(title, ["resource", ">used", ">of", ">share", "fits"],
                  [(use.resource, str(use.whole), f"{use.available:,.0f}", console.percent(use.share, 1), use.fits)
                   for use in result.uses])
    label, figure = result.headline
    causes = result.energy if isinstance(result.energy.total, Quantity) else result.reference
    console.table("Energy per inference", ["cause", ">energy", "interval", "how"],
                  [(name, *parts(value), "" if isinstance(value, Unknown) else value.method)
                   for name, value in causes.causes.items()])
    timing = result.timing
    console.facts([
        ("Tier", views.tier(result)),
        ("Rate", (f"{timing.rate} at {timing.clock_hz / 1e6:g} MHz, {console.cycles(timing.interval_cycles)} "
                  "a frame")),
        ("Clock", views.clock(result, escape(slower))),
        ("Logic", f"{result.resources.luts} in use; {result.resources.mapped_luts} as synthesis counts them"),
        ("Latency", f"{timing.latency}, {console.cycles(timing.first_cycles + 1)}"),
        ("Energy", f"[bold]{figure}[/bold], {label.removeprefix('Energy per inference, ')}"),
        *([("Unknown", reasons(result.unknowns))] if result.unknowns else []),
    ])
