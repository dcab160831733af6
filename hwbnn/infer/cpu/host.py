"""What this processor offers the kernels, and where compiled kernels are kept.

Numba notices an edit of the function it caches but not of an intrinsic that the function calls, nor of a constant
from another file; it would then run stale machine code without a word. So the folder of the cache is named by the
contents of every file beside this one, by the versions of the compilers and by the variant: an edit changes the
folder, and a stale kernel cannot be found.
"""

import ctypes
import hashlib
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
from numba import njit
from numba.core import config

from hwbnn.infer.cpu.microkernel import Tile

__all__ = ["TILES", "allow_amx", "byte_unit", "cache_directory", "compiled", "digest", "features", "variant"]

_CONFIG: Any = config  # its settings are attributes made at import, from the environment

_ARCH_PRCTL, _REQUEST, _TILE_DATA = 158, 0x1023, 18  # x86-64 Linux: arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA)

# Tiles without and with a mask beside the sign of each word, measured with benchmarks/cpu.py. An avx512 machine has
# 32 vector registers of 8 columns, avx2 keeps 8 columns in two of its 16.
TILES: dict[str, tuple[Tile, Tile]] = {
    "avx512-vpopcntdq": (Tile(4, 4), Tile(4, 4)),
    "avx512": (Tile(2, 2, words=4), Tile(2, 2, words=4)),
    "avx2": (Tile(1, 1, words=4), Tile(1, 1, words=4)),
    "portable": (Tile(2, 1), Tile(2, 1)),
}


@cache
def features() -> frozenset[str]:
    """The features that numba compiles for: those of ``NUMBA_CPU_FEATURES``, else the processor's."""
    chosen = _CONFIG.CPU_FEATURES
    if chosen is not None:
        return frozenset(item[1:] for item in chosen.split(",") if item.startswith("+"))
    return frozenset(name for name, present in llvm.get_host_cpu_features().items() if present)


@cache
def variant() -> str:
    """Name of the micro-kernel's variant: a key of :data:`TILES`."""
    have = features()
    if {"avx512f", "avx512bw", "avx512vl", "avx512dq"} <= have:
        return "avx512-vpopcntdq" if "avx512vpopcntdq" in have else "avx512"
    return "avx2" if "avx2" in have else "portable"


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
    """Digest of every Python file of ``folder``, of the compilers' versions and of the variant."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        total.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    total.update(f"{numba.__version__} {llvmlite.__version__} {variant()}".encode())
    return total.hexdigest()[:24]


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


def compiled(function: Callable) -> Any:
    """Compile ``function`` when it is first called, without the interpreter lock, and keep the machine code."""
    folder = cache_directory()
    kept, _CONFIG.CACHE_DIR = _CONFIG.CACHE_DIR, str(folder)  # read while decorating; there is no argument for it
    try:
        return njit(nogil=True, boundscheck=False, cache=folder is not None)(function)
    finally:
        _CONFIG.CACHE_DIR = kept
