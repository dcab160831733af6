"""Loops of quantizers of three values."""

import torch
from numba import float32
from torch import Tensor

from hwbnn_train.fused.binary import drawn, sum_of_magnitudes
from hwbnn_train.fused.compiling import BLOCK, block, flat, fma, inline, logistic, loop, nearest, rows

__all__ = ["drawn_ternary", "soft_steps", "soft_steps_gradient", "ternary", "three_steps", "three_steps_gradient",
           "trained_ternary", "trained_ternary_gradients"]


@block
def _above(w, delta):
    total, count = float32(0.0), float32(0.0)
    for i in range(len(w)):
        magnitude = abs(w[i])
        kept = float32(magnitude > delta)
        total += magnitude * kept
        count += kept
    return total, count


@inline
def _to_three(w, delta, positive, negative, out):
    for i in range(len(w)):
        x = w[i]
        y = positive if x > delta else float32(0.0)
        out[i] = -negative if x < -delta else y


@loop("void(f4[:, ::1], f4, f4[:, ::1], f4[::1])")
def _ternary(w, factor, out, scale):
    for i in range(w.shape[0]):
        row, total = w[i], 0.0
        for start in range(0, len(row), BLOCK):
            total += sum_of_magnitudes(row[start:start + BLOCK])
        delta = factor * float32(total / len(row))
        total, count = 0.0, 0.0
        for start in range(0, len(row), BLOCK):
            part, kept = _above(row[start:start + BLOCK], delta)
            total += part
            count += kept
        scale[i] = total / count if total > 0.0 else 1.0  # all weights 0: any scale will do
        _to_three(row, delta, scale[i], scale[i], out[i])


def ternary(w: Tensor, factor: float, per_filter: bool) -> tuple[Tensor, Tensor]:
    out, scale = torch.empty_like(w), w.new_empty(len(w) if per_filter else 1)
    shape = (len(w) if per_filter else 1, -1)
    _ternary(w.detach().view(shape).numpy(), factor, out.view(shape).numpy(), scale.numpy())
    return out, scale.view(-1, *[1] * (w.ndim - 1)) if per_filter else scale.view(())


@loop("void(f4[:, ::1], i2[::1], i2[::1], f4, f4, f4, f4, f4[:, ::1])")
def _drawn_ternary(w, by_row, by_column, unit, below, inverse, scale, out):
    one = float32(1.0)
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            y = fma(w[i, j], inverse, drawn(by_row[i], by_column[j], unit, below))
            y = -one if y < -one else y
            y = one if y > one else y
            out[i, j] = nearest(y) * scale


def drawn_ternary(w: Tensor, by_row: Tensor, by_column: Tensor, below: Tensor, scale: float) -> Tensor:
    out = torch.empty_like(w)
    _drawn_ternary(rows(w), flat(by_row), flat(by_column), 2.0**-16, float(below), 1.0 / scale, scale, rows(out))
    return out


@loop("void(f4[::1], f4, f4, f4, f4[::1])")
def _trained_ternary(w, delta, positive, negative, out):
    _to_three(w, delta, positive, negative, out)


def trained_ternary(w: Tensor, delta: float, positive: float, negative: float) -> Tensor:
    out = torch.empty_like(w)
    _trained_ternary(flat(w), delta, positive, negative, flat(out))
    return out


@block
def _sloped(grad, w, delta, positive, negative):
    above, below = float32(0.0), float32(0.0)
    for i in range(len(w)):
        x, g = w[i], grad[i]
        slope = positive if x > delta else float32(1.0)
        slope = negative if x < -delta else slope
        grad[i] = slope * g
        above += g * float32(x > delta)
        below += g * float32(x < -delta)
    return above, below


@loop("void(f4[::1], f4[::1], f4, f4, f4, f8[::1])")
def _trained_ternary_gradients(grad, w, delta, positive, negative, sums):
    for start in range(0, len(w), BLOCK):
        stop = start + BLOCK
        above, below = _sloped(grad[start:stop], w[start:stop], delta, positive, negative)
        sums[0] += above
        sums[1] -= below


def trained_ternary_gradients(grad: Tensor, w: Tensor, delta: float, positive: float, negative: float
                              ) -> tuple[Tensor, Tensor, Tensor]:
    sums = torch.zeros(2, dtype=torch.float64)
    _trained_ternary_gradients(flat(grad), flat(w), delta, positive, negative, sums.numpy())
    by_positive, by_negative = sums.to(w.dtype)
    return grad, by_positive, by_negative


@loop("void(f4[::1], f4, f4, f4[::1])")
def _three_steps(x, lower, upper, out):
    for i in range(len(x)):
        below = float32(-1.0) if not x[i] >= lower else float32(0.0)
        out[i] = float32(1.0) if x[i] >= upper else below


def three_steps(x: Tensor, thresholds: Tensor) -> Tensor:
    out = torch.empty_like(x)
    lower, upper = thresholds.tolist()
    _three_steps(flat(x), lower, upper, flat(out))
    return out


@loop("void(f4[::1], f4[::1], f4, f4, b1, f4, f4[::1])")
def _three_steps_gradient(grad, x, jump, a, triangular, height, out):
    zero = float32(0.0)
    for i in range(len(x)):
        distance = abs(abs(x[i]) - jump)
        if triangular:
            within = a - distance
            slope = zero if within < zero else within
        else:
            slope = float32(1.0) if distance <= a else zero
        out[i] = slope * height * grad[i]


def three_steps_gradient(grad: Tensor, x: Tensor, jump: float, a: float, triangular: bool) -> Tensor:
    out = torch.empty_like(grad)
    height = 1.0 / a**2 if triangular else 1.0 / (2 * a)
    _three_steps_gradient(flat(grad), flat(x), jump, a, triangular, height, flat(out))
    return out


@loop("void(f4[::1], f4, f4[::1], f4[::1], f4[::1])")
def _soft_steps(x, beta, out, lower, upper):
    for i in range(len(x)):
        lower[i] = logistic(x[i] * (float32(4.0) * beta) - float32(2.0) * beta)
    for i in range(len(x)):
        upper[i] = logistic(x[i] * (float32(4.0) * beta) + float32(2.0) * beta)
    for i in range(len(x)):
        out[i] = lower[i] + upper[i] - float32(1.0)


def soft_steps(x: Tensor, beta: float) -> tuple[Tensor, Tensor, Tensor]:
    out, lower, upper = torch.empty_like(x), torch.empty_like(x), torch.empty_like(x)
    _soft_steps(flat(x), beta, flat(out), flat(lower), flat(upper))
    return out, lower, upper


@loop("void(f4[::1], f4[::1], f4[::1], f4, f4[::1])")
def _soft_steps_gradient(grad, lower, upper, steepness, out):
    for i in range(len(grad)):
        low, high = lower[i], upper[i]
        out[i] = (low - low * low + (high - high * high)) * grad[i] * steepness


def soft_steps_gradient(grad: Tensor, lower: Tensor, upper: Tensor, beta: float) -> Tensor:
    out = torch.empty_like(grad)
    _soft_steps_gradient(flat(grad), flat(lower), flat(upper), 4.0 * beta, flat(out))
    return out
