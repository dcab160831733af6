"""``hwbnn simulate``: the emitted Verilog on images, compared with the model value by value."""

from typing import Annotated

import typer

from hwbnn.build import Build
from hwbnn.cli import console
from hwbnn.cli.group import command_line
from hwbnn.cli.options import BuildPath, ImagesOption, Json, read_images, single
from hwbnn.sim import ENGINES

app = single()


@app.command()
def simulate(
    ctx: typer.Context,
    path: BuildPath,
    images: ImagesOption,
    engine: Annotated[str, typer.Option("--engine", metavar="|".join(ENGINES),
                                        help="What moves the frames: a cocotb bench, native code (fastest), or "
                                             "Amaranth's simulator (needs no tools).")] = "cocotb",
    simulator: Annotated[str, typer.Option("--simulator", metavar="verilator|icarus",
                                           help="What runs the Verilog, for cocotb.")] = "verilator",
    stalls: Annotated[bool, typer.Option("--stalls/--no-stalls",
                                         help="Also run with random pauses on both sides.")] = True,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the pauses.")] = 1,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", help="Threads of the compiled engine.")] = 1,
    as_json: Json = False,
):
    """Run the Verilog on images; every output must equal the model's, and the cycles the prediction.

    Exit status 1 where something differs; the first layer, frame and channel that does is named.
    """
    build = Build(path)
    chosen = read_images(images, build.network)
    where = simulator if engine == "cocotb" else f"the {engine} engine"
    with console.bar(f"Simulating on {where}") as report:
        result = build.simulate(chosen.x, labels=chosen.labels, images=images, engine=engine, simulator=simulator,
                                stalls=stalls, seed=seed, jobs=jobs, progress=report, command=command_line(ctx))
    if as_json:
        console.print_json(result.to_json())
    else:
        same = "[green]as predicted[/green]"
        measured = result.measured
        cycles = [("Cycles, first frame", result.predicted.first, measured and measured.first),
                  ("Cycles between frames", result.predicted.interval, measured and measured.interval)]
        rows = [(what, predicted, seen, same if predicted == seen else "[red]differs[/red]")
                for what, predicted, seen in cycles]
        console.table(f"{result.frames} images of {images} on {where}", ["", ">predicted", ">simulated", ""], rows)
        console.facts([
            ("Outputs", "[green]all equal golden's[/green]" if result.exact else
             f"[red]{result.mismatches} of {result.frames} differ from golden's[/red]"),
            *([("Accuracy", f"{console.percent(float((result.classes == chosen.labels).mean()))} in hardware")]
              if chosen.labels is not None and len(result.classes) == len(chosen.labels) else []),
            ("Simulated", (f"{console.count(result.cycles)} cycles in {console.seconds(result.seconds)}, "
                           f"simulator built in {console.seconds(result.build_seconds)}")),
        ])
        for problem in result.problems():
            console.say(f"[red]✗[/red] {problem}")
    if not result.ok:
        raise typer.Exit(1)
