"""Two published networks as integer networks: lfcW1A1 (MNIST) and cnvW1A1 (CIFAR-10) of BNN-PYNQ (BSD-3).

Weights, thresholds and golden outputs come from ``$HWBNN_DATA/models/bnn_pynq``. Accumulators there count
agreements (XNOR popcount), outputs are ``acc > T``; both are turned here into dot products and ``acc >= T``.
"""

import gzip
import lzma
import os
from pathlib import Path

import numpy as np

from hwbnn import ir

__all__ = ["DATA", "cifar_test", "cnv", "lfc", "mnist_test"]

DATA = os.environ.get("HWBNN_DATA")


def _files(root, name: str, golden: str):
    folder = Path(root) / "models" / "bnn_pynq"
    return np.load(folder / f"{name}_decoded.npz"), dict(np.load(folder / f"{name}_{golden}.npz"))


def mnist_test(root) -> np.ndarray:
    """The 10,000 test images, uint8 (N, 784)."""
    raw = gzip.decompress((Path(root) / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes())
    return np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 784)


def cifar_test(root) -> np.ndarray:
    """The 10,000 test images, uint8 (N, 3, 32, 32)."""
    raw = lzma.decompress((Path(root) / "cifar10" / "test_batch.bin.xz").read_bytes())
    return np.frombuffer(raw, np.uint8).reshape(-1, 3073)[:, 1:].reshape(-1, 3, 32, 32)


def lfc(root) -> tuple[ir.Network, dict]:
    """Network on pixels of 0..255, class by the highest output bit, and the published outputs.

    The 784 inputs were padded to 832 with -1; their share moves the thresholds of the first layer.
    """
    data, golden = _files(root, "mnist_lfcW1A1", "golden_t10k")
    nodes: list[ir.Node] = []
    tensor = "x"
    for k in range(3):
        weights = data[f"L{k}_weight"].astype(np.int64)
        thresholds = 2 * (data[f"L{k}_thresholds"].astype(np.int64) + 1) - weights.shape[1]
        if k == 0:
            thresholds += weights[:, 784:].sum(axis=1, keepdims=True)
            weights = weights[:, :784]
        nodes += [ir.MatMul(f"fc{k}", (tensor,), (f"acc{k}",), weights, ir.BIPOLAR),
                  ir.Threshold(f"act{k}", (f"acc{k}",), (f"h{k}",), thresholds, ir.BIPOLAR)]
        tensor = f"h{k}"
    weights = data["L3_weight"][:10].astype(np.int64)
    limits = 2 * (golden["last_layer_thr"].astype(np.int64) + 1) - weights.shape[1]
    ranks = np.arange(10)  # the highest set bit wins, and class 0 where none is set
    nodes += [ir.MatMul("fc3", (tensor,), ("acc3",), weights, ir.BIPOLAR),
              ir.Threshold("bits", ("acc3",), ("set",), limits[:, None], ir.BINARY),
              ir.Affine("rank", ("set",), ("ranked",), ranks, np.zeros(10, np.int64)),
              ir.TopK("class", ("ranked",), ("class",))]
    net = ir.Network("lfcW1A1", ir.Input("x", (784,), (784,), ir.BIPOLAR, np.float32([128])), tuple(nodes),
                     (ir.Output("class", "class", (1,)),))
    return net, golden


def cnv(root) -> tuple[ir.Network, dict]:
    """Network on RGB of 0..255, and the published accumulators (agreements) and classes.

    Pixel p enters as floor((2p/255 - 1) * 128 + 0.5) in -128..127. The first layer's thresholds stand in 1/256, its
    accumulators in 1/128.
    """
    data, golden = _files(root, "cifar10_cnvW1A1", "golden_test")
    q = np.clip(np.floor((2 * np.arange(256) / 255 - 1) * 128 + 0.5), -128, 127).astype(np.int64)
    boundaries = np.float32([np.flatnonzero(q >= level)[0] if np.any(q >= level) else 256
                             for level in range(-127, 128)])
    shapes = [(64, 3), (64, 64), (128, 64), (128, 128), (256, 128), (256, 256)]
    nodes: list[ir.Node] = []
    tensor = "x"
    for k, (rows, channels) in enumerate(shapes):
        weights = data[f"L{k}_weight"].astype(np.int64).reshape(rows, 3, 3, channels)
        thresholds = data[f"L{k}_thresholds"].astype(np.int64)
        # first layer: 2 acc > T in units of 1/256; others: agreements > T
        thresholds = thresholds // 2 + 1 if k == 0 else 2 * (thresholds + 1) - 9 * channels
        nodes += [ir.Conv(f"conv{k}", (tensor,), (f"acc{k}",), weights, ir.BIPOLAR),
                  ir.Threshold(f"act{k}", (f"acc{k}",), (f"h{k}",), thresholds, ir.BIPOLAR)]
        tensor = f"h{k}"
        if k in (1, 3):
            nodes.append(ir.MaxPool(f"pool{k}", (tensor,), (f"p{k}",), (2, 2), (2, 2)))
            tensor = f"p{k}"
    nodes.append(ir.Reshape("flat", (tensor,), ("flat",), (256,)))
    tensor = "flat"
    for k in (6, 7):
        weights = data[f"L{k}_weight"].astype(np.int64)
        thresholds = 2 * (data[f"L{k}_thresholds"].astype(np.int64) + 1) - weights.shape[1]
        nodes += [ir.MatMul(f"fc{k}", (tensor,), (f"acc{k}",), weights, ir.BIPOLAR),
                  ir.Threshold(f"act{k}", (f"acc{k}",), (f"h{k}",), thresholds, ir.BIPOLAR)]
        tensor = f"h{k}"
    weights = data["L8_weight"][:10].astype(np.int64)
    nodes.append(ir.MatMul("fc8", (tensor,), ("acc8",), weights, ir.BIPOLAR))
    source = ir.Input("x", (3, 32, 32), (32, 32, 3), ir.Levels(-128, 127), boundaries, axes=(1, 2, 0))
    out = ir.Output("logits", "acc8", (10,), np.array([0.5]), np.array([256.0]))  # agreements = (512 + dot) / 2
    return ir.Network("cnvW1A1", source, tuple(nodes), (out,)), golden
