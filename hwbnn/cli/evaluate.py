"""``hwbnn eval``: what a model makes of images, in exact integers."""

import time
from io import BytesIO
from typing import Annotated

import numpy as np
import typer

from hwbnn import golden
from hwbnn.build import load
from hwbnn.builddir import write_atomic
from hwbnn.cli import console
from hwbnn.cli.options import ImagesOption, Json, read_images, single

app = single()


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", show_default=False,
                                         help="A QONNX file, a network.npz, or a build directory.")],
    images: ImagesOption,
    output: Annotated[str | None, typer.Option("--output", "-o", metavar="FILE.npy", show_default=False,
                                               help="Write the class of every image there.")] = None,
    as_json: Json = False,
):
    """Classify images with a model, in exact integers, and print the accuracy.

    This is what the hardware will answer, image by image.
    """
    net = load(model)
    chosen = read_images(images, net)
    start = time.monotonic()
    with console.bar("Evaluating") as report:
        parts = []
        for first in range(0, len(chosen.x), 256):
            parts.append(golden.classes(net, chosen.x[first:first + 256]))
            report(min(first + 256, len(chosen.x)), len(chosen.x))
    classes = np.concatenate(parts)
    elapsed = time.monotonic() - start
    if output is not None:
        file = BytesIO()
        np.save(file, classes)
        write_atomic(output, file.getvalue())
    right = None if chosen.labels is None else int((classes == chosen.labels).sum())
    accuracy = None if right is None else right / len(classes)
    if as_json:
        console.print_json({"model": model, "images": images, "count": len(classes), "right": right,
                            "accuracy": accuracy, "seconds": round(elapsed, 3), "output": output})
        return
    console.facts([
        ("Model", f"{model} ({len(net.nodes)} nodes)"),
        ("Images", f"{images}: {console.count(len(classes))} in {console.seconds(elapsed)}"),
        ("Accuracy", "unknown: the images come without labels" if right is None else
         f"[bold]{console.percent(accuracy)}[/bold] ({console.count(right)} right)"),
        *([("Classes", f"written to {output}")] if output is not None else []),
    ])
