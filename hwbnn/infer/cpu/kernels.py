"""Compiled loops over packed arrays: panels and rows around the micro-kernel, packing, gathering, pooling.

Every function works on flat arrays, given by pointers, and knows nothing of networks;
:class:`hwbnn.infer.cpu.NumbaEngine` gives them shapes.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from hwbnn.infer.cpu.bytekernel import copy16
from hwbnn.infer.cpu.compiler import F32, I32, I64, U8, U64, helper, kernel
from hwbnn.infer.cpu.host import variant
from hwbnn.infer.cpu.microkernel import byte_plane, product_kernel
from hwbnn.infer.cpu.shapes import TILES, Tile

PLAIN, MASKED = TILES[variant()]


def _products(kind: str, tile: Tile, **options: bool) -> None:
    """Make the kernels ``values_<kind>`` and ``bits_<kind>``: panels of weights outside, rows inside.

    values: out[r, n] = bias[t_row[r] + n] + scale * acc, int32; ``columns`` counts padding.
    bits: bit n of plane i of row r is acc >= limits[i * t_plane + t_row[r] + n]; ``out`` counts bytes.
    """
    single = Tile(1, tile.vectors, tile.words)  # for rows that are left over, and for one image
    tile_values, tile_bit, tile_two = (product_kernel(tile, planes_out=n, **options) for n in range(3))
    row_values, row_bit, row_two = (product_kernel(single, planes_out=n, **options) for n in range(3))
    width, height, per_word = tile.columns, tile.rows, tile.columns * (2 if options["masked"] else 1)

    def values(a, rows, planes, shift, words, b, columns, bias, t_row, scale, out):
        stride = planes * words
        for p in range(columns // width):
            b0, m = p * words * per_word, 0
            while m + height <= rows:
                tile_values(a, m * stride, stride, words, planes, shift, words, b, b0, bias, p * width, 0, t_row, m,
                            scale, out, m * columns + p * width, columns, 0)
                m += height
            while m < rows:
                row_values(a, m * stride, stride, words, planes, shift, words, b, b0, bias, p * width, 0, t_row, m,
                           scale, out, m * columns + p * width, columns, 0)
                m += 1

    def bits(a, rows, planes, shift, words, b, columns, limits, t_plane, t_row, planes_out, out):
        stride, wide = planes * words, columns // 8
        for p in range(columns // width):
            b0, at, m = p * words * per_word, p * (width // 8), 0
            while m + height <= rows:
                if planes_out == 1:
                    tile_bit(a, m * stride, stride, words, planes, shift, words, b, b0, limits, p * width, t_plane,
                             t_row, m, 1, out, m * wide + at, wide, wide)
                else:
                    tile_two(a, m * stride, stride, words, planes, shift, words, b, b0, limits, p * width, t_plane,
                             t_row, m, 1, out, m * 2 * wide + at, 2 * wide, wide)
                m += height
            while m < rows:
                if planes_out == 1:
                    row_bit(a, m * stride, stride, words, planes, shift, words, b, b0, limits, p * width, t_plane,
                            t_row, m, 1, out, m * wide + at, wide, wide)
                else:
                    row_two(a, m * stride, stride, words, planes, shift, words, b, b0, limits, p * width, t_plane,
                            t_row, m, 1, out, m * 2 * wide + at, 2 * wide, wide)
                m += 1

    kernel(f"values_{kind}", a=U64, b=U64, bias=I64, t_row=I64, out=I32)(values)
    kernel(f"bits_{kind}", a=U64, b=U64, limits=I64, t_row=I64, out=U8)(bits)


_products("plain", PLAIN, masked=False)  # bipolar weights
_products("masked", MASKED, masked=True)  # ternary ones
_products("ternary", MASKED, masked=True, both=True)  # ternary ones, ternary activations


@kernel(codes=U8, edge=U8, limits=I64, out=U64)
def pack_bytes(codes, rows, columns, row_bytes, edge, planes, limits, by_bit, out):
    """out[r, i, w]: bit k is ``codes[r, 64 w + k] >= limits[i]``, or shares a bit with it; 0 beyond ``columns``.

    Rows begin ``row_bytes`` apart; ``edge`` is room for 64 bytes.
    """
    words = (columns + 63) // 64
    rest = columns - (words - 1) * 64
    keep = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - rest)
    for k in range(64):
        edge[k] = 0
    for r in range(rows):
        start = r * row_bytes
        for k in range(rest):
            edge[k] = codes[start + (words - 1) * 64 + k]
        for i in range(planes):
            to = (r * planes + i) * words
            for w in range(words - 1):
                out[to + w] = byte_plane(codes, start + w * 64, limits[i], by_bit)
            out[to + words - 1] = byte_plane(edge, 0, limits[i], by_bit) & keep


@kernel(values=I32, thresholds=I64, signs=I64, out=U8)
def count_reached(values, rows, columns, stride, count, thresholds, signs, out):
    """out[r, c] = #{k < count : signs[c] * values[r, c] >= thresholds[k, c]}, at most 255, as a byte."""
    for r in range(rows):
        for c in range(columns):
            out[r * columns + c] = 0
        for k in range(count):
            for c in range(columns):
                reached = np.int64(values[r * stride + c]) * signs[c] >= thresholds[k * columns + c]
                out[r * columns + c] += np.uint8(reached)


@kernel(words=U64, out=I32)
def unpack_codes(words, rows, planes, per_row, columns, thermometer, low, step, out):
    """out[r, c] = low + step * code, from planes of bits, most significant first or thermometer."""
    for r in range(rows):
        for c in range(columns):
            code = 0
            for i in range(planes):
                bit = (words[(r * planes + i) * per_row + (c >> 6)] >> np.uint64(c & 63)) & np.uint64(1)
                code = (code if thermometer else code << 1) + np.int64(bit)
            out[r * columns + c] = low + step * code


@helper
def _gather_runs(x, size, n, height, width, unit, kernel_y, run, stride_y, stride_x, dilation_y, rows_y, rows_x,
                 row_size, chunk, out):
    full = run // chunk * chunk
    whole = -(-run // chunk) * chunk
    for image in range(n):
        for y in range(rows_y):
            for ky in range(kernel_y):
                source = (image * height + y * stride_y + ky * dilation_y) * width * unit
                to = (image * rows_y + y) * rows_x * row_size + ky * run
                fits = ky + 1 < kernel_y or ky * run + whole <= row_size
                for _ in range(rows_x):
                    if fits and source + whole <= size:
                        for k in range(0, run, chunk):
                            copy16(x, source + k, out, to + k)
                    else:
                        for k in range(0, full, chunk):
                            copy16(x, source + k, out, to + k)
                        for k in range(full, run):
                            out[to + k] = x[source + k]
                    source += stride_x * unit
                    to += row_size


@kernel(x=U64, out=U64)
def gather_runs_of_words(x, size, n, height, width, unit, kernel_y, run, stride_y, stride_x, dilation_y, rows_y, rows_x,
                         row_size, out):
    """Windows that lie inside: out[row, (ky, run)], with pixels of ``unit`` elements and rows ``row_size`` apart.

    The pixels of a window's row lie side by side, ``run`` elements. They are copied 16 bytes at a time; what is written
    too much is overwritten by the next run, and the last run of a full row is cut to measure. At most 15 bytes beyond
    the last row are written, none beyond ``size`` elements of ``x`` are read.
    """
    _gather_runs(x, size, n, height, width, unit, kernel_y, run, stride_y, stride_x, dilation_y, rows_y, rows_x,
                 row_size, 2, out)


@kernel(x=U8, out=U8)
def gather_runs_of_bytes(x, size, n, height, width, unit, kernel_y, run, stride_y, stride_x, dilation_y, rows_y, rows_x,
                         row_size, out):
    """As :func:`gather_runs_of_words`, for level numbers."""
    _gather_runs(x, size, n, height, width, unit, kernel_y, run, stride_y, stride_x, dilation_y, rows_y, rows_x,
                 row_size, 16, out)


@kernel(x=U64, out=U64)
def gather_words(x, n, height, width, planes, words, kernel_y, kernel_x, stride_y, stride_x, dilation_y, dilation_x,
                 rows_y, rows_x, out):
    """Windows that lie inside, of packed pixels with several planes: out[n, y, x, plane, (ky, kx, word)]."""
    pixel, to = planes * words, 0
    for image in range(n):
        for y in range(rows_y):
            for x_ in range(rows_x):
                for i in range(planes):
                    for ky in range(kernel_y):
                        source = (image * height + y * stride_y + ky * dilation_y) * width + x_ * stride_x
                        at = source * pixel + i * words
                        for _ in range(kernel_x):
                            for w in range(words):
                                out[to + w] = x[at + w]
                            at += dilation_x * pixel
                            to += words


@kernel(x=U8, out=U8)
def gather_bytes(x, n, height, width, channels, kernel_y, kernel_x, stride_y, stride_x, dilation_y, dilation_x, rows_y,
                 rows_x, row_bytes, out):
    """Windows that lie inside, of level numbers, ``row_bytes`` apart: out[row, (ky, kx, channel)]."""
    row = 0
    for image in range(n):
        for y in range(rows_y):
            for x_ in range(rows_x):
                to = row * row_bytes
                row += 1
                for ky in range(kernel_y):
                    source = (image * height + y * stride_y + ky * dilation_y) * width + x_ * stride_x
                    for kx in range(kernel_x):
                        for c in range(channels):
                            out[to + c] = x[(source + kx * dilation_x) * channels + c]
                        to += channels


@kernel(x=U64, falling=U64, out=U64)
def pool_binary(x, n, height, width, planes, words, kernel_y, kernel_x, stride_y, stride_x, top, left, rows_y, rows_x,
                falling, out):
    """Maximum of each window of binary planes, most significant first, compared in bit-slices.

    The minimum where a bit of ``falling`` is set; pixels outside are left out.
    """
    pixel = planes * words
    for image in range(n):
        for y in range(rows_y):
            for x_ in range(rows_x):
                to = ((image * rows_y + y) * rows_x + x_) * pixel
                first = True
                for ky in range(kernel_y):
                    yy = y * stride_y - top + ky
                    if yy < 0 or yy >= height:
                        continue
                    for kx in range(kernel_x):
                        xx = x_ * stride_x - left + kx
                        if xx < 0 or xx >= width:
                            continue
                        at = ((image * height + yy) * width + xx) * pixel
                        if first:
                            for j in range(pixel):
                                out[to + j] = x[at + j]
                            first = False
                            continue
                        for w in range(words):
                            equal, greater = ~np.uint64(0), np.uint64(0)
                            for i in range(planes):
                                a, b = out[to + i * words + w], x[at + i * words + w]
                                greater |= equal & b & ~a
                                equal &= ~(a ^ b)
                            take = (greater & ~falling[w]) | (~greater & ~equal & falling[w])
                            for i in range(planes):
                                a, b = out[to + i * words + w], x[at + i * words + w]
                                out[to + i * words + w] = (a & ~take) | (b & take)


@kernel(x=U8, table=U8, out=U8)
def look_up(x, count, table, out):
    """out = table[x] for bytes; a step function of one or two steps, the usual case, is compared, not looked up."""
    first, second, steps, falls = 256, 256, 0, False
    for k in range(1, 256):
        if table[k] != table[k - 1]:
            steps += 1
            falls |= table[k] != table[k - 1] + 1
            if steps == 1:
                first = k
            elif steps == 2:
                second = k
    if steps <= 2 and not falls:
        low = table[0]
        for k in range(count):
            out[k] = low + np.uint8(x[k] >= first) + np.uint8(x[k] >= second)
    else:
        for k in range(count):
            out[k] = table[x[k]]


@kernel(x=F32, boundaries=F32, out=U8, finite=U8)
def codes_of_floats(x, count, steps, boundaries, out, finite):
    """out[k] = #{x[k] >= boundary}, at most 255 boundaries; finite[0] = 0 where a value is not finite."""
    fine = True
    for k in range(count):
        value = x[k]
        fine &= np.isfinite(value)
        if steps <= 4:
            code = 0
            for i in range(steps):
                code += value >= boundaries[i]
        else:
            low, high = 0, steps
            while low < high:
                middle = (low + high) >> 1
                if value >= boundaries[middle]:
                    low = middle + 1
                else:
                    high = middle
            code = low
        out[k] = code
    finite[0] = fine


def _call(typingctx, address, sink, table):
    """Call the kernel at ``address`` with the table at ``table``."""
    def generate(context, builder, signature, args):
        pointer = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.IntType(32), [pointer, pointer, ir.IntType(64).as_pointer()])
        room = builder.bitcast(args[1], pointer)
        builder.call(builder.inttoptr(args[0], kind.as_pointer()),
                     [room, room, builder.inttoptr(args[2], ir.IntType(64).as_pointer())])
        return context.get_dummy_value()

    return types.void(types.int64, sink, types.int64), generate


call: Any = intrinsic(_call)  # callable in compiled code only, without the first argument


@kernel(calls=I64, sink=I64)
def replay(calls, count, sink):
    """Carry out calls[k] = (address of a kernel, address of its table), in order."""
    for k in range(count):
        call(calls[2 * k], sink, calls[2 * k + 1])
