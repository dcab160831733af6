"""A network ready to run: encode, steps, decode, in batches that bound the memory."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwbnn import golden, ir
from hwbnn.infer.encode import Encoder
from hwbnn.infer.engine import Engine
from hwbnn.infer.images import Folder, read_images
from hwbnn.infer.lower import lower
from hwbnn.infer.program import Program
from hwbnn.infer.steps import Product

__all__ = ["Session"]

_THREAD_OPS = 5e8  # operations below which a second thread costs more than it brings


class Session:
    """Run one network on many images, exactly as :mod:`hwbnn.golden` does.

    Parameters
    ----------
    net : :class:`hwbnn.ir.Network`
    engine : :class:`hwbnn.infer.engine.Engine`
        Where the packed steps run.
    threads : :class:`int`, optional
        At most so many; all cores that the process may use where absent. Batches too small to gain run on one.
    batch : :class:`int`, optional
        Images at a time per thread; chosen from the sizes of the tensors where absent.
    """

    def __init__(self, net: ir.Network, engine: Engine, *, threads: int | None = None, batch: int | None = None):
        if threads is not None and threads < 1:
            raise ValueError(f"Session threads must be at least 1, not {threads}")
        if batch is not None and batch < 1:
            raise ValueError(f"Session batch must be at least 1, not {batch}")
        self.net = net
        self.engine = engine
        self.threads = threads or _cores()
        self.program: Program = lower(net)
        self.batch = batch or _batch(net, engine.batch_bytes)
        self._encoder = Encoder(net, engine, self.program.entry)
        self._operations = 0
        for step in self.program.steps:
            if isinstance(step, Product):
                engine.prepare(step)
                windows = int(np.prod(step.window.size)) if step.window is not None else 1
                self._operations += 2 * windows * step.weights.outputs * step.weights.layout.words * 64

    @property
    def device(self) -> str:
        return self.engine.device

    @property
    def operations(self) -> int:
        """Multiplications and additions of one image in packed products, padding included."""
        return self._operations

    def run(self, x: ArrayLike | Folder, *, progress: bool = False) -> NDArray:
        """Return the graph's first output for the images ``x`` (N, *graph shape), as :func:`golden.run` does."""
        return self._gather(x, self._decode, progress)

    def classes(self, x: ArrayLike | Folder, *, progress: bool = False) -> NDArray[np.int64]:
        """Return the class of each image."""
        return golden.decide(self.net, self.run(x, progress=progress))

    def integers(self, x: ArrayLike | Folder, *, progress: bool = False) -> NDArray[np.int64]:
        """Return the integers of the first output's tensor (N, *tensor shape)."""
        return self._gather(x, lambda y: y, progress)

    def stream(self, x: NDArray | Folder) -> Iterator[NDArray]:
        """Yield the graph's output batch by batch; ``x`` may be a memory map larger than memory."""
        self._encoder.check_shape(x)
        for _, out in self._batches(x, self._decode):
            yield out

    def run_file(self, source: str | os.PathLike, target: str | os.PathLike, *, progress: bool = False) -> Path:
        """Run the images of ``source`` into the ``.npy`` file ``target``.

        ``source`` is an ``.npy`` file of any size, or a folder of pictures or such files (:class:`Folder`). Neither is
        held in memory. The target appears once it is complete.
        """
        x = read_images(source, self.net.input.graph_shape)
        self._encoder.check_shape(x)
        target = Path(target)
        part = target.with_name(f".{target.name}.part")
        shape, dtype = self._output_shape()
        try:
            out = np.lib.format.open_memmap(part, mode="w+", dtype=dtype, shape=(len(x), *shape))
            done = 0
            for count, values in _shown(self._batches(x, self._decode), len(x), progress):
                out[done:done + count] = values
                done += count
            out.flush()
            del out
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)
        return target

    def explain(self) -> list[dict[str, str]]:
        """Tell, node by node, how it runs; the first row names the engine."""
        rows = [{"node": "", "op": "engine", "how": f"{self.engine.name}: {self.engine.speed}"}]
        for step in self.program.steps:
            for k, name in enumerate(step.nodes):
                how = step.how if k == 0 else f"with {step.nodes[0]}"
                rows.append({"node": name, "op": self.net.node(name).op, "how": how})
            if not step.nodes:
                rows.append({"node": step.reads[0].rsplit(":", 1)[0], "op": "convert",
                             "how": f"{step.reads[0].rsplit(':', 1)[1]} to {step.writes.rsplit(':', 1)[1]}"})
        return rows

    def _decode(self, y: NDArray) -> NDArray:
        return golden.decode(self.net, {self.net.outputs[0].tensor: y})

    def _output_shape(self) -> tuple[tuple[int, ...], np.dtype]:
        spec = self.net.outputs[0]
        floats = spec.scale is not None or spec.values is not None
        return spec.graph_shape, np.dtype(np.float32 if floats else np.int64)

    def _gather(self, x: ArrayLike | Folder, finish: Callable[[NDArray], NDArray], progress: bool) -> NDArray:
        x = x if isinstance(x, np.ndarray | Folder) else np.asarray(x)
        self._encoder.check_shape(x)
        if not progress and len(x) <= self.batch and self._threads_for(len(x)) == 1:
            return finish(self._forward(x[:]))
        parts = [part for _, part in _shown(self._batches(x, finish), len(x), progress)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _batches(self, x: NDArray | Folder, finish: Callable[[NDArray], NDArray]) -> Iterator[tuple[int, NDArray]]:
        count = self._threads_for(len(x))
        if count == 1:
            for start in range(0, max(len(x), 1), self.batch):
                part = x[start:start + self.batch]
                yield len(part), finish(self._forward(part))
            return
        size = min(self.batch, -(-len(x) // count))
        with ThreadPoolExecutor(count) as pool:
            pending = []
            for start in range(0, len(x), size):  # a few batches ahead, no more: results must not pile up
                part = slice(start, min(start + size, len(x)))
                pending.append((part.stop - start, pool.submit(lambda part=part: finish(self._forward(x[part])))))
                if len(pending) >= 2 * count:
                    length, future = pending.pop(0)
                    yield length, future.result()
            for length, future in pending:
                yield length, future.result()

    def _threads_for(self, images: int) -> int:
        if not self.engine.parallel or images * self._operations < _THREAD_OPS:
            return 1
        return min(self.threads, images)

    def _forward(self, x: NDArray) -> NDArray:
        """The output tensor, dense, for a batch in the graph's form."""
        return self.engine.run(self.program, self._encoder(x)).astype(np.int64, copy=False)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _batch(net: ir.Network, room: int) -> int:
    """Images whose largest pair of tensors stays below a fixed size, a multiple of 8."""
    largest = max(int(np.prod(tensor.shape)) for tensor in net.tensors.values())
    return int(np.clip(room // (8 * largest) // 8 * 8, 8, room // 2**14))


def _shown(batches: Iterable[tuple[int, NDArray]], total: int, progress: bool) -> Iterator[tuple[int, NDArray]]:
    """Pass batches on, with a progress bar on a terminal's standard error."""
    if not progress or not sys.stderr.isatty():
        yield from batches
        return
    from rich.console import Console  # loaded only to draw: it takes longer to import than many networks to run
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("infer"), BarColumn(), MofNCompleteColumn(), TextColumn("images"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("infer", total=total)
        for count, part in batches:
            bar.advance(task, count)
            yield count, part
