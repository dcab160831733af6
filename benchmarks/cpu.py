"""Packed inference on one processor core, beside NumPy and PyTorch, in one run: ``python benchmarks/cpu.py``.

Every figure is checked for exactness before it is timed. Operations are 2 per product of the network, without the
padding of words. Times are medians of warm repetitions, with the best beside them where the machine is shared. Networks
from others (lfcW1A1, cnvW1A1) need ``HWBNN_DATA``; PyTorch is left out where it is not installed.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks")]
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # read when NumPy and PyTorch are imported, below

import bnn_pynq  # after the thread counts
import numpy as np
import roofs
from rich.console import Console
from rich.table import Table

from hwbnn import golden, infer, ir

SIZES = (784, 4096, 4096, 4096, 10)
AVX2 = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+avx,+bmi,+bmi2,+popcnt,+sse4.2,+ssse3,+fma"}

NARROW = """
import runpy, numpy as np
m = runpy.run_path({script!r})
net, x = m["mlp"](m["ir"].BIPOLAR), np.random.default_rng(2).choice([-1, 1], (256, 784)).astype(np.int8)
session = m["infer"].load(net, "cpu", threads=1)
assert session.engine.variant == "avx2", session.engine.variant
assert np.array_equal(session.integers(x[:64]), m["golden"].integers(net, x[:64]))
print(*m["seconds"](lambda: session.run(x), {repeats}))
"""
PROCESS = """
import sys
sys.path.insert(0, {root!r})
from hwbnn import infer
print(infer.load({network!r}, "cpu", threads=1).classes(infer.read_images({images!r})).sum())
"""
START = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
import numpy, zoo
from hwbnn import infer
infer.load(zoo.tiny(), "cpu").run(numpy.zeros((3, 8), "uint8"))
"""


def _processor_time() -> float:
    """Seconds that this process and the children it waited for have computed, not waited."""
    spent = os.times()
    return time.process_time() + spent.children_user + spent.children_system


CLOCKS = {"wall": time.perf_counter, "cpu": _processor_time}


def chosen_clock() -> str:
    """Name of the clock, which processes that are started here inherit."""
    return os.environ.get("HWBNN_BENCHMARK_CLOCK", "wall")


def seconds(function: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median and best duration of ``function`` after one warm call."""
    clock = CLOCKS[chosen_clock()]
    function()
    times = []
    for _ in range(repeats):
        start = clock()
        function()
        times.append(clock() - start)
    return float(np.median(times)), min(times)


def mlp(weights: ir.Levels) -> ir.Network:
    """784-4096x3-10 with inputs and hidden activations of the weights' levels, thresholds in mid-distribution."""
    rng = np.random.default_rng(0)
    nodes: list[ir.Node] = []
    tensor = "x"
    for k, (columns, rows) in enumerate(pairwise(SIZES)):
        values = rng.choice(weights.values(), (rows, columns))
        nodes.append(ir.MatMul(f"fc{k}", (tensor,), (f"acc{k}",), values, weights))
        tensor = f"acc{k}"
        if k < len(SIZES) - 2:
            steps = len(weights) - 1
            spread = int(0.4 * np.sqrt(columns))
            limits = np.sort(rng.integers(-spread, spread + 1, (rows, steps)), axis=1)
            nodes.append(ir.Threshold(f"act{k}", (tensor,), (f"h{k}",), limits, weights))
            tensor = f"h{k}"
    return ir.Network("mlp", ir.Input("x", (784,), (784,), weights), tuple(nodes),
                      (ir.Output("y", tensor, (SIZES[-1],)),))


def operations(net: ir.Network) -> int:
    """Multiplications and additions per image."""
    total = 0
    for node in net.nodes:
        if isinstance(node, ir.MatMul | ir.Conv):
            total += 2 * node.rows * node.columns * net.tensors[node.output].pixels
    return total


def layers_in_numpy(net: ir.Network, x: np.ndarray) -> Callable[[], object]:
    """The products of ``net`` alone, in float32."""
    layers = [node for node in net.nodes if isinstance(node, ir.MatMul)]
    weights = [np.ascontiguousarray(node.weights.T.astype(np.float32)) for node in layers]
    rng = np.random.default_rng(1)
    inputs = [rng.choice([-1, 1], (len(x), w.shape[0])).astype(np.float32) for w in weights]
    return lambda: [a @ w for a, w in zip(inputs, weights, strict=True)]


def layers_in_torch(torch, net: ir.Network, x: np.ndarray) -> Callable[[], object] | None:
    """The products of ``net`` alone, in int8 with int32 sums; columns padded to 16 as ``_int_mm`` asks."""
    def padded(array):
        rows, columns = array.shape
        out = np.zeros((max(rows, 32), -(-columns // 16) * 16), np.int8)
        out[:rows, :columns] = array
        return torch.from_numpy(out)

    weights = [padded(node.weights.T) for node in net.nodes if isinstance(node, ir.MatMul)]
    rng = np.random.default_rng(1)
    inputs = [padded(rng.choice([-1, 1], (len(x), w.shape[0])).astype(np.int8)) for w in weights]
    return lambda: [torch._int_mm(a, w) for a, w in zip(inputs, weights, strict=True)]


def torch_cnv(torch):
    """cnvW1A1's shape in float32, channels-last, batch norm and hard tanh as it was trained."""
    nn = torch.nn
    layers = []
    for k, (columns, rows) in enumerate(((3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256))):
        layers += [nn.Conv2d(columns, rows, 3, bias=False), nn.BatchNorm2d(rows), nn.Hardtanh()]
        if k in (1, 3):
            layers.append(nn.MaxPool2d(2))
    layers.append(nn.Flatten())
    for columns, rows in ((256, 512), (512, 512)):
        layers += [nn.Linear(columns, rows, bias=False), nn.BatchNorm1d(rows), nn.Hardtanh()]
    layers.append(nn.Linear(512, 10, bias=False))
    return nn.Sequential(*layers).eval().to(memory_format=torch.channels_last)


class Report:
    """Rows of the table, printed as they come and kept for ``--json``."""

    def __init__(self):
        self.rows: list[dict] = []
        self.table = Table("figure", "median", "best", "target", "beside it")

    def add(self, figure: str, median: str, best: str, target: str, beside: str = ""):
        self.rows.append({"figure": figure, "median": median, "best": best, "target": target, "beside": beside})
        self.table.add_row(figure, median, best, target, beside)


def rate(count: float, duration: float) -> str:
    return f"{count / duration / 1e12:.2f} Top/s"


def measure_mlps(report: Report, torch, repeats: int):
    rng = np.random.default_rng(2)
    counts = roofs.counting()
    report.add("roof: count ones, registers only", rate(counts, 1), "", "", "a ternary product counts two planes")
    for levels, target, ratio in ((ir.BIPOLAR, "4.5", 35), (ir.TERNARY, "2.0", 15)):
        planes = len(levels) - 1
        net = mlp(levels)
        x = rng.choice(levels.values(), (256, 784)).astype(np.int8)
        session = infer.load(net, "cpu", threads=1)
        assert np.array_equal(session.integers(x[:64]), golden.integers(net, x[:64]))
        ops = operations(net)
        many, best = seconds(lambda session=session, x=x: session.run(x), repeats)
        numpy_time, numpy_best = seconds(layers_in_numpy(net, x), max(3, repeats // 3))
        beside = f"numpy float32 {rate(256 * ops, numpy_time)}: {numpy_time / many:.0f}x"
        beside += f" (best {numpy_best / best:.0f}x)"
        if torch is not None:
            int8, int8_best = seconds(layers_in_torch(torch, net, x), max(3, repeats // 3))
            beside += f"; torch int8 {rate(256 * ops, int8)}: {int8 / many:.1f}x (best {int8_best / best:.1f}x)"
        more = ", >= 5x int8" if levels.is_bipolar else ""
        beside += f"; {256 * ops / best / (counts / planes):.0%} of the roof at best"
        report.add(f"MLP {levels}, batch 256", rate(256 * ops, many), rate(256 * ops, best),
                   f">= {target} Top/s, >= {ratio}x numpy{more}", beside)
        one, best = seconds(lambda session=session, x=x: session.run(x[:1]), 5 * repeats)
        size = ops // 2 // 8 * planes  # bytes of weights: a sign, and a mask of ternary ones
        bytes_ = roofs.reading(size)
        report.add(f"MLP {levels}, batch 1", rate(ops, one), rate(ops, best),
                   f">= {'1.2' if levels.is_bipolar else '0.6'} Top/s",
                   f"{one * 1e6:.0f} us an image; {size / 1e6:.1f} MB of weights can be read at "
                   f"{bytes_ / 1e9:.0f} GB/s: at most {rate(ops, size / bytes_)}, "
                   f"{size / bytes_ / best:.0%} of it at best")


def measure_narrow(report: Report, repeats: int):
    """The AVX2 path, in a process of its own that compiles for such a processor."""
    code = NARROW.format(script=str(Path(__file__)), repeats=max(3, repeats // 3))
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **AVX2}, capture_output=True, text=True,
                          check=True)
    median, best = map(float, done.stdout.split())
    ops = 256 * operations(mlp(ir.BIPOLAR))
    report.add("MLP bipolar, batch 256, AVX2 path", rate(ops, median), rate(ops, best), ">= 0.85 Top/s")


def measure_published(report: Report, torch, repeats: int):
    root = bnn_pynq.DATA
    net, published = bnn_pynq.lfc(root)
    x = bnn_pynq.mnist_test(root)
    session = infer.load(net, "cpu", threads=1)
    assert np.array_equal(session.classes(x), published["pred_log2"])
    median, best = seconds(lambda: session.run(x), repeats)
    report.add("lfcW1A1, 10,000 images", f"{median * 1e3:.1f} ms", f"{best * 1e3:.1f} ms", "<= 30 ms",
               "packing included")
    with tempfile.TemporaryDirectory() as folder:
        ir.save(net, Path(folder) / "lfc.npz")
        np.save(Path(folder) / "x.npy", x)
        code = PROCESS.format(root=str(ROOT), network=f"{folder}/lfc.npz", images=f"{folder}/x.npy")
        command = [sys.executable, "-c", code]
        total = int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        assert total == published["pred_log2"].sum()
        median, best = seconds(lambda: subprocess.run(command, capture_output=True, check=True), max(3, repeats // 3))
        report.add("lfcW1A1, whole process, cached", f"{median:.2f} s", f"{best:.2f} s", "<= 1 s")
        start = [sys.executable, "-c", START.format(root=str(ROOT), tests=str(ROOT / "tests"))]
        median, best = seconds(lambda: subprocess.run(start, capture_output=True, check=True), max(3, repeats // 3))
        report.add("second process start, first result", f"{median:.2f} s", f"{best:.2f} s", "<= 0.5 s")
    net, published = bnn_pynq.cnv(root)
    x = bnn_pynq.cifar_test(root)
    session = infer.load(net, "cpu", threads=1)
    assert np.array_equal(session.run(x[:1000]), published["last_layer_acc"][:1000])
    median, best = seconds(lambda: session.run(x[:100]), repeats)
    beside = ""
    if torch is not None:
        model = torch_cnv(torch)
        images = torch.rand(100, 3, 32, 32).to(memory_format=torch.channels_last)
        with torch.inference_mode():
            theirs, theirs_best = seconds(lambda: model(images), max(3, repeats // 3))
        beside = f"torch float32 {theirs * 1e3:.0f} ms: {theirs / median:.1f}x (best {theirs_best / best:.1f}x)"
    report.add("cnvW1A1, batch 100", f"{median * 1e3:.1f} ms", f"{best * 1e3:.1f} ms", ">= 15x torch float32", beside)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=21, help="timed calls a figure (default 21)")
    parser.add_argument("--core", type=int, default=None, help="pin to this core (default: the last one)")
    parser.add_argument("--json", type=Path, help="write the rows here, too")
    parser.add_argument("--clock", choices=list(CLOCKS), default=chosen_clock(),
                        help="cpu: the process's own time, for machines that others load (default wall)")
    options = parser.parse_args()
    os.environ["HWBNN_BENCHMARK_CLOCK"] = options.clock
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1] if options.core is None else options.core})
    try:
        import torch  # optional: only stands beside the figures
    except ImportError:
        torch = None
    else:
        torch.set_num_threads(1)
    report = Report()
    measure_mlps(report, torch, options.repeats)
    measure_narrow(report, options.repeats)
    if bnn_pynq.DATA is None:
        print("lfcW1A1 and cnvW1A1 are left out: HWBNN_DATA is not set", file=sys.stderr)
    else:
        measure_published(report, torch, options.repeats)
    engine = infer.load(mlp_tiny(), "cpu").explain()[0]["how"]
    heading = f"{_processor()}; {engine}; one core; {chosen_clock()} time; load average {os.getloadavg()[0]:.1f}"
    console = Console(width=200)
    console.print(heading)
    console.print(report.table)
    if options.json:
        options.json.write_text(json.dumps({"machine": heading, "rows": report.rows}, indent=2) + "\n")


def mlp_tiny() -> ir.Network:
    """The smallest network there is."""
    return ir.Network("one", ir.Input("x", (1,), (1,), ir.BIPOLAR),
                      (ir.MatMul("fc", ("x",), ("y",), [[1]], ir.BIPOLAR),), (ir.Output("y", "y", (1,)),))


def _processor() -> str:
    """The processor's name where the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
