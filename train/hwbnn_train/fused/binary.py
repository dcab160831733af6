"""Loops of quantizers of one bit."""

import numpy as np
import torch
from numba import float32, int16
from torch import Tensor

from hwbnn_train.fused.compiling import BLOCK, block, flat, fma, inline, logistic, loop, rows

__all__ = ["drawn", "drawn_signs", "mean_signs", "mean_signs_gradient", "pulled_to_scales", "scaled_signs", "signs",
           "swish_gradient", "weighted_sums"]

@loop("void(f4[::1], f4, f4[::1])")
def _signs(x, magnitude, out):
    for i in range(len(x)):
        out[i] = magnitude if x[i] >= float32(0.0) else -magnitude


def signs(x: Tensor, magnitude: float) -> Tensor:
    out = torch.empty_like(x)
    _signs(flat(x), magnitude, flat(out))
    return out


@inline
def drawn(row, column, unit, below):
    """A random number, as :func:`hwbnn_train.quantizers.base.noise` has it, from those of a row and a column."""
    s = int16(row + column)
    return fma(float32(int16(s * int16(2 * s + 1))), unit, below)


@loop("void(f4[:, ::1], i2[::1], i2[::1], f4, f4, f4, f4[:, ::1])")
def _drawn_signs(x, by_row, by_column, unit, below, magnitude, out):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y = drawn(by_row[i], by_column[j], unit, below) + x[i, j]
            out[i, j] = magnitude if y >= float32(0.0) else -magnitude


def drawn_signs(x: Tensor, by_row: Tensor, by_column: Tensor, below: Tensor, limit: float) -> Tensor:
    out = torch.empty_like(x)
    _drawn_signs(rows(x), flat(by_row), flat(by_column), limit * 2.0**-15, float(below), limit, rows(out))
    return out


@block
def _signs_and_sum(w, out):
    total = float32(0.0)
    for i in range(len(w)):
        x = w[i]
        out[i] = float32(1.0) if x >= float32(0.0) else float32(-1.0)
        total += abs(x)
    return total


@loop("void(f4[:, ::1], f4[:, ::1], f4[::1])")
def _mean_signs(w, out, sums):
    for i in range(w.shape[0]):
        total = 0.0
        for start in range(0, w.shape[1], BLOCK):
            total += _signs_and_sum(w[i, start:start + BLOCK], out[i, start:start + BLOCK])
        sums[i] = total


def mean_signs(w: Tensor) -> tuple[Tensor, Tensor]:
    out, sums = torch.empty_like(w), w.new_empty(len(w))
    _mean_signs(rows(w), rows(out), sums.numpy())
    return out, sums.view(-1, *[1] * (w.ndim - 1))


@loop("void(f4[:, ::1], f4[:, ::1], f4[::1])")
def _mean_signs_gradient(grad, w, by_sum):
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            x = w[i, j]
            passed = grad[i, j] if abs(x) <= float32(1.0) else float32(0.0)
            grad[i, j] = passed + (by_sum[i] if x >= float32(0.0) else -by_sum[i])


def mean_signs_gradient(by_signs: Tensor, w: Tensor, by_sum: Tensor) -> Tensor:
    _mean_signs_gradient(rows(by_signs), rows(w), flat(by_sum))
    return by_signs


@block
def _signs_and_distance(w, scale, out):
    total, beyond, short = float32(0.0), float32(0.0), float32(0.0)
    for i in range(len(w)):
        x = w[i]
        out[i] = float32(1.0) if x >= float32(0.0) else float32(-1.0)
        difference = abs(x) - scale
        total += abs(difference)
        beyond += float32(1.0) if difference > float32(0.0) else float32(0.0)
        short += float32(1.0) if difference < float32(0.0) else float32(0.0)
    return total, beyond - short


@block
def _signs_and_squares(w, scale, out):
    total, beyond = float32(0.0), float32(0.0)
    for i in range(len(w)):
        x = w[i]
        out[i] = float32(1.0) if x >= float32(0.0) else float32(-1.0)
        difference = abs(x) - scale
        total += difference * difference
        beyond += difference
    return total, float32(2.0) * beyond


@loop("f8(f4[:, ::1], f4[::1], b1, f4[:, ::1], f4[::1])")
def _scaled_signs(w, scale, squared, out, slopes):
    total = 0.0
    for i in range(w.shape[0]):
        slope = 0.0
        for start in range(0, w.shape[1], BLOCK):
            stop = start + BLOCK
            if squared:
                more, steeper = _signs_and_squares(w[i, start:stop], scale[i], out[i, start:stop])
            else:
                more, steeper = _signs_and_distance(w[i, start:stop], scale[i], out[i, start:stop])
            total += more
            slope += steeper
        slopes[i] = slope
    return total


def scaled_signs(w: Tensor, scale: Tensor, squared: bool) -> tuple[Tensor, Tensor, Tensor]:
    out, slopes = torch.empty_like(w), torch.empty_like(scale)
    total = _scaled_signs(rows(w), flat(scale), squared, rows(out), flat(slopes))
    return out, torch.tensor(total, dtype=w.dtype), slopes


@inline
def _pull(grad, w, scale, rate):
    for i in range(len(w)):
        x = w[i]
        difference = abs(x) - scale
        pull = rate if difference > float32(0.0) else float32(0.0)
        pull = -rate if difference < float32(0.0) else pull
        grad[i] += pull if x >= float32(0.0) else -pull


@inline
def _pull_by_distance(grad, w, scale, rate):
    for i in range(len(w)):
        x = w[i]
        pull = rate * (abs(x) - scale)
        grad[i] += pull if x >= float32(0.0) else -pull


@loop("void(f4[:, ::1], f4[:, ::1], f4[::1], f4, b1)")
def _pulled_to_scales(grad, w, scale, rate, squared):
    for i in range(w.shape[0]):
        if squared:
            _pull_by_distance(grad[i], w[i], scale[i], rate)
        else:
            _pull(grad[i], w[i], scale[i], rate)


def pulled_to_scales(by_signs: Tensor, w: Tensor, scale: Tensor, rate: Tensor, squared: bool) -> Tensor:
    _pulled_to_scales(rows(by_signs), rows(w), flat(scale), float(rate) * (2.0 if squared else 1.0), squared)
    return by_signs


@loop("void(f4[::1], f4[::1], f4, f4[::1])")
def _swish_gradient(grad, x, beta, out):
    two, limit = float32(2.0), float32(40.0)
    for i in range(len(x)):
        z = beta * x[i]
        z = -limit if z < -limit else z
        z = limit if z > limit else z
        s = logistic(z)
        out[i] = (two - z * (two * s - float32(1.0))) * s * (float32(1.0) - s) * grad[i] * (two * beta)


def swish_gradient(grad: Tensor, x: Tensor, beta: float) -> Tensor:
    out = torch.empty_like(grad)
    _swish_gradient(flat(grad), flat(x), beta, flat(out))
    return out


@block
def _weighted_sum(w, second_moment):
    part, whole = float32(0.0), float32(0.0)
    for i in range(len(w)):
        d = float32(np.sqrt(second_moment[i])) + float32(1e-8)
        part += d * abs(w[i])
        whole += d
    return part, whole


@loop("void(f4[::1], f4[::1], f8[::1])")
def _weighted_sums(w, second_moment, sums):
    for start in range(0, len(w), BLOCK):
        part, whole = _weighted_sum(w[start:start + BLOCK], second_moment[start:start + BLOCK])
        sums[0] += part
        sums[1] += whole


def weighted_sums(w: Tensor, second_moment: Tensor) -> tuple[Tensor, Tensor]:
    sums = torch.zeros(2, dtype=torch.float64)
    _weighted_sums(flat(w), flat(second_moment), sums.numpy())
    part, whole = sums.to(w.dtype)
    return part, whole
