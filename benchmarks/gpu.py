"""Packed inference on one NVIDIA GPU, beside PyTorch, in one run: ``python benchmarks/gpu.py``.

Correctness first: every product kernel against NumPy, every network of the tests' zoo against the golden model, and the
published networks where ``HWBNN_DATA`` is set; nothing is measured if one integer differs. Then times, by CUDA
events around whole batches of launches, medians of warm repetitions. 8192^3 products are measured with packed bits and
with int32 written; PyTorch's bf16 and int8 (``_int_mm``) run on the same shapes in the same process, as does the
unoptimized XNOR kernel on ordinary cores.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
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


def check(engine):
    """Every kernel and network, exactly; raises at the first integer that differs."""
    rng = np.random.default_rng(0)
    for kernel in engine.driver.tier.products:
        for values in ([-1, 1], [-1, 0, 1]):
            for levels in (ir.BIPOLAR, ir.TERNARY, ir.Levels.unsigned(8)):
                for rows, outputs, columns in ((1, 10, 784), (129, 257, 1025), (300, 640, 4096)):
                    w, x = rng.choice(values, (outputs, columns)), rng.choice(levels.values(), (rows, columns))
                    step, packed = layer(engine, w, x, levels)
                    assert np.array_equal(engine._leave(engine._product(step, packed, kernel)), x @ w.T), kernel
    for name, make in zoo.MLPS.items():
        net = make()
        x = rng.choice(net.input.levels.values(), (300, *net.input.graph_shape))
        for part in (x, x[:1], x[:1]):
            assert np.array_equal(infer.load(net, "cuda").run(part), golden.run(net, part)), name
    if bnn_pynq.DATA is None:
        print("lfcW1A1 and cnvW1A1 are not checked: HWBNN_DATA is not set", file=sys.stderr)
        return
    net, published = bnn_pynq.lfc(bnn_pynq.DATA)
    assert np.array_equal(infer.load(net, "cuda").classes(bnn_pynq.mnist_test(bnn_pynq.DATA)), published["pred_log2"])
    net, published = bnn_pynq.cnv(bnn_pynq.DATA)
    assert np.array_equal(infer.load(net, "cuda").run(bnn_pynq.cifar_test(bnn_pynq.DATA)), published["last_layer_acc"])


def layer(engine, weights, x, levels, thresholds=None):
    """A product step and its packed input on the device."""
    code = Code(levels)
    packed = Weights(np.asarray(weights)[:, None, :], code, Layout(1, x.shape[1]))
    out_code = Code(ir.BIPOLAR) if thresholds is not None else None
    step = steps.Product((), (), "", packed, None, thresholds, None, out_code)
    return step, engine._pack(engine._upload(code.numbers(x)), code)


def measure_products(engine, report, torch, repeats: int):
    rng = np.random.default_rng(1)
    n = 8192
    for levels, target in ((ir.BIPOLAR, ">= 7.0 POPS bits, <= 220 us int32"), (ir.TERNARY, ">= 2.5 POPS")):
        w, x = rng.choice(levels.values(), (n, n)), rng.choice(levels.values(), (n, n))
        limits = rng.integers(-90, 90, (n, 1))
        for kernel in engine.products:
            if kernel == "product_popc" and kernel != engine.products[0] and levels.is_ternary:
                continue
            for what, thresholds in (("bits", limits), ("int32", None)):
                step, packed = layer(engine, w, x, levels, thresholds)
                work = partial(engine._product, step, packed, kernel)
                median, best = seconds(engine, work, repeats)
                rate = [f"{2 * n**3 / t / 1e15:.2f} POPS, {t * 1e6:.0f} us" for t in (median, best)]
                report.add(f"{n}^3 {levels}, {what}, {kernel}", *rate, target)
    if torch is not None:
        for name, dtype in (("bf16", torch.bfloat16), ("int8", torch.int8)):
            a, b = (torch.ones(n, n, device="cuda").to(dtype) for _ in range(2))
            product = torch._int_mm if dtype == torch.int8 else torch.matmul
            torch.cuda.synchronize()
            times = []
            for _ in range(repeats):
                begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                begin.record()
                product(a, b.t())
                end.record()
                end.synchronize()
                times.append(begin.elapsed_time(end) / 1e3)
            rate = [f"{2 * n**3 / t / 1e15:.2f} POPS, {t * 1e6:.0f} us" for t in (float(np.median(times)), min(times))]
            report.add(f"{n}^3 torch {name}", *rate, "beside")


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
                       f"{min(times) * 1e6:.0f} us", target)
    if bnn_pynq.DATA is not None:
        net, _ = bnn_pynq.cnv(bnn_pynq.DATA)
        x = bnn_pynq.cifar_test(bnn_pynq.DATA)
        session = infer.load(net, "cuda", batch=len(x))
        session.run(x)
        start = time.perf_counter()
        session.run(x)
        rate = len(x) / (time.perf_counter() - start)
        report.add("cnvW1A1, 10,000 images, copies included", f"{rate:.0f} images/s", "", ">= 3 M images/s (BinaryNet)")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=21, help="timed calls a figure (default 21)")
    parser.add_argument("--json", type=Path, help="write the rows here, too")
    options = parser.parse_args()
    try:
        session = infer.load(zoo.tiny(), "cuda")
    except UserError as error:
        sys.exit(f"gpu.py: {error}")
    engine = session.engine
    check(engine)
    print(f"{engine.speed}: exact on every kernel and network", flush=True)
    try:
        import torch  # optional: only stands beside the figures
    except ImportError:
        torch = None
    if torch is not None and not torch.cuda.is_available():
        torch = None
    report = cpu_benchmark.Report()
    measure_products(engine, report, torch, options.repeats)
    measure_networks(report, options.repeats)
    Console(width=200).print(report.table)
    if options.json:
        options.json.write_text(json.dumps({"machine": engine.speed, "rows": report.rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
