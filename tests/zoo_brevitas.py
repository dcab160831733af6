"""Networks built, briefly trained and exported by Brevitas: what users bring."""

from collections.abc import Callable
from configparser import ConfigParser
from importlib.resources import files
from pathlib import Path

import brevitas.nn as qnn
import numpy as np
import torch
from brevitas.export import export_qonnx
from brevitas.quant.binary import SignedBinaryActPerTensorConst, SignedBinaryWeightPerTensorConst
from brevitas.quant.fixed_point import (
    Int8ActPerTensorFixedPoint,
    Int8WeightPerChannelFixedPoint,
    Int8WeightPerTensorFixedPoint,
)
from brevitas.quant.scaled_int import (
    Int8ActPerTensorFloat,
    Int8WeightPerChannelFloat,
    Uint8ActPerTensorFloat,
)
from brevitas.quant.ternary import SignedTernaryActPerTensorConst, SignedTernaryWeightPerTensorConst
from brevitas_examples.bnn_pynq.models.CNV import cnv
from brevitas_examples.bnn_pynq.models.FC import fc
from sklearn.datasets import load_digits
from torch import nn

__all__ = ["BREVITAS", "digits", "export"]


def digits(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """All 1797 digits in 0..1, enlarged to ``shape`` (channels, height, width), and their classes."""
    x, y = load_digits(return_X_y=True)
    factor = min(shape[1:]) // 8
    x = np.kron((x / 16).reshape(-1, 1, 8, 8), np.ones((1, shape[0], factor, factor)))
    border = [(n - 8 * factor) // 2 for n in shape[1:]]
    x = np.pad(x, ((0, 0), (0, 0), *((b, n - 8 * factor - b) for b, n in zip(border, shape[1:], strict=True))))
    return x.astype(np.float32), y


def _of_examples(build, name: str) -> nn.Module:
    config = ConfigParser()
    config.read_string((files("brevitas_examples.bnn_pynq") / "cfg" / f"{name}.ini").read_text())
    return build(config)


def _lfc() -> nn.Module:
    config = ConfigParser()
    config.read_string((files("brevitas_examples.bnn_pynq") / "cfg" / "lfc_1w1a.ini").read_text())
    config["MODEL"]["OUT_FEATURES"] = "[96, 96, 96]"  # the original's 1024 teach no more here
    return fc(config)


class _Residual(nn.Module):
    """Two branches with a quantizer of their own each, and one quantizer for both."""

    def __init__(self, *, shared: bool):
        super().__init__()
        weights = {"weight_quant": Int8WeightPerChannelFixedPoint, "weight_bit_width": 4, "bias": False}
        acts = {"act_quant": Int8ActPerTensorFixedPoint, "bit_width": 4}
        self.input = qnn.QuantIdentity(**acts, return_quant_tensor=True)
        self.stem = nn.Sequential(qnn.QuantConv2d(1, 8, 3, padding=1, **weights), nn.BatchNorm2d(8),
                                  qnn.QuantReLU(bit_width=4))
        self.body = nn.Sequential(qnn.QuantConv2d(8, 8, 3, padding=1, **weights), nn.BatchNorm2d(8))
        self.left = qnn.QuantIdentity(**acts)
        self.right = self.left if shared else qnn.QuantIdentity(**acts)
        self.join = qnn.QuantReLU(bit_width=4)
        self.tail = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), qnn.QuantLinear(32, 10, **weights), nn.BatchNorm1d(10))

    def forward(self, x):
        x = self.stem(self.input(x))
        return self.tail(self.join(self.left(self.body(x)) + self.right(x)))


def _separable() -> nn.Module:
    weights = {"weight_quant": Int8WeightPerTensorFixedPoint, "weight_bit_width": 4, "bias": False}
    act = {"act_quant": Int8ActPerTensorFixedPoint, "bit_width": 4}
    return nn.Sequential(
        qnn.QuantIdentity(**act),
        qnn.QuantConv2d(1, 8, 3, padding=1, **weights), nn.BatchNorm2d(8), qnn.QuantIdentity(**act),
        qnn.QuantConv2d(8, 8, 3, padding=1, stride=2, groups=8, **weights), nn.BatchNorm2d(8), qnn.QuantIdentity(**act),
        qnn.QuantConv2d(8, 16, 1, **weights), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), qnn.QuantIdentity(**act),
        nn.Flatten(), qnn.QuantLinear(64, 10, **weights))


def _signal() -> nn.Module:
    binary = {"weight_quant": SignedBinaryWeightPerTensorConst, "bias": False}
    return nn.Sequential(
        nn.Flatten(2), qnn.QuantIdentity(act_quant=Int8ActPerTensorFixedPoint, bit_width=6),
        qnn.QuantConv1d(1, 8, 5, stride=2, padding=2, **binary), nn.BatchNorm1d(8),
        qnn.QuantIdentity(act_quant=SignedBinaryActPerTensorConst),
        qnn.QuantConv1d(8, 16, 3, dilation=2, **binary), nn.BatchNorm1d(16), nn.Hardtanh(),
        qnn.QuantIdentity(act_quant=SignedTernaryActPerTensorConst), nn.MaxPool1d(2),
        nn.Flatten(), qnn.QuantLinear(224, 10, **binary), nn.BatchNorm1d(10))


def _channels(bits: int) -> Callable[[], nn.Module]:
    """Float scales per output channel, learned or measured, as Brevitas's defaults have them."""
    def build() -> nn.Module:
        weights = {"weight_quant": Int8WeightPerChannelFloat, "weight_bit_width": bits, "bias": True}
        return nn.Sequential(
            qnn.QuantIdentity(act_quant=Int8ActPerTensorFloat, bit_width=bits),
            qnn.QuantConv2d(1, 8, 3, **weights), nn.BatchNorm2d(8),
            qnn.QuantReLU(act_quant=Uint8ActPerTensorFloat, bit_width=bits),
            qnn.QuantConv2d(8, 8, 3, **weights), qnn.QuantReLU(act_quant=Uint8ActPerTensorFloat, bit_width=bits),
            nn.Flatten(), qnn.QuantLinear(128, 10, **weights))
    return build


def _ternary() -> nn.Module:
    ternary = {"weight_quant": SignedTernaryWeightPerTensorConst, "bias": False}
    act = {"act_quant": SignedTernaryActPerTensorConst}
    return nn.Sequential(
        nn.Flatten(), qnn.QuantIdentity(act_quant=Int8ActPerTensorFixedPoint, bit_width=5),
        qnn.QuantLinear(64, 64, **ternary), nn.BatchNorm1d(64), qnn.QuantIdentity(**act),
        qnn.QuantLinear(64, 48, **ternary), nn.BatchNorm1d(48), qnn.QuantIdentity(**act),
        qnn.QuantLinear(48, 10, **ternary), nn.BatchNorm1d(10))


# name: how to build it, shape of an image, steps of training
BREVITAS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "tfc-1w1a": (lambda: _of_examples(fc, "tfc_1w1a"), (1, 28, 28), 25),
    "tfc-1w2a": (lambda: _of_examples(fc, "tfc_1w2a"), (1, 28, 28), 25),
    "tfc-2w2a": (lambda: _of_examples(fc, "tfc_2w2a"), (1, 28, 28), 25),
    "lfc-1w1a": (_lfc, (1, 28, 28), 25),
    "cnv-1w1a": (lambda: _of_examples(cnv, "cnv_1w1a"), (3, 32, 32), 3),
    "cnv-1w2a": (lambda: _of_examples(cnv, "cnv_1w2a"), (3, 32, 32), 3),
    "cnv-2w2a": (lambda: _of_examples(cnv, "cnv_2w2a"), (3, 32, 32), 3),
    "residual": (lambda: _Residual(shared=True), (1, 8, 8), 80),
    "residual-unequal": (lambda: _Residual(shared=False), (1, 8, 8), 80),
    "separable": (_separable, (1, 8, 8), 25),
    "signal": (_signal, (1, 8, 8), 25),
    "channels-4bit": (_channels(4), (1, 8, 8), 25),
    "channels-8bit": (_channels(8), (1, 8, 8), 25),
    "ternary": (_ternary, (1, 8, 8), 25),
}


def export(name: str, path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """Build, train and write a network of :data:`BREVITAS`; return its path, unseen images and classes."""
    build, shape, steps = BREVITAS[name]
    torch.manual_seed(0)
    torch.set_num_threads(1)  # the networks are too small for more
    x, y = digits(shape)
    module = build()
    _train(module, torch.from_numpy(x[:1437]), torch.from_numpy(y[:1437]), steps)
    export_qonnx(module.eval(), args=torch.from_numpy(x[:1]), export_path=str(path), opset_version=13, dynamo=False)
    return path, x[1437:], y[1437:]


def _train(module: nn.Module, x, y, steps: int) -> None:
    rng = np.random.default_rng(0)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.005)
    module.train()
    for _ in range(steps):
        batch = rng.integers(0, len(x), 64)
        loss = nn.functional.cross_entropy(module(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if hasattr(module, "clip_weights"):
            module.clip_weights(-1, 1)
