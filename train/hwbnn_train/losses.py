"""Losses for classification, from outputs (N x classes) and labels (N), and what the quantizers add to them."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from hwbnn_train.layers import Quantized

__all__ = ["LOSSES", "penalty", "squared_hinge"]


def squared_hinge(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return ``mean(max(0, 1 - t y)^2)`` over images and classes, ``t`` being +1 for the class and -1 elsewhere.

    The L2-SVM loss of BinaryConnect and BinaryNet (arXiv:1511.00363; the authors' ``mnist.py``).
    """
    targets = torch.full_like(outputs, -1.0).scatter_(1, labels[:, None], 1.0)
    return functional.relu(1.0 - targets * outputs).square().mean()


LOSSES = {"squared-hinge": squared_hinge, "cross-entropy": functional.cross_entropy}


def penalty(model: nn.Module) -> Tensor | float:
    """Return the sum of what the quantizers of the weights add to the loss."""
    terms = [layer.quantize_weight.penalty(layer.weight) for layer in _layers(model)]
    first, *rest = [term for term in terms if term is not None] or [0.0]
    return sum(rest, start=first)


def _layers(module: nn.Module) -> Iterator[Quantized]:
    """Yield the quantized layers; what they consist of is not looked at, which takes most of a walk."""
    if isinstance(module, Quantized):
        yield module
        return
    for child in module.children():
        yield from _layers(child)
