"""Arrays on the device: a shape, a type, and memory that lives as long as an array of it does."""

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["DeviceArray"]


@dataclass(frozen=True, eq=False)
class DeviceArray:
    """A C-contiguous array on the device."""

    memory: Any
    shape: tuple[int, ...]
    dtype: np.dtype

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def reshape(self, *shape: int) -> "DeviceArray":
        """The same memory under another shape of the same size; one entry may be -1."""
        if -1 in shape:
            known = int(np.prod([n for n in shape if n != -1], dtype=np.int64))
            shape = tuple(self.size // max(known, 1) if n == -1 else n for n in shape)
        if int(np.prod(shape, dtype=np.int64)) != self.size:
            raise ValueError(f"Shape must hold {self.size} values, not {shape}")
        return DeviceArray(self.memory, tuple(shape), self.dtype)
