"""Weights of one product, packed once at load: sign and mask words, and what turns counts into dot products."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwbnn.infer.code import Code, Layout
from hwbnn.ir import Levels

__all__ = ["FAR", "Weights", "pad_columns"]

FAR = 2**31 - 1  # a limit that no count reaches
_COLUMNS = 64  # outputs are padded to whole words of the next layer


def pad_columns(rows: int) -> int:
    """Number of output columns with padding."""
    return -(-rows // _COLUMNS) * _COLUMNS


@dataclass(eq=False)
class Weights:
    """Ternary or bipolar weights as words, and the line from counts to dot products.

    For activations of ``code``, the exact dot product of output n is ``bias[k, n] + scale * acc`` where ``acc`` is the
    gated count (:mod:`hwbnn.infer.code`) and k the border class of the window, which tells what taps lie in the zero
    padding. Weights wider than ternary are split into the bits of their two's complement: ``parts`` outputs each.

    ``units`` are the weights divided by their greatest common divisor, or the bits of those, (outputs, columns). An
    engine keeps its own order of them in ``panels`` and ``bytes``.

    Parameters
    ----------
    weights : int64 array (rows, taps, channels)
        ``taps`` is 1 for a vector.
    code : :class:`Code`
        Of the activations.
    layout : :class:`Layout`
        Of a packed row of activations, ``taps * channels`` elements.
    valid : bool array (classes, taps), optional
        Per border class, the taps that lie inside the feature map. One class with all taps where absent.
    """

    weights: NDArray[np.int64]
    code: Code
    layout: Layout
    valid: NDArray[np.bool_] | None = None

    scale: int = field(init=False)
    parts: int = field(init=False)
    sign: NDArray[np.uint64] = field(init=False)
    mask: NDArray[np.uint64] | None = field(init=False)
    bias: NDArray[np.int64] = field(init=False)
    units: NDArray[np.int8] = field(init=False)
    panels: NDArray[np.uint64] | None = field(init=False, default=None)
    bytes: NDArray[np.uint64] | None = field(init=False, default=None)

    def __post_init__(self):
        rows, taps, channels = self.weights.shape
        flat = self.weights.reshape(rows, -1)
        unit = int(np.gcd.reduce(np.abs(flat).ravel())) or 1
        units = flat // unit
        self.parts = 1
        if np.abs(units).max(initial=0) > 1:
            levels = Levels.of(units)
            self.parts = max((-levels.low - 1).bit_length(), levels.high.bit_length()) + 1
            units = ((units[None] >> np.arange(self.parts)[:, None, None]) & 1).reshape(self.parts * rows, -1)
        self.scale = unit * self.code.levels.step
        self.units = units.astype(np.int8)
        self.sign = self.layout.pack(units < 0)
        self.mask = None if np.all(units != 0) else self.layout.pack(units != 0)
        inside = np.ones((1, taps), bool) if self.valid is None else self.valid
        sums = units.reshape(len(units), taps, channels).sum(axis=2)
        negative = (units < 0).sum(axis=1)
        self.bias = unit * (self.code.levels.low * (inside @ sums.T)
                            - self.code.levels.step * self.code.weight * negative[None, :])

    @property
    def outputs(self) -> int:
        """Rows of words: outputs times parts."""
        return len(self.sign)

    @property
    def largest(self) -> int:
        """Greatest count that can occur."""
        return self.code.weight * self.layout.segments * self.layout.length

    @cached_property
    def negatives(self) -> NDArray[np.int64]:
        """Per output, by how much its count exceeds the sum of weight times level number."""
        return self.code.weight * (self.units < 0).sum(axis=1)

    def limits(self, thresholds: NDArray[np.int64]) -> NDArray[np.int64]:
        """Counts from which each threshold is reached: ``thresholds`` (rows, n) to (n, classes, padded outputs)."""
        gap = thresholds.T[:, None, :] - self.bias[None, :, :]
        counts = np.clip(-(-gap // self.scale), -1, FAR)
        out = np.full((*counts.shape[:2], pad_columns(self.outputs)), FAR, np.int64)
        out[:, :, :self.outputs] = counts
        return out

    def padded_bias(self) -> NDArray[np.int64]:
        """``bias`` with zeros for the padding, (classes, padded outputs)."""
        out = np.zeros((len(self.bias), pad_columns(self.outputs)), np.int64)
        out[:, :self.outputs] = self.bias
        return out

    def combine(self, values: NDArray) -> NDArray:
        """Join the parts of wide weights: (..., parts * rows) to (..., rows)."""
        if self.parts == 1:
            return values
        split = values.reshape(*values.shape[:-1], self.parts, -1).astype(np.int64)
        factors = 1 << np.arange(self.parts)
        factors[-1] *= -1
        return (split * factors[:, None]).sum(axis=-2)
