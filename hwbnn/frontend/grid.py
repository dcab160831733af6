"""Even grids under float values: the integers and the scale that they stand for."""

from fractions import Fraction
from math import gcd, lcm

import numpy as np
from numpy.typing import NDArray

__all__ = ["LIMIT", "common_unit", "fit", "row_grid"]

LIMIT = 2**16         # greatest integer looked for where no quantizer tells the scale
_ROUNDING = 2.0**-21  # relative; what a few float32 operations may add to a grid value


def fit(values: NDArray, hint: NDArray[np.float64] | float | None) -> tuple[NDArray, NDArray] | None:
    """Find integers m and a scale s per row with ``values = s · m``, up to a few float32 roundings.

    Parameters
    ----------
    values : float array (rows, n)
        What a quantizer and the operations behind it give.
    hint : float64 array (rows,) or float or None
        The scale that is expected; without it, or where it does not fit, the greatest common divisor of the floats,
        which are dyadic rationals, decides.

    Returns
    -------
    (int64 (rows, n), float64 (rows,)) or None
        None where no integers within :data:`LIMIT` fit.
    """
    values = np.asarray(values, np.float64)
    if hint is not None:
        scale = np.broadcast_to(np.asarray(hint, np.float64), (len(values),))
        m = np.rint(values / scale[:, None])
        if np.all(np.abs(values - m * scale[:, None]) <= _ROUNDING * np.abs(values)) and np.abs(m).max() < 2**40:
            return m.astype(np.int64), scale.copy()
    rows = [row_grid(row) for row in values]
    if any(row is None for row in rows):
        return None
    return (np.array([row[0] for row in rows if row is not None]),
            np.array([row[1] for row in rows if row is not None]))


def row_grid(values: NDArray) -> tuple[NDArray[np.int64], float] | None:
    """Integers within :data:`LIMIT`, without common divisor, and the scale that gives exactly ``values``."""
    unique, inverse = np.unique(values, return_inverse=True)
    if not np.any(unique):
        return np.zeros(len(values), np.int64), 1.0
    exact = [Fraction(float(value)) for value in unique]
    denominator = lcm(*(value.denominator for value in exact))
    numerators = [value.numerator * (denominator // value.denominator) for value in exact]
    divisor = gcd(*numerators)
    integers = [numerator // divisor for numerator in numerators]
    if max(map(abs, integers)) > LIMIT:
        return None
    return np.array(integers, np.int64)[inverse.reshape(-1)], float(Fraction(divisor, denominator))


def common_unit(scales: NDArray[np.float64]) -> tuple[NDArray[np.int64], float] | None:
    """Multipliers n and one unit u with ``scales = n · u`` exactly; None where n needs more than 62 bits."""
    unique, inverse = np.unique(scales, return_inverse=True)
    if len(unique) == 1:
        return np.ones(len(scales), np.int64), float(unique[0])
    exact = [Fraction(float(value)) for value in unique]
    denominator = lcm(*(value.denominator for value in exact))
    numerators = [value.numerator * (denominator // value.denominator) for value in exact]
    divisor = gcd(*numerators)
    multipliers = [numerator // divisor for numerator in numerators]
    if max(map(abs, multipliers)) >= 2**62:
        return None
    return np.array(multipliers, np.int64)[inverse.reshape(-1)], float(Fraction(divisor, denominator))
