"""Loops of pooling, on pixels whose channels are innermost, and of a convolution of images that is pooled."""

import numba
import numpy as np
import torch
from numba import boolean, float32, uint8
from torch import Tensor

from hwbnn_train.fused.compiling import inline, loop, rows

__all__ = ["convolved", "convolved_gradient", "largest_of_four", "to_the_largest"]


# for each pixel, a call with arrays would cost as much as what it does
within = numba.njit(error_model="numpy", inline="always")


@inline
def _is_larger(y, x):
    return boolean((y > x) | (y != y))  # of what is not a number, the last: so does torch


@within
def _choose(a, b, c, d, to, at):
    """Write the largest of four to ``to``, of equals the first, and to ``at`` which it was."""
    for k in range(len(to)):
        most, which = a[k], uint8(0)
        larger = _is_larger(b[k], most)
        most, which = b[k] if larger else most, uint8(1) if larger else which
        larger = _is_larger(c[k], most)
        most, which = c[k] if larger else most, uint8(2) if larger else which
        larger = _is_larger(d[k], most)
        to[k], at[k] = d[k] if larger else most, uint8(3) if larger else which


@loop("void(f4[:, :, :, ::1], f4[:, :, :, ::1], u1[:, :, :, ::1])")
def _largest_of_four(x, out, where):
    for n in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                _choose(x[n, 2 * i, 2 * j], x[n, 2 * i, 2 * j + 1], x[n, 2 * i + 1, 2 * j],
                        x[n, 2 * i + 1, 2 * j + 1], out[n, i, j], where[n, i, j])


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


@loop("void(f4[:, ::1], i8[::1], i8[:, :, ::1], f4[:, ::1], f4[:, :, :, ::1], u1[:, :, :, ::1])")
def _convolved(x, taps, corners, weights, out, where):
    channels = weights.shape[1]
    a, b, c, d = (np.empty(channels, np.float32), np.empty(channels, np.float32), np.empty(channels, np.float32),
                  np.empty(channels, np.float32))
    for n in range(out.shape[0]):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                image, at = x[n], corners[i, j]
                for t in range(len(taps)):
                    tap, row = taps[t], weights[t]
                    p, q, r, s = image[at[0] + tap], image[at[1] + tap], image[at[2] + tap], image[at[3] + tap]
                    if t == 0:
                        for k in range(channels):
                            weight = row[k]
                            a[k], b[k], c[k], d[k] = p * weight, q * weight, r * weight, s * weight
                    else:
                        for k in range(channels):
                            weight = row[k]
                            a[k] += p * weight
                            b[k] += q * weight
                            c[k] += r * weight
                            d[k] += s * weight
                _choose(a, b, c, d, out[n, i, j], where[n, i, j])


@loop("void(f4[:, ::1], i8[::1], i8[:, :, ::1], f4[:, :, :, ::1], u1[:, :, :, ::1], f8[:, ::1])")
def _convolved_gradient(x, taps, corners, grad, where, by_weights):
    channels = grad.shape[3]
    a, b, c, d = (np.empty(channels, np.float32), np.empty(channels, np.float32), np.empty(channels, np.float32),
                  np.empty(channels, np.float32))
    sums = np.empty((len(taps), channels), np.float32)
    for n in range(grad.shape[0]):
        sums[:] = float32(0.0)
        for i in range(grad.shape[1]):
            for j in range(grad.shape[2]):
                above, which, image, at = grad[n, i, j], where[n, i, j], x[n], corners[i, j]
                for k in range(channels):
                    a[k] = above[k] if which[k] == uint8(0) else float32(0.0)
                    b[k] = above[k] if which[k] == uint8(1) else float32(0.0)
                    c[k] = above[k] if which[k] == uint8(2) else float32(0.0)
                    d[k] = above[k] if which[k] == uint8(3) else float32(0.0)
                for t in range(len(taps)):
                    tap, to = taps[t], sums[t]
                    p, q, r, s = image[at[0] + tap], image[at[1] + tap], image[at[2] + tap], image[at[3] + tap]
                    for k in range(channels):
                        to[k] += (p * a[k] + q * b[k]) + (r * c[k] + s * d[k])
        by_weights += sums


def _places(shape: torch.Size, kernel: torch.Size) -> tuple[np.ndarray, np.ndarray]:
    """Return the offsets of a kernel's taps in a padded image, and of the four pixels under each result of pooling."""
    channels, height, width = shape[1:]
    rows, columns = (height - kernel[2] + 1) // 2, (width - kernel[3] + 1) // 2
    offset = np.arange(channels * height * width).reshape(channels, height, width)
    first = offset[0, :2 * rows, :2 * columns].reshape(rows, 2, columns, 2).transpose(0, 2, 1, 3)
    return offset[:, :kernel[2], :kernel[3]].ravel(), np.ascontiguousarray(first).reshape(rows, columns, 4)


def convolved(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return a convolution of the padded images ``x`` pooled as :func:`largest_of_four` does it, and its numbers.

    Sums are taken tap by tap: of integers exact, of others rounded as that order has it.
    """
    taps, corners = _places(x.shape, weights.shape)
    out = x.new_empty(len(x), *corners.shape[:2], len(weights))
    where = torch.empty_like(out, dtype=torch.uint8)
    _convolved(rows(x), taps, corners, weights.detach().flatten(1).T.contiguous().numpy(), out.numpy(), where.numpy())
    return out, where


def convolved_gradient(grad: Tensor, where: Tensor, x: Tensor, weights: Tensor) -> Tensor:
    """Return the gradient of :func:`convolved` by the weights."""
    by_weights = torch.zeros(weights[0].numel(), len(weights), dtype=torch.float64)
    _convolved_gradient(rows(x), *_places(x.shape, weights.shape), grad.detach().numpy(), where.numpy(),
                        by_weights.numpy())
    return by_weights.T.to(grad.dtype).reshape(weights.shape)
