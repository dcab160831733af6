"""Steps on the host: what NumPy arrays become, in terms of a few operations on packed rows."""

import numpy as np
from numpy.typing import NDArray

from hwbnn import golden, ir
from hwbnn.infer import steps
from hwbnn.infer.code import Code
from hwbnn.infer.program import Program
from hwbnn.infer.weights import Weights
from hwbnn.infer.windows import Window

__all__ = ["HostEngine", "pool_ones"]

Words = NDArray[np.uint64]
_BLOCK_WORDS = 2**16  # words of windows gathered at a time: 512 KiB stay in the second-level cache


class HostEngine:
    """Run steps on NumPy arrays; a subclass brings the operations on packed rows.

    A packed vector is uint64 of shape (N, planes, words), a packed feature map (N, height, width, planes, words).
    """

    name = "host"
    speed = ""
    device = "cpu"
    batch_bytes = 2**23
    parallel = True

    def prepare(self, step: steps.Product) -> None:
        self.order(step.weights)

    def run(self, program: Program, x: NDArray) -> NDArray:
        return program.walk(x, self.execute)

    def execute(self, step: steps.Step, *inputs: NDArray) -> NDArray:
        x = inputs[0]
        match step:
            case steps.Product():
                return self._product(step, x)
            case steps.Quantize():
                rows = x.reshape(-1, x.shape[-1])
                return self.reached(np.ascontiguousarray(rows), step.thresholds, step.signs).reshape(x.shape)
            case steps.Pool():
                return self.pool(x, step.window, step.falling, step.code)
            case steps.Flatten():
                planes, words = x.shape[-2:]
                return x.reshape(len(x), -1, planes, words).transpose(0, 2, 1, 3).reshape(len(x), planes, -1)
            case steps.Spread():
                return x.reshape(len(x), 1, 1, *x.shape[1:])
            case steps.Pack():
                packed = self.pack(x.reshape(-1, x.shape[-1]), step.code)
                return packed.reshape(*x.shape[:-1], *packed.shape[1:])
            case steps.Number():
                return step.code.numbers(x)
            case steps.Unpack():
                return self._unpack(step, x)
            case steps.Elementwise(node=ir.Add()):
                return np.add(x, inputs[1], dtype=step.dtype)
            case steps.Elementwise():
                return np.multiply(x, step.factors[0], dtype=step.dtype) + step.factors[1]
            case steps.ArgMax():
                return x.argmax(axis=-1)[..., None].astype(np.int32)
            case steps.Fallback():
                out = golden.apply(step.node, *(array.astype(np.int64) for array in inputs))
                return np.ascontiguousarray(out.astype(step.dtype))
        raise TypeError(f"Step must be one of {', '.join(steps.__all__)}, not {type(step).__name__}")

    def _product(self, step: steps.Product, x: NDArray) -> NDArray:
        if step.window is None:
            return self._rows(step, x, np.zeros(len(x), np.int64))
        size = step.window.size
        windows = size[0] * size[1]
        planes = 8 if step.from_numbers else step.weights.code.planes
        block = max(1, _BLOCK_WORDS // (windows * planes * step.weights.layout.words))
        block = block // 8 * 8 or block  # kernels like rows by the dozen
        of = np.zeros(windows, np.int64) if step.classes is None else step.classes
        classes = np.tile(of, min(block, len(x)))
        parts = []
        for start in range(0, max(len(x), 1), block):
            part = x[start:start + block]
            rows = self._windows(step, part, step.window)
            done = self._rows(step, rows, classes[:len(rows)])
            parts.append(done.reshape(len(part), *size, *done.shape[1:]))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _windows(self, step: steps.Product, x: NDArray, window: Window) -> NDArray:
        if step.from_numbers:
            return self.gather_numbers(x, window)
        if window.is_whole:
            return x.reshape(-1, *x.shape[3:])
        return self.gather(x, window)

    def _rows(self, step: steps.Product, rows: NDArray, classes: NDArray[np.int64]) -> NDArray:
        if step.fused:
            return self.bits(rows, step.weights, step.limits, classes)
        values = self.values(rows, step.weights, step.bias, classes)[:, :step.weights.outputs]
        values = step.weights.combine(values)
        if step.thresholds is None:
            return values
        assert step.signs is not None and step.out_code is not None  # unless fused
        return self.pack(self.reached(np.ascontiguousarray(values), step.thresholds, step.signs), step.out_code)

    def _unpack(self, step: steps.Unpack, x: NDArray) -> NDArray:
        levels = step.code.levels
        if x.dtype == np.uint8:
            return (x.astype(np.int32) * levels.step + levels.low).astype(steps.dtype_of(levels))
        rows = x
        if step.segments > 1:  # a flattened map: back to a row per pixel
            rows = x.reshape(len(x), x.shape[1], step.segments, -1).transpose(0, 2, 1, 3)
        channels = int(np.prod(step.shape)) // step.segments if len(step.shape) == 1 else step.shape[-1]
        flat = self.unpack(rows.reshape(-1, *rows.shape[-2:]), step.code, channels)
        return flat.reshape(len(x), *step.shape)

    # Operations on packed rows.

    def order(self, weights: Weights) -> None:
        """Bring ``weights`` into the order in which :meth:`values` and :meth:`bits` read them."""

    def values(self, a: NDArray, weights: Weights, bias: NDArray[np.int64], classes: NDArray[np.int64]) -> NDArray:
        """Dot products of the rows ``a``: int32 (R, padded outputs).

        Rows are packed, (R, planes, words), or level numbers, uint8 (R, columns or more). ``bias`` is
        (classes, padded outputs), ``classes`` (R,) the border class of each row.
        """
        raise NotImplementedError(type(self).__name__)  # every engine of the host defines it

    def bits(self, a: NDArray, weights: Weights, limits: NDArray[np.int64], classes: NDArray[np.int64]) -> Words:
        """Bits ``acc >= limits`` of the rows ``a``: (R, n, words out), for limits (n, classes, padded outputs)."""
        raise NotImplementedError(type(self).__name__)  # every engine of the host defines it

    def pack(self, codes: NDArray[np.uint8], code: Code) -> Words:
        """Level numbers (R, columns) to (R, planes, words)."""
        raise NotImplementedError(type(self).__name__)  # every engine of the host defines it

    def unpack(self, words: Words, code: Code, columns: int) -> NDArray[np.int32]:
        """Words (R, planes, words) to values (R, columns)."""
        raise NotImplementedError(type(self).__name__)  # every engine of the host defines it

    def reached(self, values: NDArray[np.int32], thresholds: NDArray[np.int64],
                signs: NDArray[np.int64]) -> NDArray[np.uint8]:
        """#{k : signs[c] * values[r, c] >= thresholds[c, k]} for at most 255 thresholds."""
        raise NotImplementedError(type(self).__name__)  # every engine of the host defines it

    def gather(self, x: Words, window: Window) -> Words:
        """Windows of a packed feature map: (N * windows, planes, taps * words), absent pixels 0."""
        raise NotImplementedError(type(self).__name__)  # every engine of the host defines it

    def gather_numbers(self, x: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
        """Windows of level numbers (N, height, width, channels): (N * windows, taps * channels), absent ones 0.

        Rows may be longer; nothing is said of what follows.
        """
        raise NotImplementedError(type(self).__name__)  # every engine of the host defines it

    def pool(self, x: Words, window: Window, falling: Words, code: Code) -> Words:
        """Maximum of each window, minimum in the channels whose bit is set in ``falling`` (words,)."""
        raise NotImplementedError(type(self).__name__)  # every engine of the host defines it

    def look_up(self, x: NDArray[np.uint8], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """table[x], of 256 entries."""
        raise NotImplementedError(type(self).__name__)  # every engine of the host defines it

    def numbers(self, x: NDArray[np.float32], boundaries: NDArray[np.float32]) -> tuple[NDArray[np.uint8], bool]:
        """#{boundary <= x} of a flat array, and whether all of it is finite."""
        raise NotImplementedError(type(self).__name__)  # every engine of the host defines it


def pool_ones(x: Words, window: Window, falling: Words) -> Words:
    """Maximum of thermometer planes: an OR; the minimum, where ``falling``, is the OR of complements."""
    turned = bool(falling.any())
    x, inside = window.padded(x ^ falling if turned else x)
    (rows, columns), (sy, sx) = inside.size, inside.stride
    out = None
    for ky in range(inside.kernel[0]):
        for kx in range(inside.kernel[1]):
            tap = x[:, ky:ky + sy * (rows - 1) + 1:sy, kx:kx + sx * (columns - 1) + 1:sx]
            out = tap.copy() if out is None else np.bitwise_or(out, tap, out=out)
    assert out is not None  # a kernel has at least one tap
    return out ^ falling if turned else out
