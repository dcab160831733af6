"""Packed inference on one NVIDIA GPU, beside PyTorch, in one run: ``python benchmarks/gpu.py``.

Correctness first: every product kernel against NumPy, every network of the tests' zoo against the golden model, the
published networks where ``HWBNN_DATA`` is set, and ``pytest -m cuda``. Then times, by CUDA events around whole batches
of launches, medians of warm repetitions: 8192^3 products with packed bits and with int32 written, PyTorch's bf16 and
int8 (``_int_mm``) on the same shapes, the unoptimized XNOR kernel on ordinary cores, whole networks.

Every section runs in a process of its own, with a time limit: one that fails, or hangs, is reported and the others go
on. A kernel that is not exact is not measured. The table is written whatever happens; the exit status is 1 if anything
failed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import bnn_pynq  # after the path
import cpu as cpu_benchmark  # the networks and the table of benchmarks/cpu.py
import numpy as np
import zoo
from rich.console import Console

from hwbnn import golden, infer, ir
from hwbnn.errors import UserError
from hwbnn.infer import steps
from hwbnn.infer.code import Code, Layout
from hwbnn.infer.weights import Weights

LIMIT = 300  # seconds a section may take


def seconds(engine, work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median and best duration of one ``work`` on the device, after a warm call."""
    from cuda.core import EventOptions  # only where there is a GPU

    stream, device = engine.driver.stream, engine.driver.device
    work()
    stream.sync()
    times = []
    for _ in range(repeats):
        begin, end = (device.create_event(EventOptions(timing_enabled=True)) for _ in range(2))
        stream.record(begin)
        work()
        stream.record(end)
        end.sync()
        times.append((end - begin) / 1e3)
    return float(np.median(times)), min(times)


def open_engine(*kernels: str):
    """An engine whose products run on ``kernels`` alone, or on all that the GPU's tier has."""
    from hwbnn.infer.cuda.driver import open_device  # needs the CUDA packages
    from hwbnn.infer.cuda.engine import CudaEngine
    from hwbnn.infer.loading import host_engine

    driver = open_device()
    if kernels:
        driver.tier = replace(driver.tier, products=kernels)
        driver.tries = False  # this is a process of its own already
    return CudaEngine(driver, host_engine())


def exact_kernel(kernel: str):
    """Every shape and level, exactly; raises at the first integer that differs."""
    engine, rng = open_engine(kernel), np.random.default_rng(0)
    for values in ([-1, 1], [-1, 0, 1]):
        for levels in (ir.BIPOLAR, ir.TERNARY, ir.Levels.unsigned(8)):
            for rows, outputs, columns in ((1, 10, 784), (129, 257, 1025), (300, 640, 4096), (5000, 1200, 2100)):
                w, x = rng.choice(values, (outputs, columns)), rng.choice(levels.values(), (rows, columns))
                want = (x.astype(np.float64) @ w.T.astype(np.float64)).astype(np.int64)  # exact below 2^53
                for _ in range(3):  # a race may be lost now and then
                    step, packed = layer(engine, w, x, levels)
                    got = engine._leave(engine._product(step, packed, kernel))
                    wrong = int((got != want).sum())
                    if wrong:
                        raise ValueError(f"{wrong} of {want.size} products differ: {rows} x {columns} x {outputs}, "
                                         f"{levels} by {values}")


def exact_zoo():
    rng = np.random.default_rng(0)
    for name, make in zoo.MLPS.items():
        net = make()
        x = rng.choice(net.input.levels.values(), (300, *net.input.graph_shape))
        session = infer.load(net, "cuda")
        for part in (x, x[:1], x[1:2]):  # the last one replays what the one before recorded
            if not np.array_equal(session.run(part), golden.run(net, part)):
                raise ValueError(f"network {name} differs on {len(part)} images")


def exact_published():
    if bnn_pynq.DATA is None:
        raise UserError("lfcW1A1 and cnvW1A1 are not checked: HWBNN_DATA is not set")
    net, published = bnn_pynq.lfc(bnn_pynq.DATA)
    if not np.array_equal(infer.load(net, "cuda").classes(bnn_pynq.mnist_test(bnn_pynq.DATA)), published["pred_log2"]):
        raise ValueError("lfcW1A1 differs from the published classes")
    net, published = bnn_pynq.cnv(bnn_pynq.DATA)
    if not np.array_equal(infer.load(net, "cuda").run(bnn_pynq.cifar_test(bnn_pynq.DATA)), published["last_layer_acc"]):
        raise ValueError("cnvW1A1 differs from the published accumulators")


def exact_tests():
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", "cuda", "tests/test_infer_cuda.py",
                           "tests/test_infer_torch.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout[-4000:])
    if done.returncode:
        raise ValueError(done.stdout.strip().splitlines()[-1])


def layer(engine, weights, x, levels, thresholds=None):
    """A product step and its packed input on the device."""
    code = Code(levels)
    packed = Weights(np.asarray(weights)[:, None, :], code, Layout(1, x.shape[1]))
    out_code = Code(ir.BIPOLAR) if thresholds is not None else None
    step = steps.Product((), (), "", packed, None, thresholds, None, out_code)
    return step, engine._pack(engine._upload(code.numbers(x)), code)


def measure_kernel(report, repeats: int, kernel: str):
    engine, rng, n = open_engine(kernel), np.random.default_rng(1), 8192
    for levels, target in ((ir.BIPOLAR, ">= 7.0 POPS bits, <= 220 us int32"), (ir.TERNARY, ">= 2.5 POPS")):
        if kernel == "product_popc" and levels.is_ternary:
            continue
        w, x = rng.choice(levels.values(), (n, n)), rng.choice(levels.values(), (n, n))
        limits = rng.integers(-90, 90, (n, 1))
        for what, thresholds in (("bits", limits), ("int32", None)):
            step, packed = layer(engine, w, x, levels, thresholds)
            median, best = seconds(engine, partial(engine._product, step, packed, kernel), repeats)
            rate = [f"{2 * n**3 / t / 1e15:.2f} POPS, {t * 1e6:.0f} us" for t in (median, best)]
            report.add(f"{n}^3 {levels}, {what}, {kernel}", *rate, target)


def measure_torch(report, repeats: int):
    import torch  # only stands beside the figures

    n = 8192
    for name, dtype in (("bf16", torch.bfloat16), ("int8", torch.int8)):
        a, b = (torch.ones(n, n, device="cuda").to(dtype) for _ in range(2))
        product = torch._int_mm if dtype == torch.int8 else torch.matmul
        times = []
        for _ in range(repeats + 2):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            product(a, b.t())
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end) / 1e3)
        times = times[2:]
        rate = [f"{2 * n**3 / t / 1e15:.2f} POPS, {t * 1e6:.0f} us" for t in (float(np.median(times)), min(times))]
        report.add(f"{n}^3 torch {name}", *rate, "beside")


def on_the_device(session, x, repeats: int) -> tuple[float, float]:
    """Median and best duration of all steps on images that lie there, launched as one graph."""
    engine = session.engine
    engine._replay(session.program, session._encoder(x))  # records whatever the size
    launch = next(reversed(engine._graphs.values()))[0]
    return seconds(engine, launch, repeats)


def measure_networks(report, repeats: int):
    rng = np.random.default_rng(2)
    for levels in (ir.BIPOLAR, ir.TERNARY):
        net = cpu_benchmark.mlp(levels)
        x = rng.choice(levels.values(), (10_000, 784)).astype(np.int8)
        for count, target in ((10_000, "<= 200 us on the device"), (1, "<= 15 us, graph replay")):
            session = infer.load(net, "cuda", batch=count)
            times = []
            for _ in range(repeats + 2):
                start = time.perf_counter()
                session.run(x[:count])
                times.append(time.perf_counter() - start)
            times = times[2:]
            report.add(f"MLP {levels}, batch {count}, copies included", f"{np.median(times) * 1e6:.0f} us",
                       f"{min(times) * 1e6:.0f} us", "")
            median, best = on_the_device(session, x[:count], repeats)
            report.add(f"MLP {levels}, batch {count}, on the device, one graph", f"{median * 1e6:.0f} us",
                       f"{best * 1e6:.0f} us", target)
    if bnn_pynq.DATA is not None:
        net, _ = bnn_pynq.cnv(bnn_pynq.DATA)
        x = bnn_pynq.cifar_test(bnn_pynq.DATA)
        session = infer.load(net, "cuda", batch=len(x))
        session.run(x)
        start = time.perf_counter()
        session.run(x)
        rate = len(x) / (time.perf_counter() - start)
        report.add("cnvW1A1, 10,000 images, copies included", f"{rate:.0f} images/s", "", ">= 3 M images/s (BinaryNet)")


def run_section(name: str, repeats: int, target: Path):
    """Run one section and leave its rows in ``target``."""
    report = cpu_benchmark.Report()
    what, _, kernel = name.partition(" ")
    sections: dict[str, Callable[[], object]] = {
        "exact": lambda: exact_kernel(kernel), "zoo": exact_zoo, "published": exact_published, "tests": exact_tests,
        "speed": lambda: measure_kernel(report, repeats, kernel), "torch": lambda: measure_torch(report, repeats),
        "networks": lambda: measure_networks(report, repeats)}
    try:
        sections[what]()
    finally:
        target.write_text(json.dumps(report.rows))


def started(name: str, repeats: int) -> tuple[str, list[dict]]:
    """What came of a section in a process of its own, and its rows."""
    print(f"{name} ...", end=" ", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.json"
        command = [sys.executable, __file__, "--section", name, "--repeats", str(repeats), "--json", str(rows)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
            lines = done.stderr.strip().splitlines()
            said = "ok" if done.returncode == 0 else lines[-1] if lines else f"exit status {done.returncode}"
            for line in lines:
                if line.startswith("hwbnn: ") and done.returncode == 0:
                    said += f" ({line})"
        except subprocess.TimeoutExpired:
            said = f"no answer within {LIMIT} s"
        found = json.loads(rows.read_text()) if rows.exists() else []
    print(said, flush=True)
    return said, found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=21, help="timed calls a figure (default 21)")
    parser.add_argument("--json", type=Path, help="write the rows here, too")
    parser.add_argument("--section", help="run one section alone, here")
    options = parser.parse_args()
    if options.section:
        run_section(options.section, options.repeats, options.json or Path(os.devnull))
        return
    try:
        from hwbnn.infer.cuda.driver import open_device  # needs the CUDA packages

        driver = open_device()
    except (ImportError, UserError) as error:
        sys.exit(f"gpu.py: {error}")
    report, failed = cpu_benchmark.Report(), []

    def section(name: str) -> bool:
        said, rows = started(name, options.repeats)
        for row in rows or [{"figure": name, "median": said, "best": "", "target": ""}]:
            report.add(**row)
        if not said.startswith("ok"):
            failed.append(f"{name}: {said}")
        return said.startswith("ok")

    exact = [kernel for kernel in driver.tier.products if section(f"exact {kernel}")]
    for name in ("zoo", "published", "tests"):
        section(name)
    for name in (*(f"speed {kernel}" for kernel in exact), "torch", "networks"):
        section(name)
    console = Console(width=200)
    console.print(f"{driver.title}; exact: {', '.join(exact) or 'no kernel'}")
    console.print(report.table)
    if options.json:
        options.json.write_text(json.dumps({"machine": driver.title, "rows": report.rows, "failed": failed}, indent=2)
                                + "\n")
    if failed:
        sys.exit("gpu.py: " + "; ".join(failed))


if __name__ == "__main__":
    main()
