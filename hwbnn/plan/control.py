"""Which beat of a matrix-vector unit is issued next: every one, those with weights, or those with activations."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hwbnn.plan.records import Memory, Style, index_bits
from hwbnn.plan.tables import rom_style

__all__ = ["SKIPS", "Control", "EventControl", "SequenceControl", "Skips", "kept_words"]

Skips = Literal["nothing", "weights", "activations"]
SKIPS = ("nothing", "weights", "activations")


def kept_words(weights: NDArray[np.int64], pe: int, simd: int, nf: int) -> NDArray[np.bool_]:
    """Return which words of a folded matrix are stored when zeros are left out, (row groups, SF).

    All words of each first pass are, since inputs are taken beside them; of the others those that are not all zero,
    and one of a row group that is.
    """
    rows, columns = weights.shape
    kept = (weights != 0).reshape(rows // pe, pe, columns // simd, simd).any(axis=3).any(axis=1)
    kept[::nf] = True
    kept[~kept.any(axis=1), 0] = True
    return kept


@dataclass(frozen=True, eq=False)
class Control:
    """Every beat in order: NF passes of SF beats for a vector, inputs being taken in the first of them.

    Parameters
    ----------
    sf, nf : :class:`int`
        Beats per pass, and passes per vector.
    groups : :class:`int`
        Vectors that take turns with parts of the weights.
    replayed : :class:`bool`
        Whether inputs come for every pass.
    """

    sf: int
    nf: int
    groups: int
    replayed: bool = False

    @property
    def depth(self) -> int:
        """Words of weights."""
        return self.sf * self.nf * self.groups

    def beats(self, group: int) -> int:
        """Beats of row group number ``group`` of a run, counted over all vectors."""
        return self.sf

    @property
    def cycle(self) -> tuple[int, ...]:
        """Beats of the row groups that come over and over."""
        return (self.sf,)

    @property
    def flip_flops(self) -> int:
        """The beat, the address, whether it is the first pass, and the number of the pass."""
        total = index_bits(self.sf)
        if self.nf * self.groups > 1:
            total += index_bits(self.depth)
        if self.nf > 1 and not self.replayed:
            total += 1 + (index_bits(self.nf) if self.groups > 1 else 0)
        return total

    @property
    def memories(self) -> tuple[Memory, ...]:
        return ()


@dataclass(frozen=True, eq=False, kw_only=True)
class SequenceControl(Control):
    """Beats whose weights are all zero are left out, but for the first pass, beside which inputs are taken.

    A memory of the sequence says for each word of the other passes which beat it belongs to, and whether the pass
    ends with it; it is read one word ahead.

    Parameters
    ----------
    name : :class:`str`
        Of that memory.
    kept : bool array (NF · groups, SF)
        Of :func:`kept_words`.
    style : :class:`str`
        What that memory is made of.
    """

    name: str
    kept: NDArray[np.bool_] = field(repr=False)
    style: Style | None = None

    @cached_property
    def _counts(self) -> tuple[int, ...]:
        return tuple(self.kept.sum(axis=1).tolist())

    @property
    def depth(self):
        return sum(self._counts)

    @property
    def cycle(self):
        return self._counts

    def beats(self, group):
        return self._counts[group % len(self._counts)]

    @cached_property
    def words(self) -> list[int]:
        """The sequence: the number of a beat, above it whether it ends its pass."""
        found, bits = [], index_bits(self.sf)
        for row, kept in enumerate(self.kept):
            if row % self.nf:
                beats = np.flatnonzero(kept).tolist()
                found += [*beats[:-1], beats[-1] | 1 << bits]
        return found

    @property
    def memory(self) -> Memory:
        """Of the sequence."""
        width, depth = index_bits(self.sf) + 1, self.depth - self.sf * self.groups
        return Memory(self.name, width, depth, self.style or rom_style(width, depth))

    @property
    def flip_flops(self):
        """Besides: whether a pass begins, the place in the sequence, and the word read ahead."""
        memory = self.memory
        return super().flip_flops + 1 + (index_bits(memory.depth) + memory.width if memory.depth > 1 else 0)

    @property
    def memories(self):
        return (self.memory,) if self.memory.depth > 1 else ()


@dataclass(frozen=True, eq=False, kw_only=True)
class EventControl(Control):
    """Beats whose activations are all zero are left out, but for the first pass, in which they are taken.

    Those that are not zero are stored one after another, each with the number of its beat, so that none is searched
    for; of a vector of zeros the last is. The interval depends on the data: a pass but the first takes as many
    cycles as there are such beats.

    Parameters
    ----------
    live : tuple of :class:`int` or None
        Beats that are stored of each vector of a run, over and over; None: the worst case, all.
    """

    live: tuple[int, ...] | None = None

    def beats(self, group):
        if self.live is None or group % self.nf == 0:
            return self.sf
        return self.live[group // self.nf % len(self.live)]

    @property
    def flip_flops(self):
        """Besides: the place of the last beat that was stored, and whether there is none yet."""
        return super().flip_flops + index_bits(self.sf) + 1
