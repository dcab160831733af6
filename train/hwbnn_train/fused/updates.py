"""Loops of optimizers, which end a step as quantized weights ask.

Graphs that hold the weights from before a step are told that these have changed, as torch's own operations do.
"""

import numpy as np
from numba import float32, int32
from torch import Tensor
from torch.autograd.graph import increment_version

from hwbnn_train.fused.binary import drawn
from hwbnn_train.fused.compiling import (
    bits,
    block,
    flat,
    fma,
    inline,
    loop,
    nearest,
    number,
    one_more_than_exp,
    rows,
    truncated,
)

__all__ = ["adam", "adam_and_mean", "adam_transition", "descent", "rounded_descent", "shift_adamax"]


@inline
def _moments(m, v, g, first, second, rest):
    """The two moments behind a step: rounded where torch's fused Adam rounds."""
    return fma(first, g - m, m), fma(rest * g, g, v * second)


@inline
def _clipped(x, limit):
    x = -limit if x < -limit else x
    return limit if x > limit else x


@loop("void(f4[::1], f4[::1], f4[::1], f4[::1], f4, f4, f4, f4, f4, f4, f4)")
def _adam(w, grad, mean, square, first, second, rest, correction, eps, rate, limit):
    for i in range(len(w)):
        m, v = _moments(mean[i], square[i], grad[i], first, second, rest)
        mean[i], square[i] = m, v
        w[i] = _clipped(w[i] + rate * m / (float32(np.sqrt(v)) / correction + eps), limit)


def adam(w: Tensor, grad: Tensor, mean: Tensor, square: Tensor, step: int, lr: float, betas: tuple[float, float],
         eps: float, limit: float) -> None:
    _adam(flat(w), flat(grad), flat(mean), flat(square), *_constants(step, lr, betas, eps), limit)
    increment_version(w)


@loop("void(f4[::1], f4[::1], f4[::1], f4[::1], f4[::1], f4, f4, f4, f4, f4, f4, f4, f4)")
def _adam_and_mean(w, grad, mean, square, average, first, second, rest, correction, eps, rate, limit, weight):
    mostly = weight >= float32(0.5)
    factor = weight - float32(1.0) if mostly else weight
    for i in range(len(w)):
        m, v = _moments(mean[i], square[i], grad[i], first, second, rest)
        mean[i], square[i] = m, v
        x = _clipped(w[i] + rate * m / (float32(np.sqrt(v)) / correction + eps), limit)
        w[i] = x
        old = average[i]
        average[i] = fma(factor, x - old, x if mostly else old)  # as torch's lerp rounds


def adam_and_mean(w: Tensor, grad: Tensor, mean: Tensor, square: Tensor, average: Tensor, step: int, lr: float,
                  betas: tuple[float, float], eps: float, limit: float, weight: float) -> None:
    _adam_and_mean(flat(w), flat(grad), flat(mean), flat(square), flat(average), *_constants(step, lr, betas, eps),
                   limit, weight)
    increment_version(w)


def _constants(step: int, lr: float, betas: tuple[float, float], eps: float) -> tuple[float, ...]:
    first, second = betas
    return 1 - first, second, 1 - second, (1 - second**step) ** 0.5, eps, -lr / (1 - first**step)


@loop("void(f4[:, ::1], f4[:, ::1], f4[:, ::1], f4[:, ::1], f4, f4, f4, f4, f4, f4, "
      "i2[::1], i2[::1], f4, f4, f4)")
def _adam_transition(w, grad, mean, square, first, second, rest, correction, eps, rate, by_row, by_column, below,
                     size, slope):
    half, one, two, unit = float32(0.5), float32(1.0), float32(2.0), float32(2.0**-16)
    inverse, twice = one / size, -two * slope  # size is a power of two
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            m, v = _moments(mean[i, j], square[i, j], grad[i, j], first, second, rest)
            mean[i, j], square[i, j] = m, v
            old = w[i, j]
            ratio = (old + rate * m / (float32(np.sqrt(v)) / correction + eps) - old) * inverse
            whole = truncated(ratio)
            # with v uniform in -3/2 .. -1/2 and tanh(x) = 2 s - 1, s being 1 / (1 + exp(-2 x)), rounding v + 2 s gives
            # 1 in the direction of x with probability |tanh(x)|; both sides times 1 + exp(-2 x) spare the division
            v = drawn(by_row[i], by_column[j], unit, below)
            e = one_more_than_exp((ratio - whole) * twice)
            more = float32((half - v) * e < two) - float32((-half - v) * e > two)
            w[i, j] = _clipped(fma(more + whole, size, old), one)


def adam_transition(w: Tensor, grad: Tensor, mean: Tensor, square: Tensor, step: int, lr: float,
                    betas: tuple[float, float], eps: float, by_row: Tensor, by_column: Tensor, below: Tensor,
                    size: float, slope: float) -> None:
    _adam_transition(rows(w), rows(grad), rows(mean), rows(square), *_constants(step, lr, betas, eps), flat(by_row),
                     flat(by_column), float(below), size, slope)
    increment_version(w)


@loop("void(f4[::1], f4[::1], f4[::1], f4, f4, b1, f4)")
def _descent(w, grad, mean, rate, momentum, has_mean, limit):
    if has_mean:
        for i in range(len(w)):
            mean[i] = mean[i] * momentum + grad[i]
    for i in range(len(w)):
        w[i] = _clipped(fma(mean[i], rate, w[i]), limit)


def descent(w: Tensor, grad: Tensor, mean: Tensor, lr: float, momentum: float, limit: float) -> None:
    _descent(flat(w), flat(grad), flat(mean), -lr, momentum, mean is not grad, limit)
    increment_version(w)


@inline
def _rounded(x, unit, inverse, low, high):
    y = low if x < low else x
    y = high if y > high else y
    return nearest(y * inverse) * unit


@block
def _squares(x):
    total = float32(0.0)
    for i in range(len(x)):
        total += x[i] * x[i]
    return total


@loop("void(f4[:, ::1], f4[:, ::1], f4[:, ::1], f4, f4, b1, f4, f4, f4, f4, f4, f4, f4)")
def _rounded_descent(w, grad, mean, rate, momentum, has_mean, unit, low, high, unit_kept, low_kept, high_kept,
                     max_norm):
    one, inverse, inverse_kept = float32(1.0), float32(1.0) / unit, float32(1.0) / unit_kept  # powers of two
    for i in range(w.shape[0]):
        row, by, sums = w[i], grad[i], mean[i]
        if has_mean:
            for j in range(len(row)):
                sums[j] = sums[j] * momentum + by[j]
        if unit > float32(0.0):
            for j in range(len(row)):
                old = row[j]
                row[j] = _rounded(fma(sums[j], rate, old) - old, unit, inverse, low, high) + old
        else:
            for j in range(len(row)):
                old = row[j]
                row[j] = fma(sums[j], rate, old) - old + old
        factor = one
        if max_norm > float32(0.0):
            norm = float32(np.sqrt(_squares(row)))
            factor = min(norm, max_norm) / (norm + float32(1e-7))
        if unit_kept > float32(0.0):
            for j in range(len(row)):
                row[j] = _rounded(row[j] * factor, unit_kept, inverse_kept, low_kept, high_kept)
        elif max_norm > float32(0.0):
            for j in range(len(row)):
                row[j] *= factor


def whole(x: Tensor) -> np.ndarray:
    return flat(x)[None]


def rounded_descent(w: Tensor, grad: Tensor, mean: Tensor, lr: float, momentum: float,
                    update: tuple[float, int, int], storage: tuple[float, int, int], max_norm: float | None) -> None:
    bounds = (bound for unit, low, high in (update, storage) for bound in (unit, low * unit, high * unit))
    by_row = rows if w.ndim > 1 else whole
    _rounded_descent(by_row(w), by_row(grad), by_row(mean), -lr, momentum, mean is not grad, *bounds,
                     0.0 if max_norm is None else max_norm)
    increment_version(w)


@loop("void(f4[::1], f4[::1], f4[::1], f4[::1], f4, f4, f4, i4, f4)")
def _shift_adamax(w, grad, mean, norm, first, second, rate, carry, limit):
    for i in range(len(w)):
        g = grad[i]
        m = fma(first, g - mean[i], mean[i])
        v = norm[i] * second
        magnitude = abs(g)
        v = v if v > magnitude else magnitude
        mean[i], norm[i] = m, v
        below = number(int32(int32(bits(v) + carry) & int32(-0x800000))) + float32(2.0**-27)
        w[i] = _clipped(w[i] + rate * m / below, limit)


def shift_adamax(w: Tensor, grad: Tensor, mean: Tensor, norm: Tensor, rate: float, betas: tuple[float, float],
                 carry: int, limit: float) -> None:
    first, second = betas
    _shift_adamax(flat(w), flat(grad), flat(mean), flat(norm), 1 - first, second, -rate, carry, limit)
    increment_version(w)
