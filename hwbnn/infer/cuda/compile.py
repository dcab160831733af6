"""From the ``.cu`` files beside this one to machine code, by NVRTC, once per machine.

NVRTC comes from PyPI and needs neither a toolkit nor a GPU, so every architecture is compiled in the tests of any
machine. Cubins lie in the user's cache, named by the contents of all sources, the architecture and NVRTC's version.
"""

import hashlib
import io
import os
from contextlib import suppress
from functools import cache
from pathlib import Path

from cuda.bindings import nvrtc  # pyright: ignore[reportAttributeAccessIssue]  # chosen at run time
from cuda.core import Program, ProgramOptions  # pyright: ignore[reportAttributeAccessIssue]  # chosen at run time

from hwbnn.builddir import write_atomic

__all__ = ["cache_directory", "compile_source", "cubin", "digest"]

FOLDER = Path(__file__).parent
@cache
def _version() -> tuple[int, int]:
    status, major, minor = nvrtc.nvrtcVersion()
    if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
        raise RuntimeError(f"NVRTC must tell its version, and answers {status.name}")
    return major, minor


def digest(folder: Path, arch: str, version: tuple[int, int]) -> str:
    """Digest of every source and header of ``folder``, the architecture and the compiler's version."""
    total = hashlib.sha256()
    for path in sorted((*folder.glob("*.cu"), *folder.glob("*.h"))):
        total.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    total.update(f"{arch} {version}".encode())
    return total.hexdigest()[:24]


def cache_directory(arch: str) -> Path:
    """Folder of the cubins of one architecture."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "hwbnn" / "cuda" / digest(FOLDER, arch, _version())


def compile_source(name: str, arch: str) -> tuple[bytes, str]:
    """Compile ``name``.cu for ``arch``: the cubin, and what the assembler says of registers and spills."""
    options = ProgramOptions(arch=arch, std="c++17", include_path=[str(FOLDER)], name=f"{name}.cu",
                             ptxas_options=["-v", "--warn-on-spills"])
    log = io.StringIO()
    code = Program((FOLDER / f"{name}.cu").read_text(), "c++", options).compile("cubin", logs=log)
    return bytes(code.code), log.getvalue()


def cubin(name: str, arch: str) -> bytes:
    """Machine code of ``name``.cu from the cache, compiled first if need be."""
    path = cache_directory(arch) / f"{name}.cubin"
    try:
        return path.read_bytes()
    except OSError:
        code, _ = compile_source(name, arch)
    with suppress(OSError):  # no cache: compile again next time
        write_atomic(path, code)
    return code
