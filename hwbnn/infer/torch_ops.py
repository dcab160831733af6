"""Packed products as PyTorch operators, for networks that are run, traced or compiled by PyTorch.

Importing this module imports torch, and nothing else here does. An operator's weights are packed once, by
:func:`register`, and named by a number, so that a graph holds no packed data:

>>> layer = torch_ops.register(weights, ir.BIPOLAR)
>>> torch.ops.hwbnn.packed_linear(x, layer, rows)      # int32, exact; x on the processor or a GPU

The operators have fake implementations, so they work under ``torch.compile``; they run on the tensor's device and,
there, on PyTorch's current stream, and their results are ordinary tensors of the caller.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from hwbnn import ir
from hwbnn.infer import steps
from hwbnn.infer.code import Code, Layout
from hwbnn.infer.host import HostEngine
from hwbnn.infer.loading import host_engine
from hwbnn.infer.weights import Weights

__all__ = ["packed_linear", "register"]


@dataclass
class _Layer:
    """One product, and whether the processor's engine has its weights in order."""

    product: steps.Product
    rows: int
    prepared: bool = False


_LAYERS: list[_Layer] = []
_ENGINES: dict[str, Any] = {}
_LIBRARY = torch.library.Library("hwbnn", "DEF")
_LIBRARY.define("packed_linear(Tensor x, int layer, int rows) -> Tensor")


def register(weights: ArrayLike, levels: ir.Levels) -> int:
    """Pack a weight matrix; return the number by which :func:`packed_linear` knows it.

    Parameters
    ----------
    weights : int array (rows, columns)
        Of any integers of up to 8 bits; bipolar and ternary ones take one pass.
    levels : :class:`hwbnn.ir.Levels`
        Of the activations, at most 256.
    """
    matrix = np.asarray(weights, np.int64)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise ValueError(f"Weights must have shape (rows, columns), not {matrix.shape}")
    if not Code.covers(levels):
        raise ValueError(f"Activations must have at most 256 levels, not {len(levels)}")
    packed = Weights(matrix[:, None, :], Code(levels), Layout(1, matrix.shape[1]))
    _LAYERS.append(_Layer(steps.Product((), (), "", packed, None), len(matrix)))
    return len(_LAYERS) - 1


def packed_linear(x: torch.Tensor, layer: int) -> torch.Tensor:
    """Return ``x @ weights.T`` of a registered layer as int32, for x (..., columns) within the layer's levels.

    Values are trusted: checking them would cost a synchronization.
    """
    return torch.ops.hwbnn.packed_linear(x, layer, _LAYERS[layer].rows)


def _numbers(x: torch.Tensor, layer: int) -> torch.Tensor:
    """Level numbers, uint8 (rows, columns), on the tensor's device."""
    product = _LAYERS[layer].product
    levels, columns = product.weights.code.levels, product.weights.layout.length
    if x.shape[-1:] != (columns,):
        raise ValueError(f"Activations must have {columns} columns, not {tuple(x.shape)}")
    numbers = torch.div(x - levels.low, levels.step, rounding_mode="floor").to(torch.uint8)
    return numbers.reshape(-1, columns).contiguous()


def _fake(x: torch.Tensor, layer: int, rows: int) -> torch.Tensor:
    return x.new_empty((*x.shape[:-1], rows), dtype=torch.int32)


def _cpu(x: torch.Tensor, layer: int, rows: int) -> torch.Tensor:
    known = _LAYERS[layer]
    engine = _host()
    if not known.prepared:
        engine.prepare(known.product)
        known.prepared = True
    packed = engine.execute(steps.Pack((), (), "", known.product.weights.code), _numbers(x, layer).numpy())
    out = np.ascontiguousarray(engine.execute(known.product, packed))
    return torch.from_numpy(out.astype(np.int32, copy=False)).reshape(*x.shape[:-1], rows)


@cache
def _host() -> HostEngine:
    return host_engine()


def _cuda(x: torch.Tensor, layer: int, rows: int) -> torch.Tensor:
    from hwbnn.infer.cuda.tensors import TensorEngine  # needs the CUDA packages; only tensors on a GPU come here

    known = _LAYERS[layer]
    numbers = _numbers(x, layer)
    key = f"cuda:{x.device.index}"
    if key not in _ENGINES:
        _ENGINES[key] = TensorEngine(x.device)
    return _ENGINES[key].product(known.product, numbers).reshape(*x.shape[:-1], rows)


_LIBRARY.impl("packed_linear", _cpu, "CPU")
_LIBRARY.impl("packed_linear", _cuda, "CUDA")
torch.library.register_fake("hwbnn::packed_linear", _fake, lib=_LIBRARY)
