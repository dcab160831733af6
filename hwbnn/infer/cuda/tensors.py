"""The CUDA engine on PyTorch's tensors and streams: memory is PyTorch's, work goes to its current stream."""

from typing import Any

import numpy as np
import torch
from cuda.core import Buffer, Device  # pyright: ignore[reportAttributeAccessIssue]  # chosen at run time

from hwbnn.infer import steps
from hwbnn.infer.cuda.array import DeviceArray
from hwbnn.infer.cuda.driver import CudaDriver
from hwbnn.infer.cuda.engine import CudaEngine
from hwbnn.infer.cuda.kernels import tier_of
from hwbnn.infer.plain import NumpyEngine

__all__ = ["TensorEngine"]


class _Stream:
    """PyTorch's current stream, for cuda-core."""

    def __init__(self, device: torch.device):
        self.device = device

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, torch.cuda.current_stream(self.device).cuda_stream


class _TensorDriver(CudaDriver):
    """Memory from PyTorch's allocator, launches on its current stream."""

    def __init__(self, device: torch.device):
        chosen = Device(device.index)
        chosen.set_current()
        super().__init__(chosen, tier_of(*chosen.compute_capability), _Stream(device))
        self._torch_device = device

    def allocate(self, size: int) -> Any:
        tensor = torch.empty(max(size, 16), dtype=torch.uint8, device=self._torch_device)
        return Buffer.from_handle(tensor.data_ptr(), tensor.numel(), owner=tensor)

    def follow(self) -> None:
        """Order what comes next on the stream that is PyTorch's current one now."""
        self.stream = self._target = self.device.create_stream(_Stream(self._torch_device))


class TensorEngine(CudaEngine):
    """Products of tensors on one GPU."""

    def __init__(self, device: torch.device):
        self._torch_driver = _TensorDriver(device)
        super().__init__(self._torch_driver, NumpyEngine())

    def product(self, step: steps.Product, numbers: torch.Tensor) -> torch.Tensor:
        """Dot products, int32 (rows, outputs), of level numbers, uint8 (rows, columns)."""
        self._torch_driver.follow()
        memory = Buffer.from_handle(numbers.data_ptr(), numbers.numel(), owner=numbers)
        x = DeviceArray(memory, tuple(numbers.shape), np.dtype(np.uint8))
        out = self._product(step, self._pack(x, step.weights.code))
        flat = out.memory.owner.view(torch.int32)[:out.size]
        return flat.reshape(out.shape)
