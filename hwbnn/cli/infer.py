"""``hwbnn infer``: bit-packed inference on the processor or a GPU."""

import time
from pathlib import Path
from typing import Annotated

import typer

from hwbnn import infer as packed
from hwbnn.build import load
from hwbnn.cli.answers import tell
from hwbnn.cli.options import ClassesFile, DataRoot, Json, read_images, single

app = single()


@app.command()
def infer(
    model: Annotated[str, typer.Argument(metavar="MODEL", show_default=False,
                                         help="A QONNX file, a network.npz, or a build directory.")],
    images: Annotated[str, typer.Argument(metavar="IMAGES", show_default=False,
                                          help="dataset:split[:range], an .npy file in the form the model takes, or a "
                                               "folder of pictures or such files.")],
    device: Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda", help="Where to compute.")] = "auto",
    output: ClassesFile = None,
    data_root: DataRoot = None,
    as_json: Json = False,
):
    """Classify images fast: weights and activations packed to bits, the same integers as eval and the hardware.

    auto takes a GPU where there is one that can be used, else the processor.
    """
    net = load(model)
    if Path(images).is_dir():  # read a batch at a time, however many there are
        x, labels = packed.Folder(images, net.input.graph_shape), None
    else:
        x, labels, _ = read_images(images, net, data_root)
    session = packed.load(net, device=device)
    start = time.monotonic()
    classes = session.classes(x, progress=not as_json)
    tell((model, f"on {session.device}"), images, classes, labels, seconds=time.monotonic() - start,
         output=output, as_json=as_json, device=session.device)
