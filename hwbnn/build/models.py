"""Read a network from whatever file holds it."""

import os
from pathlib import Path

from hwbnn import ir
from hwbnn.builddir import BuildDirectory
from hwbnn.errors import UserError

__all__ = ["load"]


def load(path: str | os.PathLike) -> ir.Network:
    """Return the integer network of a QONNX file, a ``network.npz`` or a build directory.

    Raises :class:`UserError` where there is no such thing, or it cannot be imported.
    """
    path = Path(path)
    if path.is_dir():
        return BuildDirectory(path).network
    if not path.exists():
        raise UserError(f"Model must be an .onnx or .npz file or a build directory, and {path} does not exist")
    if path.suffix == ".npz":
        return ir.load(path)
    from hwbnn.frontend import load_onnx  # lazily: needs the extra onnx
    return load_onnx(path)
