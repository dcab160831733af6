"""Weights that are states, in as few bits as tell them apart: for checkpoints; and what training keeps of weights."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hwbnn_train.layers import Quantized
from hwbnn_train.quantizers import States
from hwbnn_train.quantizers.discrete import bits, step

__all__ = ["memory", "pack", "pack_states", "spaces", "unpack", "unpack_states"]


def spaces(model: nn.Module) -> dict[str, int]:
    """Return the N of ``Z_N`` of the weights of ``model`` that are states, by their name in its ``state_dict``."""
    return {f"{name}.weight".lstrip("."): layer.quantize_weight.n for name, layer in model.named_modules()
            if isinstance(layer, Quantized) and isinstance(layer.quantize_weight, States)}


def pack(w: Tensor, n: int) -> Tensor:
    """Return weights in ``Z_N`` as bits (uint8, bits of a state x bytes).

    Row k has bit k of the number of each state. States are numbered from -1 up. A last byte is filled with zeros.
    """
    numbers = ((w.detach().cpu().contiguous().flatten() + 1.0) / step(n)).numpy().astype(np.uint16)
    return torch.from_numpy(np.stack([np.packbits((numbers >> k & 1).astype(np.uint8)) for k in range(bits(n))]))


def unpack(packed: Tensor, n: int, shape: tuple[int, ...]) -> Tensor:
    """Return the weights (float32, of ``shape``) that :func:`pack` was given."""
    planes = np.unpackbits(packed.numpy(), axis=1, count=int(np.prod(shape))).astype(np.float32)
    numbers = sum(plane * np.float32(2**k) for k, plane in enumerate(planes))
    return torch.from_numpy(np.asarray(numbers * np.float32(step(n)) - np.float32(1.0)).reshape(shape))


def pack_states(tensors: Mapping[str, Any], named: Mapping[str, int]) -> dict[str, Any]:
    """Return a ``state_dict`` with the weights named in ``named``, of so many states, packed.

    A tensor that would not come back as it is, bit for bit, such as a mean of states, stays.
    """
    result = dict(tensors)
    for name in result.keys() & named.keys():
        w, n = result[name], named[name]
        packed = pack(w, n)
        if _same(unpack(packed, n, tuple(w.shape)), w.detach().cpu()):
            result[name] = {"packed": packed, "shape": tuple(w.shape)}
    return result


def unpack_states(tensors: Mapping[str, Any], named: Mapping[str, int]) -> dict[str, Any]:
    """Return what :func:`pack_states` was given."""
    return {name: unpack(value["packed"], named[name], value["shape"]) if isinstance(value, dict) else value
            for name, value in tensors.items()}


def _same(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(a.contiguous().view(torch.int32), b.contiguous().view(torch.int32))


def memory(model: nn.Module, moments: Mapping[Any, Mapping[str, Any]]) -> dict[str, int]:
    """Return what training keeps of the weights of ``model`` from step to step.

    ``weights`` is how many there are in layers with quantized weights, ``bytes`` what must be kept for them (states in
    their bits, all else as real numbers), ``real_bytes`` what a network of real numbers keeps, and ``optimizer_bytes``
    what is kept beside all parameters in ``moments``, the optimizer's state by parameter. Those stay real with any
    method: states spare the weights behind the states, and nothing else.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, Quantized)]
    return {
        "weights": sum(layer.weight.numel() for layer in layers),
        "bytes": sum(-(-layer.weight.numel() * layer.quantize_weight.training_bits // 8) for layer in layers),
        "real_bytes": sum(4 * layer.weight.numel() for layer in layers),
        "optimizer_bytes": sum(value.nbytes for state in moments.values() for value in state.values()
                               if isinstance(value, Tensor) and value.ndim),
    }
