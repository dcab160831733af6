"""``hwbnn estimate``: what a build will cost, without any tool."""

import json

import typer

from hwbnn.build import Build
from hwbnn.cli import console
from hwbnn.cli.group import command_line
from hwbnn.cli.options import BuildPath, Json, single
from hwbnn.cost import Estimate, Quantity, Unknown
from hwbnn.report.text import parts, reasons

app = single()


@app.command()
def estimate(ctx: typer.Context, path: BuildPath, as_json: Json = False):
    """Predict cycles, logic, memories and energy per inference, without synthesis.

    Cycles, flip-flops and memory bits are exact; the rest comes as an interval, with the source of each constant
    in estimate.json. What nobody has published is said to be unknown.
    """
    build = Build(path)
    result = build.estimate(command=command_line(ctx))
    if as_json:
        console.print_json(json.loads((build.path / "estimate.json").read_text()))
        return
    show(result)


def show(result: Estimate) -> None:
    """Print the stages, the chip's use, time and energy."""
    rows = [{title: text for title, text in row.items() if title != "component"} for row in result.rows()]
    titles = [title if title == "stage" else f">{title}" for title in rows[0]]
    console.table(f"{result.network} on {result.title}", titles, [list(row.values()) for row in rows[:-1]],
                  footer=list(rows[-1].values()))
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
        ("Rate", (f"{timing.rate} at {timing.clock_hz / 1e6:g} MHz, {console.cycles(timing.interval_cycles)} "
                  "a frame")),
        ("Logic", f"{result.resources.luts} in use; {result.resources.mapped_luts} as synthesis counts them"),
        ("Latency", f"{timing.latency}, {console.cycles(timing.first_cycles + 1)}"),
        ("Energy", f"[bold]{figure}[/bold], {label.removeprefix('Energy per inference, ')}"),
        *([("Unknown", reasons(result.unknowns))] if result.unknowns else []),
    ])

