"""Intervals that hold what they promise of networks that no fit has seen: conformal, by leaving out networks.

Each network is left out of a fit once, and the logarithms of measured over modelled that this gives are ranked by
size. Of n rows the one of rank ceil((n + 1) · 0.9) is half the width of the interval, in logarithms, so that a row of a
further network, were it drawn like these, lies inside with a chance of at least 0.9 and at most 0.9 + 1 / (n + 1): the
``+ 1`` makes up for rows that are few. That is the jackknife of Barber, Candès, Ramdas and Tibshirani, "Predictive
inference with the jackknife+" (2021), with whole networks in place of rows; it assumes no distribution.
"""

from collections.abc import Callable
from math import ceil

import numpy as np
from numpy.typing import NDArray

__all__ = ["COVERAGE", "ROWS_LEAST", "Predict", "half_width", "left_out", "remembered", "widths_left_out"]

COVERAGE = 0.9
"""Share of the rows of networks that were not seen that an interval holds."""

ROWS_LEAST = ceil(COVERAGE / (1 - COVERAGE) - 1e-9)
"""Rows of which one has the rank that the interval needs."""

Predict = Callable[[NDArray[np.bool_]], NDArray[np.float64]]
"""From a mask of the rows to fit on to what that fit says of every row."""


def half_width(residuals: NDArray[np.float64], coverage: float = COVERAGE) -> float:
    """Half the width of an interval that holds a further residual with a chance of ``coverage``.

    It is infinite where there are fewer than ``coverage / (1 - coverage)`` residuals: these cannot tell.
    """
    rank = ceil((len(residuals) + 1) * coverage - 1e-9)  # 10 · 0.9 is a little more than 9
    return float(np.sort(np.abs(residuals))[rank - 1]) if rank <= len(residuals) else float("inf")


def left_out(networks: NDArray[np.int64], predict: Predict, use: NDArray[np.bool_] | None = None
             ) -> NDArray[np.float64]:
    """What is said of each row in ``use`` by the fit on the others of them, its whole network left out; else nan."""
    use = np.ones(len(networks), bool) if use is None else use
    found = np.full(len(networks), np.nan)
    for network in np.unique(networks[use]):
        out = use & (networks == network)
        found[out] = predict(use & ~out)[out]
    return found


def widths_left_out(networks: NDArray[np.int64], measured: NDArray[np.float64], predict: Predict
                    ) -> NDArray[np.float64]:
    """For each row half the width of the interval that its network had no part in, neither in a fit nor as residuals.

    By :func:`left_out` among the other networks: what a calibration would have said before that network was measured.
    """
    found = np.zeros(len(networks))
    for network in np.unique(networks):
        others = networks != network
        model = np.maximum(left_out(networks, predict, others)[others], 1e-12)
        found[~others] = half_width(np.log(measured[others] / model))
    return found


def remembered(predict: Predict) -> Predict:
    """The same, each mask asked for once: two networks are left out together in either order."""
    known: dict[bytes, NDArray[np.float64]] = {}

    def ask(use: NDArray[np.bool_]) -> NDArray[np.float64]:
        key = use.tobytes()
        if key not in known:
            known[key] = predict(use)
        return known[key]

    return ask
