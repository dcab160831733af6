"""Closed forms for constants that a pipeline reads, in logic or in memory, and for thresholds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hwbnn.cost.counts import above_luts
from hwbnn.cost.datapath import tree_forms
from hwbnn.cost.fabric import fabric
from hwbnn.cost.terms import Forms
from hwbnn.plan import FusedThresholds, Stage
from hwbnn.plan.records import index_bits, span_bits
from hwbnn.plan.tables import SearchedThresholds, Table, Thresholds

__all__ = ["constants", "distinct_columns", "live_widths", "logic", "threshold_forms", "varied_columns",
           "word_bits"]


def distinct_columns(bits: NDArray) -> int:
    """Number of columns of 0/1 of shape (words, bits) that synthesis keeps apart: not constant, none like another."""
    packed = np.ascontiguousarray(np.packbits(bits.astype(np.uint8), axis=0).T)
    width = 8 if packed.shape[1] <= 8 else packed.shape[1]
    padded = np.zeros((len(packed), width), np.uint8)
    padded[:, :packed.shape[1]] = packed
    keys = padded.view(np.uint64 if width == 8 else f"V{width}")[:, 0]
    first = np.unique(keys, return_index=True)[1]
    return int(np.sum(np.any(bits[:, first] != bits[:1, first], axis=0)))


def word_bits(words: Sequence[int], width: int) -> NDArray[np.uint8]:
    """Integers of ``width`` bits as an array of 0/1 (words, width), least significant first."""
    size = -(-width // 8)
    rows = np.frombuffer(b"".join(word.to_bytes(size, "little") for word in words), np.uint8)
    return np.unpackbits(rows.reshape(len(words), size), axis=1, count=width, bitorder="little")


def varied_columns(table: Table) -> int:
    """Bits of a table that change from word to word; all where it is loadable."""
    if table.loadable:
        return table.width
    bits = word_bits(table.words, table.width)
    return int(np.sum(np.any(bits != bits[:1], axis=0)))


def live_widths(stage: Stage) -> dict[str, int]:
    """Memory to the columns that change from word to word, of constants in a single memory; others are left out."""
    found = {}
    for table in (getattr(getattr(stage, "thresholds", None), "table", None), getattr(stage, "offset_table", None),
                  getattr(stage, "table", None)):
        if isinstance(table, Table) and table.style == "block" and not table.loadable and len(table.bank.memories) == 1:
            found[table.bank.memories[0].name] = varied_columns(table)
    return found


def logic(words: Sequence[int], width: int, family: str, *, counted: bool = True) -> Forms:
    """Constants in look-up tables, each column that is not like another once, and its register.

    ``counted``: their address is a counter itself, without a register between.
    """
    columns = distinct_columns(word_bits(words, width))
    return Forms(rom=fabric(family).rom(columns, len(words), counted=counted), merged=width - columns)


def _place(table: Table, family: str) -> Forms:
    """Which word is next."""
    counter = fabric(family).counter
    place = counter(table.run)
    if table.borders is not None:  # position in the map, its class, and where the run of that begins
        rows, columns = table.borders.rows, table.borders.columns
        place += counter(len(rows)) + counter(len(columns)) + Forms(
            control=float(len(set(rows)) + len(set(columns)) + index_bits(len(table.words))))
    return place


def constants(table: Table, family: str) -> Forms:
    """Constants that are read one after another."""
    if not table.bank.has_memory:
        return Forms(registers=table.bank.flip_flops)
    place = _place(table, family)
    if table.style != "logic":
        return place + Forms(registers=table.width)
    return place + logic(table.words, table.width, family, counted=table.borders is None)


def _level(t: Thresholds) -> Forms:
    """What makes a level of the thresholds of a lane that are reached."""
    return tree_forms(t.tree) if t.counts or t.count == 1 else Forms(datapath=float(t.levels.bits))


def _gaps(t: FusedThresholds, family: str) -> Forms:
    """Whether the accumulator of a lane, whose sign answers for the first threshold, reaches the others."""
    if not t.gaps:
        return Forms()
    total, fab = t.total_bits, fabric(family)
    return _level(t) + Forms(
        datapath=t.gaps * above_luts(total, t.gap_bits, family), chains=0 if fab.paired else t.gaps,
        registers=t.gaps * t.gap_bits, carries=t.gaps * total if fab.lone else 0)


def threshold_forms(t: Thresholds, family: str) -> Forms:
    """Compares, the sum of what they say, and what they compare with."""
    fab, bits = fabric(family), span_bits(t.low, t.high + 1)
    if isinstance(t, FusedThresholds):
        return _gaps(t, family) * t.lanes + constants(t.table, family)
    if isinstance(t, SearchedThresholds):
        result = (fab.compare(bits) + Forms(registers=bits)) * (t.lanes * t.steps)
        for table in (table for step in range(t.steps) for table in t.tables(step)):
            if not table.is_constant:
                result += Forms(rom=fab.rom(table.width, len(table.words))) if table.style == "logic" else Forms(
                    registers=table.width)
        return result + (_place(t.table, family) if len(t.table.words) > 1 else Forms())
    lane = Forms(datapath=float(t.is_mixed)) + _level(t)
    if t.table.bank.has_memory or t.table.loadable:
        return (lane + fab.compare(bits) * t.count) * t.lanes + constants(t.table, family)
    return sum((fab.below(bits, int(limit)) for limit in t.constants[:t.lanes].flat), lane * t.lanes)
