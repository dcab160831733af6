"""Products of bytes, for processors that multiply bytes faster than they count bits of several planes.

    acc[m, n] = sum over k of a[m, k] * w[n, k]        a: level numbers 0..255, w: -1, 0, 1

Two micro-kernels, both on panels (k / 4, column, 4 bytes): ``VPDPBUSD`` of AVX-512 VNNI multiplies 64 bytes at a time,
``TDPBUSD`` of AMX a 16 x 64 tile by a 64 x 16 tile. They leave a block of int32 sums, which
:func:`reached` turns into bits.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from hwbnn.infer.cpu.microkernel import _I8, _I32, _add_to, _i64, _load, _splat_constant, _store
from hwbnn.infer.cpu.shapes import COLUMNS, DOT_ROWS

__all__ = ["amx_block", "amx_off", "amx_on", "copy16", "dot_block", "reached", "spread", "weigh"]

_WIDE = ir.VectorType(_I32, 16)
_BYTES = ir.VectorType(_I8, 64)


def _call(builder, name: str, result, *args):
    kind = ir.FunctionType(result, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


def _i8(value: int) -> ir.Constant:
    return ir.Constant(_I8, value)


def _dot_block(typingctx, a, a0, stride, b, b0, steps, c):
    """c (DOT_ROWS, COLUMNS) = rows at ``a0``, ``stride`` bytes apart, times the panel at ``b0``; 4 * steps bytes."""
    def generate(context, builder, signature, args):
        a_, b_, c_ = (args[i] for i in (0, 3, 6))
        vectors = COLUMNS // 16
        total = {(m, n): cgutils.alloca_once(builder, _WIDE) for m in range(DOT_ROWS) for n in range(vectors)}
        for slot in total.values():
            builder.store(_splat_constant(_WIDE, 0), slot)
        with cgutils.for_range(builder, args[5]) as loop:
            at = builder.add(args[4], builder.mul(loop.index, _i64(4 * COLUMNS)))
            weights = [_load(builder, b_, builder.add(at, _i64(64 * n)), _WIDE, 8) for n in range(vectors)]
            for m in range(DOT_ROWS):
                source = builder.add(builder.add(args[1], builder.mul(args[2], _i64(m))),
                                     builder.mul(loop.index, _i64(4)))
                four = _load(builder, a_, source, _I32, 1)
                undefined = ir.Constant(_WIDE, ir.Undefined)
                first = builder.insert_element(undefined, four, ir.Constant(_I32, 0))
                all_ = builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_I32, 16), [0] * 16))
                for n in range(vectors):
                    slot = total[m, n]
                    builder.store(_call(builder, "llvm.x86.avx512.vpdpbusd.512", _WIDE, builder.load(slot), all_,
                                        weights[n]), slot)
        for (m, n), slot in total.items():
            _store(builder, builder.load(slot), c_, _i64(m * COLUMNS + 16 * n), 4)
        return context.get_dummy_value()

    i = types.int64
    return types.void(a, i, i, b, i, i, c), generate


def _amx_block(typingctx, a, a0, stride, forward, second, b, b0, steps, c):
    """c (32, 32) = two blocks of 16 rows at ``a0`` times the panel at ``b0``, 64 bytes a step.

    Rows of a block are ``stride`` bytes apart, steps ``forward``, the second block is ``second`` bytes on. Tiles 0 to 3
    hold sums, 4 and 5 rows, 6 and 7 columns.
    """
    def generate(context, builder, signature, args):
        a_, b_, c_ = (args[i] for i in (0, 5, 8))
        void, wide, narrow = ir.VoidType(), _i64(4 * COLUMNS), args[2]

        def load(tile, data, index, stride):
            _call(builder, "llvm.x86.tileloadd64", void, _i8(tile), builder.gep(data, [index]), stride)

        for tile in range(4):
            _call(builder, "llvm.x86.tilezero", void, _i8(tile))
        with cgutils.for_range(builder, args[7]) as loop:
            row = builder.add(args[1], builder.mul(loop.index, args[3]))
            column = builder.add(args[6], builder.mul(loop.index, _i64(64 * COLUMNS)))
            load(6, b_, column, wide)
            load(4, a_, row, narrow)
            load(7, b_, builder.add(column, _i64(64)), wide)
            load(5, a_, builder.add(row, args[4]), narrow)
            for tile, (x, y) in enumerate(((4, 6), (4, 7), (5, 6), (5, 7))):
                _call(builder, "llvm.x86.tdpbusd", void, _i8(tile), _i8(x), _i8(y))
        for tile in range(4):
            at = _i64((tile // 2) * 16 * COLUMNS + (tile % 2) * 16)
            pointer = builder.bitcast(builder.gep(c_, [at]), _I8.as_pointer())
            _call(builder, "llvm.x86.tilestored64", void, _i8(tile), pointer, wide)
        return context.get_dummy_value()

    i = types.int64
    return types.void(a, i, i, i, i, b, i, i, c), generate


def _amx_on(typingctx, config):
    """Shape the tile registers of this thread as the 64 bytes of ``config`` say."""
    def generate(context, builder, signature, args):
        data = args[0]
        _call(builder, "llvm.x86.ldtilecfg", ir.VoidType(), data)
        return context.get_dummy_value()

    return types.void(config), generate


def _amx_off(typingctx):
    """Give the tile registers of this thread back."""
    def generate(context, builder, signature, args):
        _call(builder, "llvm.x86.tilerelease", ir.VoidType())
        return context.get_dummy_value()

    return types.void(), generate


def _reached(typingctx, values, at, limits, start):
    """32 bits: bit k is ``values[at + k] >= limits[start + k]``, int32."""
    kind = ir.VectorType(_I32, 32)

    def generate(context, builder, signature, args):
        x = _load(builder, args[0], args[1], kind, 4)
        limit = _load(builder, args[2], args[3], kind, 4)
        return builder.bitcast(builder.icmp_signed(">=", x, limit), _I32)

    return types.uint32(values, types.int64, limits, types.int64), generate


def _copy16(typingctx, source, at, target, to):
    """Copy 16 bytes."""
    kind = ir.VectorType(_I8, 16)

    def generate(context, builder, signature, args):
        x = _load(builder, args[0], args[1], kind, 1)
        _store(builder, x, args[2], args[3], 1)
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64), generate


def _spread(typingctx, words, at, stride, planes, shift, out, to):
    """64 level numbers from the planes' words at ``at``, ``stride`` apart, to ``out[to:to + 64]``."""
    def generate(context, builder, signature, args):
        source = args[0]
        target = args[5]
        total = cgutils.alloca_once(builder, _BYTES)
        builder.store(_splat_constant(_BYTES, 0), total)
        by = builder.trunc(args[4], _I8)
        undefined = ir.Constant(_BYTES, ir.Undefined)
        first = builder.insert_element(undefined, by, ir.Constant(_I32, 0))
        shifts = builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_I32, 64), [0] * 64))
        with cgutils.for_range(builder, args[3]) as loop:
            word = builder.load(builder.gep(source, [builder.add(args[1], builder.mul(args[2], loop.index))]))
            bits = builder.zext(builder.bitcast(word, ir.VectorType(ir.IntType(1), 64)), _BYTES)
            before = builder.load(total)
            doubled = builder.add(before, builder.and_(before, builder.sub(_splat_constant(_BYTES, 0), shifts)))
            builder.store(doubled, total)
            _add_to(builder, total, bits)
        _store(builder, builder.load(total), target, args[6], 1)
        return context.get_dummy_value()

    i = types.int64
    return types.void(words, i, i, i, i, out, i), generate


def _weigh(typingctx, words, at, masked, out, to):
    """64 weights -1, 0 or 1 from the sign's word at ``at`` and, where ``masked``, the mask's after it."""
    def generate(context, builder, signature, args):
        source = args[0]
        target = args[3]
        kind = ir.VectorType(ir.IntType(1), 64)

        def chosen(index, yes, no):
            word = builder.load(builder.gep(source, [index]))
            return builder.select(builder.bitcast(word, kind), yes, no)

        signed = chosen(args[1], _splat_constant(_BYTES, 0xFF), _splat_constant(_BYTES, 1))
        gated = chosen(builder.add(args[1], args[2]), signed, _splat_constant(_BYTES, 0))
        plain = builder.icmp_signed("==", args[2], _i64(0))
        _store(builder, builder.select(plain, signed, gated), target, args[4], 1)
        return context.get_dummy_value()

    i = types.int64
    return types.void(words, i, i, out, i), generate


# Callable in compiled code only, without the first argument.
dot_block: Any = intrinsic(_dot_block)
amx_block: Any = intrinsic(_amx_block)
amx_on: Any = intrinsic(_amx_on)
amx_off: Any = intrinsic(_amx_off)
copy16: Any = intrinsic(_copy16)
reached: Any = intrinsic(_reached)
spread: Any = intrinsic(_spread)
weigh: Any = intrinsic(_weigh)
