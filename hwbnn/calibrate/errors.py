"""How wrong the estimates of a target are, on networks that were not in the fit, figure by figure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from math import exp
from statistics import median

import numpy as np

from hwbnn.calibrate.corpus import samples
from hwbnn.calibrate.fit import LARGE, NETWORKS_LEAST, Fit, delays, flip_flops, luts, packed_luts
from hwbnn.calibrate.measure import digest
from hwbnn.calibrate.save import late
from hwbnn.calibrate.table import Row, Table, of_sample, stages_of
from hwbnn.cost.quantity import Quantity
from hwbnn.cost.resources import Resources, Use, of_stages
from hwbnn.cost.technology import Technology
from hwbnn.cost.technology import technology as find_technology
from hwbnn.synth.reports import cells

__all__ = ["Figure", "current", "figures", "outdated"]

FEW = 40  # rows on which no fit stands


@dataclass(frozen=True)
class Figure:
    """One row of the table of errors: what it is, what is to be reached, and what it is; ``met`` compares them."""

    what: str
    reach: str
    value: str
    met: bool | None


def _median(values: Iterable[float], limit: float, what: str) -> Figure:
    found = list(values)
    if not found:
        return Figure(what, f"<= {limit:.0%}", "not measured", None)
    worst = f"{median(found):.1%} of {len(found)}, p90 {np.quantile(found, 0.9):.1%}"
    return Figure(what, f"<= {limit:.0%}", worst, median(found) <= limit)


def figures(table: Table) -> list[Figure]:
    """The figures that a target is held to."""
    tech = find_technology(table.target)
    packed, speed = luts(table, tech, mapped=False), delays(table, tech, late(tech))
    tool = "nextpnr's" if tech.counts == "nextpnr" else "Yosys'"
    large = [row for row in table.rows if packed_luts(row, tech) >= LARGE]
    used = {row.key: of_stages(stages_of(row, tech), tech) for row in table.rows}
    registers = [abs(used[row.key].mapped_flip_flops.nominal / flip_flops(row, tech) - 1) for row in large
                 if flip_flops(row, tech)]
    hard = [_hard(row, used[row.key], tech) for row in table.rows]
    hard = [same for same in hard if same is not None]
    exact = sum(hard) / len(hard) if hard else 1.0
    wrong = _wrong_fits(packed, tech)
    stages, whole = packed.errors(whole=False), packed.errors(whole=True)
    return [
        _median(stages, 0.05, f"look-up tables per layer, median error against {tool} count"),
        _median(whole, 0.10, "look-up tables of a whole accelerator, median error"),
        Figure("look-up tables, p90 of both", "<= 20%", f"{np.quantile(np.r_[stages, whole], 0.9):.1%}",
               bool(np.quantile(np.r_[stages, whole], 0.9) <= 0.2)),
        _median(registers, 0.02, "flip-flops after synthesis, median error"),
        Figure("block memories and DSP exact", ">= 95%", f"{exact:.1%} of {len(hard)} that have some", exact >= 0.95),
        _median([] if speed is None else np.r_[speed.errors(whole=False), speed.errors(whole=True)], 0.15,
                "Fmax, median error"),
        Figure("interval coverage, look-up tables", "85-95%", f"{packed.coverage:.0%}",
               0.85 <= packed.coverage <= 0.95),
        Figure("interval coverage, Fmax", "85-95%", "not measured" if speed is None else f"{speed.coverage:.0%}",
               None if speed is None else 0.85 <= speed.coverage <= 0.95),
        Figure('"fits" where it does not', "never", f"{wrong[0]} of {wrong[1]} capacities tried", wrong[0] == 0),
    ]


def _hard(row: Row, used: Resources, tech: Technology) -> bool | None:
    """Whether block memories and multipliers are exact; None where there are none."""
    found = cells(row.measured.cells, luts_per_memory=0)
    model, seen = (used.blocks.nominal, used.dsp.nominal), (found.block_memory, found.dsp)
    return None if model == seen == (0, 0) else model == seen


def _wrong_fits(fit: Fit, tech: Technology) -> tuple[int, int]:
    """How often "yes" is said of a chip that is too small, of chips of 50 % to 150 % of what each row takes.

    Or that lacks a single cell. By a calibration that had not seen the row's network at all.
    """
    wrong = tried = 0
    for measured, model, width in zip(fit.measured, fit.model, fit.widths, strict=True):
        figure = Quantity(model * exp(-width), model, model * exp(width), tech.lut, "left out of the fit")
        for capacity in (measured - 1, *(measured * share / 100 for share in range(50, 151, 5))):
            tried += 1
            wrong += Use(tech.lut, figure, capacity).fits == "yes" and capacity < measured
    return wrong, tried


def current(table: Table) -> Table:
    """The rows whose hardware is what the generator makes now; all where these are too few for a fit."""
    marks = _marks(table.target)
    kept = tuple(row for row in table.rows if row.digest == marks.get(row.key))
    enough = len({row.network for row in kept}) >= NETWORKS_LEAST and len(kept) >= FEW
    return replace(table, rows=kept if enough else table.rows)


def outdated(table: Table) -> int:
    """Rows that were measured on other hardware than the generator makes now, or are still missing."""
    known = {row.key: row.digest for row in table.rows}
    return sum(known.get(key) != mark for key, mark in _marks(table.target).items())


@cache
def _marks(target: str) -> dict[tuple[int, str], str]:
    """Number and name of each sample to the digest of its hardware of today."""
    tech = find_technology(target)
    return {(sample.network, sample.name): digest(of_sample(sample, tech), tech.family) for sample in samples(target)}
