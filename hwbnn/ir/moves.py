"""Operations that compute nothing: what stands where afterwards."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hwbnn.ir.levels import Levels
from hwbnn.ir.node import Node, Tensor

__all__ = ["Concat", "DepthToSpace", "Pad", "Reshape", "Slice", "Transpose", "Upsample"]


@dataclass(frozen=True, eq=False)
class Concat(Node):
    """The channels of all inputs, one after another; shapes are equal but for the channels."""

    arity: ClassVar[int | None] = None

    def infer(self, *inputs: Tensor) -> Tensor:
        if len({x.shape[:-1] for x in inputs}) > 1:
            self._fail(f"must join equal heights and widths, not {[x.shape for x in inputs]}")
        levels = inputs[0].levels.hull(*(x.levels for x in inputs[1:]))
        return Tensor((*inputs[0].shape[:-1], sum(x.channels for x in inputs)), levels)


@dataclass(frozen=True, eq=False)
class Slice(Node):
    """Channels ``start`` up to and without ``stop``."""

    start: int
    stop: int

    def infer(self, x: Tensor) -> Tensor:
        if not 0 <= self.start < self.stop <= x.channels:
            self._fail(f"must lie within {x.channels} channels, not {self.start}:{self.stop}")
        return Tensor((*x.shape[:-1], self.stop - self.start), x.levels)


@dataclass(frozen=True, eq=False)
class Pad(Node):
    """Surround a feature map by ``value``; ``padding`` is (top, left, bottom, right)."""

    padding: tuple[int, int, int, int]
    value: int

    def infer(self, x: Tensor) -> Tensor:
        height, width, channels = self._map(x)
        top, left, bottom, right = self.padding
        levels = x.levels.hull(Levels(self.value, self.value))
        return Tensor((height + top + bottom, width + left + right, channels), levels)


@dataclass(frozen=True, eq=False)
class Reshape(Node):
    """Give the values, in stream order (row, column, channel), another shape."""

    shape: tuple[int, ...]

    def infer(self, x: Tensor) -> Tensor:
        if int(np.prod(x.shape)) != int(np.prod(self.shape)):
            self._fail(f"must keep the {int(np.prod(x.shape))} values of {x.shape}, not make {self.shape}")
        return Tensor(tuple(self.shape), x.levels)


@dataclass(frozen=True, eq=False)
class Transpose(Node):
    """Axis k of the output is axis ``axes[k]`` of the input (batch not counted)."""

    axes: tuple[int, ...]

    def infer(self, x: Tensor) -> Tensor:
        if sorted(self.axes) != list(range(len(x.shape))):
            self._fail(f"axes must be a permutation of {len(x.shape)} axes, not {self.axes}")
        return Tensor(tuple(x.shape[axis] for axis in self.axes), x.levels)


@dataclass(frozen=True, eq=False)
class DepthToSpace(Node):
    """Spread channels over ``block`` x ``block`` pixels.

    Input channel (by · block + bx) · C + c becomes channel c of pixel (y · block + by, x · block + bx);
    ONNX's CRD order is this after a permutation of channels.
    """

    block: int

    def infer(self, x: Tensor) -> Tensor:
        height, width, channels = self._map(x)
        if self.block < 1 or channels % self.block**2:
            self._fail(f"channels must be a multiple of {self.block} squared, not {channels}")
        return Tensor((height * self.block, width * self.block, channels // self.block**2), x.levels)


@dataclass(frozen=True, eq=False)
class Upsample(Node):
    """Repeat every pixel ``factors`` (y, x) times: nearest-neighbour enlargement."""

    factors: tuple[int, int]

    def infer(self, x: Tensor) -> Tensor:
        height, width, channels = self._map(x)
        if min(self.factors) < 1:
            self._fail(f"factors must be at least 1, not {self.factors}")
        return Tensor((height * self.factors[0], width * self.factors[1], channels), x.levels)
