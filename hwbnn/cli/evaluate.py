"""``hwbnn eval``: what a model makes of images, in exact integers."""

import time
from typing import Annotated

import numpy as np
import typer

from hwbnn import golden
from hwbnn.build import load
from hwbnn.cli import console
from hwbnn.cli.answers import tell
from hwbnn.cli.options import ClassesFile, DataRoot, ImagesOption, Json, read_images, single

app = single()


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", show_default=False,
                                         help="A QONNX file, a network.npz, or a build directory.")],
    images: ImagesOption,
    output: ClassesFile = None,
    data_root: DataRoot = None,
    as_json: Json = False,
):
    """Classify images with a model, in exact integers, and print the accuracy.

    This is what the hardware will answer, image by image.
    """
    net = load(model)
    chosen = read_images(images, net, data_root)
    start = time.monotonic()
    with console.bar("Evaluating") as report:
        parts = []
        for first in range(0, len(chosen.x), 256):
            parts.append(golden.classes(net, chosen.x[first:first + 256]))
            report(min(first + 256, len(chosen.x)), len(chosen.x))
    tell((model, f"{len(net.nodes)} nodes"), images, np.concatenate(parts), chosen.labels,
         seconds=time.monotonic() - start, output=output, as_json=as_json)
