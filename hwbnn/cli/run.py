"""``hwbnn run``: images on a board."""

import time
from typing import Annotated

import typer

from hwbnn import golden
from hwbnn.build import Build
from hwbnn.cli import console
from hwbnn.cli.answers import write_classes
from hwbnn.cli.options import (
    BuildPath,
    ClassesFile,
    DataRoot,
    ImagesOption,
    Json,
    WeightsOption,
    read_images,
    single,
)

app = single()


@app.command()
def run(
    path: BuildPath,
    port: Annotated[str, typer.Option("--port", metavar="DEVICE", show_default=False,
                                      help="The board's serial port, such as /dev/ttyUSB0; [bold]virtual[/bold] "
                                           "simulates the board.")],
    images: ImagesOption,
    weights: WeightsOption = None,
    output: ClassesFile = None,
    data_root: DataRoot = None,
    as_json: Json = False,
):
    """Classify images on a board, over its serial port, and compare with the model.

    The board must have been loaded with the bitstream of this build. Exit status 1 where an answer differs.
    """
    build = Build(path)
    network = build.network if weights is None else build.weights(weights).network
    chosen = read_images(images, network, data_root)
    start = time.monotonic()
    with console.bar("Running") as report:
        classes = build.run(chosen.x, port, weights=weights, progress=report)
    elapsed = time.monotonic() - start
    if output is not None:
        write_classes(output, classes)
    wrong = int((classes != golden.classes(network, chosen.x)).sum())
    accuracy = None if chosen.labels is None else float((classes == chosen.labels).mean())
    if as_json:
        console.print_json({"port": port, "images": images, "count": len(classes), "different": wrong,
                            "accuracy": accuracy, "seconds": round(elapsed, 3), "output": output})
    else:
        console.facts([
            ("Board", f"{build.board.title} on {port}"),
            ("Images", f"{images}: {console.count(len(classes))} in {console.seconds(elapsed)}"),
            ("Answers", "[green]all equal the model's[/green]" if not wrong else
             f"[red]{wrong} of {len(classes)} differ from the model's[/red]"),
            *([("Accuracy", f"[bold]{console.percent(accuracy)}[/bold]")] if accuracy is not None else []),
            *([("Classes", f"written to {output}")] if output is not None else []),
        ])
    if wrong:
        raise typer.Exit(1)
