"""Loops of pooling, on pixels whose channels are innermost."""

import torch
from numba import boolean, uint8
from torch import Tensor

from hwbnn_train.fused.compiling import inline, loop

__all__ = ["largest_of_four", "to_the_largest"]


@inline
def _is_larger(y, x):
    return boolean((y > x) | (y != y))  # of what is not a number, the last: so does torch


@loop("void(f4[:, :, :, ::1], f4[:, :, :, ::1], u1[:, :, :, ::1])")
def _largest_of_four(x, out, where):
    channels = out.shape[3]
    for n in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                to, at = out[n, i, j], where[n, i, j]
                a, b = x[n, 2 * i, 2 * j], x[n, 2 * i, 2 * j + 1]
                c, d = x[n, 2 * i + 1, 2 * j], x[n, 2 * i + 1, 2 * j + 1]
                for k in range(channels):
                    most, which = a[k], uint8(0)
                    larger = _is_larger(b[k], most)
                    most, which = b[k] if larger else most, uint8(1) if larger else which
                    larger = _is_larger(c[k], most)
                    most, which = c[k] if larger else most, uint8(2) if larger else which
                    larger = _is_larger(d[k], most)
                    most, which = d[k] if larger else most, uint8(3) if larger else which
                    to[k], at[k] = most, which


def largest_of_four(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest of each 2 x 2 pixels of ``x`` (images x height x width x channels), and which it was, 0..3.

    Of equals it is the first.
    """
    n, height, width, channels = x.shape
    out = x.new_empty(n, height // 2, width // 2, channels)
    where = torch.empty_like(out, dtype=torch.uint8)
    _largest_of_four(x.detach().numpy(), out.numpy(), where.numpy())
    return out, where


@loop("void(f4[:, :, :, ::1], u1[:, :, :, ::1], f4[:, :, :, ::1])")
def _to_the_largest(grad, where, by_x):
    channels = grad.shape[3]
    for n in range(grad.shape[0]):
        for i in range(grad.shape[1]):
            for j in range(grad.shape[2]):
                above, at = grad[n, i, j], where[n, i, j]
                for row in range(2):
                    for column in range(2):
                        to, which = by_x[n, 2 * i + row, 2 * j + column], uint8(2 * row + column)
                        for k in range(channels):
                            to[k] = above[k] if at[k] == which else 0.0


def to_the_largest(grad: Tensor, where: Tensor, height: int, width: int) -> Tensor:
    """Return the gradient by pixels of so many rows and columns, from that by the largest of four."""
    n, _, _, channels = grad.shape
    make = grad.new_zeros if height % 2 or width % 2 else grad.new_empty
    by_x = make(n, height, width, channels)
    _to_the_largest(grad.detach().numpy(), where.numpy(), by_x.numpy())
    return by_x
