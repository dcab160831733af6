"""Coefficients from a table, by relative error, and how wrong they are on networks that were left out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from math import exp
from statistics import median

import numpy as np
from numpy.typing import NDArray

from hwbnn.calibrate.conformal import ROWS_LEAST, half_width, left_out, remembered, widths_left_out
from hwbnn.calibrate.corpus import WHOLE
from hwbnn.calibrate.table import Row, Table, stages_of
from hwbnn.cost.depth import Path, paths, spread
from hwbnn.cost.resources import terms as terms_of
from hwbnn.cost.technology import Technology
from hwbnn.errors import UserError
from hwbnn.synth.reports import cells

__all__ = ["DELAYS", "LARGE", "MAPPED", "NETWORKS_LEAST", "TERMS", "Fit", "Late", "delays", "flip_flops", "luts",
           "nonnegative", "packed_luts", "synthesized"]

NETWORKS_LEAST = 4
"""Networks of which one can be left out, and another one for the interval, and a fit still stand."""

LARGE = 30  # cells of a stage for which errors are stated; a cell or two of a tiny one say nothing
TERMS = ("datapath", "control", "rom", "chains", "registers")
MAPPED = ("datapath", "control", "rom")
DELAYS = ("base", "level", "carry", "spread")
_FITTED = {"ice40": ("datapath", "control", "rom", "registers")}
_CELL = {"ecp5": "TRELLIS_COMB", "ice40": "ICESTORM_LC", "nexus": "OXIDE_COMB"}


@dataclass(frozen=True)
class Late:
    """Seconds that the output of a block memory comes later than a flip-flop's, and that a hard multiplier takes."""

    memory: float = 0.0
    multiplier: float = 0.0

    def of(self, path: Path) -> float:
        """Seconds that a path takes besides what is fitted."""
        return path.memory * self.memory + path.multiplier * self.multiplier


@dataclass(frozen=True)
class Fit:
    """One model of a target, fitted.

    Parameters
    ----------
    rows : the rows it stands on, of :data:`NETWORKS_LEAST` networks at least.
    measured : a value per row.
    predict : takes the rows to fit on as a mask, and returns what that fit says of every row.
    terms : names of the coefficients.
    coefficients : of the fit on all rows.
    """

    rows: tuple[Row, ...]
    measured: NDArray[np.float64]
    predict: Callable[[NDArray[np.bool_]], NDArray[np.float64]] = field(repr=False, compare=False)
    terms: tuple[str, ...]
    coefficients: tuple[float, ...]

    @cached_property
    def model(self) -> NDArray[np.float64]:
        """Values per row, each by the fit that had not seen the row's network."""
        return left_out(self.networks, self.predict)

    @cached_property
    def ratio(self) -> NDArray[np.float64]:
        return self.measured / np.maximum(self.model, 1e-12)

    @cached_property
    def networks(self) -> NDArray[np.int64]:
        return np.array([row.network for row in self.rows])

    @cached_property
    def whole(self) -> NDArray[np.bool_]:
        """Rows of whole accelerators."""
        return np.array([row.stage == WHOLE for row in self.rows], bool)

    @property
    def low(self) -> float:
        """Lower end of the interval, as a factor of the model."""
        return exp(-self._width)

    @property
    def high(self) -> float:
        """Upper end."""
        return exp(self._width)

    def errors(self, *, whole: bool) -> NDArray[np.float64]:
        """Relative errors, of whole accelerators or of stages."""
        return np.abs(1 / self.ratio - 1)[self.whole == whole]

    @cached_property
    def widths(self) -> NDArray[np.float64]:
        """Half the width of each row's interval in logarithms, by a calibration without the row's network."""
        return widths_left_out(self.networks, self.measured, self.predict)

    @property
    def coverage(self) -> float:
        """Share of rows inside of these intervals."""
        return float(np.mean(np.abs(np.log(self.ratio)) <= self.widths))

    @cached_property
    def _width(self) -> float:
        return half_width(np.log(self.ratio))


def nonnegative(a: NDArray, b: NDArray) -> NDArray:
    """Least squares with coefficients of at least 0: the best of all subsets, since there are few."""
    best, least = np.zeros(a.shape[1]), np.inf
    for size in range(1, a.shape[1] + 1):
        for use in combinations(range(a.shape[1]), size):
            x = np.zeros(a.shape[1])
            x[list(use)] = np.linalg.lstsq(a[:, use], b, rcond=None)[0]
            rest = float(np.sum((a @ x - b) ** 2))
            if np.all(x >= 0) and rest < least:
                best, least = x, rest
    return best


def _fit(rows: tuple[Row, ...], measured: NDArray, terms: tuple[str, ...], solve: Callable[[NDArray], NDArray],
         predict: Callable[[NDArray], NDArray]) -> Fit:
    """``solve`` takes a mask of rows and returns coefficients, ``predict`` takes these and returns values."""
    everything = solve(np.ones(len(rows), bool))
    return Fit(rows, measured, remembered(lambda use: predict(solve(use))), terms, tuple(everything.tolist()))


def _suffices(rows: Sequence[Row]) -> bool:
    """Whether there are enough rows, and networks to leave out, for an interval."""
    return len(rows) >= ROWS_LEAST and len({row.network for row in rows}) >= NETWORKS_LEAST


def synthesized(row: Row, tech: Technology) -> int:
    """Look-up tables as Yosys counts them."""
    return cells(row.measured.cells, luts_per_memory=_per_memory(tech)).lut


def packed_luts(row: Row, tech: Technology) -> int:
    """Look-up tables, or logic cells, after packing; as Yosys counts where that is all there is."""
    if tech.counts == "yosys":
        return synthesized(row, tech)
    return row.measured.packed.get(_CELL[tech.family], 0)


def flip_flops(row: Row, tech: Technology) -> int:
    """Flip-flops after synthesis."""
    return cells(row.measured.cells, luts_per_memory=_per_memory(tech)).ff


def _per_memory(tech: Technology) -> int:
    return 0 if tech.lut_memory is None else int(tech.lut_memory.luts.value)


def luts(table: Table, tech: Technology, *, mapped: bool) -> Fit:
    """Fit the look-up tables: after packing, or (``mapped``) as synthesis counts them.

    Raises :class:`UserError` where there are too few rows for an interval.
    """
    count = synthesized if mapped else packed_luts
    rows = tuple(row for row in table.rows if count(row, tech) >= LARGE)
    if not _suffices(rows):
        raise UserError(f"Calibration of {table.target} must stand on {ROWS_LEAST} rows of {NETWORKS_LEAST} networks, "
                        f"of {LARGE} look-up tables or more each, and there are {len(rows)}; measure more with "
                        f"`hwbnn calibrate --target {table.target}`")
    measured = np.array([count(row, tech) for row in rows], float)
    fitted = MAPPED if mapped or tech.counts == "yosys" else _FITTED.get(tech.family,
                                                                          ("datapath", "control", "rom", "chains"))
    parts = [[terms_of(stage, tech) for stage in stages_of(row, tech)] for row in rows]
    fixed = np.array([sum(luts for luts, _ in stages) for stages in parts])
    terms = np.array([[sum(amounts[name] for _, amounts in stages) for name in fitted] for stages in parts], float)
    weight = 1 / (measured + 20)
    stage = np.array([row.stage != WHOLE for row in rows], bool)

    def solve(chosen: NDArray) -> NDArray:
        use = chosen & stage  # a whole accelerator is the sum of its stages: it only tests
        return nonnegative((terms * weight[:, None])[use], ((measured - fixed) * weight)[use])

    return _fit(rows, measured, fitted, solve, lambda x: fixed + terms @ x)


def delays(table: Table, tech: Technology, late: Late) -> Fit | None:
    """Fit the clock period on the median of the seeds; None where nothing was placed.

    Values are frequencies in Hz. Which path decides depends on the coefficients, so both are found in turns.

    Parameters
    ----------
    late : :class:`Late`
        What is known of paths through memories and multipliers.
    """
    rows, measured = [], []
    for row in table.rows:
        known = [f for f in row.measured.fmax if f is not None]
        if known and packed_luts(row, tech) + flip_flops(row, tech) >= LARGE:
            rows.append(row)
            measured.append(1e6 * median(known))
    if not _suffices(rows):
        return None
    hertz = np.array(measured)
    choices = [np.array([[1.0, path.levels, path.carry, reach, late.of(path)] for stage in stages_of(row, tech)
                         for path in paths(stage, tech)]) for row in rows for reach in [spread(stages_of(row, tech))]]

    def rows_of(x: NDArray) -> NDArray:
        """The terms of the path of each row that is slowest by ``x``."""
        return np.array([options[np.argmax(options[:, :4] @ x + options[:, 4])] for options in choices])

    def solve(use: NDArray) -> NDArray:
        x = np.array([1e-9, 1e-9, 0.1e-9, 0.1e-9])
        for _ in range(8):
            terms = rows_of(x)
            x = nonnegative((terms[:, :4] * hertz[:, None])[use] * 1e-9,
                            ((1 / hertz - terms[:, 4]) * hertz)[use]) * 1e-9
        return x

    def predict(x: NDArray) -> NDArray:
        terms = rows_of(x)
        return 1 / (terms[:, :4] @ x + terms[:, 4])

    return _fit(tuple(rows), hertz, DELAYS, solve, predict)
