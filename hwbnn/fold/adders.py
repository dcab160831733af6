"""What a layer of adders takes at least, before the search for what its rows share."""

import numpy as np
from numpy.typing import NDArray

from hwbnn.cost.technology import Technology
from hwbnn.plan import digit_counts

__all__ = ["least_luts", "may_pay"]

DIGIT_LUTS = 0.7  # LUT4 per digit, of the largest layers: from 1.4 of 64 x 64 down to 0.9 of 784 x 64, with a margin
SEARCHED = 1000  # digits that are searched in no time, so that nothing need be foretold


def least_luts(weights: NDArray[np.int64]) -> float:
    """LUT4 that a layer of constant weights takes at least."""
    return DIGIT_LUTS * float(digit_counts(weights)[1].sum())


def may_pay(weights: NDArray[np.int64], tech: Technology | None, cost: float) -> bool:
    """Whether the search is worth its time: a layer of adders may take less than ``cost``.

    That counts as :func:`hwbnn.cost.resources.stage_cost` does.
    """
    luts = least_luts(weights)
    if luts < DIGIT_LUTS * SEARCHED:
        return True
    return luts < cost if tech is None else luts < tech.luts.value * min(cost, 1)
