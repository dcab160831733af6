"""Write a cocotb bench that stands alone: the Verilog, golden vectors, and what runs them without this package."""

import json
import os
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwbnn.builddir import BuildDirectory, write_atomic
from hwbnn.errors import UserError
from hwbnn.sim.beats import beats_of
from hwbnn.sim.design import Design

__all__ = ["FILES", "export"]

FILES = ("Makefile", "accelerator_bench.py", "requirements.txt", "test_accelerator.py")
"""What is the same for every design."""

_PAUSED = 8  # times as long as without pauses, to be patient with any consumer


def export(directory: BuildDirectory, path: str | os.PathLike, x: ArrayLike | None = None, *, count: int = 16,
           seed: int = 1) -> Path:
    """Write the bench of a build into the folder ``path``, and return it.

    Parameters
    ----------
    x : array (N, *graph shape), optional
        The images of the golden vectors; ``count`` random ones of the network's integers where it is left out.
    count, seed : :class:`int`
        How many random ones, and their seed.

    Raises
    ------
    UserError
        The build is not complete, the images do not fit, or the folder holds something else.
    """
    design = Design.of(directory)
    path = Path(path)
    if path.exists() and (not path.is_dir() or (any(path.iterdir()) and not (path / "vectors.json").exists())):
        raise UserError(f"Bench must be written to a folder that is new, empty or an earlier bench, and {path} is not")
    q = design.encode(x) if x is not None else _random(design, count, seed)
    for name in FILES:
        write_atomic(path / name, (resources.files("hwbnn.sim") / "exported" / name).read_bytes())
    write_atomic(path / "accelerator.v", design.verilog.read_bytes())
    vectors = {"network": design.network.name, "digest": directory.manifest.network,
               "patience": _PAUSED * design.patience, "frames": [
                   {"s_axis": _words(i), "m_axis": _words(o)} for i, o in zip(
                       beats_of(q, design.plan.input), beats_of(design.expected(q), design.plan.output), strict=True)]}
    write_atomic(path / "vectors.json", json.dumps(vectors, indent=1) + "\n")
    return path


def _random(design: Design, count: int, seed: int) -> NDArray[np.int64]:
    if not isinstance(count, int) or count < 1:
        raise UserError(f"Frames must be at least 1, not {count}")
    levels = design.network.input.levels
    return np.random.default_rng(seed).choice(levels.values(), (count, *design.network.input.shape))


def _words(beats: NDArray[np.uint8]) -> list[str]:
    """``tdata`` of each beat as hexadecimal digits."""
    return [beat.tobytes()[::-1].hex() for beat in beats]
