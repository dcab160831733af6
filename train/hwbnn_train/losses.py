"""Losses for classification, from outputs (N x classes) and labels (N)."""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["LOSSES", "squared_hinge"]


def squared_hinge(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return ``mean(max(0, 1 - t y)^2)`` over images and classes, ``t`` being +1 for the class and -1 elsewhere.

    The L2-SVM loss of BinaryConnect and BinaryNet (arXiv:1511.00363, section 3; the authors' ``mnist.py``).
    """
    targets = torch.full_like(outputs, -1.0).scatter_(1, labels[:, None], 1.0)
    return functional.relu(1.0 - targets * outputs).square().mean()


LOSSES = {"squared-hinge": squared_hinge, "cross-entropy": functional.cross_entropy}
