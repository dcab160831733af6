"""Loops of layers."""

import torch
from numba import float32
from torch import Tensor

from hwbnn_train.fused.compiling import flat, loop, rows

__all__ = ["scaled", "scaled_gradients"]


@loop("void(f4[:, ::1], f4[::1], f4[:, ::1])")
def _scaled(y, scale, out):
    for i in range(y.shape[0]):
        row, to = y[i], out[i]
        for j in range(len(scale)):
            to[j] = row[j] * scale[j]


def scaled(y: Tensor, scale: Tensor) -> Tensor:
    """Return ``y`` (samples x outputs) times the scale of each output."""
    out = torch.empty_like(y)
    _scaled(rows(y), flat(scale), rows(out))
    return out


@loop("void(f4[:, ::1], f4[:, ::1], f4[::1], f4[:, ::1], f4[::1])")
def _scaled_gradients(grad, y, scale, by_y, by_scale):
    for j in range(len(scale)):
        by_scale[j] = float32(0.0)
    for i in range(y.shape[0]):
        above, row, to = grad[i], y[i], by_y[i]
        for j in range(len(scale)):
            to[j] = above[j] * scale[j]
        for j in range(len(scale)):
            by_scale[j] += above[j] * row[j]


def scaled_gradients(grad: Tensor, y: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients by the arguments of :func:`scaled`."""
    by_y, by_scale = torch.empty_like(y), torch.empty_like(scale)
    _scaled_gradients(rows(grad), rows(y), flat(scale), rows(by_y), flat(by_scale))
    return by_y, by_scale
