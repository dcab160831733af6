"""Loops of normalization by shifts."""

import numpy as np
import torch
from numba import float32
from torch import Tensor

from hwbnn_train.fused.compiling import BLOCK, flat, inline, loop, rows
from hwbnn_train.fused.levels import ap2

__all__ = ["shift_norm", "shift_norm_gradients"]


@inline
def _add_column_sums(x, sums):
    """Add up each column: blocks of rows, and these; one sum of many would lose the last bits."""
    part = np.empty(len(sums), np.float32)
    for start in range(0, x.shape[0], BLOCK):
        part[:] = 0
        for i in range(start, min(start + BLOCK, x.shape[0])):
            row = x[i]
            for j in range(len(part)):
                part[j] += row[j]
        for j in range(len(part)):
            sums[j] += part[j]


@inline
def _add_column_products(x, y, sums):
    part = np.empty(len(sums), np.float32)
    for start in range(0, x.shape[0], BLOCK):
        part[:] = 0
        for i in range(start, min(start + BLOCK, x.shape[0])):
            a, b = x[i], y[i]
            for j in range(len(part)):
                part[j] += a[j] * b[j]
        for j in range(len(part)):
            sums[j] += part[j]


@loop("void(f4[:, ::1], f4[::1], f4[::1], f4, i4, f4[:, ::1], f4[:, ::1], f4[:, ::1])")
def _shift_norm(x, gamma, beta, eps, carry, y, power, found):
    mean, inverse, s, g = found
    count = float32(x.shape[0])
    _add_column_sums(x, mean)
    for j in range(len(mean)):
        mean[j] /= count
    part = np.empty(len(mean), np.float32)
    for start in range(0, x.shape[0], BLOCK):
        part[:] = 0
        for i in range(start, min(start + BLOCK, x.shape[0])):
            row, to = x[i], power[i]
            for j in range(len(mean)):
                c = row[j] - mean[j]
                p = ap2(c, carry)
                to[j] = p
                part[j] += c * p
        for j in range(len(mean)):
            inverse[j] += part[j]
    for j in range(len(mean)):
        inverse[j] = float32(1.0) / float32(np.sqrt(inverse[j] / count + eps))
        s[j], g[j] = ap2(inverse[j], carry), ap2(gamma[j], carry)
    for i in range(x.shape[0]):
        row, to = x[i], y[i]
        for j in range(len(mean)):
            to[j] = beta[j] + (row[j] - mean[j]) * (s[j] * g[j])


def shift_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float, carry: int) -> tuple[Tensor, ...]:
    y, power, found = torch.empty_like(x), torch.empty_like(x), x.new_zeros(4, x.shape[1])
    _shift_norm(rows(x), flat(gamma), flat(beta), eps, carry, rows(y), rows(power), rows(found))
    return y, power, *found


@loop("void(f4[:, ::1], f4[:, ::1], f4[::1], f4[::1], f4[:, ::1], f4[:, ::1])")
def _shift_norm_gradients(grad, power, s, g, by_x, found):
    along, total = found
    count = float32(grad.shape[0])
    _add_column_sums(grad, total)
    _add_column_products(grad, power, along)
    for i in range(grad.shape[0]):
        above, p, to = grad[i], power[i], by_x[i]
        for j in range(len(s)):
            to[j] = (above[j] - total[j] / count - p[j] * (s[j] * s[j] * along[j] / count)) * (g[j] * s[j])
    for j in range(len(s)):
        along[j] *= s[j]


def shift_norm_gradients(grad: Tensor, power: Tensor, s: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    by_x, found = torch.empty_like(grad), grad.new_zeros(2, grad.shape[1])
    _shift_norm_gradients(rows(grad), rows(power), flat(s), flat(g), rows(by_x), rows(found))
    along, total = found
    return by_x, along, total
