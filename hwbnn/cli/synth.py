"""``hwbnn synth``: from a build to a bitstream."""

from typing import Annotated

import typer

from hwbnn.build import Build
from hwbnn.cli import console
from hwbnn.cli.group import command_line
from hwbnn.cli.options import BuildPath, Json, single
from hwbnn.cost import Figure, Quantity
from hwbnn.synth import SynthesisResult

app = single()


@app.command()
def synth(
    ctx: typer.Context,
    path: BuildPath,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", show_default=False,
                                             help="Seed of the placement, instead of the build's.")] = None,
    as_json: Json = False,
):
    """Synthesize, place and route with Yosys and nextpnr, and write a bitstream.

    The design is the accelerator with its link to the host. The first run of the tools compiles them, which
    takes a minute or two.
    """
    build = Build(path)
    with console.spinner("Synthesizing") as report:
        result = build.synth(seed=seed, progress=report, command=command_line(ctx))
    if as_json:
        console.print_json(result.to_json(build.directory))
        return
    show(build, result)


def show(build: Build, result: SynthesisResult) -> None:
    """Print what the design takes and how fast it is."""
    estimated = {} if build.estimated is None else {s.name: s.resources.mapped_luts for s in build.estimated.stages}
    rows = []
    for stage in build.plan.stages:
        cells = result.stages.get(stage.name)
        if cells is not None:
            rows.append((stage.name, _nominal(estimated.get(stage.name)), cells.lut, stage.flip_flops, cells.ff,
                         cells.lut_memory or None, cells.block_memory or None))
    console.table("The accelerator by stage, after Yosys",
                  ["stage", ">LUT estimated", ">LUT", ">FF in Verilog", ">FF", ">LUT memories", ">block memories"],
                  rows, footer=(
                      "all", _nominal(build.estimated and build.estimated.resources.mapped_luts),
                      result.accelerator.lut,
                      build.plan.flip_flops, result.accelerator.ff, result.accelerator.lut_memory or None,
                      result.accelerator.block_memory or None))
    console.table(f"With the host link, placed on {build.board.title}", ["resource", ">used", ">of", ">share"],
                  [(name, use.used, use.available, console.percent(use.used / use.available, 1))
                   for name, use in result.placed.items() if use.available])
    slack = "[green]reached[/green]" if result.met else "[red]not reached[/red]"
    console.facts([
        ("Fmax", f"[bold]{result.fmax_hz / 1e6:.1f} MHz[/bold], {result.clock_hz / 1e6:g} MHz asked for: {slack}"),
        *([("Critical path", str(result.critical))] if result.critical is not None else []),
        ("Bitstream", str(result.bitstream)),
        ("Load it", build.board.programmer.format(result.bitstream)),
        ("Took", console.seconds(result.seconds["total"])),
    ])


def _nominal(figure: Figure | None) -> int | None:
    return int(figure.nominal) if isinstance(figure, Quantity) else None
