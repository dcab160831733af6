"""The compiled engine: numba kernels for whatever vector instructions the processor has."""

import numpy as np
from numpy.typing import NDArray

from hwbnn.infer.cpu import kernels
from hwbnn.infer.cpu.host import variant
from hwbnn.infer.weights import Weights, pad_columns

__all__ = ["NumbaEngine"]

_SPEED = {
    "avx512-vpopcntdq": "compiled for AVX-512 with VPOPCNTDQ",
    "avx512": "compiled for AVX-512 without VPOPCNTDQ, with carry-save counting",
    "avx2": "compiled for AVX2 with carry-save counting",
    "portable": "compiled for a processor without AVX2",
}


def _aligned(array: NDArray) -> NDArray:
    """A contiguous copy that begins at a cache line: vectors that straddle lines cost two loads."""
    room = np.empty(array.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64
    copy = room[start:start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


class NumbaEngine:
    """Operations of :class:`hwbnn.infer.engine.Engine` on compiled kernels."""

    name = "numba"

    def __init__(self):
        self.variant = variant()
        self.speed = _SPEED[self.variant]

    def prepare(self, weights: Weights) -> None:
        """Order words in panels (outputs / W, words, sign then mask, W) of W columns, a tile's width."""
        width = (kernels.PLAIN if weights.mask is None else kernels.MASKED).columns
        sources = [weights.sign] if weights.mask is None else [weights.sign, weights.mask]
        outputs, words = weights.sign.shape
        panels = np.zeros((pad_columns(outputs) // width, words, len(sources), width), np.uint64)
        for i, source in enumerate(sources):
            padded = np.zeros((pad_columns(outputs), words), np.uint64)
            padded[:outputs] = source
            panels[:, :, i] = padded.reshape(-1, width, words).transpose(0, 2, 1)
        weights.panels = _aligned(panels.ravel())

    def _call(self, plain, masked, a, weights, *rest):
        a = np.ascontiguousarray(a)
        kernel = plain if weights.mask is None else masked
        kernel(a.ravel(), *a.shape[:2], weights.code.shift, a.shape[2], weights.panels, pad_columns(weights.outputs),
               *rest)

    def values(self, a, weights, bias, classes):
        columns = pad_columns(weights.outputs)
        out = np.empty((len(a), columns), np.int32)
        self._call(kernels.values_plain, kernels.values_masked, a, weights, bias.ravel(), classes * columns,
                   weights.scale, out.ravel())
        return out

    def bits(self, a, weights, limits, classes):
        if len(limits) > 2:
            raise ValueError(f"Limits must be given for 1 or 2 planes, not {len(limits)}")
        columns = pad_columns(weights.outputs)
        out = np.empty((len(a), len(limits), columns // 64), np.uint64)
        self._call(kernels.bits_plain, kernels.bits_masked, a, weights, limits.ravel(), limits[0].size,
                   classes * columns, len(limits), out.ravel().view(np.uint8))
        return out

    def pack(self, codes, code):
        rows, columns = codes.shape
        out = np.empty((rows, code.planes, -(-columns // 64)), np.uint64)
        kernels.pack_bytes(np.ascontiguousarray(codes).ravel(), rows, columns, code.limits(),
                           int(not code.thermometer), out.ravel())
        return out

    def unpack(self, words, code, columns):
        words = np.ascontiguousarray(words)
        out = np.empty((len(words), columns), np.int32)
        kernels.unpack_codes(words.ravel(), *words.shape, columns, code.thermometer, code.levels.low,
                             code.levels.step, out.ravel())
        return out

    def reached(self, values, thresholds, signs):
        rows, columns = values.shape
        out = np.empty((rows, columns), np.uint8)
        values = values if values.flags.c_contiguous else np.ascontiguousarray(values)
        table = np.ascontiguousarray(np.broadcast_to(thresholds.T, (thresholds.shape[1], columns)))
        kernels.count_reached(values.ravel(), rows, columns, columns, table,
                              np.ascontiguousarray(np.broadcast_to(signs, columns)), out.ravel())
        return out

    def gather(self, x, window):
        n, height, width, planes, words = x.shape
        rows, columns = window.size
        out = np.empty((n * rows * columns, planes, window.taps * words), np.uint64)
        kernels.gather_words(np.ascontiguousarray(x).ravel(), n, height, width, planes, words, *window.kernel,
                             *window.stride, *window.dilation, *window.padding[:2], rows, columns, out.ravel())
        return out

    def gather_numbers(self, x, window):
        n, height, width, channels = x.shape
        rows, columns = window.size
        out = np.empty((n * rows * columns, window.taps * channels), np.uint8)
        kernels.gather_bytes(np.ascontiguousarray(x).ravel(), n, height, width, channels, *window.kernel,
                             *window.stride, *window.dilation, *window.padding[:2], rows, columns, out.ravel())
        return out

    def pool(self, x, window, falling, code):
        n, height, width, planes, words = x.shape
        out = np.empty((n, *window.size, planes, words), np.uint64)
        kernels.pool_words(np.ascontiguousarray(x).ravel(), n, height, width, planes, words, *window.kernel,
                           *window.stride, *window.padding[:2], *window.size, falling, code.thermometer, out.ravel())
        return out

    def look_up(self, x, table):
        out = np.empty(x.shape, np.uint8)
        kernels.look_up(x.ravel(), table, out.ravel())
        return out

    def numbers(self, x, boundaries):
        out = np.empty(x.shape, np.uint8)
        finite = kernels.codes_of_floats(x.ravel(), boundaries, out.ravel())
        return out, bool(finite)
