"""What a packed program consists of: steps that turn arrays into arrays, each for one or two nodes.

Three forms of a tensor occur. *packed*: bit planes, uint64 of shape (N, planes, words) or (N, height, width, planes,
words). *numbers*: level numbers, uint8 of the tensor's shape. *dense*: the integers themselves, int32, or int64
where the levels need it.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwbnn import golden, ir
from hwbnn.infer.code import Code
from hwbnn.infer.engine import Engine
from hwbnn.infer.weights import Weights
from hwbnn.infer.windows import Window

__all__ = ["ArgMax", "Elementwise", "Fallback", "Flatten", "Number", "Pack", "Pool", "Product", "Quantize", "Spread",
           "Step", "Unpack", "dtype_of"]

_BLOCK_WORDS = 2**16  # words of windows gathered at a time: 512 KiB stay in the second-level cache


def dtype_of(levels: ir.Levels) -> type:
    """Type of a dense tensor: int32 where its levels fit."""
    return np.int32 if levels.low > -(2**31) and levels.high < 2**31 else np.int64


@dataclass(eq=False)
class Step:
    """One operation of a program.

    Parameters
    ----------
    nodes : names of the nodes covered; empty for a conversion of form.
    reads, writes : slots, "tensor:form".
    """

    nodes: tuple[str, ...]
    reads: tuple[str, ...]
    writes: str

    @property
    def how(self) -> str:
        """A few words for ``explain``."""
        return type(self).__name__.lower()

    def run(self, engine: Engine, *inputs: NDArray) -> NDArray:
        """Return what the step writes."""
        raise NotImplementedError(type(self).__name__)  # every step defines it


@dataclass(eq=False)
class Product(Step):
    """A dense layer or convolution on bits, with its thresholds where it has some.

    Parameters
    ----------
    weights : :class:`Weights`
    window : :class:`Window` or None
        Of a convolution, or of a dense layer at every pixel of a map; None for vectors.
    thresholds : int64 array (rows, n) or None
        In units of the dot product; None to return the dot products.
    signs : int64 array (rows,)
        Where -1 the negated dot product is compared; only with wide weights or more than two thresholds, since
        otherwise the weights are negated.
    out_code : :class:`Code` or None
        Of what the thresholds make.
    classes : int64 array (windows,) or None
        Border class of each window.
    from_numbers : :class:`bool`
        Whether the input is level numbers, gathered window by window (few channels), instead of packed pixels.
    """

    weights: Weights
    window: Window | None
    thresholds: NDArray[np.int64] | None = None
    signs: NDArray[np.int64] | None = None
    out_code: Code | None = None
    classes: NDArray[np.int64] | None = None
    from_numbers: bool = False

    @property
    def fused(self) -> bool:
        """Whether bits leave the kernel, not counts."""
        return self.thresholds is not None and self.signs is None

    @property
    def how(self) -> str:
        planes = self.weights.code.planes * self.weights.parts
        gate = "XNOR" if self.weights.mask is None else "gated XNOR"
        text = f"{gate}, {planes} plane{'s' if planes > 1 else ''}"
        if self.thresholds is not None:
            text += ", thresholds in the kernel" if self.fused else ", thresholds after it"
        return text

    @cached_property
    def _limits(self) -> NDArray[np.int64]:
        assert self.thresholds is not None
        return self.weights.limits(self.thresholds)

    @cached_property
    def _bias(self) -> NDArray[np.int64]:
        return self.weights.padded_bias()

    def run(self, engine: Engine, x: NDArray) -> NDArray:  # pyright: ignore[reportIncompatibleMethodOverride]  # one input
        if self.window is None:
            return self._rows(engine, x, np.zeros(len(x), np.int64))
        size = self.window.size
        windows = size[0] * size[1]
        planes = 8 if self.from_numbers else self.weights.code.planes
        block = max(1, _BLOCK_WORDS // (windows * planes * self.weights.layout.words))
        block = block // 8 * 8 or block  # engines like rows by the dozen
        of = np.zeros(windows, np.int64) if self.classes is None else self.classes
        classes = np.tile(of, min(block, len(x)))
        parts = []
        for start in range(0, len(x), block):
            part = x[start:start + block]
            rows = self._windows(engine, part, self.window)
            done = self._rows(engine, rows, classes[:len(rows)])
            parts.append(done.reshape(len(part), *size, *done.shape[1:]))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _windows(self, engine: Engine, x: NDArray, window: Window) -> NDArray:
        if self.from_numbers:
            return engine.gather_numbers(x, window)
        if window.is_whole:
            return x.reshape(-1, *x.shape[3:])
        return engine.gather(x, window)

    def _rows(self, engine: Engine, rows: NDArray, classes: NDArray[np.int64]) -> NDArray:
        if self.fused:
            return engine.bits(rows, self.weights, self._limits, classes)
        values = engine.values(rows, self.weights, self._bias, classes)[:, :self.weights.outputs]
        values = self.weights.combine(values)
        if self.thresholds is None:
            return values
        assert self.signs is not None and self.out_code is not None
        return engine.pack(_reached(engine, values, self.thresholds, self.signs), self.out_code)


def _reached(engine: Engine, values: NDArray, thresholds: NDArray, signs: NDArray) -> NDArray[np.uint8]:
    """Level numbers of ``values`` (R, channels)."""
    return engine.reached(np.ascontiguousarray(values), thresholds, signs)


@dataclass(eq=False)
class Quantize(Step):
    """Thresholds on dense integers, to level numbers."""

    thresholds: NDArray[np.int64]
    signs: NDArray[np.int64]

    def run(self, engine: Engine, x: NDArray) -> NDArray:  # pyright: ignore[reportIncompatibleMethodOverride]  # one input
        return _reached(engine, x.reshape(-1, x.shape[-1]), self.thresholds, self.signs).reshape(x.shape)


@dataclass(eq=False)
class Pool(Step):
    """Maximum on bits."""

    window: Window
    falling: NDArray[np.uint64]
    code: Code

    @property
    def how(self) -> str:
        return "maximum on bits"

    def run(self, engine: Engine, x: NDArray) -> NDArray:  # pyright: ignore[reportIncompatibleMethodOverride]  # one input
        return engine.pool(x, self.window, self.falling, self.code)


@dataclass(eq=False)
class Flatten(Step):
    """A packed feature map as a packed vector: the words of all pixels, plane by plane."""

    @property
    def how(self) -> str:
        return "words side by side"

    def run(self, engine: Engine, x: NDArray) -> NDArray:  # pyright: ignore[reportIncompatibleMethodOverride]  # one input
        planes, words = x.shape[-2:]
        return x.reshape(len(x), -1, planes, words).transpose(0, 2, 1, 3).reshape(len(x), planes, -1)


@dataclass(eq=False)
class Spread(Step):
    """A packed vector as a packed feature map of one pixel."""

    @property
    def how(self) -> str:
        return "words of one pixel"

    def run(self, engine: Engine, x: NDArray) -> NDArray:  # pyright: ignore[reportIncompatibleMethodOverride]  # one input
        return x.reshape(len(x), 1, 1, *x.shape[1:])


@dataclass(eq=False)
class Pack(Step):
    """Level numbers to planes."""

    code: Code

    def run(self, engine: Engine, x: NDArray) -> NDArray:  # pyright: ignore[reportIncompatibleMethodOverride]  # one input
        packed = engine.pack(x.reshape(-1, x.shape[-1]), self.code)
        return packed.reshape(*x.shape[:-1], *packed.shape[1:])


@dataclass(eq=False)
class Number(Step):
    """Dense integers to level numbers."""

    code: Code

    def run(self, engine: Engine, x: NDArray) -> NDArray:  # pyright: ignore[reportIncompatibleMethodOverride]  # one input
        return self.code.numbers(x)


@dataclass(eq=False)
class Unpack(Step):
    """Planes, or level numbers, to dense integers of ``shape``."""

    code: Code
    segments: int
    shape: tuple[int, ...]

    def run(self, engine: Engine, x: NDArray) -> NDArray:  # pyright: ignore[reportIncompatibleMethodOverride]  # one input
        if x.dtype == np.uint8:
            return (x.astype(np.int32) * self.code.levels.step + self.code.levels.low).astype(
                dtype_of(self.code.levels))
        rows = x
        if self.segments > 1:  # a flattened map: back to a row per pixel
            planes = x.shape[1]
            rows = x.reshape(len(x), planes, self.segments, -1).transpose(0, 2, 1, 3)
        channels = int(np.prod(self.shape)) // self.segments if len(self.shape) == 1 else self.shape[-1]
        flat = engine.unpack(rows.reshape(-1, *rows.shape[-2:]), self.code, channels)
        return flat.reshape(len(x), *self.shape)


@dataclass(eq=False)
class Elementwise(Step):
    """Affine and Add on dense integers of ``dtype``, in which every intermediate result fits."""

    node: ir.Affine | ir.Add
    dtype: type
    _factors: tuple[NDArray, NDArray] = field(init=False)

    def __post_init__(self):
        if isinstance(self.node, ir.Affine):
            self._factors = (self.node.multipliers.astype(self.dtype), self.node.offsets.astype(self.dtype))

    @property
    def how(self) -> str:
        return f"{self.node.op.lower()} on {np.dtype(self.dtype)}"

    def run(self, engine: Engine, *inputs: NDArray) -> NDArray:
        if isinstance(self.node, ir.Add):
            return np.add(inputs[0], inputs[1], dtype=self.dtype)
        return np.multiply(inputs[0], self._factors[0], dtype=self.dtype) + self._factors[1]


@dataclass(eq=False)
class ArgMax(Step):
    """The greatest channel, the first among equals."""

    def run(self, engine: Engine, x: NDArray) -> NDArray:  # pyright: ignore[reportIncompatibleMethodOverride]  # one input
        return x.argmax(axis=-1)[..., None].astype(np.int32)


@dataclass(eq=False)
class Fallback(Step):
    """The golden model's own function, on int64."""

    node: ir.Node
    dtype: type

    @property
    def how(self) -> str:
        return "golden model, not packed"

    def run(self, engine: Engine, *inputs: NDArray) -> NDArray:
        out = golden.apply(self.node, *(x.astype(np.int64) for x in inputs))
        return np.ascontiguousarray(out.astype(self.dtype))
