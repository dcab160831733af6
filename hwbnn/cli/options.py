"""Options that several commands share, and how their values are read."""

from typing import Annotated, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray

from hwbnn import datasets, ir
from hwbnn.errors import UserError

__all__ = [
    "BuildPath", "ClassesFile", "DataRoot", "Images", "ImagesOption", "Json", "WeightsOption", "read_images", "single",
]

BuildPath = Annotated[str, typer.Argument(metavar="BUILD", help="Build directory, made by [bold]hwbnn compile[/bold].",
                                          show_default=False)]
ImagesOption = Annotated[str, typer.Option("--images", metavar="SET:SPLIT[:START:STOP]|FILE.npy", show_default=False,
                                           help="Images by name, such as digits:test or mnist:test:0:100, or a .npy "
                                                "file in the form that the graph takes.")]
DataRoot = Annotated[str | None, typer.Option("--data-root", metavar="FOLDER", show_default=False,
                                              help="Folder of the data sets; otherwise the one that HWBNN_DATA names, "
                                                   "otherwise OpenML.")]


def _classes_file(path: str | None) -> str | None:
    if path is not None and not path.endswith((".npy", ".txt")):
        raise UserError(f"Output must be an .npy or a .txt file, not {path}")
    return path


ClassesFile = Annotated[str | None, typer.Option("--output", "-o", metavar="FILE.npy|.txt", show_default=False,
                                                 callback=_classes_file,
                                                 help="Write the class of every image there.")]
WeightsOption = Annotated[str | None, typer.Option(
    "--weights", metavar="FILE.bin", show_default=False,
    help="Load these weights first, which [bold]hwbnn weights[/bold] wrote for this build.")]
Json = Annotated[bool, typer.Option("--json", help="Print a record for another program instead of tables.")]


def single() -> typer.Typer:
    """The application of one command, for its module."""
    return typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False,
                       context_settings={"help_option_names": ["-h", "--help"]})


class Images(NamedTuple):
    """Images in the form that a graph takes, their labels where they are known, and what they are."""

    x: NDArray
    labels: NDArray[np.int64] | None
    name: str


def read_images(spec: str, net: ir.Network, data_root: str | None = None) -> Images:
    """Read what ``--images`` names, in the form that ``net`` takes; ``data_root`` is where the sets are."""
    x, labels = datasets.images(spec, data_root)
    shape = net.input.graph_shape
    if not len(x):
        raise UserError(f"Images must be at least one, and {spec} holds none; name others with --images")
    if x.shape[1:] != shape and np.prod(x.shape[1:]) == np.prod(shape):
        x = x.reshape(len(x), *shape)  # a flat network takes a set of pictures, and the other way round
    if x.shape[1:] != shape:
        raise UserError(f"Images must have shape N x {' x '.join(map(str, shape))} for {net.name}, and those of {spec} "
                        f"are {' x '.join(map(str, x.shape))}")
    return Images(x, labels, spec)
