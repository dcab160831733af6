"""``hwbnn demo``: the main job, by the commands that a user would type."""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from hwbnn.build import Build
from hwbnn.cli import console
from hwbnn.cli.options import single
from hwbnn.cost import Figure, Quantity
from hwbnn.report.text import figure
from hwbnn.synth import SynthesisResult

app = single()


@app.command()
def demo(
    ctx: typer.Context,
    runs: Annotated[str, typer.Option("--runs", metavar="DIR", help="Where training goes.")] = "runs",
    builds: Annotated[str, typer.Option("--build", metavar="DIR", help="Where the build goes.")] = "build",
):
    """Do the main job on scikit-learn's real 8x8 digits: train, compile, simulate, estimate, synthesize, report.

    Every command is printed as you would type it. It takes about five minutes; at the end a table compares what
    was predicted with what came out.
    """
    start = time.monotonic()
    run, build = str(Path(runs) / "digits"), str(Path(builds) / "digits")
    for words in (
        ["train", "digits-mlp", "-o", run],
        ["compile", f"{run}/model.onnx", "--board", "ulx3s-85f", "--target-fps", "100000", "-o", build],
        ["simulate", build, "--images", "digits:test"],
        ["estimate", build],
        ["synth", build],
        ["report", build],
    ):
        console.say(f"\n[bold cyan]$ hwbnn {' '.join(words)}[/bold cyan]")
        _call(ctx, words)
    summarize(Build(build))
    console.say(f"\nAll of it took {console.seconds(time.monotonic() - start)}. "
                "To go on: `hwbnn --help`, and the commands above with your own model.")


def _call(ctx: typer.Context, words: list[str]) -> None:
    """Run one command as if it had been typed; end with its status where that is not 0."""
    try:
        ctx.find_root().command.main(words, "hwbnn")
    except SystemExit as ended:
        if ended.code:
            raise typer.Exit(ended.code if isinstance(ended.code, int) else 1) from None


def summarize(build: Build) -> None:
    """Print what was predicted beside what came out."""
    directory = build.directory
    accuracy = directory.read_json("accuracy.json", "hwbnn simulate")
    simulation = directory.read_json("sim/result.json", "hwbnn simulate")
    synthesis = SynthesisResult.read(directory)
    training = _training(build.path)
    measured = simulation["measured"]
    estimate = build.estimated
    assert estimate is not None  # the commands above made it
    luts, registers = estimate.resources.mapped_luts, estimate.resources.mapped_flip_flops
    cells = synthesis.accelerator
    _, energy = estimate.headline
    console.table(f"{build.network.name} on {build.board.title}", ["", ">predicted", ">seen", ""], [
        ("Accuracy, PyTorch", console.percent(training["accuracy"]["test"]) if training else None, None, ""),
        ("Accuracy, golden and Verilog", console.percent(accuracy["golden"]),
         console.percent(accuracy["hardware"]),
         _verdict(simulation["mismatches"] == 0, f"all {accuracy['count']} outputs identical")),
        ("Cycles, first frame", build.plan.cycles.first, measured["first"],
         _verdict(build.plan.cycles.first == measured["first"], "identical")),
        ("Cycles between frames", build.plan.cycles.interval, measured["interval"],
         _verdict(build.plan.cycles.interval == measured["interval"], "identical")),
        ("LUTs of the accelerator", figure(luts), cells.lut, _deviation(luts, cells.lut)),
        ("LUTs placed, with the host link", None, synthesis.placed["lut"].used,
         f"{console.percent(synthesis.placed['lut'].used / synthesis.placed['lut'].available, 1)} of the chip"),
        ("Flip-flops of the accelerator", figure(registers), cells.ff,
         f"{_deviation(registers, cells.ff)}, of {build.plan.flip_flops:,} in the Verilog"),
        ("Clock, MHz", f"{synthesis.clock_hz / 1e6:g}", f"{synthesis.fmax_hz / 1e6:.1f}",
         _verdict(synthesis.met, "reached", "missed")),
        ("Energy per inference", str(energy), None,
         "in the FPGA" if isinstance(estimate.energy.total, Quantity) else "45 nm ASIC reference"),
    ])
    console.facts([("Bitstream", str(synthesis.bitstream)), ("Report", str(build.path / "report.html"))])


def _verdict(good: bool, text: str, otherwise: str = "they differ") -> str:
    return f"[green]{text}[/green]" if good else f"[red]{otherwise}[/red]"


def _deviation(predicted: Figure, seen: int) -> str:
    """How far an estimate was off."""
    if not isinstance(predicted, Quantity) or not seen:
        return ""
    return f"{100 * (predicted.nominal - seen) / seen:+.1f} %".replace("-", "−")


def _training(path: Path) -> dict[str, Any] | None:
    file = path / "training.json"
    return json.loads(file.read_text()) if file.exists() else None
