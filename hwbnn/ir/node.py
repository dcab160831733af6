"""What every operation of an integer network is: a named record that tells the shapes and levels it produces.

Every tensor is a vector ``(channels,)`` or a feature map ``(height, width, channels)``, without batch;
channels are always last. One-dimensional signals have width 1. A node names its input and output
tensors; :meth:`Node.infer` tells what it produces and raises ``ValueError`` where the inputs do not fit.
"""

from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from hwbnn.ir.levels import Levels

__all__ = ["Node", "Tensor", "channel_signs", "check_channels", "frozen"]


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


def frozen(array, dtype) -> NDArray:
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


def channel_signs(node: Node, signs, channels: int | None = None) -> NDArray[np.int64]:
    array = frozen(signs, np.int64)
    if array.ndim != 1 or not np.all(np.abs(array) == 1):
        node._fail("signs must be a vector of -1 and +1")
    return array


def check_channels(node: Node, what: str, count: int, x: Tensor):
    if count not in (1, x.channels):
        node._fail(f"{what} must be given for 1 or {x.channels} channels, not {count}")
