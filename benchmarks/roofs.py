"""What one core of this processor can do at most of what packed inference asks: count ones, and read weights.

The loops are as tight as LLVM makes them from vector IR, without anything else around them, so a kernel's share of a
roof tells how much better it could be on the machine at hand.
"""

import time

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["counting", "reading"]

_I64 = ir.IntType(64)
_VECTOR = ir.VectorType(_I64, 8)
_SUMS = 20  # independent accumulators: enough to hide the latency of exclusive or, count and addition
_LOADS = 8  # vectors read an iteration


def _loop(builder, count, slots):
    """Yield once inside a loop of ``count`` iterations over the vectors in ``slots``; registers after optimization."""
    with cgutils.for_range(builder, count) as loop:
        yield loop.index
    total = builder.load(slots[0])
    for slot in slots[1:]:
        total = builder.xor(total, builder.load(slot))
    yield builder.extract_element(total, ir.Constant(ir.IntType(32), 0))


def _slots(builder, number):
    slots = [cgutils.alloca_once(builder, _VECTOR) for _ in range(number)]
    for k, slot in enumerate(slots):
        builder.store(ir.Constant(_VECTOR, [k + lane for lane in range(8)]), slot)
    return slots


@intrinsic
def _count(typing, count):
    """Count times: acc_k += popcount(acc_k ^ x) for every accumulator."""
    def generate(context, builder, signature, arguments):
        slots, result = _slots(builder, _SUMS), None
        name = "llvm.ctpop.v8i64"
        popcount = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_VECTOR, [_VECTOR]), name)
        for value in _loop(builder, arguments[0], slots):
            if result is None:
                for k, slot in enumerate(slots):
                    old = builder.load(slot)
                    mixed = builder.xor(old, ir.Constant(_VECTOR, [0x5555 + k % 4] * 8))
                    builder.store(builder.add(old, builder.call(popcount, [mixed])), slot)
            result = value
        return result
    return types.int64(types.int64), generate


@intrinsic
def _read(typing, array, count):
    """Combine the first ``count`` groups of vectors of an array."""
    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        slots, result = _slots(builder, _LOADS), None
        for value in _loop(builder, arguments[1], slots):
            if result is None:
                for k, slot in enumerate(slots):
                    place = builder.add(builder.mul(value, ir.Constant(_I64, 8 * _LOADS)), ir.Constant(_I64, 8 * k))
                    word = builder.load(builder.bitcast(builder.gep(data, [place]), _VECTOR.as_pointer()))
                    word.align = 8
                    builder.store(builder.xor(builder.load(slot), word), slot)
            result = value
        return result
    return types.int64(array, types.int64), generate


@njit
def _count_often(count):
    return _count(count)


@njit
def _read_often(array, count, times):
    total = 0
    for _ in range(times):
        total ^= _read(array, count)
    return total


def _best(function, repeats: int) -> float:
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def counting(repeats: int = 300) -> float:
    """Operations per second, two a bit, of exclusive or, count and addition in registers alone; the best run."""
    count = 50_000  # about a millisecond, which a busy machine leaves undisturbed now and then
    return 2 * 512 * _SUMS * count / _best(lambda: _count_often(count), repeats)


def reading(size: int, repeats: int = 300) -> float:
    """Bytes per second read from ``size`` bytes again and again: what the cache that holds them gives; the best run."""
    group = 64 * _LOADS
    array = np.arange(size // group * group // 8, dtype=np.int64)
    times = max(1, 2**25 // array.nbytes)
    return times * array.nbytes / _best(lambda: _read_often(array, array.nbytes // group, times), repeats)
