"""The device as the engine needs it: memory, copies, launches, graphs. Errors become one line each."""

import ctypes
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from cuda.bindings import driver as cu  # pyright: ignore[reportAttributeAccessIssue]  # chosen at run time
from cuda.core import Device, LaunchConfig, ObjectCode, launch  # pyright: ignore[reportAttributeAccessIssue]  # chosen at run time
from numpy.typing import NDArray

from hwbnn.errors import UserError
from hwbnn.infer.cuda.compile import cache_directory, cubin
from hwbnn.infer.cuda.kernels import KERNELS, Tier, tier_of
from hwbnn.infer.cuda.trial import verdict

__all__ = ["CudaDriver", "open_device"]

_PINNED = 2**25  # bytes of page-locked memory, of which a system has little


def open_device(index: int = 0) -> "CudaDriver":
    """The driver of a GPU; ``UserError`` of one line where there is none that serves."""
    try:
        device = Device(index)
        device.set_current()
        capability = device.compute_capability
    except Exception as error:  # cuda-core raises types of its own, of several modules
        kind = type(error).__name__
        if kind == "DynamicLibNotFoundError":
            raise UserError("CUDA must have NVIDIA's driver, which this machine lacks; use --device cpu") from error
        text = str(error).splitlines()[0] if str(error) else kind
        raise UserError(f"CUDA must have a GPU that works, and the driver answers {text}") from error
    try:
        tier = tier_of(*capability)
    except ValueError as error:
        raise UserError(f"GPU must have compute capability 7.5 or more, not {capability[0]}.{capability[1]} "
                        f"({device.name})") from error
    return CudaDriver(device, tier)


def _check(result: tuple) -> Any:
    status, *values = result
    if status != cu.CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"CUDA answers {status.name}")
    return values[0] if values else None


class CudaDriver:
    """A GPU through cuda-core, on a stream of its own or one that is given."""

    def __init__(self, device: Device, tier: Tier, stream: Any = None):
        self.device, self.tier = device, tier
        self.title = f"{device.name}, {tier.arch}"
        self.processors = int(device.properties.multiprocessor_count)
        self.stream = device.create_stream(stream)
        self._kernels: dict[str, Any] = {}
        self._sources = {kernel: source for source, kernels in KERNELS.items() for kernel in kernels}
        self._pinned: NDArray | None = None
        self.tries = True  # whether product kernels are tried in another process before they are used
        self._target: Any = self.stream  # a graph under construction, while recording

    def allocate(self, size: int) -> Any:
        try:
            return self.device.allocate(max(size, 16), stream=self.stream)
        except Exception as error:  # cuda-core's own error type
            if "OUT_OF_MEMORY" in str(error):
                raise UserError(f"GPU must have {size / 2**20:.0f} MiB more memory free; a smaller batch asks for "
                                "less") from error
            raise

    def enter(self) -> None:
        self.device.set_current()  # contexts are a thread's

    def trial(self, kernel: str) -> str:
        if not self.tries:
            return "exact"
        machine = f"{self.title}, driver {_check(cu.cuDriverGetVersion())}"
        return verdict(kernel, self.device.device_id, cache_directory(self.tier.arch), machine)

    def upload(self, memory: Any, host: NDArray) -> None:
        data, room = np.ascontiguousarray(host).reshape(-1).view(np.uint8), self._pinned_room()
        for start in range(0, len(data), len(room)):
            part = data[start:start + len(room)]
            room[:len(part)] = part
            _check(cu.cuMemcpyHtoDAsync(int(memory.handle) + start, room.ctypes.data, len(part), self.stream.handle))
            self.stream.sync()  # the room is used again

    def download(self, memory: Any, host: NDArray) -> None:
        data, room = host.reshape(-1).view(np.uint8), self._pinned_room()
        for start in range(0, len(data), len(room)):
            part = data[start:start + len(room)]
            _check(cu.cuMemcpyDtoHAsync(room.ctypes.data, int(memory.handle) + start, len(part), self.stream.handle))
            self.stream.sync()
            part[:] = room[:len(part)]

    def _pinned_room(self) -> NDArray[np.uint8]:
        """Page-locked bytes, which the GPU copies to and from at full speed."""
        if self._pinned is None:
            pointer = _check(cu.cuMemAllocHost(_PINNED))
            self._pinned = np.ctypeslib.as_array((ctypes.c_uint8 * _PINNED).from_address(int(pointer)))
        return self._pinned

    def launch(self, kernel: str, grid: tuple[int, int], threads: int, *args: Any) -> None:
        config = LaunchConfig(grid=(*grid, 1), block=(threads, 1, 1), shmem_size=SHARED.get(kernel, 0))
        launch(self._target, config, self._kernel(kernel), *args)

    def _kernel(self, name: str) -> Any:
        if name not in self._kernels:
            source = self._sources[name]
            code = ObjectCode.from_cubin(cubin(source, self.tier.arch))
            kernel = code.get_kernel(name)
            if name in SHARED:
                attribute = cu.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
                function = _check(cu.cuKernelGetFunction(kernel.handle))
                _check(cu.cuFuncSetAttribute(function, attribute, SHARED[name]))
            self._kernels[name] = kernel
        return self._kernels[name]

    def tensor_map(self, memory: Any, rows: int, row_bytes: int, box_rows: int) -> Any:
        view_of = import_module("cuda.core.utils").StridedMemoryView  # only processors with tensor maps need these
        swizzle = import_module("cuda.core._tensor_map").TensorMapSwizzle.SWIZZLE_128B

        view = view_of.from_any_interface(_Interface(memory, (rows, row_bytes)), stream_ptr=-1)
        return view.as_tensor_map(box_dim=(box_rows, 128), swizzle=swizzle)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        builder = self.device.create_graph_builder().begin_building()
        self._target = builder
        try:
            work()
        finally:
            self._target = self.stream
            builder.end_building()
        graph = builder.complete()
        return lambda: graph.launch(self.stream)


SHARED = {"product_wgmma": 4 * (128 + 256) * 128 + 1024}  # dynamic shared memory: stages of rows and columns


class _Interface:
    """Bytes on the device, for those who ask for an array."""

    def __init__(self, memory: Any, shape: tuple[int, ...]):
        self.__cuda_array_interface__ = {"shape": shape, "typestr": "|u1", "data": (int(memory.handle), False),
                                         "version": 3, "strides": None}
