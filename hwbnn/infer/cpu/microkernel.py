"""The innermost loop of packed products, written as LLVM vector IR.

A micro-kernel computes a tile of ``rows`` rows by ``8 * vectors`` columns of

    acc[m, n] = sum over planes i of c_i * popcount(mask[n] & (a[m, i] ^ sign[n]))

in 64-bit lanes, one lane per column, so there is no horizontal sum: one word of a row is broadcast against a
vector of eight columns' words. ``sign`` is 1 where a weight is negative, ``mask`` 1 where it is not zero; without
a mask (bipolar weights) the gate falls away. Unused bits are 0 in ``a``, ``sign`` and ``mask`` and so add nothing.
Planes come most significant first and ``c_i`` is a power of two: the sum is doubled (``shift`` 1) or kept
(``shift`` 0, thermometer planes) before each plane.

Where the processor counts the ones of a vector in one instruction the sum is plain; where it does not, words
are first added in carry-save form, four at a time, so that one expensive byte-wise count serves four words.
Plain loops written in Python reach a third of this (``docs/inference.md``).
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from hwbnn.infer.cpu.shapes import LANES, Tile

__all__ = ["byte_plane", "product_kernel"]

_FLUSH = 31  # steps of at most 8 ones that fit a byte counter

_I1, _I8, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))
_VECTOR = ir.VectorType(_I64, LANES)
_BYTES = ir.VectorType(_I8, 8 * LANES)


def _i64(value: int) -> ir.Constant:
    return ir.Constant(_I64, value)


def _splat_constant(kind: ir.VectorType, value: int) -> ir.Constant:
    return ir.Constant(kind, [value] * kind.count)


def _load(builder, data, index, kind, align):
    pointer = builder.bitcast(builder.gep(data, [index]), kind.as_pointer())
    value = builder.load(pointer)
    value.align = align
    return value


def _store(builder, value, data, index, align):
    pointer = builder.bitcast(builder.gep(data, [index]), value.type.as_pointer())
    builder.store(value, pointer).align = align


def _broadcast(builder, scalar):
    kind = ir.VectorType(scalar.type, LANES)
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES))


def _count_ones(builder, vector):
    kind = vector.type
    name = f"llvm.ctpop.v{kind.count}i{kind.element.width}"
    return builder.call(cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind]), name), [vector])


def _sum_bytes(builder, vector):
    """Sum of the eight unsigned bytes of each 64-bit lane."""
    x = builder.bitcast(vector, _VECTOR)
    for shift, mask in ((8, 0x00FF00FF00FF00FF), (16, 0x0000FFFF0000FFFF), (32, 0x00000000FFFFFFFF)):
        keep = _splat_constant(_VECTOR, mask)
        high = builder.and_(builder.lshr(x, _splat_constant(_VECTOR, shift)), keep)
        x = builder.add(builder.and_(x, keep), high)
    return x


def _full_add(builder, x, y, z):
    """Sum and carry bits of three words, lane by lane."""
    half = builder.xor(x, y)
    return builder.xor(half, z), builder.or_(builder.and_(x, y), builder.and_(half, z))


def _variable(builder, kind):
    """A zeroed stack slot; LLVM makes it a register."""
    slot = cgutils.alloca_once(builder, kind)
    builder.store(_splat_constant(kind, 0), slot)
    return slot


def _add_to(builder, slot, value):
    builder.store(builder.add(builder.load(slot), value), slot)


class _Plain:
    """Count every word's ones."""

    words = 1

    def __init__(self, builder, total):
        self.builder, self.total = builder, total

    def step(self, read):
        _add_to(self.builder, self.total, _count_ones(self.builder, read(0)))

    def reset(self):
        pass

    def flush(self):
        pass

    def finish(self):
        pass


class _CarrySave4:
    """Four words join running sum bits of weight 1 and 2; only carries of weight 4 are counted, by bytes."""

    words = 4

    def __init__(self, builder, total):
        self.builder, self.total = builder, total
        self.ones, self.twos = _variable(builder, _VECTOR), _variable(builder, _VECTOR)
        self.fours = _variable(builder, _BYTES)

    def step(self, read):
        b = self.builder
        one, first = _full_add(b, read(0), read(1), b.load(self.ones))
        one, second = _full_add(b, read(2), read(3), one)
        two, carry = _full_add(b, first, second, b.load(self.twos))
        b.store(one, self.ones)
        b.store(two, self.twos)
        _add_to(b, self.fours, _count_ones(b, b.bitcast(carry, _BYTES)))

    def reset(self):
        for slot in (self.ones, self.twos):
            self.builder.store(_splat_constant(_VECTOR, 0), slot)

    def flush(self):
        b = self.builder
        _add_to(b, self.total, b.shl(_sum_bytes(b, b.load(self.fours)), _splat_constant(_VECTOR, 2)))
        b.store(_splat_constant(_BYTES, 0), self.fours)

    def finish(self):
        b = self.builder
        two = b.shl(_count_ones(b, b.load(self.twos)), _splat_constant(_VECTOR, 1))
        _add_to(b, self.total, b.add(two, _count_ones(b, b.load(self.ones))))


_COUNTERS = {counter.words: counter for counter in (_Plain, _CarrySave4)}


def _emit_products(builder, tile, masked, a, rows, plane_stride, planes, shift, words, b, b0):
    """Emit the loops over planes and words; return the accumulators, one slot per row and vector."""
    per_word = tile.columns * (2 if masked else 1)  # elements of b per word
    cells = [(m, n) for m in range(tile.rows) for n in range(tile.vectors)]
    total = {cell: _variable(builder, _VECTOR) for cell in cells}
    block = {cell: _COUNTERS[tile.words](builder, total[cell]) for cell in cells}
    single = {cell: _Plain(builder, total[cell]) for cell in cells}

    def step(counters, plane, k):
        """Feed the words k, k+1, ... of every row to ``counters``."""
        count = next(iter(counters.values())).words
        offset = builder.add(builder.mul(plane, plane_stride), k)
        base = builder.add(b0, builder.mul(k, _i64(per_word)))
        weights = {(u, n, q): _load(builder, b, builder.add(base, _i64(u * per_word + q * tile.columns + n * LANES)),
                                    _VECTOR, 8)
                   for u in range(count) for n in range(tile.vectors) for q in range(2 if masked else 1)}
        for m in range(tile.rows):
            lane = [_broadcast(builder, builder.load(builder.gep(a, [builder.add(builder.add(rows[m], offset),
                                                                                _i64(u))])))
                    for u in range(count)]
            for n in range(tile.vectors):
                def read(u, n=n, lane=lane):
                    x = builder.xor(lane[u], weights[u, n, 0])
                    return builder.and_(x, weights[u, n, 1]) if masked else x
                counters[m, n].step(read)

    with cgutils.for_range(builder, planes) as outer:
        by = builder.zext(shift, _I64) if shift.type.width < 64 else shift
        for cell in cells:
            builder.store(builder.shl(builder.load(total[cell]), _broadcast(builder, by)), total[cell])
            block[cell].reset()
        steps = builder.udiv(words, _i64(tile.words))
        if tile.words == 4:
            with cgutils.for_range_slice(builder, _i64(0), steps, _i64(_FLUSH), _I64) as (start, _):
                stop = builder.add(start, _i64(_FLUSH))
                stop = builder.select(builder.icmp_unsigned("<", stop, steps), stop, steps)
                with cgutils.for_range_slice(builder, start, stop, _i64(1), _I64) as (k, _):
                    step(block, outer.index, builder.mul(k, _i64(tile.words)))
                for cell in cells:
                    block[cell].flush()
        else:
            with cgutils.for_range(builder, steps) as inner:
                step(block, outer.index, builder.mul(inner.index, _i64(tile.words)))
        for cell in cells:
            block[cell].finish()
        if tile.words > 1:
            with cgutils.for_range_slice(builder, builder.mul(steps, _i64(tile.words)), words, _i64(1), _I64) as (k, _):
                step(single, outer.index, k)
    return total


def _emit_both_planes(builder, tile, a, rows, plane_stride, words, b, b0):
    """The same for ternary weights and two planes of equal weight, word by word, so that weights are read once."""
    cells = [(m, n) for m in range(tile.rows) for n in range(tile.vectors)]
    total = {cell: _variable(builder, _VECTOR) for cell in cells}
    with cgutils.for_range(builder, words) as loop:
        base = builder.add(b0, builder.mul(loop.index, _i64(2 * tile.columns)))
        sign, mask = ([_load(builder, b, builder.add(base, _i64(q * tile.columns + n * LANES)), _VECTOR, 8)
                       for n in range(tile.vectors)] for q in range(2))
        for m in range(tile.rows):
            at = builder.add(rows[m], loop.index)
            for place in (at, builder.add(at, plane_stride)):
                lane = _broadcast(builder, builder.load(builder.gep(a, [place])))
                for n in range(tile.vectors):
                    live = builder.and_(builder.xor(lane, sign[n]), mask[n])
                    _add_to(builder, total[m, n], _count_ones(builder, live))
    return total


def product_kernel(tile: Tile, *, masked: bool, planes_out: int, both: bool = False) -> Any:
    """Return the intrinsic of one tile.

    Parameters
    ----------
    tile : :class:`Tile`
    masked : :class:`bool`
        Whether the weights have zeros, that is a mask beside the sign of each word.
    both : :class:`bool`
        Whether activations always have two planes of equal weight, which are then counted word by word: weights, which
        must have zeros, are read once. ``planes`` and ``shift`` are not looked at, nor is ``tile.words``.
    planes_out : 0, 1 or 2
        0: write ``bias + scale * acc`` as int32. 1 or 2: write one bit per column and plane, ``acc >= t``.

    Returns
    -------
    intrinsic
        ``kernel(a, a0, row_stride, plane_stride, planes, shift, words, b, b0, t, t0, t_plane, t_row, r0, scale,
        out, o0, o_row, o_plane)``, pointers and integers: uint64 ``a`` and ``b`` (one panel), int64 ``t`` (thresholds,
        or biases) read at ``t0 + t_row[r0 + m]``, int32 or uint8 ``out``. All offsets count elements.
    """
    @intrinsic
    def kernel(typingctx, a, a0, row_stride, plane_stride, planes, shift, words, b, b0, t, t0, t_plane, t_row, r0,
               scale, out, o0, o_row, o_plane):
        def generate(context, builder, signature, args):
            a_, b_, t_, t_row_, out_ = (args[i] for i in (0, 7, 9, 12, 15))
            row0, stride, plane, count, by, k_words = args[1:7]
            panel, first, plane_t, row_index, factor = args[8], args[10], args[11], args[13], args[14]
            out0, out_row, out_plane = args[16:19]
            rows = [builder.add(row0, builder.mul(stride, _i64(m))) for m in range(tile.rows)]
            if both:
                total = _emit_both_planes(builder, tile, a_, rows, plane, k_words, b_, panel)
            else:
                total = _emit_products(builder, tile, masked, a_, rows, plane, count, by, k_words, b_, panel)
            for m in range(tile.rows):
                where = builder.load(builder.gep(t_row_, [builder.add(row_index, _i64(m))]))
                at = builder.add(first, where)
                to = builder.add(out0, builder.mul(out_row, _i64(m)))
                for n in range(tile.vectors):
                    acc = builder.load(total[m, n])
                    column = builder.add(at, _i64(n * LANES))
                    if planes_out == 0:
                        bias = _load(builder, t_, column, _VECTOR, 8)
                        value = builder.add(bias, builder.mul(acc, _broadcast(builder, factor)))
                        narrow = builder.trunc(value, ir.VectorType(_I32, LANES))
                        _store(builder, narrow, out_, builder.add(to, _i64(n * LANES)), 4)
                    for i in range(planes_out):
                        offset = builder.mul(plane_t, _i64(i))
                        limit = _load(builder, t_, builder.add(column, offset), _VECTOR, 8)
                        reached = builder.icmp_signed(">=", acc, limit)
                        byte = builder.bitcast(reached, _I8)
                        target = builder.add(builder.add(to, builder.mul(out_plane, _i64(i))), _i64(n))
                        _store(builder, byte, out_, target, 1)
            return context.get_dummy_value()

        i = types.int64
        return types.void(a, i, i, i, i, i, i, b, i, t, i, i, t_row, i, i, out, i, i, i), generate
    return kernel


def _byte_plane(typingctx, codes, start, limit, bit):
    """64 bytes to one word: bit k is ``codes[start + k] >= limit``, or with ``bit`` 1, whether it shares a bit with
    ``limit``."""
    kind = ir.VectorType(_I8, 64)

    def generate(context, builder, signature, args):
        x = _load(builder, args[0], args[1], kind, 1)
        limit = builder.trunc(args[2], _I8)
        undefined = ir.Constant(kind, ir.Undefined)
        first = builder.insert_element(undefined, limit, ir.Constant(_I32, 0))
        limits = builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_I32, 64), [0] * 64))
        reached = builder.icmp_unsigned(">=", x, limits)
        shared = builder.icmp_unsigned("!=", builder.and_(x, limits), _splat_constant(kind, 0))
        return builder.select(builder.icmp_signed("!=", args[3], _i64(0)), builder.bitcast(shared, _I64),
                              builder.bitcast(reached, _I64))

    return types.uint64(codes, types.int64, types.int64, types.int64), generate


byte_plane: Any = intrinsic(_byte_plane)  # callable in compiled code only, without the first argument
