"""The matrix of a node that is folded, and how often it is used."""

from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np
from numpy.typing import NDArray

from hwbnn import ir

__all__ = ["Matrix"]


@dataclass(frozen=True, eq=False)
class Matrix:
    """What a fold divides: PE divides ``rows``, SIMD divides ``columns``.

    Parameters
    ----------
    weights : int64 array (groups · rows, columns), or (rows, columns) of a depthwise convolution
    rows, columns : :class:`int`
    groups : :class:`int`
        Matrices that vectors take turns with.
    is_depthwise : :class:`bool`
        Each row has columns of its own: one channel's window.
    taps : int64 array of the shape of ``weights``, or None
        Of a shift layer (Shift Attention Layers, arXiv 1905.12300), in which a kernel has a single weight: which of the
        window's pixels it meets, counted row by row. There are columns for channels only.
    """

    weights: NDArray[np.int64]
    rows: int
    columns: int
    groups: int = 1
    is_depthwise: bool = False
    taps: NDArray[np.int64] | None = None
    tap_count: int = 1

    @classmethod
    def of(cls, node: ir.Node) -> "Matrix | None":
        """The matrix of a MatMul or a Conv; None of any other node."""
        if isinstance(node, ir.MatMul):
            return cls(node.weights, node.rows, node.columns)
        return _of_conv(node) if isinstance(node, ir.Conv) else None

    @property
    def uses(self) -> int:
        """Vectors per output pixel."""
        return self.groups


@lru_cache(maxsize=256)  # a search asks for every folding
def _of_conv(node: ir.Conv) -> Matrix:
    if node.groups > 1 and node.groups == node.rows and node.weights.shape[3] == 1:
        return Matrix(node.weights.reshape(node.rows, node.columns), node.rows, node.columns, is_depthwise=True)
    taps = _single_taps(node.weights)
    if taps is None:
        whole = node.weights.reshape(node.rows, node.columns)
        return Matrix(whole, node.rows // node.groups, node.columns, node.groups)
    kernels = node.weights.reshape(node.rows, -1, node.weights.shape[3])
    weights = np.take_along_axis(kernels, taps[:, None], axis=1)[:, 0]
    return Matrix(weights, node.rows // node.groups, weights.shape[1], node.groups, taps=taps,
                  tap_count=prod(node.kernel))


def _single_taps(weights: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Where the only weight of each kernel is, (rows, channels); None where some have several, or but one pixel."""
    present = weights.reshape(len(weights), -1, weights.shape[3]) != 0
    if present.shape[1] == 1 or present[0].sum(axis=0).max() > 1 or present.sum(axis=1).max() > 1:
        return None
    return present.argmax(axis=1)
