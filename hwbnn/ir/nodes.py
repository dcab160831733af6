"""Records of the operations of an integer network, with the shapes and levels they produce.

Every tensor is a vector ``(channels,)`` or a feature map ``(height, width, channels)``, without batch;
channels are always last. One-dimensional signals have width 1. A node names its input and output
tensors; :meth:`Node.infer` tells what it produces and raises ``ValueError`` where the inputs do not fit.
"""

from dataclasses import dataclass, fields
from math import gcd
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hwbnn.ir.levels import Levels

__all__ = [
    "Add", "Affine", "Concat", "Conv", "DepthToSpace", "MatMul", "MaxPool", "Node", "Pad", "Reshape",
    "Slice", "SumPool", "Tensor", "Threshold", "TopK", "Transpose", "Upsample",
]


@dataclass(frozen=True)
class Tensor:
    """Shape without batch, channels last, and the values that may occur."""

    shape: tuple[int, ...]
    levels: Levels

    @property
    def channels(self) -> int:
        return self.shape[-1]

    @property
    def pixels(self) -> int:
        """Number of positions: 1 for a vector, height times width for a feature map."""
        return int(np.prod(self.shape[:-1], dtype=np.int64))


def _frozen(array, dtype) -> NDArray:
    """Return a read-only C-contiguous copy."""
    copy = np.array(array, dtype=dtype, order="C")
    copy.setflags(write=False)
    return copy


@dataclass(frozen=True, eq=False)
class Node:
    """One operation: a unique name, and the tensors it reads and writes."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    arity: ClassVar[int | None] = 1  # number of inputs; None: one or more

    def __post_init__(self):
        object.__setattr__(self, "inputs", tuple(self.inputs))
        object.__setattr__(self, "outputs", tuple(self.outputs))
        if self.arity is not None and len(self.inputs) != self.arity:
            self._fail(f"must have {self.arity} inputs, not {len(self.inputs)}")
        if not self.inputs or len(self.outputs) != 1:
            self._fail("must have at least one input and exactly one output")

    def __eq__(self, other) -> bool:
        return type(self) is type(other) and all(
            np.array_equal(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    def __hash__(self) -> int:
        return hash((type(self), self.name))

    @property
    def op(self) -> str:
        """Name of the operation, for tables and files."""
        return type(self).__name__

    @property
    def input(self) -> str:
        return self.inputs[0]

    @property
    def output(self) -> str:
        return self.outputs[0]

    def infer(self, *inputs: Tensor) -> Tensor:
        """Return what the node produces from ``inputs``, checking that they fit."""
        raise NotImplementedError(self.op)  # every operation defines it

    def _fail(self, requirement: str):
        raise ValueError(f"{self.op} {self.name} {requirement}")

    def _map(self, tensor: Tensor) -> tuple[int, int, int]:
        if len(tensor.shape) != 3:
            self._fail(f"must read a feature map (height, width, channels), not shape {tensor.shape}")
        return tensor.shape  # pyright: ignore[reportReturnType]  # length checked above


def sum_levels(weights: NDArray, levels: Levels, *, zero: bool) -> Levels:
    """Return the levels of ``weights @ x`` over all rows, for x in ``levels`` (``zero``: or an absent, zero x)."""
    w = weights.astype(object if _wide(weights, levels) else np.int64)
    low_x, high_x = (min(levels.low, 0), max(levels.high, 0)) if zero else (levels.low, levels.high)
    positive, negative = np.maximum(w, 0).sum(axis=1), np.minimum(w, 0).sum(axis=1)
    lows = positive * low_x + negative * high_x
    highs = positive * high_x + negative * low_x
    unit = gcd(*(int(v) for v in np.unique(np.abs(weights)))) or 1
    step = unit * levels.step
    if zero:  # an absent value moves the sum by any single product
        step = gcd(step, unit * levels.low)
    base = w.sum(axis=1) * levels.low
    step = gcd(step, *(int(b) - int(base[0]) for b in np.unique(base))) or 1
    low, high = int(lows.min()), int(highs.max())
    return Levels(low, high, step if low < high else 1)


def _wide(weights: NDArray, levels: Levels) -> bool:
    bound = int(np.abs(weights).max(initial=0)) * max(abs(levels.low), abs(levels.high), 1)
    return bound * weights.shape[-1] >= 2**62


@dataclass(frozen=True, eq=False)
class MatMul(Node):
    """acc[..., r] = sum over c of weights[r, c] · x[..., c], at every pixel.

    ``weights`` is int64 of shape (rows, columns); the input has ``columns`` channels, the output ``rows``.
    ``weight_levels`` is the set the weights were drawn from; it may be larger than what occurs.
    """

    weights: NDArray[np.int64]
    weight_levels: Levels

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "weights", _frozen(self.weights, np.int64))
        if self.weights.ndim != 2 or 0 in self.weights.shape:
            self._fail(f"weights must have shape (rows, columns), not {self.weights.shape}")
        if not self.weight_levels.holds(self.weights):
            self._fail(f"weights must be {self.weight_levels}, not {Levels.of(self.weights)}")

    @property
    def rows(self) -> int:
        return self.weights.shape[0]

    @property
    def columns(self) -> int:
        return self.weights.shape[1]

    def infer(self, x: Tensor) -> Tensor:
        if x.channels != self.columns:
            self._fail(f"must read {self.columns} channels, not {x.channels}")
        return Tensor((*x.shape[:-1], self.rows), sum_levels(self.weights, x.levels, zero=False))


def window(size: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    """Number of window positions along one axis of ``size`` pixels."""
    return (size + before + after - dilation * (kernel - 1) - 1) // stride + 1


@dataclass(frozen=True, eq=False)
class Conv(Node):
    """Two-dimensional convolution; a padded pixel counts as 0, also for bipolar inputs.

    ``weights`` is int64 of shape (rows, ky, kx, channels / groups). Group g of ``rows / groups`` output
    channels reads group g of input channels; depthwise is ``groups == channels``. ``stride`` and
    ``dilation`` are (y, x); ``padding`` is (top, left, bottom, right) in pixels.
    """

    weights: NDArray[np.int64]
    weight_levels: Levels
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "weights", _frozen(self.weights, np.int64))
        if self.weights.ndim != 4 or 0 in self.weights.shape:
            self._fail(f"weights must have shape (rows, ky, kx, channels), not {self.weights.shape}")
        if not self.weight_levels.holds(self.weights):
            self._fail(f"weights must be {self.weight_levels}, not {Levels.of(self.weights)}")
        if min(*self.stride, *self.dilation, self.groups) < 1 or min(self.padding) < 0:
            self._fail("must have stride, dilation and groups of at least 1 and padding of at least 0")
        if self.rows % self.groups:
            self._fail(f"rows must be a multiple of the {self.groups} groups, not {self.rows}")

    @property
    def rows(self) -> int:
        return self.weights.shape[0]

    @property
    def kernel(self) -> tuple[int, int]:
        return self.weights.shape[1], self.weights.shape[2]

    @property
    def columns(self) -> int:
        """Products per output: ky · kx · channels / groups."""
        return int(np.prod(self.weights.shape[1:]))

    def infer(self, x: Tensor) -> Tensor:
        height, width, channels = self._map(x)
        if channels != self.weights.shape[3] * self.groups:
            self._fail(f"must read {self.weights.shape[3] * self.groups} channels, not {channels}")
        size = _windows(self, height, width, self.kernel, self.dilation)
        levels = sum_levels(self.weights.reshape(self.rows, -1), x.levels, zero=any(self.padding))
        return Tensor((*size, self.rows), levels)


def _windows(node, height: int, width: int, kernel, dilation=(1, 1)) -> tuple[int, int]:
    top, left, bottom, right = node.padding
    size = (window(height, kernel[0], node.stride[0], dilation[0], top, bottom),
            window(width, kernel[1], node.stride[1], dilation[1], left, right))
    if min(size) < 1:
        node._fail(f"kernel {tuple(kernel)} must fit the padded {height} x {width} feature map")
    return size


def _signs(node: Node, signs, channels: int | None = None) -> NDArray[np.int64]:
    array = _frozen(signs, np.int64)
    if array.ndim != 1 or not np.all(np.abs(array) == 1):
        node._fail("signs must be a vector of -1 and +1")
    return array


def _per_channel(node: Node, what: str, count: int, x: Tensor):
    if count not in (1, x.channels):
        node._fail(f"{what} must be given for 1 or {x.channels} channels, not {count}")


@dataclass(frozen=True, eq=False)
class Threshold(Node):
    """y = levels.low + levels.step · #{k : signs[c] · x >= thresholds[c, k]} for channel c.

    ``thresholds`` is int64 of shape (channels, n), or (1, n) for all channels alike, each row ascending;
    equality counts as reached. ``levels`` has n + 1 members. ``signs`` (channels or 1) is +1 but for
    falling channels whose weights could not be negated instead.
    """

    thresholds: NDArray[np.int64]
    levels: Levels
    signs: NDArray[np.int64] = (1,)  # pyright: ignore[reportAssignmentType]  # becomes an array below

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "thresholds", _frozen(self.thresholds, np.int64))
        object.__setattr__(self, "signs", _signs(self, self.signs))
        if self.thresholds.ndim != 2 or 0 in self.thresholds.shape:
            self._fail(f"thresholds must have shape (channels, n), not {self.thresholds.shape}")
        if np.any(np.diff(self.thresholds, axis=1) < 0):
            channel = int(np.nonzero(np.any(np.diff(self.thresholds, axis=1) < 0, axis=1))[0][0])
            self._fail(f"thresholds of channel {channel} must ascend")
        if len(self.levels) != self.thresholds.shape[1] + 1:
            self._fail(f"must have {len(self.levels) - 1} thresholds for {len(self.levels)} levels, "
                       f"not {self.thresholds.shape[1]}")

    def infer(self, x: Tensor) -> Tensor:
        _per_channel(self, "thresholds", len(self.thresholds), x)
        _per_channel(self, "signs", len(self.signs), x)
        return Tensor(x.shape, self.levels)


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
        object.__setattr__(self, "signs", _signs(self, self.signs))
        top, left, bottom, right = self.padding
        if max(top, bottom) >= self.kernel[0] or max(left, right) >= self.kernel[1]:
            self._fail(f"padding must be smaller than the kernel {self.kernel}, not {self.padding}")

    def infer(self, x: Tensor) -> Tensor:
        height, width, channels = self._map(x)
        _per_channel(self, "signs", len(self.signs), x)
        return Tensor((*_windows(self, height, width, self.kernel), channels), x.levels)


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
        return Tensor((*_windows(self, height, width, self.kernel), channels), levels)


@dataclass(frozen=True, eq=False)
class Affine(Node):
    """y[c] = multipliers[c] · x[c] + offsets[c], in integers; both are vectors of channels or of 1."""

    multipliers: NDArray[np.int64]
    offsets: NDArray[np.int64]

    def __post_init__(self):
        super().__post_init__()
        for name in ("multipliers", "offsets"):
            array = _frozen(getattr(self, name), np.int64)
            if array.ndim != 1 or not array.size:
                self._fail(f"{name} must be a vector, not of shape {array.shape}")
            object.__setattr__(self, name, array)

    def infer(self, x: Tensor) -> Tensor:
        _per_channel(self, "multipliers", len(self.multipliers), x)
        _per_channel(self, "offsets", len(self.offsets), x)
        pairs = {(int(m), int(o)) for m, o in np.broadcast(self.multipliers, self.offsets)}
        ends = [Levels(min(m * x.levels.low, m * x.levels.high) + o, max(m * x.levels.low, m * x.levels.high) + o,
                       x.levels.step * abs(m) or 1) for m, o in pairs]
        return Tensor(x.shape, ends[0].hull(*ends[1:]))


@dataclass(frozen=True, eq=False)
class Add(Node):
    """y = a + b, of equal shapes (a residual connection; unequal scales are made equal by Affine)."""

    arity: ClassVar[int | None] = 2

    def infer(self, a: Tensor, b: Tensor) -> Tensor:
        if a.shape != b.shape:
            self._fail(f"must add equal shapes, not {a.shape} and {b.shape}")
        steps = [t.levels.step for t in (a, b) if len(t.levels) > 1]
        return Tensor(a.shape, Levels(a.levels.low + b.levels.low, a.levels.high + b.levels.high,
                                      gcd(*steps) or 1))


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


@dataclass(frozen=True, eq=False)
class TopK(Node):
    """Channel numbers of the k greatest values, greatest first, the lower number first among equals.

    ``k = 1`` is argmax. The output has k channels.
    """

    k: int = 1

    def infer(self, x: Tensor) -> Tensor:
        if not 1 <= self.k <= x.channels:
            self._fail(f"k must lie in 1..{x.channels}, not {self.k}")
        return Tensor((*x.shape[:-1], self.k), Levels(0, x.channels - 1))


OPERATIONS: dict[str, type[Node]] = {
    cls.__name__: cls
    for cls in (Add, Affine, Concat, Conv, DepthToSpace, MatMul, MaxPool, Pad, Reshape, Slice, SumPool,
                Threshold, TopK, Transpose, Upsample)
}


