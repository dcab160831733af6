"""Looking at a network: accuracy, batch statistics of the network as it will be deployed, and its real weights."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hwbnn_train.layers import Quantized
from hwbnn_train.quantizers import Real
from hwbnn_train.shift import ShiftBatchNorm

__all__ = ["Data", "evaluate", "real_weights", "recalibrate"]

Data = tuple[Tensor, Tensor]


@torch.no_grad()
def evaluate(model: nn.Module, data: Data, loss: Callable[[Tensor, Tensor], Tensor],
             *, batch: int | None = None) -> tuple[float, float]:
    """Return accuracy (0..1) and mean loss of ``model`` on ``data``, in evaluation mode.

    Where the labels of an image are a sequence, each counts, and ``batch`` is so many labels; None: so many that a
    GPU has enough to do and its memory suffices, and that a CPU keeps what a layer gives in its caches (twice as fast
    with convolutions).
    """
    model.eval()
    x, y = data
    right, total, each = 0, 0.0, y[0].numel()
    if batch is None:
        batch = 5000 if y.ndim > 1 else 250 if x.is_cpu else 1000
    batch = max(1, batch // each)
    for start in range(0, len(x), batch):
        outputs, labels = model(x[start:start + batch].float()), y[start:start + batch]
        right += int((outputs.argmax(dim=1) == labels).sum())
        total += float(loss(outputs, labels)) * len(labels)
    return right / (len(x) * each), total / len(x)


@torch.no_grad()
def recalibrate(model: nn.Module, x: Tensor, *, batch: int = 1000) -> None:
    """Take the running statistics of every batch normalization anew, from ``x`` and the network as it is deployed.

    While a network is trained its running statistics follow weights that keep changing or are drawn at random;
    here everything but batch normalization is in evaluation mode. The statistics are the means over batches,
    an incomplete one left out.
    """
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d | ShiftBatchNorm)]
    momenta = [layer.momentum for layer in norms]
    model.eval()
    for layer in norms:
        layer.reset_running_stats()
        layer.momentum = None  # cumulative mean
        layer.train()
    for start in range(0, max(len(x) - batch + 1, 1), batch):
        model(x[start:start + batch].float())
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    model.eval()


@contextmanager
def real_weights(model: nn.Module) -> Iterator[None]:
    """Within the block the layers of ``model`` use their real weights, as papers on BinaryConnect evaluate them."""
    layers = [layer for layer in model.modules() if isinstance(layer, Quantized)]
    quantizers = [layer.quantize_weight for layer in layers]
    try:
        for layer in layers:
            layer.quantize_weight = Real()
        yield
    finally:
        for layer, quantizer in zip(layers, quantizers, strict=True):
            layer.quantize_weight = quantizer
