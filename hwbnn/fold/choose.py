"""The cheapest folding for a rate or a latency, and the fastest that fits."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from hwbnn import ir
from hwbnn.cost.quantity import Quantity
from hwbnn.cost.resources import Use, certain
from hwbnn.cost.technology import Technology
from hwbnn.cost.technology import technology as find_technology
from hwbnn.errors import UserError
from hwbnn.fold.goal import budget, latency_cycles
from hwbnn.fold.layers import rate
from hwbnn.fold.rows import BLOCKS, DSP, FLIP_FLOPS, LATENCY, LUTS, OWN_LUTS, Minimize, Rows, limits_of, no_limits
from hwbnn.fold.search import Beside, Search
from hwbnn.plan import RELAXED, Fold, Pace, UnitOptions

__all__ = ["choose", "fit", "short", "within_latency"]

Options = Mapping[str, UnitOptions]
_ATTEMPTS = 8  # at leaving room for what only the whole plan knows: the depths of FIFOs


def choose(network: ir.Network, *, clock_hz: int, target_fps: float, technology: str | None = None,
           beside: Beside | None = None, options: Options = MappingProxyType({}), pace: Pace = RELAXED,
           minimize: Minimize = "share") -> dict[str, Fold]:
    """Return the cheapest folding that reaches ``target_fps`` frames per second.

    Parameters
    ----------
    network : :class:`ir.Network`
    clock_hz : :class:`int`
    target_fps : :class:`float`
        Frames per second in the steady state.
    technology : :class:`str` or None
        Cost is the sum of the shares that look-up tables and block memories take of this chip. Where the cheapest
        folding does not fit it for certain, the cheapest that does, if there is one. None: LUT4 by the
        uncalibrated closed forms, and 1/16 LUT4 per bit of block memory.
    beside : callable
        What is reserved on the chip, by the streams that the accelerator takes and gives.
    options : mapping
        What is asked of layers beyond PE and SIMD, by name.
    pace : :class:`Pace`
        Where registers stand.
    minimize : :class:`str`
        What is cheapest: ``share`` as said, or ``luts``, look-up tables alone, as long as memories suffice.

    Raises
    ------
    UserError
        The rate cannot be reached; the message states the best that can.
    """
    allowed = budget(clock_hz, target_fps)
    tech = None if technology is None else find_technology(technology)
    search = Search(network, tech, beside=beside, options=options, pace=pace, minimize=minimize)
    least = search.least_interval
    if allowed < least:
        raise UserError(f"Target rate must be at most {rate(clock_hz, least)} frames/s at {clock_hz / 1e6:g} MHz, "
                        f"where {search.limit}, not {target_fps:,.12g}")
    tightened = allowed
    while tightened >= least:
        folds = _fitting(search, tightened)
        assert folds is not None  # the fully parallel one is possible
        interval = search.plan(folds).cycles.interval
        if interval <= allowed:
            return folds
        tightened -= interval - allowed
    raise UserError(f"Target rate must leave room for the width converters, which make it miss {target_fps:,.12g} "
                    f"frames/s at {clock_hz / 1e6:g} MHz; ask for less")


def within_latency(network: ir.Network, *, clock_hz: int, max_latency: int | str, technology: str | None = None,
                   beside: Beside | None = None, options: Options = MappingProxyType({}), pace: Pace = RELAXED,
                   minimize: Minimize = "share") -> dict[str, Fold]:
    """Return the cheapest folding that has a frame's result out in time.

    The latency of a frame on an idle accelerator counts from the cycle of its first input transfer through that of
    its last output transfer. It is modelled exactly where every layer takes a whole vector, so that the result is
    the minimum of the cost model; elsewhere, it is the cheapest folding for the lowest rate that meets it.

    Parameters
    ----------
    max_latency : :class:`int` or :class:`str`
        Cycles, or a time such as ``50us``.
    technology, beside, options, pace, minimize
        As for :func:`choose`.

    Raises
    ------
    UserError
        The latency cannot be met; the message states the least.
    """
    allowed = latency_cycles(clock_hz, max_latency)
    tech = None if technology is None else find_technology(technology)
    search = Search(network, tech, beside=beside, timed=True, options=options, pace=pace, minimize=minimize)
    if search.is_timed:
        limits = no_limits()
        limits[LATENCY] = allowed - 1  # the first cycle counts
        folds = _fitting(search, np.inf, limits)
        if folds is not None and search.plan(folds).cycles.first < allowed:
            return folds
    return _slowest_in_time(search, allowed, clock_hz, max_latency)


def fit(network: ir.Network, *, technology: str, max_luts: int | None = None, beside: Beside | None = None,
        options: Options = MappingProxyType({}), pace: Pace = RELAXED, minimize: Minimize = "share") -> dict[str, Fold]:
    """Return the fastest folding whose estimate fits ``technology`` with certainty; of equally fast ones the cheapest.

    Parameters
    ----------
    max_luts : :class:`int`
        Look-up tables that the accelerator may take, in the chip's cells.
    beside, options, pace, minimize
        As for :func:`choose`.

    Raises
    ------
    UserError
        Even the smallest folding does not fit; the message states by how much.
    """
    tech = find_technology(technology)
    search = Search(network, tech, beside=beside, options=options, pace=pace, minimize=minimize)
    limits = limits_of(tech)
    if max_luts is not None:
        limits[OWN_LUTS] = max_luts
    kept, fastest = np.zeros(len(limits)), 0
    for attempt in range(_ATTEMPTS):
        found = _fastest(search, limits - kept, fastest)
        if found is None:
            break
        fastest, folds = found
        over = np.maximum(search.used(search.plan(folds).parts) - limits, 0)
        if not over.any():
            return folds
        kept += over * 2**attempt  # more and more: what is kept may be far from enough to change the folding
    raise UserError(_too_small(search, tech, max_luts))


def short(row: Use) -> str:
    """What a use is short of, in words: how much too much it is at least."""
    whole = row.whole
    assert isinstance(whole, Quantity)  # resources are always known
    link = "" if row.reserved is None or not row.reserved.low else \
        f" with the host link's {row.reserved.low:,.0f}"
    least, _ = certain(whole)
    return (f"{least:,.0f} {whole.unit}{link}, {least - row.available:,.0f} more than the "
            f"{row.available:,.0f} there are")


def _fitting(search: Search, allowed: float, limits: Rows | None = None) -> dict[str, Fold] | None:
    """The cheapest folding within ``limits`` that fits the chip, or the cheapest of all where none does."""
    found = search.best(allowed, limits=limits)
    if found is None or search.tech is None:
        return found and found[0]
    chip = np.minimum(limits_of(search.tech), no_limits() if limits is None else limits)
    if np.all(found[1] <= chip):
        return found[0]
    return (search.best(allowed, limits=chip) or found)[0]


def _fastest(search: Search, limits: Rows, least: int) -> tuple[int, dict[str, Fold]] | None:
    """The folding of the least interval within ``limits``, of several the cheapest; and the interval's number.

    Intervals before number ``least`` are known to be too short.
    """
    intervals = search.intervals
    low, high = least, len(intervals) - 1
    found = search.best(intervals[high], limits=limits)
    if found is None:
        return None
    middle = low if least else (low + high) // 2  # limits that are a little tighter often change little
    while low < high:  # what is found stays within intervals[high]
        tried = search.best(intervals[middle], limits=limits)
        if tried is not None:
            high, found = middle, tried
        else:
            low = middle + 1
        middle = (low + high) // 2
    return high, found[0]


def _too_small(search: Search, tech: Technology, max_luts: int | None) -> str:
    """Why not even the smallest folding fits: a resource of which the least is too much, or the cheapest folding's."""
    network, limits = search.network, limits_of(tech)
    if max_luts is not None:
        limits[OWN_LUTS] = max_luts
    for column, unit in ((OWN_LUTS, tech.lut), (LUTS, tech.lut), (BLOCKS, tech.block_memory.name),
                         (DSP, tech.dsp.unit), (FLIP_FLOPS, "FF")):
        if limits[column] == np.inf:
            continue
        found = search.best(column=column)
        assert found is not None  # without limits there is one
        least = max(found[1][column], search.used(search.plan(found[0]).parts)[column])
        if least > limits[column]:
            there = (f"the limit of {limits[column]:,.0f} {unit}" if column == OWN_LUTS else
                     f"{tech.title}, which has {limits[column]:,.0f} {unit}")
            link = " with the host link" if column != OWN_LUTS and search.beside is not None else ""
            return (f"Network {network.name} must fit {there}, and its smallest folding may take {least:,.0f}{link}, "
                    f"{least - limits[column]:,.0f} too many")
    return (f"Network {network.name} must fit {tech.title}, and no folding keeps within all of its resources; each of "
            "them alone would do")


def _slowest_in_time(search: Search, allowed: int, clock_hz: int, max_latency: int | str) -> dict[str, Fold]:
    """The cheapest folding for the greatest interval whose exact latency is allowed."""
    intervals = search.intervals

    def attempt(interval: float) -> tuple[int, dict[str, Fold]]:
        folds = _fitting(search, interval)
        assert folds is not None  # an interval that some folding takes
        return search.plan(folds).cycles.first + 1, folds

    if search.is_timed:
        found = search.best(column=LATENCY)
        assert found is not None  # without limits there is one
        least, folds = search.plan(found[0]).cycles.first + 1, found[0]
    else:
        least, folds = attempt(intervals[0])
    if least > allowed:
        raise UserError(f"Latency must be at least the {least:,} cycles ({1e6 * least / clock_hz:.3g} µs at "
                        f"{clock_hz / 1e6:g} MHz) of the quickest folding, not {max_latency}")
    low, high = 0, len(intervals) - 1
    while low <= high:  # latency rises with the interval, as a rule; what is returned was checked
        middle = (low + high) // 2
        taken, tried = attempt(intervals[middle])
        if taken <= allowed:
            folds, low = tried, middle + 1
        else:
            high = middle - 1
    return folds
