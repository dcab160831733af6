"""From images in the graph's form to level numbers: what :func:`hwbnn.golden.encode` does, a byte per value."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwbnn import golden, ir
from hwbnn.errors import UserError
from hwbnn.infer.code import Code
from hwbnn.infer.engine import Engine
from hwbnn.infer.images import Folder
from hwbnn.infer.steps import dtype_of

__all__ = ["Encoder"]


class _Table(NamedTuple):
    """Of each byte pattern its level number, and whether it is a level at all."""

    numbers: NDArray[np.uint8]
    fits: NDArray[np.bool_]
    takes_all: bool
    changes_nothing: bool


class Encoder:
    """Encode a batch into the slot that a program starts from.

    Bytes (uint8, int8, bool) go through a table of 256 entries made by the golden model, float32 through compiled
    comparisons; everything else, and every input that does not fit, goes to the golden model, which says what is wrong.
    """

    def __init__(self, net: ir.Network, engine: Engine, entry: str):
        self._net, self._engine = net, engine
        self._code = Code(net.input.levels)
        self._numbers = entry.endswith(":numbers")
        boundaries = net.input.boundaries
        self._boundaries = None if boundaries is None or boundaries.ndim > 1 else boundaries.copy()
        self._tables: dict[np.dtype, _Table] = {}

    def check_shape(self, x: NDArray | Folder):
        """Refuse images of another shape than the graph's."""
        shape = self._net.input.graph_shape
        if x.shape[1:] != shape or x.ndim != len(shape) + 1:
            raise UserError(f"Images must have shape N x {' x '.join(map(str, shape))}, not "
                            f"{' x '.join(map(str, x.shape))}")

    def __call__(self, x: NDArray) -> NDArray:
        """Level numbers (N, *shape), or dense integers where they do not fit a byte."""
        if not self._numbers:
            return golden.encode(self._net, x).astype(dtype_of(self._net.input.levels), copy=False)
        numbers = None
        per_channel = self._net.input.boundaries is not None and self._boundaries is None
        if not per_channel and x.dtype in (np.uint8, np.int8, np.bool_):
            numbers = self._from_bytes(self._arranged(x))
        elif not per_channel and x.dtype == np.float32 and self._boundaries is not None:
            numbers, finite = self._engine.numbers(self._arranged(x), self._boundaries)
            numbers = numbers if finite else None
        if numbers is None:
            return self._code.numbers(golden.encode(self._net, x))
        return numbers

    def _arranged(self, x: NDArray) -> NDArray:
        spec = self._net.input
        assert spec.axes is not None  # the constructor fills it in
        return np.ascontiguousarray(x.transpose(0, *(axis + 1 for axis in spec.axes)).reshape(len(x), *spec.shape))

    def _from_bytes(self, x: NDArray) -> NDArray[np.uint8] | None:
        table = self._table(x.dtype)
        index = x.view(np.uint8)
        if not table.takes_all and not table.fits.take(index).all():
            return None
        if table.changes_nothing:
            return index
        return self._engine.look_up(index, table.numbers)

    def _table(self, dtype: np.dtype) -> "_Table":
        if dtype not in self._tables:
            values = np.arange(256, dtype=np.uint8).view(np.int8 if dtype == np.int8 else np.uint8).astype(np.int64)
            levels = self._net.input.levels
            if self._boundaries is None:
                fits = np.array([int(value) in levels for value in values])
                numbers = np.where(fits, (values - levels.low) // levels.step, 0).astype(np.uint8)
            else:
                fits = np.ones(256, bool)
                numbers = np.searchsorted(self._boundaries, values.astype(np.float32), side="right").astype(np.uint8)
            if dtype == np.bool_:
                fits[2:] = False
            self._tables[dtype] = _Table(numbers, fits, bool(fits.all()), np.array_equal(numbers, np.arange(256)))
        return self._tables[dtype]
