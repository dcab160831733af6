"""Loops of optimizers, which end a step as quantized weights ask."""

import numpy as np
from numba import float32
from torch import Tensor

from hwbnn_train.fused.binary import drawn
from hwbnn_train.fused.compiling import flat, fma, inline, loop, one_more_than_exp, rows, truncated

__all__ = ["adam", "adam_transition"]


@inline
def _moments(m, v, g, first, second, rest):
    """The two moments behind a step: rounded where torch's fused Adam rounds."""
    return fma(first, g - m, m), fma(rest * g, g, v * second)


@loop("void(f4[::1], f4[::1], f4[::1], f4[::1], f4, f4, f4, f4, f4, f4, f4)")
def _adam(w, grad, mean, square, first, second, rest, correction, eps, rate, limit):
    for i in range(len(w)):
        m, v = _moments(mean[i], square[i], grad[i], first, second, rest)
        mean[i], square[i] = m, v
        x = w[i] + rate * m / (float32(np.sqrt(v)) / correction + eps)
        x = -limit if x < -limit else x
        w[i] = limit if x > limit else x


def adam(w: Tensor, grad: Tensor, mean: Tensor, square: Tensor, step: int, lr: float, betas: tuple[float, float],
         eps: float, limit: float) -> None:
    _adam(flat(w), flat(grad), flat(mean), flat(square), *_constants(step, lr, betas, eps), limit)


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
            x = fma(more + whole, size, old)
            x = -one if x < -one else x
            w[i, j] = one if x > one else x


def adam_transition(w: Tensor, grad: Tensor, mean: Tensor, square: Tensor, step: int, lr: float,
                    betas: tuple[float, float], eps: float, by_row: Tensor, by_column: Tensor, below: Tensor,
                    size: float, slope: float) -> None:
    _adam_transition(rows(w), rows(grad), rows(mean), rows(square), *_constants(step, lr, betas, eps), flat(by_row),
                     flat(by_column), float(below), size, slope)
