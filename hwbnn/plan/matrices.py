"""The matrix of a node that is folded, and how often it is used."""

from dataclasses import dataclass

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
    """

    weights: NDArray[np.int64]
    rows: int
    columns: int
    groups: int = 1
    is_depthwise: bool = False

    @classmethod
    def of(cls, node: ir.Node) -> "Matrix | None":
        """The matrix of a MatMul or a Conv; None of any other node."""
        if isinstance(node, ir.MatMul):
            return cls(node.weights, node.rows, node.columns)
        if not isinstance(node, ir.Conv):
            return None
        weights = node.weights.reshape(node.rows, node.columns)
        if node.groups > 1 and node.groups == node.rows and node.weights.shape[3] == 1:
            return cls(weights, node.rows, node.columns, is_depthwise=True)
        return cls(weights, node.rows // node.groups, node.columns, node.groups)

    @property
    def uses(self) -> int:
        """Vectors per output pixel."""
        return self.groups
