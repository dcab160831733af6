"""A matrix of constants as a graph of adders.

A row of ±1 is twice the sum over its positive inputs, less a total that all rows share, or the total less twice the
sum over its negative ones: whichever are fewer. So is any row that differs from ±1 in fewer digits than from 0. What is
left of each row is a sum of signed bits, in which :mod:`hwbnn.plan.sharing` finds what rows have in common.

Where a row is only compared with one threshold, the sum over its inputs is compared with half the total plus a
constant, which rows of equal thresholds share. Elsewhere the total is one more summand.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwbnn.ir import Levels
from hwbnn.plan.adders import ONE, AdderGraph, GraphMaker, Word, constant_word
from hwbnn.plan.records import span_bits
from hwbnn.plan.sharing import Digits, blocks, share

__all__ = ["bit_values", "digit_counts", "digits_of", "matrix_graph", "signed_digits",
           "sum_span"]

_TOTAL_DIGITS = 8  # what meeting the total costs a row, about, in digits


def bit_values(x: Levels) -> tuple[tuple[int, ...], int, int]:
    """What the bits of a code count for, (values, scale, offset): x = scale · sum(values · bits) + offset."""
    if x.is_bipolar:
        return (1,), 2, -1
    if x.is_ternary:
        return (1, -2), 1, 0
    bits = [1 << k for k in range(x.bits)]
    if x.is_signed:
        bits[-1] = -bits[-1]
    return tuple(bits), 1, 0


def sum_span(weights: NDArray[np.int64], x: Levels) -> NDArray[np.int64]:
    """The least and the greatest ``sum(weights · values · bits)`` of each row, int64 (rows, 2)."""
    _, scale, offset = bit_values(x)
    ends = weights[..., None] * ((np.array([x.low, x.high]) - offset) // scale)
    return np.stack([ends.min(axis=2).sum(axis=1), ends.max(axis=2).sum(axis=1)], axis=1)


def signed_digits(values: NDArray[np.int64]) -> dict[int, NDArray[np.int8]]:
    """The digits -1, 0 and 1 of integers, by place, no two neighbours of which differ from 0 (Reitwiesner 1960)."""
    left, place, found = values.copy(), 0, {}
    while left.any():
        odd = left & 1
        digit = np.where(odd, 2 - (left & 3), 0)
        if digit.any():
            found[place] = digit.astype(np.int8)
        left = (left - digit) >> 1
        place += 1
    return found


def digits_of(weights: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many digits each row has, (rows,)."""
    return sum((np.abs(digit).sum(axis=1, dtype=np.int64) for digit in signed_digits(weights).values()),
               start=np.zeros(len(weights), np.int64))


def digit_counts(weights: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which multiple of the total each row starts from, -1, 0 or 1, and how many digits are left, the total's too."""
    counts = np.stack([digits_of(weights - base) + _TOTAL_DIGITS * abs(base) for base in (0, 1, -1)])
    choice = counts.argmin(axis=0)
    left = counts.min(axis=0)
    if left.sum() + weights.shape[1] >= counts[0].sum():  # which the total must pay for
        return np.zeros(len(weights), np.int64), counts[0]
    return np.array([0, 1, -1])[choice], left


@dataclass
class _Sum:
    """A number: ``constant + sum over places of 2^place · literal``."""

    heap: dict[int, list[int]]
    constant: int = 0

    def copy(self) -> "_Sum":
        return _Sum({place: list(found) for place, found in self.heap.items()}, self.constant)

    def add(self, literal: int, place: int, sign: int):
        """Add ``sign · 2^place · literal``."""
        if sign < 0:
            self.constant -= 1 << place
        self.heap.setdefault(place, []).append(literal ^ (sign < 0))

    def add_word(self, word: Sequence[int], shift: int, sign: int):
        """Add an unsigned word times ``sign · 2^shift``."""
        for place, literal in enumerate(word):
            self.add(literal, place + shift, sign)

    @property
    def most(self) -> int:
        """The greatest value of the heap alone, the least being 0."""
        return sum(len(found) << place for place, found in self.heap.items())

    def word(self, make: GraphMaker, bits: int, shift: int = 0) -> Word:
        """Its lowest bits, in two's complement, after multiplication with 2^``shift``."""
        heap = {place + shift: list(found) for place, found in self.heap.items()}
        for place, literal in enumerate(constant_word(self.constant << shift, bits)):
            if literal == ONE:
                heap.setdefault(place, []).append(ONE)
        return make.total(heap, bits)


class _Rows:
    """The sums of all rows, and of the total, after sharing."""

    def __init__(self, weights: NDArray[np.int64], x: Levels):
        values, self.scale, self.offset = bit_values(x)
        self.make = GraphMaker(weights.shape[1] * len(values))
        self.bases, _ = digit_counts(weights)
        self.has_total = bool(self.bases.any())
        self.spans = sum_span(weights, x)
        left = weights - self.bases[:, None]
        if self.has_total:
            left = np.vstack([left, np.ones((1, weights.shape[1]), np.int64)])
        self.sums = [_Sum({}) for _ in left]
        width = blocks(len(left), left.shape[1])
        for start in range(0, left.shape[1], width):
            self._block(np.kron(left[:, start:start + width], values), start * len(values))
        self.total = self.sums.pop() if self.has_total else None
        self.total_word = () if self.total is None else self.make.total(self.total.heap, self.total.most.bit_length())

    def _block(self, coefficients: NDArray[np.int64], first: int):
        digits: Digits = signed_digits(coefficients)
        if not digits:
            return
        used = {place: np.flatnonzero(array.any(axis=0)) for place, array in digits.items()}
        names = {place: (2 * (1 + first + columns)).tolist() for place, columns in used.items()}

        def adder(three: tuple[int, int, int]) -> tuple[int, int]:
            total, carry = self.make.adder(three[:1], three[1:2], three[2])
            return total, carry

        digits, names, constants = share({place: array[:, used[place]] for place, array in digits.items()}, names,
                                         adder)
        for row, constant in enumerate(constants.tolist()):
            self.sums[row].constant += constant
        for place, array in digits.items():
            for row, column in zip(*np.nonzero(array), strict=True):
                self.sums[row].add(names[place][column], place, int(array[row, column]))

    def whole(self, row: int) -> _Sum:
        """The sum of a row, with the total where it starts from that."""
        base = int(self.bases[row])
        result = self.sums[row].copy()
        if base:
            assert self.total is not None  # which it starts from
            result.add_word(self.total_word, 0, base)
            result.constant += base * self.total.constant
        return result

    def reached(self, row: int, limit: int) -> int:
        """Whether the sum of a row is at least ``limit``, as a literal."""
        base = int(self.bases[row])
        if not base:
            return self._at_least(self.sums[row], limit)
        assert self.total is not None  # which it starts from
        rest = self.sums[row]
        if not rest.heap:
            return self._at_least(self.whole(row), limit)
        low, high = (int(bound) - limit for bound in self.spans[row])
        shift = min(rest.heap)
        if base > 0:  # total + rest >= limit, the rest not being positive: its complement is made instead
            part = _Sum({place: [literal ^ 1 for literal in found] for place, found in rest.heap.items()})
            bound = rest.constant + rest.most - limit + self.total.constant
            low, high = (-high - 1) >> shift, (-low - 1) >> shift
            return self._compare(part, bound + (1 << shift), shift, low, high) ^ 1
        bound = limit - rest.constant + self.total.constant
        return self._compare(_Sum(rest.heap), bound + (1 << shift) - 1, shift, low >> shift, high >> shift)

    def _compare(self, part: _Sum, bound: int, shift: int, low: int, high: int) -> int:
        """Whether ``part / 2^shift`` is at least ``(total_word + bound) >> shift``, their difference in low..high.

        The sign of the difference tells, in as many bits as that range needs, however large the numbers are.
        """
        if low >= 0:
            return ONE
        if high < 0:
            return ONE ^ 1
        bits = span_bits(low, high)
        word = self.make.total({place - shift: found for place, found in part.heap.items()},
                               min(bits, (part.most >> shift).bit_length()))
        wide = bits + shift
        against = self.total_word[:wide]
        if bound % (1 << wide):
            against = self.make.adder(against, constant_word(bound, wide))[:wide]
        against = (*against, *[0] * (wide - len(against)))[shift:]
        return self.make.adder(word, [literal ^ 1 for literal in against], ONE)[bits - 1] ^ 1

    def _at_least(self, of: _Sum, limit: int) -> int:
        """Whether a sum is at least ``limit``: the literals of the heap, which are not negative, against the rest."""
        if of.most + of.constant < limit:
            return ONE ^ 1
        if of.constant >= limit:
            return ONE
        return self.make.at_least(self.make.total(of.heap, of.most.bit_length()), limit - of.constant)


def matrix_graph(weights: NDArray[np.int64], x: Levels, *, limits: Iterable[Sequence[int]] | None = None,
                 inverts: Sequence[int] = (), number_bits: int = 0, spacing: int = 2) -> AdderGraph:
    """The graph that multiplies vectors of levels ``x``, by the bits of their codes, with a matrix of constants.

    Parameters
    ----------
    weights : int64 array (rows, columns)
    x : :class:`Levels`
    limits : iterable of sequences of :class:`int`, or None
        For each row, thresholds of :math:`sum(weights · sum(values · bits))` of :func:`bit_values`.
    inverts : sequence of 0 and 1
        For each row whether thresholds are counted that are not reached.
    number_bits : :class:`int`
        Without limits, width of the outputs.
    spacing : :class:`int`
        As of :class:`AdderGraph`.

    Returns
    -------
    AdderGraph
        An output for each row: how many thresholds are reached; or the dot product in two's complement.
    """
    rows = _Rows(weights, x)
    outputs: list[Word] = []
    if limits is None:
        for row, total in enumerate(rows.offset * weights.sum(axis=1)):
            whole = rows.whole(row)
            shift = rows.scale.bit_length() - 1
            # the offset is added before the shift where it can be, or after it
            word = _Sum({place + shift: found for place, found in whole.heap.items()},
                        (whole.constant << shift) + int(total)).word(rows.make, number_bits)
            outputs.append(word)
        return rows.make.graph(outputs, spacing)
    for row, (found, invert) in enumerate(zip(limits, inverts, strict=True)):
        if len(found) == 1:
            reached = [rows.reached(row, found[0])]
        else:
            whole = rows.whole(row)
            least = whole.constant
            word = rows.make.total(whole.heap, whole.most.bit_length())
            reached = [rows.make.at_least(word, limit - least) for limit in found]
        literals = [literal ^ invert for literal in reached]
        outputs.append(rows.make.total({0: literals}, span_bits(0, len(literals))))
    return rows.make.graph(outputs, spacing)
