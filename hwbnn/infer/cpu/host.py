"""What this processor offers the kernels, and where compiled kernels are kept.

The folder of the cache is named by the contents of every file beside this one, by the versions of the compilers and
by all that the processor offers: an edit or another machine changes the folder, and a stale kernel cannot be found.
"""

import ctypes
import hashlib
import os
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm

from hwbnn.infer.cpu.shapes import TILES

__all__ = ["allow_amx", "byte_unit", "cache_directory", "digest", "feature_string", "features", "processor", "variant"]

_ARCH_PRCTL, _REQUEST, _TILE_DATA = 158, 0x1023, 18  # x86-64 Linux: arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA)


@cache
def processor() -> str:
    """LLVM's name of the processor that kernels are compiled for: ``NUMBA_CPU_NAME``, else the one at hand."""
    return os.environ.get("NUMBA_CPU_NAME") or llvm.get_host_cpu_name()


@cache
def features() -> frozenset[str]:
    """What kernels may use: what ``NUMBA_CPU_FEATURES`` names, else all that the processor has."""
    chosen = os.environ.get("NUMBA_CPU_FEATURES")
    if chosen is not None:
        return frozenset(item[1:] for item in chosen.split(",") if item.startswith("+"))
    return frozenset(name for name, present in llvm.get_host_cpu_features().items() if present)


def feature_string() -> str:
    """The same as LLVM wants it: what is there and, for the processor at hand, what is not."""
    return os.environ.get("NUMBA_CPU_FEATURES") or llvm.get_host_cpu_features().flatten()


@cache
def variant() -> str:
    """Name of the micro-kernel's variant: a key of :data:`hwbnn.infer.cpu.shapes.TILES`."""
    have = features()
    if {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= have:
        return "avx512-vpopcntdq" if "avx512vpopcntdq" in have else "avx512"
    name = "avx2" if "avx2" in have else "portable"
    assert name in TILES
    return name


def allow_amx() -> bool:
    """Ask the kernel for the tile registers, which a process must do once; whether it may use them."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        return ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST, _TILE_DATA) == 0
    except (OSError, AttributeError):
        return False


@cache
def byte_unit() -> str:
    """How the processor multiplies bytes: ``amx``, ``vnni``, or not well enough, an empty string."""
    have = features()
    if {"amx-int8", "amx-tile", "avx512f", "avx512bw"} <= have and allow_amx():
        return "amx"
    return "vnni" if {"avx512vnni", "avx512bw"} <= have else ""


def digest(folder: Path) -> str:
    """Digest of every Python file of ``folder``, of the compilers' versions and of the processor."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        total.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    total.update(f"{_numba_version()} {llvmlite.__version__} {processor()} {feature_string()}".encode())
    return total.hexdigest()[:24]


def _numba_version() -> str:
    """What tells numba's version, without importing it: that alone takes longer than all else here."""
    spec = find_spec("numba")
    if spec is None or spec.origin is None:
        return ""
    return (Path(spec.origin).parent / "_version.py").read_text()


@cache
def cache_directory() -> Path | None:
    """Folder of the compiled kernels, made if need be; None where none can be written."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(root) / "hwbnn" / "cpu" / digest(Path(__file__).parent)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return path if os.access(path, os.W_OK) else None
