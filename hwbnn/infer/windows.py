"""Geometry of sliding windows: sizes, and which taps of which window lie in the zero padding."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwbnn import ir

__all__ = ["Window"]


@dataclass(frozen=True)
class Window:
    """Windows of a feature map of ``height`` by ``width`` pixels; all pairs are (y, x)."""

    height: int
    width: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int, int, int]

    @classmethod
    def of(cls, node: ir.Conv | ir.MaxPool | ir.SumPool, shape: tuple[int, ...]) -> "Window":
        """The windows that ``node`` takes of an input of ``shape``."""
        return cls(shape[0], shape[1], node.kernel, node.stride, getattr(node, "dilation", (1, 1)), node.padding)

    @property
    def size(self) -> tuple[int, int]:
        """Number of windows down and across."""
        top, left, bottom, right = self.padding
        edges = ((self.height, top + bottom), (self.width, left + right))
        return tuple(  # pyright: ignore[reportReturnType]  # of two
            (size + pad - d * (k - 1) - 1) // s + 1
            for (size, pad), k, s, d in zip(edges, self.kernel, self.stride, self.dilation, strict=True))

    @property
    def taps(self) -> int:
        return self.kernel[0] * self.kernel[1]

    @property
    def is_whole(self) -> bool:
        """Whether every window is one pixel and every pixel one window."""
        return self.kernel == (1, 1) and self.stride == (1, 1) and not any(self.padding)

    def padded(self, x: NDArray) -> tuple[NDArray, "Window"]:
        """``x`` (N, height, width, ...) with the padding as zeros, and the windows that now lie inside."""
        if not any(self.padding):
            return x, self
        top, left, bottom, right = self.padding
        height, width = self.height + top + bottom, self.width + left + right
        out = np.zeros((len(x), height, width, *x.shape[3:]), x.dtype)
        out[:, top:top + self.height, left:left + self.width] = x
        return out, Window(height, width, self.kernel, self.stride, self.dilation, (0, 0, 0, 0))

    def border(self) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Border classes.

        Returns
        -------
        bool array (classes, taps)
            The taps that lie inside the feature map.
        int64 array (windows,)
            Class of each window, row by row.
        """
        inside = []
        for axis, size in enumerate((self.height, self.width)):
            start = np.arange(self.size[axis]) * self.stride[axis] - self.padding[axis]
            at = start[:, None] + np.arange(self.kernel[axis]) * self.dilation[axis]
            inside.append((at >= 0) & (at < size))
        both = inside[0][:, None, :, None] & inside[1][None, :, None, :]
        flat = both.reshape(self.size[0] * self.size[1], self.taps)
        classes, of = np.unique(flat, axis=0, return_inverse=True)
        return classes, of.reshape(-1).astype(np.int64)
