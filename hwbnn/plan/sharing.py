"""Sums of the same bits that share full adders: a greedy search for common subexpressions of three bits.

Each row is a sum of signed bits that count for powers of two. Where the same three bits, of the same relative signs,
stand in several rows at the same place, one full adder replaces them in all of these: its sum stays at the place, its
carry goes one place up, and each row has a literal less. The three that most rows share go first. A full adder reduces
where a two-term sum of bits only recodes, so that each one found pays (two-term sharing: Hosangadi et al., ICCAD
2005; da4ml, arXiv 2507.04535; counters: Dadda 1965).

The two that most rows share are found from counts of pairs, which are kept up to date; the third by a look at
the rows that have both. One step takes time linear in the number of bits, so blocks of columns bound the whole.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["blocks", "share"]

Digits = dict[int, NDArray[np.int8]]  # of rows and literals, -1, 0 or 1, by the logarithm of what they count for

BLOCK = 1 << 16  # rows times columns that are searched at once
_TRIED = 16  # pairs for which a third is looked for
_LEAST = 2  # rows that share


def blocks(rows: int, columns: int) -> int:
    """Columns that are searched at once: fewer where there are many rows, which bounds a step."""
    return max(16, min(columns, BLOCK // max(rows, 1)))


@dataclass
class _Place:
    """The bits of one place: which rows have them, and how many rows have each pair with like and unlike signs.

    ``both`` counts the rows that have a pair, ``like`` those with like signs less those with unlike ones. ``most`` is
    an upper bound of twice the rows that share the best pair of each bit.
    """

    rows: NDArray[np.int8]  # (capacity, rows)
    names: list[int]
    both: NDArray[np.int16] = field(init=False)
    like: NDArray[np.int16] = field(init=False)
    most: NDArray[np.int32] = field(init=False)

    def __post_init__(self):
        size, capacity = len(self.names), len(self.rows)
        self.both, self.like = (np.zeros((capacity, capacity), np.int16) for _ in range(2))
        self.most = np.zeros(capacity, np.int32)
        signs = self.rows[:size].astype(np.float32)
        self.like[:size, :size] = signs @ signs.T
        self.both[:size, :size] = np.abs(signs) @ np.abs(signs).T
        np.fill_diagonal(self.like, 0)
        np.fill_diagonal(self.both, 0)
        if size:
            self.most[:size] = (self.both[:size, :size] + np.abs(self.like[:size, :size])).max(axis=1)

    @classmethod
    def of(cls, rows: NDArray[np.int8], names: list[int]) -> "_Place":
        """Of rows (literals, rows), with room for as many again."""
        room = np.zeros((2 * len(names) + 16, rows.shape[1]), np.int8)
        room[:len(names)] = rows
        return cls(room, names)

    def best(self) -> tuple[int, tuple[int, int, int]] | None:
        """The rows that share the best three bits and these, or None where no three are shared."""
        size, found, bits = len(self.names), _LEAST - 1, None
        while size > 2 and self.most[:size].max() >> 1 >= _LEAST:
            tried = np.argpartition(self.most[:size], -_TRIED)[-_TRIED:] if size > _TRIED else np.arange(size)
            for x in tried[np.argsort(-self.most[tried], kind="stable")].tolist():
                if self.most[x] >> 1 <= found:
                    break
                shared = self.both[x, :size] + np.abs(self.like[x, :size])
                y = int(shared.argmax())
                self.most[x] = shared[y]
                for sign in (1, -1):
                    if (int(self.both[x, y]) + sign * int(self.like[x, y])) >> 1 > found:
                        count, z = self._third(x, y, sign)
                        if count > found:
                            found, bits = count, (x, y, z)
            if bits is not None:
                return found, bits
            self.most[tried] = 0  # these pairs have no third, and never will
        return None

    def _third(self, x: int, y: int, sign: int) -> tuple[int, int]:
        """Of the rows that have both with this relative sign, how many share the best third, and that."""
        size = len(self.names)
        where = np.flatnonzero(self.rows[x] * self.rows[y] == sign)
        signs = self.rows[:size, where] * self.rows[x, where]
        shared = np.abs(signs).sum(axis=1, dtype=np.int32) + np.abs(signs.sum(axis=1, dtype=np.int32))
        shared[[x, y]] = 0
        z = int(shared.argmax())
        return int(shared[z]) >> 1, z

    def take(self, bits: tuple[int, int, int]) -> tuple[NDArray[np.int8], int, int]:
        """Remove three bits where they are shared; the column of signs to put in their place, and those of y and z."""
        x, y, z = bits
        relative = [self.rows[x] * self.rows[other] for other in (y, z)]
        counts = {(a, b): int(np.sum((relative[0] == a) & (relative[1] == b))) for a in (1, -1) for b in (1, -1)}
        a, b = max(counts, key=counts.__getitem__)
        where = np.flatnonzero((relative[0] == a) & (relative[1] == b))
        signs = np.zeros(self.rows.shape[1], np.int8)
        signs[where] = self.rows[x, where]
        size = len(self.names)
        for bit in bits:
            others = self.rows[:size, where]
            self._count(bit, others * self.rows[bit, where], -1)
            self.rows[bit, where] = 0
        return signs, a, b

    def _count(self, bit: int, products: NDArray[np.int8], by: int):
        size = len(self.names)
        self.like[bit, :size] += by * products.sum(axis=1, dtype=np.int16)
        self.both[bit, :size] += by * np.abs(products).sum(axis=1, dtype=np.int16)
        self.like[bit, bit] = self.both[bit, bit] = 0
        self.like[:size, bit], self.both[:size, bit] = self.like[bit, :size], self.both[bit, :size]

    def put(self, signs: NDArray[np.int8], name: int) -> "_Place":
        """Add a bit; returns the place to go on with, a larger one where there was no room."""
        if len(self.names) == len(self.rows):
            live = np.flatnonzero(self.rows.any(axis=1))
            return _Place.of(self.rows[live], [self.names[n] for n in live]).put(signs, name)
        new, where = len(self.names), np.flatnonzero(signs)
        self.names.append(name)
        self.rows[new] = signs
        self._count(new, self.rows[:new + 1, where] * signs[where], 1)
        shared = self.both[new, :new + 1] + np.abs(self.like[new, :new + 1])
        self.most[new] = shared.max()
        np.maximum(self.most[:new + 1], shared, out=self.most[:new + 1])
        return self


def share(digits: Mapping[int, NDArray[np.int8]], names: Mapping[int, list[int]],
          adder: Callable[[tuple[int, int, int]], tuple[int, int]]
          ) -> tuple[dict[int, NDArray[np.int8]], dict[int, list[int]], NDArray[np.int64]]:
    """Replace what rows have in common by full adders.

    Parameters
    ----------
    digits : mapping
        For each place w, int8 (rows, literals): how often each literal counts for 2^w in a row, -1, 0 or 1.
    names : mapping
        The literals of each place.
    adder : callable
        Makes a full adder of three literals; returns its sum and its carry.

    Returns
    -------
    digits, names
        What is left of each row.
    constants : int64 array (rows,)
        What is to be added, since a complement is 1 less the bit.
    """
    places = {w: (array.T, list(names[w])) for w, array in digits.items()}
    rows = next(iter(digits.values())).shape[0]
    constants = np.zeros(rows, np.int64)
    w = min(places)
    while w <= max(places):
        bits, called = places.get(w, (np.zeros((0, rows), np.int8), []))
        place = _Place.of(bits, called)
        carries: list[tuple[int, NDArray[np.int8]]] = []
        while (found := place.best()) is not None:
            three = found[1]
            literals = [place.names[n] for n in three]
            signs, a, b = place.take(three)
            flips = (0, a < 0, b < 0)
            total, carry = adder(tuple(literal ^ int(flip)  # pyright: ignore[reportArgumentType]  # three of them
                                       for literal, flip in zip(literals, flips, strict=True)))
            constants -= signs.astype(np.int64) * (sum(flips) << w)
            place = place.put(signs, total)
            carries.append((carry, signs))
        live = np.flatnonzero(place.rows[:len(place.names)].any(axis=1))
        places[w] = place.rows[live], [place.names[n] for n in live]
        if carries:
            above, called = places.get(w + 1, (np.zeros((0, rows), np.int8), []))
            places[w + 1] = (np.concatenate([above, np.array([signs for _, signs in carries])]),
                             [*called, *(carry for carry, _ in carries)])
        w += 1
    return {w: bits.T for w, (bits, _) in places.items()}, {w: called for w, (_, called) in places.items()}, constants
