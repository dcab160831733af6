"""How the loops are compiled: float32 throughout, for this processor, kept on disk; and what they are written with.

numba keeps a loop in ``__pycache__`` beside its file, or where the user's caches are, until that file changes: after
a change to this one the folder must be emptied. LLVM makes vectors of a loop if each index is the loop's own (a part
of an array is a slice, not an offset), and of a sum if its order is free and nothing in it is a branch.
"""

import functools
from collections.abc import Callable

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from torch import Tensor

__all__ = ["BLOCK", "bits", "block", "flat", "fma", "inline", "logistic", "loop", "nearest", "number",
           "one_more_than_exp", "rows", "truncated"]


def loop(signature: str) -> Callable[[Callable], Callable]:
    """Compile a function for arguments of these types when it is first called; it lets other threads run meanwhile."""
    def decorate(function: Callable) -> Callable:
        @functools.cache
        def compiled() -> Callable:
            try:
                return numba.njit(signature, cache=True, nogil=True, error_model="numpy")(function)
            except RuntimeError:  # no folder to keep it in
                return numba.njit(signature, nogil=True, error_model="numpy")(function)

        return functools.wraps(function)(lambda *args: compiled()(*args))
    return decorate


BLOCK = 1024
"""Numbers whose sum a :data:`block` takes, of floats in any order; those of blocks are added up as doubles."""

inline = numba.njit(error_model="numpy")  # by LLVM; a call otherwise
block = numba.njit(error_model="numpy", fastmath={"reassoc", "nsz"})


def flat(x: Tensor) -> np.ndarray:
    """Return a contiguous tensor's numbers as a vector, in the same memory."""
    return x.detach().numpy().reshape(-1)


def rows(x: Tensor) -> np.ndarray:
    """Return a contiguous tensor's numbers as a matrix with its first axis, in the same memory."""
    return x.detach().numpy().reshape(len(x), -1)


def _instruction(result: types.Type, operands: tuple[types.Type, ...], build: Callable) -> Callable:
    """Return a function that loops call for an instruction of LLVM, which ``build`` adds."""
    def typed(context, *args):
        return result(*operands), lambda context, builder, signature, args: build(builder, *args)

    if len(operands) == 3:
        return intrinsic(lambda context, a, b, c: typed(context, a, b, c))
    return intrinsic(lambda context, a: typed(context, a))


def _named(name: str) -> Callable:
    return lambda builder, x: builder.call(builder.module.declare_intrinsic(name, [x.type]), [x])


_F, _I = types.float32, types.int32
fma = _instruction(_F, (_F, _F, _F), lambda builder, a, b, c: builder.fma(a, b, c))  # a * b + c, rounded once
bits = _instruction(_I, (_F,), lambda builder, x: builder.bitcast(x, ir.IntType(32)))  # of a float, as an integer
number = _instruction(_F, (_I,), lambda builder, x: builder.bitcast(x, ir.FloatType()))  # the float of 32 bits
nearest = _instruction(_F, (_F,), _named("llvm.rint"))  # integer, halves to the even one
truncated = _instruction(_F, (_F,), _named("llvm.trunc"))


_LOG2E = np.float32(np.log2(np.e))
_HIGH, _LOW = np.float32(0.693145751953125), np.float32(1.428606765330187e-06)  # of ln 2: the first has few bits
_C = [np.float32(1.0 / c) for c in (2.0, 6.0, 24.0, 120.0, 720.0)]
_C2, _C3, _C4, _C5, _C6 = _C
_ONE, _MOST, _ROUND = np.float32(1.0), np.float32(87.0), np.float32(1.5 * 2.0**23)


@inline
def one_more_than_exp(x):
    """``1 + exp(x)``, off by 2^-22 of it at most; beyond -87 .. 87 that of the end."""
    y = -_MOST if x < -_MOST else x
    y = _MOST if y > _MOST else y
    shifted = y * _LOG2E + _ROUND  # integers, k in the lowest bits
    k = shifted - _ROUND
    f = fma(-k, _LOW, fma(-k, _HIGH, y))  # y = k ln 2 + f
    power = number(types.int32((bits(shifted) << 23) + 0x3F800000))  # 2^k
    e = fma(_C6, f, _C5)
    e = fma(e, f, _C4)
    e = fma(e, f, _C3)
    e = fma(e, f, _C2)
    e = fma(fma(e, f, _ONE), f, _ONE)
    return fma(e, power, _ONE)


@inline
def logistic(x):
    """``1 / (1 + exp(-x))``, off by 2^-22 at most."""
    return _ONE / one_more_than_exp(-x)
