"""Loops of quantizers of several evenly spaced levels, and of powers of two."""

import torch
from numba import float32
from torch import Tensor

from hwbnn_train.fused.compiling import flat, loop, nearest

__all__ = ["fixed", "levels"]


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
