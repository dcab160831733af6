"""``hwbnn simulate``: the emitted Verilog on images, compared with the model value by value."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from hwbnn.build import Build
from hwbnn.cli import console
from hwbnn.cli.group import command_line
from hwbnn.cli.options import BuildPath, DataRoot, ImagesOption, Json, WeightsOption, read_images, single
from hwbnn.errors import UserError
from hwbnn.sim import CHECKS, ENGINES, NETLISTS, STALLS, Profile
from hwbnn.sim.activity import CLOCK, Activity, read_saif

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
    check: Annotated[str, typer.Option("--check", metavar="|".join(CHECKS),
                                       help="What is compared: the outputs, or every stream between layers too.")
                     ] = "outputs",
    frames: Annotated[str | None, typer.Option("--frames", metavar="START:STOP", show_default=False,
                                               help="Look at these of the images only; no result is kept.")] = None,
    wave: Annotated[Path | None, typer.Option("--wave", metavar="FILE.vcd|.fst|.saif", show_default=False,
                                              help="Write a waveform, and lists of signals for GTKWave and Surfer "
                                                   "beside it; or how often nets toggle (compiled engine).")] = None,
    netlist: Annotated[str, typer.Option("--netlist", metavar="|".join(NETLISTS), show_default=False,
                                         help="Run the Verilog of the chip's own cells as it is synthesized; or what "
                                              "`hwbnn synth` made of it: after Yosys, or the whole design for the "
                                              "board after nextpnr.")] = "rtl",
    stalls: Annotated[str, typer.Option("--stalls", metavar="|".join(STALLS),
                                        help="How both sides pause while all images pass: at random; as is worst, "
                                             "full up and run dry; between frames only; never, back to back.")
                      ] = "random",
    no_stalls: Annotated[bool, typer.Option("--no-stalls", help="Short for --stalls none.")] = False,
    reset_after: Annotated[int | None, typer.Option("--reset-after", metavar="BEATS", show_default=False,
                                                    help="Send so many beats first and reset; otherwise half a frame, "
                                                         "and none without stalls.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the pauses.")] = 1,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", help="Threads of the compiled engine.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a simulation that was interrupted.")] = False,
    weights: WeightsOption = None,
    data_root: DataRoot = None,
    as_json: Json = False,
):
    """Run the Verilog on images; every output must equal the model's, and the cycles the prediction.

    Exit status 1 where something differs; the first layer, frame and channel that does is named.
    """
    build = Build(path)
    network = build.network if weights is None else build.weights(weights).network
    chosen = read_images(images, network, data_root)
    where = (simulator if engine == "cocotb" else f"the {engine} engine") + {
        "cells": ", of the chip's cells", "synth": ", after Yosys", "placed": ", after nextpnr"}.get(netlist, "")
    with console.bar(f"Simulating on {where}") as report:
        result = build.simulate(chosen.x, labels=chosen.labels, images=images, engine=engine, simulator=simulator,
                                check=check, frames=_range(frames), stalls="none" if no_stalls else stalls,
                                reset_after=reset_after, seed=seed, jobs=jobs, wave=wave, netlist=netlist,
                                resume=resume, weights=weights, progress=report, command=command_line(ctx))
    if as_json:
        console.print_json(result.to_json())
    else:
        same = "[green]as predicted[/green]"
        measured = result.measured
        cycles = [("Cycles, first frame", result.predicted.first, measured and measured.first),
                  ("Cycles between frames", result.predicted.interval, measured and measured.interval)]
        rows = [(what, predicted, seen, same if predicted == seen else "[red]differs[/red]")
                for what, predicted, seen in cycles if netlist != "placed"]
        console.table(f"{result.frames} images of {images} on {where}", ["", ">predicted", ">simulated", ""], rows)
        console.facts([
            ("Outputs", "[green]all equal golden's[/green]" if result.exact else
             f"[red]{result.mismatches} of {result.frames} differ from golden's[/red]"),
            *([("Accuracy", f"{console.percent(float((result.classes == chosen.labels).mean()))} in hardware")]
              if chosen.labels is not None and len(result.classes) == len(chosen.labels) else []),
            ("Simulated", (f"{console.count(result.cycles)} cycles in {console.seconds(result.seconds)}, "
                           f"simulator built in {console.seconds(result.build_seconds)}")),
        ])
        if result.profile is not None:
            _print_profile(result.profile)
        if wave is not None and wave.suffix == ".saif":
            _print_activity(read_saif(wave, clock=CLOCK))
        if result.unseen:
            console.say(f"Not compared, since synthesis merged or dissolved them: {escape(', '.join(result.unseen))}")
        for problem in result.problems():
            console.say(f"[red]✗[/red] {escape(problem)}")
        if result.first_mismatch is not None and wave is None and netlist != "placed":
            frame = result.first_mismatch.frame
            of_netlist = "" if netlist == "rtl" else f"--netlist {netlist} "
            console.say(f"Look at it with [bold]hwbnn simulate {path} --images {images} {of_netlist}--engine compiled "
                        f"--check layers --frames {frame}:{frame + 1} --wave frame-{frame}.vcd[/bold]")
    if not result.ok:
        raise typer.Exit(1)


def _range(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    start, _, stop = text.partition(":")
    try:
        return int(start), int(stop)
    except ValueError:
        raise UserError(f"Frames must be a range such as 3:5, not {text}") from None


def _print_activity(activity: Activity):
    """How much each instance toggles."""
    rows = [(one.instance, console.count(one.bits), f"{one.toggles / activity.cycles:.1f}",
             f"{one.toggles / activity.cycles / one.bits:.3f}") for one in activity.instances]
    console.table(f"Toggles in {console.count(activity.cycles)} cycles",
                  ["instance", ">bits", ">toggles a cycle", ">of each bit"], rows)


def _print_profile(profile: Profile):
    """Where the cycles of the steady state go."""
    def share(cycles: float) -> str:
        return f"{cycles / profile.cycles:.0%}"

    rows = [(row.stage, row.layer, share(row.transferred), share(row.stalled), share(row.starved),
             "" if row.occupancy is None else f"{row.occupancy} of {row.fifo_depth}",
             f"{row.utilisation:.0%}" + (" [yellow]limits[/yellow]" if row.stage == profile.bottleneck else ""))
            for row in profile.stages]
    console.table(f"Streams out of each stage, {profile.frames} frames of the steady state",
                  ["stage", "layer", ">moves", ">stalled", ">starved", ">FIFO at most", ">stage works"], rows)
