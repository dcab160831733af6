"""``hwbnn sim``: what else there is to do with the simulation of a build."""

from pathlib import Path
from typing import Annotated

import typer

from hwbnn.build import Build
from hwbnn.cli import console
from hwbnn.cli.options import BuildPath, DataRoot, read_images, single
from hwbnn.sim.export import export as write_bench

app = single()


@app.callback()
def sim():
    """Take the simulation of a build elsewhere."""


@app.command()
def export(
    path: BuildPath,
    folder: Annotated[Path | None, typer.Argument(metavar="DIR", show_default=False,
                                                  help="Where to write it; otherwise BUILD/bench.")] = None,
    images: Annotated[str | None, typer.Option("--images", metavar="SET:SPLIT[:START:STOP]|FILE.npy",
                                               show_default=False, help="Images of the golden vectors; otherwise "
                                                                        "random ones.")] = None,
    count: Annotated[int, typer.Option("--frames", metavar="N", help="How many random images.")] = 16,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random images.")] = 1,
    data_root: DataRoot = None,
):
    """Write a cocotb bench that stands alone, for your own project and simulator.

    It holds the Verilog, golden vectors, a Makefile and a test for pytest, and runs without hwbnn: it needs cocotb 2
    and cocotbext-axi, and Icarus, Verilator or another simulator that cocotb knows.
    """
    build = Build(path)
    x = None if images is None else read_images(images, build.network, data_root).x
    made = write_bench(build.directory, folder or build.path / "bench", x, count=count, seed=seed)
    console.facts([
        ("Bench", f"{made}: {', '.join(sorted(file.name for file in made.iterdir() if file.is_file()))}"),
        ("Needs", f"pip install -r {made / 'requirements.txt'}"),
        ("Run it", f"make -C {made}, or pytest {made}; SIM=verilator for another simulator than Icarus"),
    ])
