"""Compiled loops around the byte kernels: rows to bytes, blocks of sums, sums to bits or values."""

from hwbnn.infer.cpu.bytekernel import amx_block, amx_off, amx_on, dot_block, reached, spread, weigh
from hwbnn.infer.cpu.compiler import I32, I64, U8, U32, U64, helper, kernel
from hwbnn.infer.cpu.shapes import AMX_BLOCK, COLUMNS, DOT_ROWS

__all__ = ["amx_bits", "amx_values", "blocks_of_words", "dot_bits", "dot_values", "rows_of_bytes", "rows_of_words"]


@kernel(a=U64, out=U8)
def rows_of_words(a, rows, planes, shift, words, out):
    """Level numbers of packed rows: out[r, 64 * w + k]."""
    for r in range(rows):
        for w in range(words):
            spread(a, r * planes * words + w, words, planes, shift, out, (r * words + w) * 64)


@kernel(a=U64, out=U8)
def blocks_of_words(a, rows, planes, shift, words, out):
    """The same in blocks of 16 rows: out[r // 16, w, r % 16, k]."""
    for r in range(rows):
        for w in range(words):
            to = (((r >> 4) * words + w) * 16 + (r & 15)) * 64
            spread(a, r * planes * words + w, words, planes, shift, out, to)


@kernel(a=U8, out=U8)
def rows_of_bytes(a, rows, columns, stride, out):
    """Rows of ``columns`` bytes ``stride`` bytes apart; what lies between meets weights of 0."""
    for r in range(rows):
        for k in range(columns):
            out[r * stride + k] = a[r * columns + k]


@helper
def _to_bits(sums, count, row, panel, limits, t_plane, t_row, planes_out, out, wide):
    for m in range(count):
        for i in range(planes_out):
            start = i * t_plane + t_row[row + m] + panel * COLUMNS
            out[((row + m) * planes_out + i) * wide + panel] = reached(sums, m * COLUMNS, limits, start)


@helper
def _to_values(sums, count, row, panel, bias, t_row, scale, out, columns):
    for m in range(count):
        start, to = t_row[row + m] + panel * COLUMNS, (row + m) * columns + panel * COLUMNS
        for k in range(COLUMNS):
            out[to + k] = bias[start + k] + scale * sums[m * COLUMNS + k]


@helper
def _panel(b, panel, words, masked, out):
    """Weights of a panel as bytes (k / 4, column, 4): kept as bits, they take an eighth of the way from memory."""
    vectors = words * COLUMNS
    planes = 2 if masked else 1
    for v in range(vectors):
        weigh(b, (panel * vectors + v) * planes, planes - 1, out, v * 64)


@kernel(a=U8, b=U64, limits=I32, t_row=I64, sums=I32, room=U8, out=U32)
def dot_bits(a, rows, words, steps, b, masked, columns, sums, room, limits, t_plane, t_row, planes_out, out):
    """Bit n of plane i of row r is acc >= limits[i * t_plane + t_row[r] + n]; ``out`` counts 32-bit words.

    The first 4 * ``steps`` bytes of a row of 64 * ``words`` count, which spares short rows the zeros behind them.
    ``a`` is readable for DOT_ROWS rows more than there are; ``sums`` has room for a block of rows by COLUMNS, ``room``
    for a panel of weights, 64 * words * COLUMNS.
    """
    for panel in range(columns // COLUMNS):
        _panel(b, panel, words, masked, room)
        for row in range(0, rows, DOT_ROWS):
            dot_block(a, row * words * 64, words * 64, room, 0, steps, sums)
            _to_bits(sums, min(DOT_ROWS, rows - row), row, panel, limits, t_plane, t_row, planes_out, out,
                     columns // COLUMNS)


@kernel(a=U8, b=U64, bias=I32, t_row=I64, sums=I32, room=U8, out=I32)
def dot_values(a, rows, words, steps, b, masked, columns, sums, room, bias, t_row, scale, out):
    """out[r, n] = bias[t_row[r] + n] + scale * acc, int32."""
    for panel in range(columns // COLUMNS):
        _panel(b, panel, words, masked, room)
        for row in range(0, rows, DOT_ROWS):
            dot_block(a, row * words * 64, words * 64, room, 0, steps, sums)
            _to_values(sums, min(DOT_ROWS, rows - row), row, panel, bias, t_row, scale, out, columns)


@kernel(a=U8, b=U64, limits=I32, t_row=I64, config=U8, sums=I32, room=U8, out=U32)
def amx_bits(a, rows, words, blocked, config, b, masked, columns, sums, room, limits, t_plane, t_row, planes_out, out):
    """As :func:`dot_bits`. Rows are padded to pairs of 16, and ``blocked`` (block, word, row, 64 bytes) or plain."""
    stride, forward = (64, 1024) if blocked else (words * 64, 64)
    amx_on(config)
    for panel in range(columns // COLUMNS):
        _panel(b, panel, words, masked, room)
        for row in range(0, rows, AMX_BLOCK):
            amx_block(a, row * words * 64, stride, forward, 16 * words * 64, room, 0, words, sums)
            _to_bits(sums, min(AMX_BLOCK, rows - row), row, panel, limits, t_plane, t_row, planes_out, out,
                     columns // COLUMNS)
    amx_off()


@kernel(a=U8, b=U64, bias=I32, t_row=I64, config=U8, sums=I32, room=U8, out=I32)
def amx_values(a, rows, words, blocked, config, b, masked, columns, sums, room, bias, t_row, scale, out):
    """As :func:`dot_values`, with the rows of :func:`amx_bits`."""
    stride, forward = (64, 1024) if blocked else (words * 64, 64)
    amx_on(config)
    for panel in range(columns // COLUMNS):
        _panel(b, panel, words, masked, room)
        for row in range(0, rows, AMX_BLOCK):
            amx_block(a, row * words * 64, stride, forward, 16 * words * 64, room, 0, words, sums)
            _to_values(sums, min(AMX_BLOCK, rows - row), row, panel, bias, t_row, scale, out, columns)
    amx_off()
