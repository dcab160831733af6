"""Weights of a layer as integers with one scale per row."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwbnn import ir
from hwbnn.frontend.grid import LIMIT, common_unit
from hwbnn.frontend.problems import refuse
from hwbnn.frontend.values import Constant
from hwbnn.frontend.walk import Walk

__all__ = ["Weights", "weights_of"]

_MEND = "quantize the weights (Quant or BipolarQuant), or annotate integers with their datatype"


@dataclass(frozen=True, eq=False)
class Weights:
    """Integers by row (output) and column, and what makes each row the graph's weights.

    Parameters
    ----------
    matrix : int64 array (rows, columns)
        Columns in the graph's order.
    scale : float64 array (1,) or (rows,)
        Weight = integer · scale of the row, before rounding to float32.
    levels : :class:`~hwbnn.ir.Levels`
        The set that the integers were drawn from.
    covers : tuple of str
        Nodes of the graph that made them.
    """

    matrix: NDArray[np.int64]
    scale: NDArray[np.float64]
    levels: ir.Levels
    covers: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return self.matrix.shape[0]

    @property
    def columns(self) -> int:
        return self.matrix.shape[1]


def weights_of(walk: Walk, node, inputs, constant: Constant, *, rows_last: bool) -> Weights:
    """Split the constant operand of a layer into integers and scales.

    ``rows_last``: the outputs are the last axis (MatMul), else the first (Conv, transposed Gemm).
    """
    if constant.value.dtype.kind == "f" and not np.all(np.isfinite(constant.value)):
        refuse(node, inputs, "must have finite weights, and one is NaN or infinite", "train the model again")
    if constant.integers is None or constant.scale is None or constant.levels is None:
        matrix, scale, levels = _guess(walk, node, inputs, _rows(constant.value, rows_last))
        return Weights(matrix, _short(scale), levels, constant.covers)
    matrix, scales = _rows(constant.integers, rows_last), _rows(constant.scale, rows_last)
    levels = constant.levels
    if np.any(scales != scales[:, :1]):
        found = common_unit(scales.ravel())
        if found is None or found[0].max() > LIMIT:
            refuse(node, inputs, "must have one weight scale per output, and scales differ within an output",
                   "use one scale per tensor or per output channel")
        matrix = matrix * found[0].reshape(matrix.shape)
        return Weights(matrix, np.array([found[1]]), ir.Levels.of(matrix), constant.covers)
    return Weights(matrix, _short(scales[:, 0].astype(np.float64)), levels, constant.covers)


def _rows(array: NDArray, rows_last: bool) -> NDArray:
    return np.ascontiguousarray(array.T) if rows_last else array.reshape(len(array), -1)


def _short(scale: NDArray) -> NDArray:
    return scale[:1].copy() if np.all(scale == scale[0]) else scale


def _guess(walk: Walk, node, inputs, rows: NDArray):
    """Integers of weights that no quantizer made: whole numbers, or multiples of each row's smallest."""
    name = node.input[1]
    annotated = walk.graph.datatypes.get(name)
    if np.all(rows == np.rint(rows)) and np.abs(rows).max(initial=0) < 2**31:
        integers = rows.astype(np.int64)
        levels = ir.Levels.of(integers)
        if annotated is not None and annotated.is_integer():
            step = 2 if annotated.name == "BIPOLAR" else 1
            declared = ir.Levels(int(annotated.min()), int(annotated.max()), step)
            levels = declared if declared.holds(integers) else levels
        return integers, np.ones(len(rows)), levels
    magnitude = np.abs(rows.astype(np.float64))
    smallest = np.where(magnitude > 0, magnitude, np.inf).min(axis=1)
    scale = np.where(np.isfinite(smallest), smallest, 1.0)
    integers = np.rint(rows / scale[:, None])
    if np.any(np.abs(rows - integers * scale[:, None]) > 2.0**-22 * magnitude) or np.abs(integers).max() > 255:
        exponent = next((e for e in range(25) if np.all(rows * 2.0**e == np.rint(rows * 2.0**e))), None)
        if exponent is None or np.abs(rows).max() * 2.0**exponent > LIMIT:
            refuse(node, inputs, "must have quantized weights, and they are floats with no quantizer", _MEND)
        integers, scale = rows * 2.0**exponent, np.full(len(rows), 2.0**-exponent)
    integers = integers.astype(np.int64)
    return integers, scale, ir.Levels.of(integers)
