"""What a tensor of the graph is while it is imported: a constant, or a function of integers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

import numpy as np
import onnx
from numpy.typing import NDArray

from hwbnn import ir

__all__ = ["Cast", "Chain", "Constant", "Function", "Live", "NodeStep", "Operand", "Picked", "Pool",
           "Scale", "Side", "Spread", "Table", "Unusable"]


@dataclass(frozen=True, eq=False)
class Constant:
    """A tensor known at import; where it came out of a quantizer, also the integers behind it.

    Parameters
    ----------
    value : array
        As the graph computes it.
    integers, scale : array or None
        Of the shape of ``value``, which is ``integers * scale`` rounded to float32. The scale is float64.
    levels : :class:`~hwbnn.ir.Levels` or None
        The set that the quantizer draws ``integers`` from.
    covers : tuple of str
        Nodes of the graph that computed it.
    """

    value: NDArray
    integers: NDArray[np.int64] | None = None
    scale: NDArray[np.float64] | None = None
    levels: ir.Levels | None = None
    covers: tuple[str, ...] = ()


class Spread(Enum):
    """How an operand of an elementwise operation relates to channels."""

    CHANNEL = auto()  # (1, channels) or (1, 1), beside values of (n, channels)
    VECTOR = auto()   # (channels,), a parameter per channel
    ROWS = auto()     # (channels, k) or (1, k), a row of parameters per channel
    WHOLE = auto()    # no channels; passed as it is


@dataclass(frozen=True, eq=False)
class Operand:
    """A constant operand of an elementwise operation, its channels in the order of the integers."""

    array: NDArray | None
    spread: Spread = Spread.CHANNEL

    @property
    def width(self) -> int:
        """Number of channels it distinguishes: 1 where all are alike."""
        if self.spread is Spread.WHOLE or self.array is None:
            return 1
        return self.array.shape[1 if self.spread is Spread.CHANNEL else 0]

    @property
    def row(self) -> NDArray:
        """The values of a CHANNEL operand, one per channel or one for all."""
        assert self.array is not None and self.spread is Spread.CHANNEL
        return self.array[0]

    def take(self, channels: NDArray[np.int64]) -> "Operand":
        """The operand of these channels."""
        if self.spread is Spread.WHOLE or self.array is None or (self.width == 1 and self.spread is not Spread.VECTOR):
            return self
        return Operand(self.array[:, channels] if self.spread is Spread.CHANNEL else self.array[channels],
                       self.spread)


@dataclass(frozen=True, eq=False)
class Function:
    """An elementwise function of arrays (n, channels), the last axis one column per channel."""

    label: str  # the node it stands for, for messages

    @property
    def width(self) -> int:
        """Number of channels it distinguishes: 1 where all are alike."""
        raise NotImplementedError

    def __call__(self, x: NDArray) -> NDArray:
        raise NotImplementedError

    def take(self, channels: NDArray[np.int64]) -> "Function":
        """The function for these channels."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Scale(Function):
    """Integers become floats: float32(float64(scale) · integer).

    This is the rule for accumulators: the graph's sum of products of scaled integers is taken to be the exact
    integer sum times the product of the scales, rounded once. It equals every order of float32 summation
    wherever the partial sums are multiples of a power of two that float32 holds; elsewhere it is the
    value that the float32 sums approximate.
    """

    scale: NDArray[np.float64]  # (1,) or (channels,)

    @property
    def width(self) -> int:
        return len(self.scale)

    def __call__(self, x: NDArray) -> NDArray:
        return (x.astype(np.float64) * self.scale).astype(np.float32)

    def take(self, channels: NDArray[np.int64]) -> "Scale":
        return self if self.width == 1 else Scale(self.label, self.scale[channels])


@dataclass(frozen=True, eq=False)
class Table(Function):
    """Values by level: ``values[c, (integer - low) / step]``; for integers that stand for no even grid."""

    levels: ir.Levels
    values: NDArray  # (1 or channels, levels)

    @property
    def width(self) -> int:
        return len(self.values)

    def __call__(self, x: NDArray) -> NDArray:
        channel = np.arange(self.width) if self.width > 1 else 0
        return self.values[channel, (x - self.levels.low) // self.levels.step]

    def take(self, channels: NDArray[np.int64]) -> "Table":
        return self if self.width == 1 else Table(self.label, self.levels, self.values[channels])


@dataclass(frozen=True, eq=False)
class Cast(Function):
    """Numbers in the type that the graph's input has."""

    dtype: np.dtype

    @property
    def width(self) -> int:
        return 1

    def __call__(self, x: NDArray) -> NDArray:
        return x.astype(self.dtype)

    def take(self, channels: NDArray[np.int64]) -> "Cast":
        return self


@dataclass(frozen=True, eq=False)
class NodeStep(Function):
    """An elementwise node of the graph, evaluated in the graph's own arithmetic.

    ``operands`` stand in the order of the node's inputs; None is the live one, absent optional inputs
    are WHOLE operands of None.
    """

    node: onnx.NodeProto
    execute: Callable[[onnx.NodeProto, Sequence[NDArray | None]], list[NDArray]]
    operands: tuple[Operand | None, ...]
    output: int = 0

    @property
    def width(self) -> int:
        return max((operand.width for operand in self.operands if operand is not None), default=1)

    def __call__(self, x: NDArray) -> NDArray:
        arrays = [x if operand is None else operand.array for operand in self.operands]
        return self.execute(self.node, arrays)[self.output]

    def take(self, channels: NDArray[np.int64]) -> "NodeStep":
        taken = tuple(None if operand is None else operand.take(channels) for operand in self.operands)
        return NodeStep(self.label, self.node, self.execute, taken, self.output)


@dataclass(frozen=True, eq=False)
class Side(Function):
    """Different functions for consecutive groups of channels: what a concatenation makes."""

    parts: tuple["Chain", ...]
    counts: tuple[int, ...]

    @property
    def width(self) -> int:
        return sum(self.counts)

    def __call__(self, x: NDArray) -> NDArray:
        starts = np.cumsum((0, *self.counts))
        return np.concatenate([
            np.broadcast_to(part(x[:, start:start + count]), (len(x), count))
            for part, start, count in zip(self.parts, starts, self.counts, strict=False)], axis=1)

    def take(self, channels: NDArray[np.int64]) -> "Picked":
        return Picked(self.label, self, channels)


@dataclass(frozen=True, eq=False)
class Picked(Function):
    """Some channels of a function of more."""

    whole: Function
    channels: NDArray[np.int64]

    @property
    def width(self) -> int:
        return len(self.channels)

    def __call__(self, x: NDArray) -> NDArray:
        wide = np.repeat(x[:, :1], self.whole.width, axis=1)
        wide[:, self.channels] = x
        return self.whole(wide)[:, self.channels]

    def take(self, channels: NDArray[np.int64]) -> "Picked":
        return Picked(self.label, self.whole, self.channels[channels])


@dataclass(frozen=True, eq=False)
class Chain:
    """Elementwise functions, one after another."""

    steps: tuple[Function, ...] = ()

    @property
    def width(self) -> int:
        """Number of channels it distinguishes: 1 where all are alike."""
        return max((step.width for step in self.steps), default=1)

    @property
    def labels(self) -> str:
        """The nodes of the chain, for messages."""
        return ", ".join(dict.fromkeys(step.label for step in self.steps)) or "no node"

    def __call__(self, x: NDArray) -> NDArray:
        """Evaluate at ``x`` of shape (n, width) or (n, 1)."""
        x = np.broadcast_to(x, (len(x), max(self.width, x.shape[1])))
        with np.errstate(all="ignore"):  # infinities at the ends of the float line are no errors
            for step in self.steps:
                x = step(x)
        return x

    def then(self, *steps: Function) -> "Chain":
        return Chain((*self.steps, *steps))

    def take(self, channels: NDArray[np.int64]) -> "Chain":
        return Chain(tuple(step.take(channels) for step in self.steps))


@dataclass(frozen=True, eq=False)
class Pool:
    """A maximum over windows that waits for the next quantizer, to be taken of its few levels.

    ``before`` is how many steps of the chain precede it; the rest is applied to the maximum.
    """

    name: str
    output: str
    before: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]


@dataclass(frozen=True)
class Unusable:
    """A result that cannot be imported, but need not be where nothing reads it."""

    what: str


@dataclass(frozen=True, eq=False)
class Live:
    """A tensor that depends on the graph's input: a function per channel of a tensor of integers.

    Parameters
    ----------
    name : :class:`str`
        The graph's name of the tensor.
    root : :class:`str`
        The tensor of integers, or of the graph's own floats in front of the first quantizer.
    index : int64 array of the graph's shape, batch 1 included
        Element of the integers (flat, in stream order) that each value of the graph comes from.
    chain : :class:`Chain`
        From the integer to the graph's value.
    pool : :class:`Pool` or None
        A maximum still to be taken.
    final : :class:`str` or None
        The node (Softmax, ArgMax) behind which nothing may be computed.
    """

    name: str
    root: str
    index: NDArray[np.int64]
    chain: Chain
    pool: Pool | None = None
    final: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.index.shape

    @property
    def width(self) -> int:
        """Number of channels that the chain distinguishes."""
        return self.chain.width

    def then(self, name: str, *steps: Function) -> "Live":
        """Append steps to the chain, under a new name."""
        return replace(self, name=name, chain=self.chain.then(*steps))
