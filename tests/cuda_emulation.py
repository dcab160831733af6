"""A driver that runs the CUDA kernels on the host, compiled with g++ against a small emulation of a GPU."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np

from hwbnn.infer import cuda
from hwbnn.infer.cuda.kernels import KERNELS, Tier

__all__ = ["EmulatedDriver", "build", "compiler"]

SOURCES = Path(cuda.__file__).parent
EMULATOR = Path(__file__).parent / "cuda_emulator"


def compiler() -> str | None:
    """The C++ compiler of this machine."""
    return shutil.which("g++")


def build(folder: Path) -> ctypes.CDLL:
    """Compile all kernels and the emulator to one library in ``folder``."""
    files = [EMULATOR / "emulate.cpp"]
    for source, kernels in KERNELS.items():
        unit = folder / f"{source}.cpp"
        unit.write_text(f'#include "emulate.h"\n#include "{SOURCES / source}.cu"\n'
                        + "".join(f"REGISTER({name})\n" for name in kernels))
        files.append(unit)
    library = folder / "emulated.so"
    options = ("-O1", "-std=c++17", "-shared", "-fPIC", "-w", "-Wno-psabi", f"-I{EMULATOR}", f"-I{SOURCES}")
    subprocess.run([compiler() or "g++", *options, "-o", str(library), *map(str, files)], check=True)
    return ctypes.CDLL(str(library))


class Memory:
    """Host memory in the place of device memory, with a guard behind it."""

    guard = b"\xa5" * 64

    def __init__(self, size: int):
        self.array = np.full(size + 64, 0xA5, np.uint8)
        self.size = size

    @property
    def handle(self) -> int:
        return self.array.ctypes.data

    def intact(self) -> bool:
        return self.array[self.size:].tobytes() == self.guard


class TensorMap(ctypes.Structure):
    """A tensor map as the emulator reads it: 64-bit words, as many as a real one has."""

    _fields_ = (("address", ctypes.c_uint64), ("rows", ctypes.c_uint64), ("row_bytes", ctypes.c_uint64),
                ("box_rows", ctypes.c_uint64), ("unused", ctypes.c_uint64 * 12))


class EmulatedDriver:
    """The engine's driver on the host. Fresh memory is garbage, and writes past an array are noticed."""

    def __init__(self, library: ctypes.CDLL, products: tuple[str, ...] = ("product_mma", "product_popc")):
        self.library = library
        self.tier = Tier("host", products)
        self.title = "emulated"
        self.processors = 4
        self.launched: list[str] = []
        self._recording: list | None = None

    def enter(self):
        pass

    def trial(self, kernel):
        return "exact"

    def allocate(self, size):
        return Memory(max(size, 16))

    def upload(self, memory, host):
        memory.array[:host.nbytes] = np.ascontiguousarray(host).reshape(-1).view(np.uint8)

    def download(self, memory, host):
        assert memory.intact()
        host.reshape(-1).view(np.uint8)[:] = memory.array[:host.nbytes]

    def launch(self, kernel, grid, threads, *args):
        self.launched.append(kernel)
        if self._recording is not None:
            self._recording.append((kernel, grid, threads, args))
            return
        values = []
        for arg in args:
            if isinstance(arg, Memory):
                values.append(ctypes.c_uint64(arg.handle))
            elif isinstance(arg, TensorMap):
                values.append(arg)
            else:
                assert arg.dtype in (np.int32, np.int64), arg.dtype
                values.append(ctypes.c_int32(int(arg)) if arg.dtype == np.int32 else ctypes.c_int64(int(arg)))
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        status = self.library.emulate(kernel.encode(), *grid, threads, pointers)
        assert status == 0, f"{kernel}: {('', 'no such kernel', 'a barrier that not all threads reach')[status]}"
        assert all(arg.intact() for arg in args if isinstance(arg, Memory)), f"{kernel} writes past an array"

    def tensor_map(self, memory, rows, row_bytes, box_rows):
        assert row_bytes % 16 == 0 and memory.handle % 16 == 0 and 0 < box_rows <= 256, "no such tensor map"
        return TensorMap(memory.handle, rows, row_bytes, box_rows)

    def record(self, work):
        self._recording = calls = []
        try:
            work()
        finally:
            self._recording = None
        return lambda: [self.launch(*call[:3], *call[3]) for call in calls]
