"""The compiled engine: numba kernels for whatever vector instructions the processor has."""

import threading
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hwbnn.infer.cpu.host import byte_unit, variant
from hwbnn.infer.cpu.native import Recording, kernel
from hwbnn.infer.cpu.shapes import AMX_BLOCK, COLUMNS, TILES
from hwbnn.infer.host import HostEngine, pool_ones
from hwbnn.infer.program import Program
from hwbnn.infer.steps import Pack, Product, Step
from hwbnn.infer.weights import Weights, pad_columns

__all__ = ["NumbaEngine"]

_SPEED = {
    "avx512-vpopcntdq": "compiled for AVX-512 with VPOPCNTDQ",
    "avx512": "compiled for AVX-512 without VPOPCNTDQ, with carry-save counting",
    "avx2": "compiled for AVX2 with carry-save counting",
    "portable": "compiled for a processor without AVX2",
}

_BYTE_SPEED = {"amx": ", batches as bytes on AMX", "vnni": ", three and more planes as bytes with VNNI", "": ""}
# Palette 1, eight tiles of 16 rows of 64 bytes: bytes per row as uint16 at 16, rows at 48.
_AMX_TILES = np.zeros(64, np.uint8)
_AMX_TILES[0], _AMX_TILES[16:32:2], _AMX_TILES[48:56] = 1, 64, 16

_PLANES_FOR_DOT = 3  # from here on bytes multiply faster with VNNI than bits count
_ROWS_FOR_BYTES = AMX_BLOCK  # below this, blocks of rows would be mostly empty
_FEW_ROWS = 8  # up to here what Python does between kernels takes longer than to record them
_FEW_BYTES = 2**12  # up to here NumPy has looked them up before a kernel has begun
_RECORDINGS = 32  # kept by an engine; batches of other sizes, or of other networks, run unrecorded
_EXPANSION = 48  # outputs for which counting costs as much as making bytes of a row


def _aligned_empty(size: int) -> NDArray[np.uint8]:
    """Bytes that begin at a cache line: vectors that straddle lines cost two loads."""
    room = np.empty(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start:start + size]


def _gated(weights: Weights) -> bool:
    """Whether bytes need a mask: for weights of 0, or because something unknown lies behind a row's last element."""
    return weights.mask is not None or weights.layout.length % 64 != 0


def _aligned(array: NDArray) -> NDArray:
    """A contiguous copy that begins at a cache line."""
    copy = _aligned_empty(array.nbytes).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@dataclass(eq=False)
class _Run:
    """A recorded start of a program, and the arrays that it reads and writes."""

    program: Program  # keeps the key of the recording its own
    steps: list[Step]
    x: NDArray
    calls: Recording = field(default_factory=Recording)
    y: NDArray | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class NumbaEngine(HostEngine):
    """The operations on packed rows as compiled kernels.

    Parameters
    ----------
    unit : :class:`str`, optional
        How bytes are multiplied: ``amx``, ``vnni``, or an empty string to count bits always. What the processor has
        where absent.
    """

    name = "numba"

    def __init__(self, unit: str | None = None):
        self.variant = variant()
        self.byte_unit = byte_unit() if unit is None else unit
        self.speed = _SPEED[self.variant] + _BYTE_SPEED[self.byte_unit]
        self._recorded: dict[tuple, _Run] = {}

    def run(self, program: Program, x: NDArray) -> NDArray:
        if not 0 < len(x) <= _FEW_ROWS:
            return program.walk(x, self.execute)
        key = id(program), x.shape, x.dtype
        run = self._recorded.get(key)
        if run is None:
            steps = _chain(program)
            if not steps or len(self._recorded) >= _RECORDINGS:
                return program.walk(x, self.execute)
            run = self._recorded.setdefault(key, _Run(program, steps, np.array(x, order="C")))
        if not run.lock.acquire(blocking=False):  # its arrays are in use by another thread
            return program.walk(x, self.execute)
        try:
            np.copyto(run.x, x)
            if run.y is None:
                with run.calls.on():
                    run.y = self._follow(run.steps, run.x)
            else:
                run.calls.run()
            y = run.y.copy()
        finally:
            run.lock.release()
        return program.walk(y, self.execute, done=len(run.steps))

    def _follow(self, steps: list[Step], x: NDArray) -> NDArray:
        for step in steps:
            x = self.execute(step, x)
        return x

    def order(self, weights: Weights) -> None:
        """Order words in panels (outputs / W, words, sign then mask, W) of W columns, a tile's width."""
        width = TILES[self.variant][weights.mask is not None].columns
        sources = [weights.sign] if weights.mask is None else [weights.sign, weights.mask]
        outputs, words = weights.sign.shape
        panels = np.zeros((pad_columns(outputs) // width, words, len(sources), width), np.uint64)
        for i, source in enumerate(sources):
            padded = np.zeros((pad_columns(outputs), words), np.uint64)
            padded[:outputs] = source
            panels[:, :, i] = padded.reshape(-1, width, words).transpose(0, 2, 1)
        weights.panels = _aligned(panels.ravel())
        if self.byte_unit == "amx" or (self.byte_unit and weights.code.planes >= _PLANES_FOR_DOT):
            weights.bytes = self._panels_of_bytes(weights)

    def _panels_of_bytes(self, weights: Weights) -> NDArray[np.uint64]:
        """Order weights as (panel of 32 outputs, k / 4, output, 4), a multiple of 64 of k: bits of signs and masks."""
        units = weights.units.reshape(len(weights.units), weights.layout.segments, weights.layout.length)
        length = weights.layout.words_per_segment * 64
        padded = np.zeros((pad_columns(weights.outputs), weights.layout.segments, length), np.int8)
        padded[:weights.outputs, :, :weights.layout.length] = units
        panels = padded.reshape(-1, COLUMNS, weights.layout.words * 16, 4).transpose(0, 2, 1, 3)
        bits = [panels < 0, panels != 0] if _gated(weights) else [panels < 0]
        planes = [np.packbits(plane.reshape(-1, 64), axis=1, bitorder="little").view("<u8")[:, 0] for plane in bits]
        return _aligned(np.stack(planes, axis=1).astype(np.uint64).ravel())

    def _use_bytes(self, rows: int, weights: Weights) -> bool:
        """Whether bytes are quicker: they cost an expansion, and then as much as one plane of bits or less."""
        return (weights.bytes is not None and rows >= _ROWS_FOR_BYTES
                and (weights.code.planes - 0.75) * weights.outputs >= _EXPANSION)

    def values(self, a, weights, bias, classes):
        columns = pad_columns(weights.outputs)
        out = np.empty((len(a), columns), np.int32)
        if self._use_bytes(len(a), weights):
            shifted = bias.copy()
            shifted[:, :weights.outputs] += weights.scale * weights.negatives
            self._bytes("values", a, weights, shifted.astype(np.int32), classes * columns, weights.scale, out)
        else:
            self._words("values", a, weights, bias, classes * columns, weights.scale, out)
        return out

    def bits(self, a, weights, limits, classes):
        if len(limits) > 2:
            raise ValueError(f"Limits must be given for 1 or 2 planes, not {len(limits)}")
        columns = pad_columns(weights.outputs)
        out = np.empty((len(a), len(limits), columns // 64), np.uint64)
        rest = (limits[0].size, classes * columns, len(limits))
        if self._use_bytes(len(a), weights):
            shifted = limits.copy()
            shifted[..., :weights.outputs] -= weights.negatives
            self._bytes("bits", a, weights, shifted.astype(np.int32), *rest, out.view(np.uint32))
        else:
            self._words("bits", a, weights, limits, *rest, out.view(np.uint8))
        return out

    def _words(self, what, a, weights, *rest):
        if a.dtype == np.uint8:
            a = self._pack(a, weights.code, weights.layout.length)
        a = np.ascontiguousarray(a)
        kind = "plain"
        if weights.mask is not None:
            both = weights.code.planes == 2 and weights.code.thermometer and TILES[self.variant][1].words == 1
            kind = "ternary" if both else "masked"
        product = kernel(f"{what}_{kind}")
        product(a, *a.shape[:2], weights.code.shift, a.shape[2], weights.panels, pad_columns(weights.outputs), *rest)

    def _bytes(self, what, a, weights, *rest):
        rows, words = len(a), weights.layout.words
        a = np.ascontiguousarray(a)
        blocked = a.dtype == np.uint64 and self.byte_unit == "amx"
        if a.dtype == np.uint8 and a.shape[1] == words * 64 and rows % AMX_BLOCK == 0:
            room = a
        else:
            room = _aligned_empty(-(-rows // AMX_BLOCK) * AMX_BLOCK * words * 64)
            if a.dtype == np.uint8:
                kernel("rows_of_bytes")(a, rows, a.shape[1], words * 64, room)
            else:
                expand = kernel("blocks_of_words" if blocked else "rows_of_words")
                expand(a, rows, a.shape[1], weights.code.shift, words, room)
        operands = (weights.bytes, _gated(weights), pad_columns(weights.outputs),
                    np.empty(AMX_BLOCK * COLUMNS, np.int32), _aligned_empty(words * 64 * COLUMNS))
        if self.byte_unit == "amx":
            kernel(f"amx_{what}")(room, rows, words, blocked, _AMX_TILES, *operands, *rest)
        else:
            layout = weights.layout
            steps = -(-layout.length // 4) if layout.segments == 1 else words * 16
            kernel(f"dot_{what}")(room, rows, words, steps, *operands, *rest)

    def pack(self, codes, code):
        return self._pack(codes, code, codes.shape[1])

    def _pack(self, codes, code, columns):
        out = np.empty((len(codes), code.planes, -(-columns // 64)), np.uint64)
        kernel("pack_bytes")(np.ascontiguousarray(codes), len(codes), columns, codes.shape[1], np.empty(64, np.uint8),
                             code.planes, code.limits(), not code.thermometer, out)
        return out

    def unpack(self, words, code, columns):
        words = np.ascontiguousarray(words)
        out = np.empty((len(words), columns), np.int32)
        kernel("unpack_codes")(words, *words.shape, columns, code.thermometer, code.levels.low, code.levels.step, out)
        return out

    def reached(self, values, thresholds, signs):
        rows, columns = values.shape
        out = np.empty((rows, columns), np.uint8)
        table = np.ascontiguousarray(np.broadcast_to(thresholds.T, (thresholds.shape[1], columns)))
        kernel("count_reached")(np.ascontiguousarray(values, np.int32), rows, columns, columns, len(table), table,
                                np.ascontiguousarray(np.broadcast_to(signs, columns)), out)
        return out

    def gather(self, x, window):
        x, inside = window.padded(x)
        n, height, width, planes, words = x.shape
        shape = (n * inside.size[0] * inside.size[1], planes, inside.taps * words)
        out = np.empty(int(np.prod(shape)) + 1, np.uint64)
        x = np.ascontiguousarray(x)
        if planes == 1 and inside.dilation[1] == 1:
            self._runs("gather_runs_of_words", x, inside, words, shape[2], out)
        else:
            kernel("gather_words")(x, n, height, width, planes, words, *inside.kernel, *inside.stride, *inside.dilation,
                                   *inside.size, out)
        return out[:-1].reshape(shape)

    def gather_numbers(self, x, window):
        x, inside = window.padded(x)
        n, height, width, channels = x.shape
        count, words = n * inside.size[0] * inside.size[1], -(-inside.taps * channels // 64)
        out = _aligned_empty(count * words * 64 + 15)
        x = np.ascontiguousarray(x)
        if inside.dilation[1] == 1:
            self._runs("gather_runs_of_bytes", x, inside, channels, words * 64, out)
        else:
            kernel("gather_bytes")(x, n, height, width, channels, *inside.kernel, *inside.stride, *inside.dilation,
                                   *inside.size, words * 64, out)
        return out[:count * words * 64].reshape(count, -1)

    @staticmethod
    def _runs(name, x, inside, unit, row_size, out):
        kernel(name)(x, x.size, len(x), inside.height, inside.width, unit, inside.kernel[0], inside.kernel[1] * unit,
                     *inside.stride, inside.dilation[0], *inside.size, row_size, out)

    def pool(self, x, window, falling, code):
        if code.thermometer:
            return pool_ones(x, window, falling)
        n, height, width, planes, words = x.shape
        out = np.empty((n, *window.size, planes, words), np.uint64)
        kernel("pool_binary")(np.ascontiguousarray(x), n, height, width, planes, words, *window.kernel, *window.stride,
                              *window.padding[:2], *window.size, falling, out)
        return out

    def look_up(self, x, table):
        if x.size < _FEW_BYTES:
            return table.take(x)
        out = np.empty(x.shape, np.uint8)
        kernel("look_up")(np.ascontiguousarray(x), x.size, table, out)
        return out

    def numbers(self, x, boundaries):
        out, finite = np.empty(x.shape, np.uint8), np.empty(1, np.uint8)
        kernel("codes_of_floats")(np.ascontiguousarray(x), x.size, len(boundaries), boundaries, out, finite)
        return out, bool(finite[0])


def _chain(program: Program) -> list[Step]:
    """The steps at the start of ``program`` that kernels alone carry out, each on what the one before it wrote.

    None but the last one's result is read by the steps that follow.
    """
    chain: list[Step] = []
    reads = program.entry
    for step in program.steps:
        only = isinstance(step, Pack) or (isinstance(step, Product) and step.window is None and step.weights.parts == 1
                                          and (step.fused or step.thresholds is None))
        if not only or step.reads != (reads,):
            break
        chain.append(step)
        reads = step.writes
    while chain:
        inner = {program.entry, *(step.writes for step in chain[:-1])}
        if program.output not in inner and not any(inner & set(step.reads) for step in program.steps[len(chain):]):
            break
        chain.pop()
    return chain
