"""Compiled kernels as functions of arrays: from the cache without numba, compiled by it where they are not there.

A file of the cache holds a digest of all that follows, the types of the arguments, and an object file. A file that is
damaged is compiled anew. A sequence of calls can be recorded and run again as one.
"""

import ctypes
import hashlib
import threading
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numpy.typing import NDArray

from hwbnn.infer.cpu.host import cache_directory
from hwbnn.infer.cpu.shapes import ENTRY

__all__ = ["Kernel", "Recording", "kernel"]

_Entry = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)  # leaves Python's lock
_NOTHING = np.zeros(1, np.int64)  # what kernels return
_SINK = _NOTHING.ctypes.data
_LOADING = threading.Lock()
_SOURCES = ("hwbnn.infer.cpu.kernels", "hwbnn.infer.cpu.bytes")


class _Active(threading.local):
    """What this thread records at present."""

    recording: "Recording | None" = None


_ACTIVE = _Active()


class Kernel:
    """A compiled kernel.

    Called with C-contiguous arrays of the types that the kernel was compiled for, and integers. Nothing tells the
    kernel how long an array is: whoever calls it must.
    """

    def __init__(self, name: str, kinds: list[str], code: bytes):
        self.name = name
        self._kinds = [None if kind == "-" else np.dtype(kind) for kind in kinds]
        self._table = ctypes.c_int64 * len(kinds)
        self._engine = _linked(code)
        self.address: int = self._engine.get_function_address(ENTRY)
        self._entry = _Entry(self.address)

    def __call__(self, *args: Any) -> None:
        values = []
        for kind, arg in zip(self._kinds, args, strict=True):
            if kind is None:
                values.append(int(arg))
                continue
            if arg.dtype != kind or not arg.flags.c_contiguous:
                raise TypeError(f"Kernel {self.name} must have contiguous {kind}, not {arg.dtype} {arg.strides}")
            values.append(arg.__array_interface__["data"][0])
        table = self._table(*values)
        self._entry(_SINK, _SINK, table)
        if _ACTIVE.recording is not None:
            _ACTIVE.recording.calls.append((self.address, table, args))


class Recording:
    """Calls of kernels in order, on arrays that stay where they are, to be run again.

    Within ``with recording.on():`` every call of this thread joins the recording, and is carried out as well.
    """

    def __init__(self):
        self.calls: list[tuple[int, Any, tuple]] = []  # address, table, and what keeps its arrays alive
        self._order: NDArray[np.int64] | None = None

    @contextmanager
    def on(self):
        _ACTIVE.recording = self
        try:
            yield self
        finally:
            _ACTIVE.recording = None

    def run(self) -> None:
        """Carry out all calls again."""
        if self._order is None:
            pairs = [(address, ctypes.addressof(table)) for address, table, _ in self.calls]
            self._order = np.array(pairs, np.int64).reshape(-1, 2)
        kernel("replay")(self._order, len(self._order), _NOTHING)


@cache
def kernel(name: str) -> Kernel:
    """The kernel ``name`` of one of the files of kernels, compiled for this processor once and for all."""
    with _LOADING:
        folder = cache_directory()
        kept = None if folder is None else _read(folder / f"{name}.o")
        if kept is None:
            compiler = import_module("hwbnn.infer.cpu.compiler")  # brings numba, which takes longer than all else
            for module in _SOURCES:
                import_module(module)
            kept = compiler.signature(name), compiler.object_code(name)
            if folder is not None:
                with suppress(OSError):  # no room, say: compile again next time
                    _write(folder / f"{name}.o", *kept)
        return Kernel(name, *kept)


def _write(path: Path, kinds: list[str], code: bytes) -> None:
    from hwbnn.builddir import write_atomic  # not needed by those who find all they need in the cache

    body = " ".join(kinds).encode() + b"\n" + code
    write_atomic(path, hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


def _read(path: Path) -> tuple[list[str], bytes] | None:
    """Types of the arguments and object file; None where the file is missing or damaged."""
    try:
        digest, body = path.read_bytes().split(b"\n", 1)
    except (OSError, ValueError):
        return None
    if hashlib.sha256(body).hexdigest().encode() != digest:
        return None
    kinds, code = body.split(b"\n", 1)
    return kinds.decode().split(), code


def _linked(code: bytes) -> Any:
    """An execution engine that holds the functions of an object file."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine
