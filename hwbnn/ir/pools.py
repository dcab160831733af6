"""Operations over windows of each channel by itself."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwbnn.ir.matrices import sum_levels
from hwbnn.ir.node import Node, Tensor, channel_signs, check_channels
from hwbnn.ir.windows import windows

__all__ = ["MaxPool", "SumPool"]


@dataclass(frozen=True, eq=False)
class MaxPool(Node):
    """y[c] = signs[c] · max over the window of signs[c] · x[c]: the maximum, or the minimum where -1.

    ``kernel`` and ``stride`` are (y, x); ``padding`` is (top, left, bottom, right) and never wins.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    signs: NDArray[np.int64] = (1,)  # pyright: ignore[reportAssignmentType]  # becomes an array below

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "signs", channel_signs(self, self.signs))
        top, left, bottom, right = self.padding
        if max(top, bottom) >= self.kernel[0] or max(left, right) >= self.kernel[1]:
            self._fail(f"padding must be smaller than the kernel {self.kernel}, not {self.padding}")

    def infer(self, x: Tensor) -> Tensor:
        height, width, channels = self._map(x)
        check_channels(self, "signs", len(self.signs), x)
        return Tensor((*windows(self, height, width, self.kernel), channels), x.levels)


@dataclass(frozen=True, eq=False)
class SumPool(Node):
    """y[c] = sum over the window of x[c]; a padded pixel adds 0. An average is this and a scale."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)

    def infer(self, x: Tensor) -> Tensor:
        height, width, channels = self._map(x)
        ones = np.ones((1, self.kernel[0] * self.kernel[1]), np.int64)
        levels = sum_levels(ones, x.levels, zero=any(self.padding))
        return Tensor((*windows(self, height, width, self.kernel), channels), levels)
