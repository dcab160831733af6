"""What a packed program consists of: steps that turn arrays into arrays, each for one or two nodes.

Three forms of a tensor occur. *packed*: bit planes, uint64 of shape (N, planes, words) or (N, height, width, planes,
words). *numbers*: level numbers, uint8 of the tensor's shape. *dense*: the integers themselves, int32, or int64
where the levels need it.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwbnn import ir
from hwbnn.infer.code import Code
from hwbnn.infer.weights import Weights
from hwbnn.infer.windows import Window

__all__ = ["ArgMax", "Elementwise", "Fallback", "Flatten", "Number", "Pack", "Pool", "Product", "Quantize", "Spread",
           "Step", "Unpack", "dtype_of"]

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
    def limits(self) -> NDArray[np.int64]:
        """Counts from which each threshold is reached, (n, classes, padded outputs); only where fused."""
        assert self.thresholds is not None
        return self.weights.limits(self.thresholds)

    @cached_property
    def bias(self) -> NDArray[np.int64]:
        """What a count is added to, (classes, padded outputs)."""
        return self.weights.padded_bias()


@dataclass(eq=False)
class Quantize(Step):
    """Thresholds on dense integers, to level numbers."""

    thresholds: NDArray[np.int64]
    signs: NDArray[np.int64]


@dataclass(eq=False)
class Pool(Step):
    """Maximum on bits."""

    window: Window
    falling: NDArray[np.uint64]
    code: Code

    @property
    def how(self) -> str:
        return "maximum on bits"


@dataclass(eq=False)
class Flatten(Step):
    """A packed feature map as a packed vector: the words of all pixels, plane by plane."""

    @property
    def how(self) -> str:
        return "words side by side"


@dataclass(eq=False)
class Spread(Step):
    """A packed vector as a packed feature map of one pixel."""

    @property
    def how(self) -> str:
        return "words of one pixel"


@dataclass(eq=False)
class Pack(Step):
    """Level numbers to planes."""

    code: Code


@dataclass(eq=False)
class Number(Step):
    """Dense integers to level numbers."""

    code: Code


@dataclass(eq=False)
class Unpack(Step):
    """Planes, or level numbers, to dense integers of ``shape``."""

    code: Code
    segments: int
    shape: tuple[int, ...]


@dataclass(eq=False)
class Elementwise(Step):
    """Affine and Add on dense integers of ``dtype``, in which every intermediate result fits."""

    node: ir.Affine | ir.Add
    dtype: type
    factors: tuple[NDArray, NDArray] = field(init=False)

    def __post_init__(self):
        if isinstance(self.node, ir.Affine):
            self.factors = (self.node.multipliers.astype(self.dtype), self.node.offsets.astype(self.dtype))

    @property
    def how(self) -> str:
        return f"{self.node.op.lower()} on {np.dtype(self.dtype)}"


@dataclass(eq=False)
class ArgMax(Step):
    """The greatest channel, the first among equals."""


@dataclass(eq=False)
class Fallback(Step):
    """The golden model's own function, on int64."""

    node: ir.Node
    dtype: type

    @property
    def how(self) -> str:
        return "golden model, not packed"
