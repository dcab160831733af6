"""Compiled loops around the byte kernels: rows to bytes, blocks of sums, sums to bits or values."""

import numpy as np

from hwbnn.infer.cpu.bytekernel import (
    AMX_BLOCK,
    COLUMNS,
    DOT_ROWS,
    amx_block,
    amx_off,
    amx_on,
    dot_block,
    reached,
    spread,
    weigh,
)
from hwbnn.infer.cpu.host import compiled

__all__ = ["CONFIG", "amx_bits", "amx_values", "blocks_of_words", "dot_bits", "dot_values",
           "rows_of_bytes", "rows_of_words"]

# Palette 1, eight tiles of 16 rows of 64 bytes: bytes per row as uint16 at 16, rows at 48.
CONFIG = np.zeros(64, np.uint8)
CONFIG[0], CONFIG[16:32:2], CONFIG[48:56] = 1, 64, 16


@compiled
def rows_of_words(a, rows, planes, shift, words, out):
    """Level numbers of packed rows: out[r, 64 * w + k]."""
    for r in range(rows):
        for w in range(words):
            spread(a, r * planes * words + w, words, planes, shift, out, (r * words + w) * 64)


@compiled
def blocks_of_words(a, rows, planes, shift, words, out):
    """The same in blocks of 16 rows: out[r // 16, w, r % 16, k]."""
    for r in range(rows):
        for w in range(words):
            to = (((r >> 4) * words + w) * 16 + (r & 15)) * 64
            spread(a, r * planes * words + w, words, planes, shift, out, to)


@compiled
def rows_of_bytes(a, rows, columns, stride, out):
    """Rows of ``columns`` bytes ``stride`` bytes apart; what lies between meets weights of 0."""
    for r in range(rows):
        for k in range(columns):
            out[r * stride + k] = a[r * columns + k]


@compiled
def _to_bits(c, count, row, panel, limits, t_plane, t_row, planes_out, out, wide):
    for m in range(count):
        for i in range(planes_out):
            start = i * t_plane + t_row[row + m] + panel * COLUMNS
            out[((row + m) * planes_out + i) * wide + panel] = reached(c, m * COLUMNS, limits, start)


@compiled
def _to_values(c, count, row, panel, bias, t_row, scale, out, columns):
    for m in range(count):
        start, to = t_row[row + m] + panel * COLUMNS, (row + m) * columns + panel * COLUMNS
        for k in range(COLUMNS):
            out[to + k] = bias[start + k] + scale * c[m * COLUMNS + k]


@compiled
def _panel(b, panel, words, masked, out):
    """Weights of a panel as bytes (k / 4, column, 4): kept as bits, they take an eighth of the way from memory."""
    vectors = words * COLUMNS
    planes = 2 if masked else 1
    for v in range(vectors):
        weigh(b, (panel * vectors + v) * planes, planes - 1, out, v * 64)


@compiled
def dot_bits(a, rows, words, b, masked, columns, limits, t_plane, t_row, planes_out, out):
    """Bit n of plane i of row r is acc >= limits[i * t_plane + t_row[r] + n]; ``out`` counts 32-bit words.

    ``a`` is readable for DOT_ROWS rows more than there are.
    """
    c, w = np.empty(DOT_ROWS * COLUMNS, np.int32), np.empty(words * 64 * COLUMNS, np.uint8)
    for panel in range(columns // COLUMNS):
        _panel(b, panel, words, masked, w)
        for row in range(0, rows, DOT_ROWS):
            dot_block(a, row * words * 64, words * 64, w, 0, words * 16, c)
            _to_bits(c, min(DOT_ROWS, rows - row), row, panel, limits, t_plane, t_row, planes_out, out,
                     columns // COLUMNS)


@compiled
def dot_values(a, rows, words, b, masked, columns, bias, t_row, scale, out):
    """out[r, n] = bias[t_row[r] + n] + scale * acc, int32."""
    c, w = np.empty(DOT_ROWS * COLUMNS, np.int32), np.empty(words * 64 * COLUMNS, np.uint8)
    for panel in range(columns // COLUMNS):
        _panel(b, panel, words, masked, w)
        for row in range(0, rows, DOT_ROWS):
            dot_block(a, row * words * 64, words * 64, w, 0, words * 16, c)
            _to_values(c, min(DOT_ROWS, rows - row), row, panel, bias, t_row, scale, out, columns)


@compiled
def amx_bits(a, rows, words, blocked, b, masked, columns, limits, t_plane, t_row, planes_out, out, config):
    """As :func:`dot_bits`. Rows are padded to pairs of 16, and ``blocked`` (block, word, row, 64 bytes) or plain."""
    c, w = np.empty(AMX_BLOCK * COLUMNS, np.int32), np.empty(words * 64 * COLUMNS, np.uint8)
    stride, forward = (64, 1024) if blocked else (words * 64, 64)
    amx_on(config)
    for panel in range(columns // COLUMNS):
        _panel(b, panel, words, masked, w)
        for row in range(0, rows, AMX_BLOCK):
            amx_block(a, row * words * 64, stride, forward, 16 * words * 64, w, 0, words, c)
            _to_bits(c, min(AMX_BLOCK, rows - row), row, panel, limits, t_plane, t_row, planes_out, out,
                     columns // COLUMNS)
    amx_off()


@compiled
def amx_values(a, rows, words, blocked, b, masked, columns, bias, t_row, scale, out, config):
    """As :func:`dot_values`, with the rows of :func:`amx_bits`."""
    c, w = np.empty(AMX_BLOCK * COLUMNS, np.int32), np.empty(words * 64 * COLUMNS, np.uint8)
    stride, forward = (64, 1024) if blocked else (words * 64, 64)
    amx_on(config)
    for panel in range(columns // COLUMNS):
        _panel(b, panel, words, masked, w)
        for row in range(0, rows, AMX_BLOCK):
            amx_block(a, row * words * 64, stride, forward, 16 * words * 64, w, 0, words, c)
            _to_values(c, min(AMX_BLOCK, rows - row), row, panel, bias, t_row, scale, out, columns)
    amx_off()
