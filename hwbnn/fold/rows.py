"""What a stage or a candidate takes, as a row of numbers that add up, and fronts of such rows."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hwbnn.cost.quantity import Quantity
from hwbnn.cost.resources import Resources, certain, chip_share, of_stage, stage_cost
from hwbnn.cost.technology import Technology
from hwbnn.plan import Stage

__all__ = [
    "BLOCKS", "COLUMNS", "COST", "DSP", "FLIP_FLOPS", "LATENCY", "LUTS", "MINIMIZE", "OWN_LUTS", "SPRAM", "Minimize",
    "Rows", "front", "limits_of", "no_limits", "of_one_stage", "of_resources",
]

# The most that may be used of the chip, what stands beside included; upper end of the accelerator's own LUTs; cycles.
COLUMNS = ("cost", "luts", "blocks", "dsp", "flip_flops", "own_luts", "latency", "spram")
COST, LUTS, BLOCKS, DSP, FLIP_FLOPS, OWN_LUTS, LATENCY, SPRAM = range(8)
Rows = NDArray[np.float64]
Minimize = Literal["share", "luts"]
MINIMIZE: Mapping[Minimize, float] = MappingProxyType({"share": 1.0, "luts": 1 / 256})
"""What is minimized, and what a share of the memories then counts, where one of look-up tables counts 1."""
_BLOCK = 256  # rows that are compared with each other at once


def no_limits() -> Rows:
    """Limits that nothing exceeds, by column."""
    return np.full(len(COLUMNS), np.inf)


def limits_of(tech: Technology) -> Rows:
    """What a chip has."""
    limits = no_limits()
    limits[LUTS], limits[BLOCKS], limits[SPRAM] = tech.luts.value, tech.block_memory.count.value, tech.spram
    if tech.dsp.value:
        limits[DSP] = tech.dsp.value
    if not tech.shared_cells:
        limits[FLIP_FLOPS] = tech.flip_flops.value
    return limits


def of_one_stage(stage: Stage, tech: Technology | None, minimize: Minimize = "share") -> Rows:
    """What a stage takes, but for latency; without a chip only what it costs."""
    if tech is None:
        row = np.zeros(len(COLUMNS))
        row[COST] = stage_cost(stage, None)
        return row
    resources = of_stage(stage, tech)
    row = of_resources(resources)
    row[COST] = chip_share(resources, tech, memories=MINIMIZE[minimize])
    assert isinstance(resources.luts, Quantity)  # what has a share of the chip is known
    row[OWN_LUTS] = resources.luts.high  # a wish, not a limit of the chip
    return row


def of_resources(resources: Resources) -> Rows:
    """The most that ``resources`` may come to, for whoever takes them."""
    figures = (resources.luts, resources.blocks, resources.dsp, resources.mapped_flip_flops)
    return np.array([0.0, *(certain(figure)[1] for figure in figures if isinstance(figure, Quantity)), 0.0, 0.0,
                     resources.spram.high])


def front(rows: Rows) -> NDArray[np.int64]:
    """Numbers of the rows that no other row is at most in every column; of equal rows the first."""
    order = np.lexsort(rows.T[::-1])
    if rows.shape[1] == 1:
        return order[:1]
    rows = rows[order, 1:]  # an earlier row is at most a later one in the first column
    if rows.shape[1] == 1:
        least = np.minimum.accumulate(rows[:, 0])
        return order[np.append(True, rows[1:, 0] < least[:-1])]
    kept = np.zeros(0, np.int64)
    for start in range(0, len(rows), _BLOCK):
        block = np.arange(start, min(start + _BLOCK, len(rows)))
        block = block[~_exceeded(rows[block], rows[kept]).any(axis=1)]
        among = np.tril(_exceeded(rows[block], rows[block]), -1)  # of equal rows the first stays
        kept = np.append(kept, block[~among.any(axis=1)])
    return order[kept]


def _exceeded(rows: Rows, others: Rows) -> NDArray[np.bool_]:
    """For each of ``rows`` which of ``others`` are at most it in every column."""
    result = np.ones((len(rows), len(others)), bool)
    for column, other in zip(rows.T, others.T, strict=True):
        result &= other <= column[:, None]
    return result
