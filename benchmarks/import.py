"""Measure the importer and golden: seconds and peak memory, against the bars that the project set itself.

    python benchmarks/import.py            # prints a Markdown table

The networks are lfcW1A1 (2.9 million weights) and cnvW1A1 (1.5 million) of ``examples/bnn_pynq.py``; with
``HWBNN_DATA`` they are the published ones on real images and the predictions are compared with the published
ones, without it weights and images are random. Every figure comes from a process of its own.
"""

import gzip
import lzma
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("HWBNN_DATA", "no data"))
sys.path.insert(0, str(ROOT / "examples"))

SIZES = {"lfc": [(1024, 832), (1024, 1024), (1024, 1024), (64, 1024)],
         "cnv": [(64, 27), (64, 576), (128, 576), (128, 1152), (256, 1152), (256, 2304), (512, 256), (512, 512),
                 (64, 512)]}
PUBLISHED = {"lfc": ("mnist_lfcW1A1_decoded", "mnist_lfcW1A1_golden_t10k", "pred_log2"),
             "cnv": ("cifar10_cnvW1A1_decoded", "cifar10_cnvW1A1_golden_test", "pred")}


def arrays(name):
    """Weights and thresholds, published or random."""
    if DATA.is_dir():
        return np.load(DATA / f"models/bnn_pynq/{PUBLISHED[name][0]}.npz")
    rng = np.random.default_rng(0)
    found = {}
    for k, (rows, columns) in enumerate(SIZES[name]):
        found[f"L{k}_weight"] = rng.choice([-1, 1], (rows, columns))
        found[f"L{k}_thresholds"] = rng.normal(columns / 2, columns**0.5 / 2, (rows, 1)).astype(int)
    return found


def images(name, count):
    """Images, and the published predictions or None."""
    if not DATA.is_dir():
        shape = (1, 28, 28) if name == "lfc" else (3, 32, 32)
        return np.random.default_rng(1).integers(0, 256, (count, *shape)), None
    if name == "lfc":
        data = gzip.decompress((DATA / "mnist/t10k-images-idx3-ubyte.gz").read_bytes())
        x = np.frombuffer(data, np.uint8, offset=16).reshape(-1, 1, 28, 28)
    else:
        data = lzma.decompress((DATA / "cifar10/test_batch.bin.xz").read_bytes())
        x = np.frombuffer(data, np.uint8).reshape(-1, 3073)[:, 1:].reshape(-1, 3, 32, 32)
    with np.load(DATA / f"models/bnn_pynq/{PUBLISHED[name][1]}.npz") as published:
        return x[:count], published[PUBLISHED[name][2]][:count]


def measure(task, name, path, count):
    """Run one task in this process and print its row: seconds, processor seconds, MiB, note."""
    from hwbnn import golden, ir
    from hwbnn.frontend import load_onnx

    start, cpu = time.perf_counter(), time.process_time()
    if task == "import":
        net = load_onnx(path)
        weights = sum(node.weights.size for node in net.nodes if isinstance(node, ir.MatMul | ir.Conv))
        note = f"{weights / 1e6:.1f} million weights"
    else:
        net = load_onnx(path)
        x, expected = images(name, count)
        start, cpu = time.perf_counter(), time.process_time()
        found = golden.classes(net, x)
        note = "random images" if expected is None else f"{np.mean(found == expected):.2%} as published"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{time.perf_counter() - start:.1f} | {time.process_time() - cpu:.1f} | {peak:.0f} | {note}")


def main():
    import bnn_pynq

    rows = [("import", "lfc", 0, "import of lfcW1A1", "10 s, 1024 MiB"),
            ("import", "cnv", 0, "import of cnvW1A1", "10 s, 1024 MiB"),
            ("golden", "lfc", 10_000, "golden, 10,000 images through lfcW1A1", "60 s"),
            ("golden", "cnv", 1_000, "golden, 1,000 images through cnvW1A1", "300 s")]
    print("| what | bar | seconds | processor seconds | peak MiB | |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, build in (("lfc", bnn_pynq.lfc), ("cnv", bnn_pynq.cnv)):
            onnx.save(build(arrays(name)), Path(folder) / f"{name}.onnx")
        for task, name, count, title, bar in rows:
            command = [sys.executable, __file__, task, name, str(Path(folder) / f"{name}.onnx"), str(count)]
            environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
            row = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.strip()
            print(f"| {title} | {bar} | {row} |")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
