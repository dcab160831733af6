"""Loops of quantizers of several evenly spaced levels, and of powers of two."""

import torch
from numba import float32, int32
from torch import Tensor

from hwbnn_train.fused.compiling import BLOCK, bits, block, flat, inline, loop, nearest, number, rows

__all__ = ["ap2", "drawn_powers", "fixed", "fixed_in_place", "largest", "levels", "power_steps", "powers", "reaching",
           "shrunk_powers"]


@loop("void(f4[::1], f4, f4, f4, f4[::1])")
def _levels(x, scale, low, high, out):
    for i in range(len(x)):
        y = nearest(x[i] / scale)
        y = low if y < low else y
        y = high if y > high else y
        out[i] = y * scale


def levels(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    out = torch.empty_like(x)
    _levels(flat(x), scale, low, high, flat(out))
    return out


@loop("void(f4[::1], f4, f4, f4, f4[::1])")
def _fixed(x, unit, low, high, out):
    inverse = float32(1.0) / unit  # a power of two
    for i in range(len(x)):
        y = low if x[i] < low else x[i]
        y = high if y > high else y
        out[i] = nearest(y * inverse) * unit


def fixed(x: Tensor, unit: float, low: int, high: int) -> Tensor:
    out = torch.empty_like(x)
    _fixed(flat(x), unit, low * unit, high * unit, flat(out))
    return out


# by itself: one buffer given to a loop twice would be taken number by number
@loop("void(f4[::1], f4, f4, f4)")
def _fixed_in_place(x, unit, low, high):
    inverse = float32(1.0) / unit  # a power of two
    for i in range(len(x)):
        y = low if x[i] < low else x[i]
        y = high if y > high else y
        x[i] = nearest(y * inverse) * unit


def fixed_in_place(x: Tensor, unit: float, low: int, high: int) -> Tensor:
    _fixed_in_place(flat(x), unit, low * unit, high * unit)
    return x


@loop("f4(f4[::1])")
def _largest(x):
    most = int32(0)
    for i in range(len(x)):  # of numbers without a sign, the bits are in the same order
        most = max(most, bits(abs(x[i])))
    return number(most)


def largest(x: Tensor) -> Tensor:
    return torch.tensor(_largest(flat(x)), dtype=x.dtype)


@inline
def ap2(x, carry):
    return number(int32(int32(bits(x) + carry) & int32(-0x800000)))


@loop("void(f4[::1], i4, f4, f4, f4[::1])")
def _powers(x, carry, low, high, out):
    for i in range(len(x)):
        y = ap2(abs(x[i]), carry)
        y = low if y < low else y
        y = high if y > high else y
        out[i] = y if x[i] >= float32(0.0) else -y


def powers(x: Tensor, carry: int, low: float, high: float) -> Tensor:
    out = torch.empty_like(x)
    _powers(flat(x), carry, low, high, flat(out))
    return out


@block
def _counts(x, bound):
    over, over_half, half = float32(0.0), float32(0.0), float32(0.5) * bound
    for i in range(len(x)):
        over += float32(abs(x[i]) >= bound)
        over_half += float32(abs(x[i]) >= half)
    return over, over_half


@loop("UniTuple(f8, 2)(f4[::1], f4)")
def _reaching(x, bound):
    over, over_half = 0.0, 0.0
    for start in range(0, len(x), BLOCK):
        some, more = _counts(x[start:start + BLOCK], bound)
        over += some
        over_half += more
    return over, over_half


def reaching(x: Tensor, bound: float) -> tuple[int, int]:
    over, over_half = _reaching(flat(x), bound)
    return int(over), int(over_half)


@loop("void(f4[::1], i4, f4, f4, f4[::1])")
def _power_steps(x, carry, least, most, out):
    for i in range(len(x)):
        y = ap2(x[i], carry)
        y = most if y > most else y
        out[i] = float32(0.0) if y <= least else y


def power_steps(x: Tensor, carry: int, least: float, most: float) -> Tensor:
    out = torch.empty_like(x)
    _power_steps(flat(x), carry, least, most, flat(out))
    return out


@loop("void(f4[::1], i4, f4, f4[::1])")
def _shrunk_powers(x, carry, least, out):
    for i in range(len(x)):
        y = ap2(x[i], carry)
        out[i] = float32(0.0) if abs(y) <= least else y


def shrunk_powers(x: Tensor, carry: int, least: float) -> Tensor:
    out = torch.empty_like(x)
    _shrunk_powers(flat(x), carry, least, flat(out))
    return out


@loop("void(f4[:, ::1], i4[::1], i4[::1], f4[:, ::1])")
def _drawn_powers(x, by_row, by_column, out):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            s = int32(by_row[i] + by_column[j])
            drawn = int32(int32(s * int32(2 * s + 1)) & int32(0x7FFFFF))
            out[i, j] = number(int32(int32(bits(x[i, j]) + drawn) & int32(-0x800000)))


def drawn_powers(x: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    out = torch.empty_like(x)
    _drawn_powers(rows(x), flat(by_row), flat(by_column), rows(out))
    return out
