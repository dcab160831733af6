"""Two published networks, rebuilt as QONNX: every prediction on every test image is the published one."""

import gzip
import importlib.util
import lzma
import os
from pathlib import Path

import numpy as np
import onnx
import pytest

from hwbnn import golden
from hwbnn.frontend import load_onnx

DATA = Path(os.environ.get("HWBNN_DATA", ""))
pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(not (DATA / "models/bnn_pynq").is_dir(),
                                 reason="needs HWBNN_DATA with models/bnn_pynq, mnist and cifar10")]


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("bnn_pynq", Path(__file__).parent.parent / "examples/bnn_pynq.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def archive(name):
    return np.load(DATA / f"models/bnn_pynq/{name}.npz")


def test_lfc_on_mnist(example, tmp_path):
    with archive("mnist_lfcW1A1_decoded") as arrays, archive("mnist_lfcW1A1_golden_t10k") as published:
        onnx.save(example.lfc(arrays), tmp_path / "lfc.onnx")
        expected, bits = published["pred_log2"], published["out_bits"]
    net = load_onnx(tmp_path / "lfc.onnx")
    x = np.frombuffer(gzip.decompress((DATA / "mnist/t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    y = np.frombuffer(gzip.decompress((DATA / "mnist/t10k-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    out = golden.run(net, x.reshape(-1, 1, 28, 28))
    assert np.array_equal(out, bits * np.arange(1, 11))
    assert np.array_equal(golden.decide(net, out), expected)
    assert np.mean(expected == y) == 0.984


def test_cnv_on_cifar10(example, tmp_path):
    with archive("cifar10_cnvW1A1_decoded") as arrays, archive("cifar10_cnvW1A1_golden_test") as published:
        onnx.save(example.cnv(arrays), tmp_path / "cnv.onnx")
        expected, counts = published["pred"], published["last_layer_acc"]
    net = load_onnx(tmp_path / "cnv.onnx")
    records = np.frombuffer(lzma.decompress((DATA / "cifar10/test_batch.bin.xz").read_bytes()), np.uint8)
    records = records.reshape(-1, 3073)
    x, y = records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]
    out = golden.run(net, x)
    assert np.array_equal((out + 512) / 2, counts)
    assert np.array_equal(golden.decide(net, out), expected)
    assert np.mean(expected == y) == 0.7922
