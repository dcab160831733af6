"""How an activation becomes bit planes, so that every product is a sum of gated XORs.

A value ``q = low + step * u`` of ``levels`` is stored as planes of its level number ``u``:

- up to three levels: thermometer, plane i is ``u > i``, so ``u`` is the number of ones (bipolar: one plane; ternary:
  two planes, and a maximum is an OR);
- more: binary, most significant plane first.

With ternary weights w (``mask`` where not zero, ``sign`` where negative) and plane coefficients c_i,

    w . u = sum over i of c_i * (popcount(mask & (u_i ^ sign)) - popcount(sign)),

so one gated XOR and one count per plane do the work of the two signs, bipolar x bipolar is the case of one plane
without a gate, and unused bits add nothing where activation, sign and mask are 0. The planes are not the codes of
:mod:`hwbnn.pack`, which serve memories; the order of elements is the same: element k is bit k mod 64 of word k div 64.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwbnn.ir import Levels

__all__ = ["MAX_PLANES", "Code", "Layout"]

MAX_PLANES = 8  # level numbers fit a byte


@dataclass(frozen=True)
class Code:
    """Planes of one activation's levels."""

    levels: Levels

    @staticmethod
    def covers(levels: Levels) -> bool:
        """Whether the level numbers fit :data:`MAX_PLANES` planes."""
        return len(levels) <= 2**MAX_PLANES

    @cached_property
    def thermometer(self) -> bool:
        return len(self.levels) <= 3

    @cached_property
    def planes(self) -> int:
        if self.thermometer:
            return max(1, len(self.levels) - 1)
        return (len(self.levels) - 1).bit_length()

    @cached_property
    def shift(self) -> int:
        """By how much the sum of the planes before is shifted at each plane."""
        return 0 if self.thermometer else 1

    @cached_property
    def weight(self) -> int:
        """Sum of the planes' coefficients."""
        return self.planes if self.thermometer else 2**self.planes - 1

    def limits(self) -> NDArray[np.int64]:
        """Per plane: the level number it starts at (thermometer), or the bit of it that it is (binary)."""
        if self.thermometer:
            return np.arange(1, self.planes + 1)
        return 1 << np.arange(self.planes - 1, -1, -1)

    def numbers(self, values: NDArray) -> NDArray[np.uint8]:
        """Level number of each value."""
        return ((np.asarray(values) - self.levels.low) // self.levels.step).astype(np.uint8)


@dataclass(frozen=True)
class Layout:
    """Where the elements of a packed row lie: ``segments`` runs of ``length`` elements, each from a new word on."""

    segments: int
    length: int

    @property
    def words_per_segment(self) -> int:
        return -(-self.length // 64)

    @property
    def words(self) -> int:
        return self.segments * self.words_per_segment

    def pack(self, bits: NDArray) -> NDArray[np.uint64]:
        """0/1 of shape (rows, segments * length) to words (rows, words)."""
        split = np.asarray(bits, np.uint8).reshape(-1, self.segments, self.length)
        room = np.zeros((len(split), self.segments, self.words_per_segment * 8), np.uint8)
        packed = np.packbits(split, axis=2, bitorder="little")
        room[:, :, :packed.shape[2]] = packed
        return room.view("<u8").astype(np.uint64, copy=False).reshape(len(split), -1)
