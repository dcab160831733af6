"""Loops of quantizers of one bit."""

import numpy as np
import torch
from numba import float32, int16
from torch import Tensor

from hwbnn_train.fused.compiling import BLOCK, block, flat, fma, inline, logistic, loop, rows

__all__ = ["drawn", "drawn_signs", "mean_scaled_signs", "mean_scaled_signs_gradient", "scaled_signs",
           "scaled_signs_gradients", "signs", "sum_of_magnitudes", "swish_gradient",
           "weighted_sums"]


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
def sum_of_magnitudes(w):
    """The sum of at most a block's magnitudes."""
    total = float32(0.0)
    for i in range(len(w)):
        total += abs(w[i])
    return total


@block
def _sum_along_signs(grad, w):
    total = float32(0.0)
    for i in range(len(w)):
        total += grad[i] if w[i] >= float32(0.0) else -grad[i]
    return total


@loop("void(f4[:, ::1], f4[:, ::1], f4[::1])")
def _mean_scaled_signs(w, out, scale):
    for i in range(w.shape[0]):
        total = 0.0
        for start in range(0, w.shape[1], BLOCK):
            total += sum_of_magnitudes(w[i, start:start + BLOCK])
        mean = float32(total) / float32(w.shape[1])
        scale[i] = mean = float32(1e-12) if mean < float32(1e-12) else mean
        for j in range(w.shape[1]):
            out[i, j] = mean if w[i, j] >= float32(0.0) else -mean


def mean_scaled_signs(w: Tensor) -> tuple[Tensor, Tensor]:
    out, scale = torch.empty_like(w), w.new_empty(len(w))
    _mean_scaled_signs(rows(w), rows(out), flat(scale))
    return out, scale.view(-1, *[1] * (w.ndim - 1))


@loop("void(f4[:, ::1], f4[:, ::1], f4[::1])")
def _mean_scaled_signs_gradient(grad, w, scale):
    for i in range(w.shape[0]):
        total = 0.0
        for start in range(0, w.shape[1], BLOCK):
            total += _sum_along_signs(grad[i, start:start + BLOCK], w[i, start:start + BLOCK])
        by_sum = float32(total) / float32(w.shape[1])
        for j in range(w.shape[1]):
            x = w[i, j]
            passed = grad[i, j] * scale[i] if abs(x) <= float32(1.0) else float32(0.0)
            grad[i, j] = passed + (by_sum if x >= float32(0.0) else -by_sum)


def mean_scaled_signs_gradient(grad: Tensor, w: Tensor, scale: Tensor) -> Tensor:
    _mean_scaled_signs_gradient(rows(grad), rows(w), flat(scale))
    return grad


LEAST_SCALE = float32(1e-6)


@block
def _distance(w, scale, out):
    total, beyond, short = float32(0.0), float32(0.0), float32(0.0)
    for i in range(len(w)):
        x = w[i]
        out[i] = scale if x >= float32(0.0) else -scale
        difference = abs(x) - scale
        total += abs(difference)
        beyond += float32(1.0) if difference > float32(0.0) else float32(0.0)
        short += float32(1.0) if difference < float32(0.0) else float32(0.0)
    return total, beyond - short


@block
def _squared_distance(w, scale, out):
    total, beyond = float32(0.0), float32(0.0)
    for i in range(len(w)):
        x = w[i]
        out[i] = scale if x >= float32(0.0) else -scale
        difference = abs(x) - scale
        total += difference * difference
        beyond += difference
    return total, float32(2.0) * beyond


@loop("f8(f4[:, ::1], f4[::1], b1, f4[:, ::1], f4[::1])")
def _scaled_signs(w, alpha, squared, out, slopes):
    total = 0.0
    for i in range(w.shape[0]):
        scale, slope = max(abs(alpha[i]), LEAST_SCALE), 0.0
        for start in range(0, w.shape[1], BLOCK):
            stop = start + BLOCK
            if squared:
                more, steeper = _squared_distance(w[i, start:stop], scale, out[i, start:stop])
            else:
                more, steeper = _distance(w[i, start:stop], scale, out[i, start:stop])
            total += more
            slope += steeper
        slopes[i] = slope
    return total


def scaled_signs(w: Tensor, alpha: Tensor, squared: bool) -> tuple[Tensor, Tensor, Tensor]:
    out, slopes = torch.empty_like(w), torch.empty_like(alpha)
    total = _scaled_signs(rows(w), flat(alpha), squared, rows(out), flat(slopes))
    return out, torch.tensor(total, dtype=w.dtype), slopes


@block
def _pull(grad, w, scale, rate):
    total = float32(0.0)
    for i in range(len(w)):
        x, g = w[i], grad[i]
        difference = abs(x) - scale
        pull = rate if difference > float32(0.0) else float32(0.0)
        pull = -rate if difference < float32(0.0) else pull
        grad[i] = g * scale + (pull if x >= float32(0.0) else -pull)
        total += g if x >= float32(0.0) else -g
    return total


@block
def _pull_by_distance(grad, w, scale, rate):
    total = float32(0.0)
    for i in range(len(w)):
        x, g = w[i], grad[i]
        pull = rate * (abs(x) - scale)
        grad[i] = g * scale + (pull if x >= float32(0.0) else -pull)
        total += g if x >= float32(0.0) else -g
    return total


@loop("void(f4[:, ::1], f4[:, ::1], f4[::1], f4[::1], f4, b1, f4[::1])")
def _scaled_signs_gradients(grad, w, alpha, slopes, rate, squared, by_alpha):
    for i in range(w.shape[0]):
        scale, total = max(abs(alpha[i]), LEAST_SCALE), 0.0
        for start in range(0, w.shape[1], BLOCK):
            stop = start + BLOCK
            if squared:
                total += _pull_by_distance(grad[i, start:stop], w[i, start:stop], scale, float32(2.0) * rate)
            else:
                total += _pull(grad[i, start:stop], w[i, start:stop], scale, rate)
        along = float32(total) - rate * slopes[i]
        by_alpha[i] = along * float32(np.trunc(alpha[i] / scale))


def scaled_signs_gradients(grad: Tensor, w: Tensor, alpha: Tensor, slopes: Tensor, rate: Tensor, squared: bool
                           ) -> tuple[Tensor, Tensor]:
    by_alpha = torch.empty_like(alpha)
    _scaled_signs_gradients(rows(grad), rows(w), flat(alpha), flat(slopes), float(rate), squared, flat(by_alpha))
    return grad, by_alpha


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
