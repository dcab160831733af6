"""The operations on packed rows in NumPy: exact, slow, always there."""

import numpy as np
from numpy.typing import NDArray

from hwbnn.infer.host import HostEngine, pool_ones
from hwbnn.infer.weights import Weights, pad_columns
from hwbnn.infer.windows import Window

__all__ = ["NumpyEngine"]


class NumpyEngine(HostEngine):
    """Everything in NumPy. About fifty times slower than the compiled engine."""

    name = "numpy"
    speed = "NumPy without numba, about 0.1 Top/s, some 50 times slower than compiled: pip install 'hwbnn[cpu]'"
    _rows_at_once = 2**21  # words of intermediate results

    def _counts(self, a: NDArray, weights: Weights) -> NDArray[np.int64]:
        if a.dtype == np.uint8:
            a = self.pack(a, weights.code)
        rows, planes, words = a.shape
        out = np.zeros((rows, pad_columns(weights.outputs)), np.int64)
        block = max(1, self._rows_at_once // (words * weights.outputs))
        for start in range(0, rows, block):
            part = a[start:start + block]
            total = np.zeros((len(part), weights.outputs), np.int64)
            for plane in range(planes):
                live = part[:, None, plane, :] ^ weights.sign[None]
                if weights.mask is not None:
                    live &= weights.mask[None]
                total = (total << weights.code.shift) + np.bitwise_count(live).sum(axis=2, dtype=np.int64)
            out[start:start + block, :weights.outputs] = total
        return out

    def values(self, a, weights, bias, classes):
        return (bias[classes] + weights.scale * self._counts(a, weights)).astype(np.int32)

    def bits(self, a, weights, limits, classes):
        counts = self._counts(a, weights)
        planes = [np.packbits(counts >= limit[classes], axis=1, bitorder="little").view("<u8") for limit in limits]
        return np.stack(planes, axis=1).astype(np.uint64, copy=False)

    def pack(self, codes, code):
        rows, columns = codes.shape
        limits = code.limits().astype(np.uint8)[None, :, None]
        bits = codes[:, None, :] >= limits if code.thermometer else (codes[:, None, :] & limits) != 0
        room = np.zeros((rows, code.planes, -(-columns // 64) * 8), np.uint8)
        packed = np.packbits(bits, axis=2, bitorder="little")
        room[..., :packed.shape[2]] = packed
        return room.view("<u8").astype(np.uint64, copy=False)

    def unpack(self, words, code, columns):
        flat = np.ascontiguousarray(words).view(np.uint8)
        bits = np.unpackbits(flat, axis=-1, count=columns, bitorder="little").astype(np.int32)
        factors = np.ones(code.planes, np.int32) if code.thermometer else code.limits().astype(np.int32)
        return code.levels.low + code.levels.step * np.einsum("rpc,p->rc", bits, factors)

    def reached(self, values, thresholds, signs):
        signed = values * signs
        count = np.zeros(values.shape, np.uint8)
        for column in thresholds.T:
            count += signed >= column
        return count

    def gather(self, x, window):
        n, planes, words = len(x), *x.shape[-2:]
        rows, columns = window.size
        out = np.zeros((n, rows, columns, planes, window.taps, words), np.uint64)
        for tap, (ys, xs, inside_y, inside_x) in enumerate(_taps(window)):
            out[:, :, :, :, tap][:, inside_y[:, None], inside_x] = x[:, ys[:, None], xs]
        return out.reshape(n * rows * columns, planes, window.taps * words)

    def gather_numbers(self, x, window):
        n, channels = len(x), x.shape[-1]
        out = np.zeros((n, *window.size, window.taps, channels), np.uint8)
        for tap, (ys, xs, inside_y, inside_x) in enumerate(_taps(window)):
            out[:, :, :, tap][:, inside_y[:, None], inside_x] = x[:, ys[:, None], xs]
        return out.reshape(-1, window.taps * channels)

    def pool(self, x, window, falling, code):
        if code.thermometer:
            return pool_ones(x, window, falling)
        n, _, _, planes, words = x.shape
        out = np.zeros((n, *window.size, planes, words), np.uint64)
        seen = np.zeros(window.size, bool)
        for ys, xs, inside_y, inside_x in _taps(window):
            at = (slice(None), inside_y[:, None], inside_x)
            a, b = out[at], x[:, ys[:, None], xs]
            equal, greater = np.full_like(a[..., 0, :], ~np.uint64(0)), np.zeros_like(a[..., 0, :])
            for plane in range(planes):
                greater |= equal & b[..., plane, :] & ~a[..., plane, :]
                equal &= ~(a[..., plane, :] ^ b[..., plane, :])
            take = ((greater & ~falling) | (~greater & ~equal & falling))[..., None, :]
            fresh = ~seen[inside_y[:, None], inside_x][None, :, :, None, None]
            out[at] = np.where(fresh, b, (a & ~take) | (b & take))
            seen[inside_y[:, None], inside_x] = True
        return out

    def look_up(self, x, table):
        return table[x]

    def numbers(self, x, boundaries):
        return np.searchsorted(boundaries, x, side="right").astype(np.uint8), bool(np.isfinite(x).all())


def _taps(window: Window):
    """Per tap: the source rows and columns, and the windows that have them inside the feature map."""
    size = window.size
    for ky in range(window.kernel[0]):
        ys = np.arange(size[0]) * window.stride[0] - window.padding[0] + ky * window.dilation[0]
        inside_y = np.flatnonzero((ys >= 0) & (ys < window.height))
        for kx in range(window.kernel[1]):
            xs = np.arange(size[1]) * window.stride[1] - window.padding[1] + kx * window.dilation[1]
            inside_x = np.flatnonzero((xs >= 0) & (xs < window.width))
            yield ys[inside_y], xs[inside_x], inside_y, inside_x
