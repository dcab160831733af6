"""Netlists of a build directory: what the tools made of the Verilog, put together with models of its cells."""

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from hwbnn.builddir import BuildDirectory, write_atomic
from hwbnn.errors import UserError
from hwbnn.sim import cells
from hwbnn.sim.design import TOPLEVEL
from hwbnn.sim.taps import Tap
from hwbnn_boards import board

__all__ = ["NETLISTS", "Line", "cells_of", "has_stream", "line_of", "netlist_of"]

NETLISTS = ("cells", "synth", "placed")
"""The Verilog that is synthesized, of its family's cells; the accelerator after Yosys, with the same ports; the whole
design for the board after nextpnr."""

_INSIDE, _OUTSIDE = "/*verilator tracing_off*/", "/*verilator tracing_on*/"  # waveforms end at the pins of cells
_FILE = "synth/netlists.json"
_FORMAT = 1
_LONG = re.compile(r"\\\S{80,}|(?<!')\b[A-Za-z_]\w{80,}")  # Verilator hashes such names, and loses them when it traces


@dataclass(frozen=True)
class Line:
    """The serial line of a placed design: its ports, and the clock cycles of a bit."""

    clk: str
    rx: str
    tx: str
    divisor: int


def netlist_of(directory: BuildDirectory, kind: str, design: Path, *, above: str = "") -> Path:
    """Put a netlist and models of its cells into one file, ``design``, and return that.

    Parameters
    ----------
    kind : :class:`str`
        One of :data:`NETLISTS` that ``hwbnn synth`` leaves.
    design : :class:`~pathlib.Path`
        Where to; a file that has that content already stays as it is.
    above : :class:`str`
        Verilog that goes with it, such as what drives it.

    Raises
    ------
    UserError
        There is none, it was made from another Verilog or it was changed; its family has no models.
    """
    record = _record(directory, kind)
    with directory.parsing(_FILE, "hwbnn synth"):
        entry = record["files"][kind]
        file, known, family = directory / entry["name"], entry["sha256"], record["family"]
    if not file.exists() or sha256(file.read_bytes()).hexdigest() != known:
        raise UserError(f"Netlist {file} must be the one that was synthesized, and it is missing or was changed; "
                        f"make it again with `hwbnn synth {directory.path}`")
    return _with_models(family, _LONG.sub(_shortened, file.read_text()), design, above)


def cells_of(directory: BuildDirectory, design: Path) -> Path:
    """Put the Verilog that is synthesized and models of its family's cells into one file, ``design``, and return that.

    Raises as :func:`netlist_of`.
    """
    return _with_models(board(directory.manifest.board).family, directory.verilog.read_text(), design, "")


def _with_models(family: str, text: str, design: Path, above: str) -> Path:
    content = f"{_INSIDE}\n{cells.models(family, text)}\n{_OUTSIDE}\n{text}\n{above}"
    if not design.exists() or design.read_text() != content:
        write_atomic(design, content)
    return design


def has_stream(netlist: Path, tap: Tap) -> bool:
    """Whether a stream is a port of its stage still: Yosys merges outputs that are always equal, as a fork's are."""
    module = re.escape(".".join((TOPLEVEL, *tap.scope)))
    found = re.search(rf"^module \\?{module} \((.*?)\);", netlist.read_text(), re.MULTILINE | re.DOTALL)
    ports = set() if found is None else {port.strip().lstrip("\\") for port in found[1].split(",")}
    return {f"{tap.port}__{name}" for name in ("valid", "ready", "payload")} <= ports


def line_of(directory: BuildDirectory) -> Line:
    """How the placed design is reached."""
    record = _record(directory, "placed")
    with directory.parsing(_FILE, "hwbnn synth"):
        return Line(**record["pins"], divisor=int(record["divisor"]))


def _shortened(name: re.Match[str]) -> str:
    plain = name[0].removeprefix("\\")
    mark = "\\" if name[0] != plain else ""
    return f"{mark}{re.sub(r'[^A-Za-z0-9_.]', '_', plain[:50])}__{sha256(plain.encode()).hexdigest()[:12]}"


def _record(directory: BuildDirectory, kind: str) -> dict[str, Any]:
    if kind not in NETLISTS[1:]:
        raise UserError(f"Netlist must be {' or '.join(NETLISTS[1:])}, not {kind}")
    record = directory.read_json(_FILE, "hwbnn synth")
    if record.get("format") != _FORMAT:
        raise UserError(f"File {directory / _FILE} must have format {_FORMAT}, not {record.get('format')}; "
                        f"make it again with `hwbnn synth {directory.path}`")
    if record.get("rtl") != sha256(directory.verilog.read_bytes()).hexdigest():
        raise UserError(f"Netlists in {directory.path} must be made from its Verilog, and they are from another; "
                        f"make them again with `hwbnn synth {directory.path}`")
    return record
