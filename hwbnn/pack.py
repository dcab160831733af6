"""Integers to bits and back, and the order of weights in memory: defined once, for hardware and kernels.

A level becomes an unsigned code of ``levels.bits`` bits:

- bipolar: 1 bit, 1 is +1;
- ternary: bit 0 is ``mask`` (non-zero), bit 1 is ``sign`` (negative); zero has sign 0 in an activation and
  sign 1 in a weight;
- all others: unsigned binary, or two's complement where ``low`` is negative.

Element k of a packed row is at bit ``k mod W`` of word ``k div W``; unused lanes are 0.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwbnn.ir import Levels

__all__ = ["bits_of", "codes", "lanes", "levels_of", "pack_words", "unlanes", "unpack_words", "weight_words"]


def codes(values: ArrayLike, levels: Levels, *, weight: bool = False) -> NDArray[np.int64]:
    """Return the code of each value, of the same shape; ``weight`` chooses the ternary zero's sign."""
    v = np.asarray(values, np.int64)
    if not levels.holds(v):
        raise ValueError(f"Values must be {levels}, not {v.min()}..{v.max()}")
    if levels.is_bipolar:
        return (v + 1) >> 1
    if levels.is_ternary:
        zero = 2 if weight else 0
        return np.where(v == 0, zero, np.where(v < 0, 3, 1))
    return v & ((1 << levels.bits) - 1) if levels.bits < 63 else v


def levels_of(code: ArrayLike, levels: Levels) -> NDArray[np.int64]:
    """Return the value of each code: the inverse of :func:`codes`."""
    c = np.asarray(code, np.int64)
    if levels.is_bipolar:
        return 2 * c - 1
    if levels.is_ternary:
        return np.where(c & 1, 1 - (c & 2), 0)
    if levels.is_signed:
        half = 1 << (levels.bits - 1)
        return (c ^ half) - half
    return c


def lanes(code: ArrayLike, bits: int) -> list[int]:
    """Join the last axis of ``code`` (..., n) to one integer each, lane c at bits ``c·bits`` and up."""
    c = np.asarray(code, np.int64)
    rows = c.reshape(-1, c.shape[-1])
    planes = bits_of(rows, bits).astype(np.uint8)
    packed = np.packbits(planes.reshape(len(rows), -1), axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed]


def unlanes(words: list[int], bits: int, count: int) -> NDArray[np.int64]:
    """Split each integer into ``count`` codes: the inverse of :func:`lanes`, shape (len(words), count)."""
    mask = (1 << bits) - 1
    return np.array([[(word >> (c * bits)) & mask for c in range(count)] for word in words],
                    np.int64).reshape(len(words), count)


def bits_of(code: ArrayLike, bits: int) -> NDArray[np.int64]:
    """Return the bits of each code along a new last axis, least significant first."""
    c = np.asarray(code, np.int64)
    return (c[..., None] >> np.arange(bits)) & 1


def pack_words(bits: ArrayLike, word: int = 64) -> NDArray[np.uint64]:
    """Pack 0/1 along the last axis (..., n) into words (..., ceil(n / word)) of ``word`` bits, at most 64."""
    b = np.asarray(bits).astype(np.uint64)
    pad = -b.shape[-1] % word
    b = np.concatenate([b, np.zeros((*b.shape[:-1], pad), np.uint64)], axis=-1)
    b = b.reshape(*b.shape[:-1], -1, word)
    return (b << np.arange(word, dtype=np.uint64)).sum(axis=-1, dtype=np.uint64)


def unpack_words(words: ArrayLike, count: int, word: int = 64) -> NDArray[np.int64]:
    """Return the first ``count`` bits of packed rows: the inverse of :func:`pack_words`."""
    w = np.asarray(words, np.uint64)
    bits = (w[..., None] >> np.arange(word, dtype=np.uint64)) & np.uint64(1)
    return bits.reshape(*w.shape[:-1], -1)[..., :count].astype(np.int64)


def weight_words(weights: ArrayLike, levels: Levels, pe: int, simd: int) -> list[int]:
    """Return the weight memory of a folded matrix-vector unit, one integer per address.

    Parameters
    ----------
    weights : int array (rows, columns)
        ``pe`` divides rows, ``simd`` divides columns.
    levels : :class:`Levels`
        The weights' levels, b bits each.

    Returns
    -------
    list of NF·SF integers of PE·SIMD·b bits
        Address n·SF + s holds, at lane p·SIMD + k, the code of W[n·PE + p][s·SIMD + k].
    """
    w = np.asarray(weights)
    rows, columns = w.shape
    if rows % pe or columns % simd:
        raise ValueError(f"PE and SIMD must divide {rows} rows and {columns} columns, not {pe} and {simd}")
    folded = codes(w, levels, weight=True).reshape(rows // pe, pe, columns // simd, simd)
    return lanes(folded.transpose(0, 2, 1, 3).reshape(-1, pe * simd), levels.bits)
