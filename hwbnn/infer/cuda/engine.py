"""Steps on a GPU. The engine knows shapes and orders launches; the driver knows the device."""

import sys
import threading
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hwbnn import golden, ir
from hwbnn.errors import UserError
from hwbnn.infer import steps
from hwbnn.infer.code import Code, Layout
from hwbnn.infer.cuda.array import DeviceArray
from hwbnn.infer.cuda.kernels import Tier
from hwbnn.infer.engine import Engine
from hwbnn.infer.program import Program
from hwbnn.infer.weights import Weights, pad_columns
from hwbnn.infer.windows import Window

__all__ = ["CudaEngine", "Driver"]

_STAGE = 16  # 64-bit words of a row are padded to 1024 bits
_FEW_ROWS = 8  # up to here ordinary cores are as quick as tensor cores: weights are read once
_THREADS = 256
_WARP_COLUMNS = 32


class Driver(Protocol):
    """What the engine asks of a device. Everything is ordered on one stream."""

    tier: Tier
    title: str
    processors: int  # streaming multiprocessors

    def allocate(self, size: int) -> Any:
        """Memory of ``size`` bytes; its ``handle`` is the address, and it lives as long as the object."""
        ...

    def upload(self, memory: Any, host: NDArray) -> None: ...

    def download(self, memory: Any, host: NDArray) -> None:
        """Copy to ``host`` and wait until it is there."""
        ...

    def launch(self, kernel: str, grid: tuple[int, int], threads: int, *args: Any) -> None:
        """Run a kernel; arguments are memories, NumPy scalars of the parameter's width, or tensor maps."""
        ...

    def tensor_map(self, memory: Any, rows: int, row_bytes: int, box_rows: int) -> Any:
        """Descriptor of (rows, row_bytes) bytes in boxes of 128 bytes and ``box_rows`` rows, 128-byte swizzled."""
        ...

    def enter(self) -> None:
        """Make the device this thread's; called before anything else is asked for."""
        ...

    def trial(self, kernel: str) -> str:
        """``exact``, or what came of trying a product kernel where it can do no harm."""
        ...

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Capture what ``work`` launches; return what launches all of it at once."""
        ...


class CudaEngine:
    """Run steps on the device of ``driver``.

    Parameters
    ----------
    driver : :class:`hwbnn.infer.cuda.driver.Driver`
    host : :class:`hwbnn.infer.engine.Engine`
        Encodes images and serves operations that have no kernel.
    """

    name = "cuda"
    device = "cuda"
    batch_bytes = 2**29
    parallel = False

    def __init__(self, driver: Driver, host: Engine):
        self.driver, self.host = driver, host
        self._lock = threading.RLock()  # one stream, and one set of recorded arrays
        self._constants: dict[tuple[int, str], tuple[Any, DeviceArray]] = {}
        self._reserve: list[DeviceArray] | None = None  # memory of a recorded run, in order
        self._record: list[DeviceArray] | None = None
        self._graphs: dict[tuple, tuple] = {}
        self.products = self._proven(driver.tier.products)
        self.speed = f"{driver.title}, {' and '.join(self.products)}"

    # Memory.

    def _empty(self, shape: tuple[int, ...], dtype: Any) -> DeviceArray:
        kind = np.dtype(dtype)
        if self._reserve is not None:
            return self._reserve.pop(0)
        size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        array = DeviceArray(self.driver.allocate(size), tuple(shape), kind)
        if self._record is not None:
            self._record.append(array)
        return array

    def _upload(self, host: NDArray) -> DeviceArray:
        array = DeviceArray(self.driver.allocate(host.nbytes), host.shape, host.dtype)
        self.driver.upload(array.memory, host)
        return array

    def _constant(self, owner: Any, what: str, make: Callable[[], NDArray]) -> DeviceArray:
        """A host array of ``owner`` on the device, sent once."""
        key = (id(owner), what)
        if key not in self._constants:
            self._constants[key] = owner, self._upload(np.ascontiguousarray(make()))
        return self._constants[key][1]

    def run(self, program: Program, x: NDArray) -> NDArray:
        x = np.ascontiguousarray(x)
        with self._lock:
            self.driver.enter()
            if 0 < len(x) <= _FEW_ROWS and not any(_on_host(step) for step in program.steps):
                return self._replay(program, x)
            return self._leave(program.walk(self._upload(x), self.execute))

    def _replay(self, program: Program, x: NDArray) -> NDArray:
        """Run a small batch as one graph: its launches cost more than its work. Memory is kept from the first run."""
        key = (id(program), x.shape, x.dtype)
        if key not in self._graphs:
            first = self._upload(x)
            self._record = kept = []
            try:
                program.walk(first, self.execute)
            finally:
                self._record = None
            self._reserve = list(kept)
            ends: list[DeviceArray] = []
            try:
                launch = self.driver.record(lambda: ends.append(program.walk(first, self.execute)))
            finally:
                self._reserve = None
            self._graphs[key] = launch, first, ends[0], kept, program
        launch, first, last = self._graphs[key][:3]
        self.driver.upload(first.memory, x)
        launch()
        return self._leave(last)

    def _leave(self, y: DeviceArray) -> NDArray:
        out = np.empty(y.shape, y.dtype)
        if y.size:
            self.driver.download(y.memory, out)
        return out

    def look_up(self, x, table):
        return self.host.look_up(x, table)

    def numbers(self, x, boundaries):
        return self.host.numbers(x, boundaries)

    # Launching.

    def _each(self, kernel: str, count: int, *args: Any) -> None:
        """One thread per result."""
        if count:
            blocks = int(min(-(-count // _THREADS), 2**16))
            self.driver.launch(kernel, (blocks, 1), _THREADS, *(_argument(arg) for arg in args))

    def prepare(self, step: steps.Product) -> None:
        self._columns(step.weights)

    def _columns(self, weights: Weights) -> DeviceArray:
        """Words of every output: positive weights, after negative ones where there are zeros, too."""
        def ordered() -> NDArray:
            words = weights.layout.words
            planes = [weights.layout.pack(weights.units > 0)]
            if weights.mask is not None:
                planes.insert(0, weights.sign)
            out = np.zeros((pad_columns(weights.outputs), len(planes), _padded(words)), np.uint64)
            for i, plane in enumerate(planes):
                out[:weights.outputs, i, :words] = plane
            return out
        return self._constant(weights, "columns", ordered)

    def execute(self, step: steps.Step, *inputs: DeviceArray) -> DeviceArray:
        x = inputs[0]
        match step:
            case steps.Product():
                return self._product(step, x)
            case steps.Quantize():
                return self._reached(step, x.reshape(-1, x.shape[-1])).reshape(*x.shape)
            case steps.Pool():
                return self._pool(step, x)
            case steps.Flatten():
                return self._flatten(x)
            case steps.Spread():
                return x.reshape(len(x), 1, 1, *x.shape[1:])
            case steps.Pack():
                packed = self._pack(x.reshape(-1, x.shape[-1]), step.code)
                return packed.reshape(*x.shape[:-1], *packed.shape[1:])
            case steps.Number() if x.dtype == np.int32:
                out = self._empty(x.shape, np.uint8)
                self._each("number_values", x.size, x, out, _i64(x.size), step.code.levels.low, step.code.levels.step)
                return out
            case steps.Unpack():
                return self._unpack(step, x)
            case steps.Elementwise():
                return self._elementwise(step, *inputs)
            case steps.ArgMax():
                rows = x.size // x.shape[-1]
                out = self._empty((*x.shape[:-1], 1), np.int32)
                self._each("argmax32" if x.dtype == np.int32 else "argmax64", rows, x, out, _i64(rows), x.shape[-1])
                return out
            case steps.Fallback(node=ir.SumPool()) if x.dtype == np.int32 and step.dtype is np.int32:
                return self._sum(step, x)
            case steps.Fallback(node=ir.Reshape() as node):
                return x.reshape(len(x), *node.shape)
            case steps.Fallback():
                host = [self._leave(array).astype(np.int64) for array in inputs]
                return self._upload(np.ascontiguousarray(golden.apply(step.node, *host).astype(step.dtype)))
            case steps.Number():
                return self._upload(step.code.numbers(self._leave(x)))
        raise TypeError(f"Step must be one of {', '.join(steps.__all__)}, not {type(step).__name__}")

    # Products.

    def _product(self, step: steps.Product, x: DeviceArray, kernel: str | None = None) -> DeviceArray:
        weights, code = step.weights, step.weights.code
        rows = self._rows(step, x)
        shape = (len(x),) if step.window is None else (len(x), *step.window.size)
        classes = self._classes(step, len(x))
        if step.fused:
            limits = self._constant(step, "limits", lambda: _moved(step.limits, -weights.negatives))
            planes = step.limits.shape[0]
            out = self._empty((*shape, planes, pad_columns(weights.outputs) // 64), np.uint64)
            self._multiply(rows, weights, limits, classes, None, out, planes, kernel)
            return out
        bias = self._constant(step, "bias", lambda: _moved(step.bias, weights.scale * weights.negatives))
        columns = pad_columns(weights.outputs)
        values = self._empty((len(rows), columns), np.int32)
        self._multiply(rows, weights, bias, classes, values, None, 0, kernel)
        outputs = weights.outputs // weights.parts
        joined = self._empty((*shape, outputs), np.int32)
        self._each("join_parts", len(rows) * outputs, values, joined, _i64(len(rows)), outputs, columns, weights.parts)
        if step.thresholds is None:
            return joined
        assert step.out_code is not None and code is not None  # unless fused
        packed = self._pack(self._reached(step, joined.reshape(-1, outputs)), step.out_code)
        return packed.reshape(*shape, *packed.shape[1:])

    def _rows(self, step: steps.Product, x: DeviceArray) -> DeviceArray:
        """Rows (R, planes, words padded to a stage) of every window."""
        code, words = step.weights.code, step.weights.layout.words
        room = _padded(words)
        if step.window is None and x.shape[-1] == room:
            return x
        window = step.window or Window(1, 1, (1, 1), (1, 1), (1, 1), (0, 0, 0, 0))
        count = len(x) * window.size[0] * window.size[1]
        out = self._empty((count, code.planes, room), np.uint64)
        where = self._constant(step, "window", lambda: _geometry(window))
        if step.from_numbers:
            self._each("pack_windows", out.size, x, out, where, _i64(count), x.shape[-1], code.planes, room,
                       code.thermometer)
        else:
            self._each("gather_words", out.size, x, out, where, _i64(count), code.planes, x.shape[-1], room)
        return out

    def _classes(self, step: steps.Product, images: int) -> DeviceArray:
        """Offset into limits or biases of each row's border class."""
        columns = pad_columns(step.weights.outputs)
        def offsets() -> NDArray:
            windows = 1 if step.window is None else step.window.size[0] * step.window.size[1]
            of = np.zeros(windows, np.int32) if step.classes is None else step.classes.astype(np.int32)
            return np.tile(of * columns, images).astype(np.int32)
        return self._constant(step, f"classes {images}", offsets)

    def _multiply(self, rows: DeviceArray, weights: Weights, table: DeviceArray, classes: DeviceArray,
                  values: DeviceArray | None, bits: DeviceArray | None, planes_out: int, kernel: str | None = None):
        count, planes, words = rows.shape
        if count == 0:
            return
        columns, b = pad_columns(weights.outputs), self._columns(weights)
        parts = b.shape[1]
        ones = self._empty((count,), np.int32)
        if parts == 1:
            self._each("count_rows", count, rows, ones, _i64(count), planes, words, weights.code.shift)
        kernel = kernel or (self.products[0] if count > _FEW_ROWS else "product_popc")
        t_plane = table.size // max(planes_out, 1)
        unused = values or bits  # the kernel does not touch it
        scalars = (count, columns, planes, parts, weights.code.shift, 2 * words, t_plane, weights.scale, planes_out)
        tail = [_argument(arg) for arg in (ones, table, classes, values or unused, bits or unused, *scalars)]
        if kernel == "product_wgmma":
            a_map = self.driver.tensor_map(rows.memory, count, planes * words * 8, 128)
            b_map = self.driver.tensor_map(b.memory, columns, parts * words * 8, 256)
            tiles = -(-count // 128) * -(-columns // 256)
            self.driver.launch(kernel, (min(tiles, self.driver.processors), 1), 384, a_map, b_map, *tail)
            return
        tile, threads = ((64, 64), 128) if kernel == "product_mma" else ((8, _WARP_COLUMNS), 256)
        self.driver.launch(kernel, (-(-count // tile[0]), columns // tile[1]), threads, rows.memory, b.memory, *tail)

    def _proven(self, kernels: tuple[str, ...]) -> tuple[str, ...]:
        """Those of ``kernels`` that multiply exactly on this device, by trying each on two small products."""
        self.driver.enter()
        proven = []
        for kernel in kernels:
            said = self._tried(kernel)
            if said == "exact":
                proven.append(kernel)
            else:
                print(f"hwbnn: {kernel} is not used on {self.driver.title}: {said}", file=sys.stderr)
        if not proven:
            raise UserError(f"GPU must multiply exactly, and no kernel does on {self.driver.title}")
        return tuple(proven)

    def _tried(self, kernel: str) -> str:
        """``exact``, or what is wrong with ``kernel``."""
        try:
            said = self.driver.trial(kernel)
            if said != "exact":
                return said
            exact = all(self._exact(kernel, weights) for weights in ([-1, 1], [-1, 0, 1]))
        except UserError:  # no memory: not the kernel's fault
            raise
        except Exception as error:  # whatever the driver or the compiler raise: other kernels may do
            return str(error).splitlines()[0] if str(error) else type(error).__name__
        return "exact" if exact else "it multiplies wrongly"

    def _exact(self, kernel: str, values: list[int]) -> bool:
        """Whether ``kernel`` turns ternary rows into the right values and bits, ragged on every side."""
        rng = np.random.default_rng(0)
        columns, outputs, rows = 1100, 70, 67
        code = Code(ir.TERNARY)
        weights = Weights(rng.choice(values, (outputs, 1, columns)), code, Layout(1, columns))
        x = rng.integers(-1, 2, (rows, columns))
        product = x @ weights.weights[:, 0].T
        packed = self._pack(self._upload(code.numbers(x)), code)
        limits = np.sort(rng.integers(-20, 20, (outputs, 2)), axis=1)
        dense = steps.Product((), (), "", weights, None)
        fused = steps.Product((), (), "", weights, None, limits, None, code)
        got = self._leave(self._product(dense, packed, kernel))
        unpack = steps.Unpack((), (), "", code, 1, (outputs,))
        bits = self._leave(self._unpack(unpack, self._product(fused, packed, kernel)))
        levels = (product[..., None] >= limits).sum(axis=-1) - 1
        return np.array_equal(got, product) and np.array_equal(bits, levels)

    # Everything else.

    def _pack(self, x: DeviceArray, code) -> DeviceArray:
        rows, columns = x.shape
        words = -(-columns // 64)
        out = self._empty((rows, code.planes, words), np.uint64)
        self._each("pack_bytes", out.size, x, out, _i64(rows), columns, code.planes, words, code.thermometer)
        return out

    def _reached(self, step: steps.Product | steps.Quantize, x: DeviceArray) -> DeviceArray:
        thresholds, signs = step.thresholds, step.signs
        assert thresholds is not None and signs is not None  # only steps with both come here
        rows, columns = x.shape
        count = thresholds.shape[1]
        table = self._constant(step, "thresholds", lambda: np.broadcast_to(thresholds.T, (count, columns)).copy())
        turned = self._constant(step, "signs", lambda: np.broadcast_to(signs, columns).astype(np.int32))
        out = self._empty((rows, columns), np.uint8)
        self._each("count_reached", out.size, x, table, turned, out, _i64(rows), columns, columns, count)
        return out

    def _pool(self, step: steps.Pool, x: DeviceArray) -> DeviceArray:
        planes, words = x.shape[-2:]
        rows = len(x) * step.window.size[0] * step.window.size[1]
        out = self._empty((len(x), *step.window.size, planes, words), np.uint64)
        where = self._constant(step, "window", lambda: _geometry(step.window))
        falling = self._constant(step, "falling", lambda: step.falling)
        self._each("pool_words", rows * words, x, falling, out, where, _i64(rows), planes, words, step.code.thermometer)
        return out

    def _flatten(self, x: DeviceArray) -> DeviceArray:
        planes, words = x.shape[-2:]
        pixels = int(np.prod(x.shape[1:-2]))
        if planes == 1:
            return x.reshape(len(x), 1, pixels * words)
        out = self._empty((len(x), planes, pixels * words), np.uint64)
        self._each("flatten_words", out.size, x, out, _i64(len(x)), pixels, planes, words)
        return out

    def _unpack(self, step: steps.Unpack, x: DeviceArray) -> DeviceArray:
        levels = step.code.levels
        if x.dtype == np.uint8:
            out = self._empty(x.shape, np.int32)
            self._each("value_numbers", x.size, x, out, _i64(x.size), levels.low, levels.step)
            return out
        rows = x.size // (x.shape[-1] * x.shape[-2])
        length = int(np.prod(step.shape)) // step.segments if len(step.shape) == 1 else step.shape[-1]
        out = self._empty((len(x), *step.shape), np.int32)
        self._each("unpack_words", out.size, x, out, _i64(rows), x.shape[-2], x.shape[-1], step.segments, length,
                   step.code.thermometer, levels.low, levels.step)
        return out

    def _elementwise(self, step: steps.Elementwise, *inputs: DeviceArray) -> DeviceArray:
        wide = step.dtype is np.int64
        arrays = [self._widened(x) if wide else x for x in inputs]
        out = self._empty(arrays[0].shape, step.dtype)
        suffix = "64" if wide else "32"
        if isinstance(step.node, ir.Add):
            self._each(f"add{suffix}", out.size, *arrays, out, _i64(out.size))
            return out
        factors = [self._constant(step, f"factor {k}", lambda k=k: step.factors[k]) for k in range(2)]
        self._each(f"affine{suffix}", out.size, arrays[0], *factors, out, _i64(out.size), out.shape[-1],
                   factors[0].size, factors[1].size)
        return out

    def _widened(self, x: DeviceArray) -> DeviceArray:
        if x.dtype == np.int64:
            return x
        out = self._empty(x.shape, np.int64)
        self._each("widen", x.size, x, out, _i64(x.size))
        return out

    def _sum(self, step: steps.Fallback, x: DeviceArray) -> DeviceArray:
        assert isinstance(step.node, ir.SumPool)
        window = Window.of(step.node, x.shape[1:])
        rows = len(x) * window.size[0] * window.size[1]
        out = self._empty((len(x), *window.size, x.shape[-1]), np.int32)
        where = self._constant(step, "window", lambda: _geometry(window))
        self._each("sum_windows", out.size, x, out, where, _i64(rows), x.shape[-1])
        return out


def _on_host(step: steps.Step) -> bool:
    """Whether golden carries out ``step``, between copies."""
    return isinstance(step, steps.Fallback) and not isinstance(step.node, ir.SumPool | ir.Reshape)


def _padded(words: int) -> int:
    return -(-words // _STAGE) * _STAGE


def _i64(value: int) -> np.int64:
    return np.int64(value)


def _argument(value: Any) -> Any:
    """Memory of an array, or a scalar of the width of the kernel's parameter: int32 unless it is made wider."""
    if isinstance(value, DeviceArray):
        return value.memory
    return value if isinstance(value, np.generic) else np.int32(value)


def _moved(table: NDArray[np.int64], by: NDArray[np.int64]) -> NDArray[np.int32]:
    """``table`` (..., padded outputs) plus ``by`` (outputs,), within int32."""
    out = table.copy()
    out[..., :len(by)] += by
    return np.clip(out, -(2**31), 2**31 - 1).astype(np.int32)


def _geometry(window: Window) -> NDArray[np.int32]:
    """The struct Window of steps.cu."""
    return np.array([window.height, window.width, *window.kernel, *window.stride, *window.dilation, *window.padding[:2],
                     *window.size], np.int32)
