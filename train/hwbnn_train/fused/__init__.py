"""Passes over large tensors that several torch operations would take, as one each, where numba is installed.

A training step of a small network is bound by memory: each torch operation on the weights reads and writes them all. A
function decorated with :func:`fused` says with torch what it does, for any tensor. Where it can be, a loop of the
same name, in a module here, is called instead, with the same values: bit for bit, but for the order of sums and the
last bits of exponentials, which the loops state.

Loops are compiled when they are first called, within a second each, and kept on disk for the next process.
"""

import functools
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import TypeVar

import torch
from torch import Tensor, nn

__all__ = ["LEAST", "fits", "fits_any_size", "fused"]

LEAST = 5000
"""Elements of the smallest tensor that is worth it; below, operations cost their calls rather than their passes."""

_NUMBERS, _TENSORS = (float, int, bool), (Tensor, nn.Parameter)

F = TypeVar("F", bound=Callable)


@functools.cache
def _is_there() -> bool:
    return find_spec("numba") is not None


def fits(*args: object) -> bool:
    """Tell whether loops can take these arguments of a function, of which the first is the large tensor."""
    first = args[0]
    return isinstance(first, Tensor) and first.numel() >= LEAST and fits_any_size(*args)


def fits_any_size(*args: object) -> bool:
    """Tell whether loops can take these arguments, be the first as small as it may: where they spare many calls."""
    return all(map(_plain, args)) and _is_there() and not torch.compiler.is_compiling()


def _plain(arg: object) -> bool:
    kind = type(arg)
    if kind in _NUMBERS or not isinstance(arg, Tensor):
        return True
    return (kind in _TENSORS and arg.is_cpu and arg.is_contiguous()
            and (arg.dtype is torch.float32 or not arg.is_floating_point()))


def _channels_innermost(args: tuple) -> tuple:
    """Return the arguments with images as memory has them that lie there pixel by pixel, as they are elsewhere."""
    first = args[0]
    if not isinstance(first, Tensor) or first.ndim != 4 or not first.is_contiguous(memory_format=torch.channels_last):
        return args
    return tuple(arg.permute(0, 2, 3, 1) if isinstance(arg, Tensor) and arg.shape == first.shape else arg
                 for arg in args)


def _turned_back(result: object) -> object:
    if isinstance(result, tuple):
        return tuple(map(_turned_back, result))
    return result.permute(0, 3, 1, 2) if isinstance(result, Tensor) and result.ndim == 4 else result


def fused(module: str, *, elementwise: bool = False) -> Callable[[F], F]:
    """Have a function of tensors and numbers carried out by that of its name in ``module`` here, where it fits.

    Neither of the two has gradients: they are what forward and backward passes consist of. The one given remains as
    ``__wrapped__``. One that is ``elementwise`` (or whose result does not depend on the order of elements) takes
    images whose channels lie innermost in memory, too, as those between convolutions do.
    """
    def decorate(function: F) -> F:
        name = function.__name__.lstrip("_")

        @functools.cache
        def loop() -> Callable:
            return getattr(import_module(f"{__name__}.{module}"), name)

        @functools.wraps(function)
        def choose(*args):
            if fits(*args):
                return loop()(*args)
            if elementwise and (turned := _channels_innermost(args)) is not args and fits(*turned):
                return _turned_back(loop()(*turned))
            return function(*args)

        return choose  # pyright: ignore[reportReturnType]  # of the same signature
    return decorate
