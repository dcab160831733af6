"""What the commands that classify images have in common: the classes to a file, the accuracy to the screen."""

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwbnn.builddir import write_atomic
from hwbnn.cli import console

__all__ = ["tell", "write_classes"]


def write_classes(path: str, classes: NDArray[np.int64]) -> None:
    """Write a class per image to an ``.npy`` file, or a line each to a ``.txt`` file."""
    if path.endswith(".txt"):
        write_atomic(path, "".join(f"{number}\n" for number in classes.tolist()))
        return
    file = BytesIO()
    np.save(file, classes)
    write_atomic(path, file.getvalue())


def tell(model: tuple[str, str], images: str, classes: NDArray[np.int64], labels: NDArray[np.int64] | None, *,
         seconds: float, output: str | None, as_json: bool, **more: Any) -> None:
    """Print what came out, and write the classes to ``output``.

    Parameters
    ----------
    model : (name, remark)
    classes, labels : int arrays (N,)
    more
        Further entries of the JSON record.
    """
    if output is not None:
        write_classes(output, classes)
    right = None if labels is None else int((classes == labels).sum())
    accuracy = None if right is None else right / len(classes)
    if as_json:
        console.print_json({"model": model[0], "images": images, "count": len(classes), "right": right,
                            "accuracy": accuracy, "seconds": round(seconds, 3), "output": output, **more})
        return
    console.facts([
        ("Model", f"{model[0]} ({model[1]})"),
        ("Images", f"{images}: {console.count(len(classes))} in {console.seconds(seconds)}"),
        ("Accuracy", "unknown: the images come without labels" if right is None else
         f"[bold]{console.percent(accuracy)}[/bold] ({console.count(right)} right)"),
        *([("Classes", f"written to {output}")] if output is not None else []),
    ])
