"""What a quantizer is, and the conventions that all of them share.

``sign(0) = +1``, also for the negative zero (as in QONNX's ``BipolarQuant``); ``round`` takes halves to the even
neighbour (as in QONNX's ``Quant``).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hwbnn.ir import Levels

__all__ = ["Grid", "Quantizer", "Real", "Rectified", "integers", "noise", "passing", "sign"]


_MINUS_ONE = torch.tensor(-1.0)


def sign(x: Tensor, magnitude: Tensor | None = None) -> Tensor:
    """Return +1 where ``x >= 0`` and -1 elsewhere, times a positive magnitude, in the type of ``x``; no gradient.

    A comparison that writes floats is several times faster than ``where`` on a CPU, and than ``copysign``, which would
    have to be kept from the sign of -0.0.
    """
    x = x.detach()
    result = torch.ge(x, 0.0, out=torch.empty_like(x))
    if magnitude is None:
        return torch.add(_MINUS_ONE, result, alpha=2.0, out=result)
    magnitude = magnitude.detach()
    if magnitude.ndim:
        return result.sub_(0.5).mul_(2.0 * magnitude)
    return torch.add(-magnitude, result, alpha=2.0 * float(magnitude), out=result)


def passing(grad: Tensor, x: Tensor, low: float, high: float) -> Tensor:
    """Return ``grad`` where ``low <= x <= high``, and 0 elsewhere."""
    if x.dtype == grad.dtype == torch.float32:  # in a single pass, with bounds that do not belong to the range
        ends = np.nextafter(np.array([low, high], np.float32), np.array([-np.inf, np.inf], np.float32))
        return torch.ops.aten.hardtanh_backward(grad, x, *ends.tolist())
    return grad * ((x >= low) & (x <= high)).to(grad.dtype)


def integers(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return an integer of ``dtype`` for each of ``x``, drawn from all there are, any two of them independently.

    With ``s`` the sum, with overflow, of one number drawn for the row (the first axis) and one for the column it is
    ``s (2 s + 1)``, which maps all integers of so many bits to all of them, and gives rows whose draws are
    neighbours nothing in common. The product of a row and other numbers has the mean and the variance that as many
    draws as ``x`` has elements would give it; those would take a third of the time of a training step's products.
    """
    rows = len(x) if x.ndim else 1
    columns = x.numel() // max(rows, 1)
    count = -(-(rows + columns) * torch.iinfo(dtype).bits // 64)
    drawn = torch.empty(count, dtype=torch.int64, device=x.device).random_(-2**63, None).view(dtype)
    s = drawn[:rows, None] + drawn[rows:rows + columns]
    return s.mul(2).add_(1).mul_(s).reshape(x.shape)


def noise(x: Tensor, *, center: float = 0.0, half: float = 1.0) -> Tensor:
    """Return a random number for each of ``x``, uniform within ``half`` around ``center`` (rounding at the ends aside).

    Each has 16 bits of :func:`integers`; what is below them is drawn once for all. So each alone is as finely uniform
    as a float, and two of them depend on each other only where their 16 bits agree.
    """
    unit = half * 2.0**-15
    below = torch.rand((), dtype=x.dtype, device=x.device).mul_(unit).add_(center)
    whole = integers(x, torch.int16).to(x.dtype)
    return torch.add(below, whole, alpha=unit, out=whole)


@dataclass(frozen=True)
class Grid:
    """The values a quantizer gives: ``scale`` times the integers of ``levels``.

    Parameters
    ----------
    levels : :class:`hwbnn.ir.Levels` or None
        The integers, as hardware will hold them. None where values are real: such a network can be trained and
        compared with, and not become hardware.
    scale : Tensor
        Positive; a scalar, or one value per output channel shaped to broadcast against the quantized tensor.
    thresholds : Tensor or None
        Where the output steps up, ascending, one value for each level but the lowest; a value equal to a
        threshold has reached it. None where the nearest level is taken (halves to the even one, and 0 to +1 if the
        levels are -1 and +1).
    """

    levels: Levels | None
    scale: Tensor
    thresholds: Tensor | None = None

    def __post_init__(self):
        if not bool(torch.all(torch.isfinite(self.scale) & (self.scale > 0))):
            raise ValueError(f"Grid scale must be positive and finite, not {self.scale.tolist()}")


class Quantizer(nn.Module):
    """Maps a real tensor to values of a :class:`Grid`; the gradient goes back as the subclass says.

    ``lr_scale`` is the factor on the learning rate of the quantizer's own parameters. ``obstacle`` says why weights
    behind it cannot become hardware, where its grid has no levels.
    """

    lr_scale: float = 1.0
    obstacle = "they are real numbers"

    def factors(self, w: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return weights, and what a layer multiplies its product with them by (per output or for all; None: 1).

        For use in training. Output and gradients are those of a product with the quantized weights; a scale that
        multiplies few outputs instead of many weights saves time.
        """
        return self(w), None

    def grid(self, x: Tensor) -> Grid:
        """Return the values that quantizing ``x`` in evaluation mode gives; the export writes them."""
        raise NotImplementedError

    def initialize(self, x: Tensor) -> None:
        """Look at the initial weights ``x`` that the quantizer is put before, and change them in place if it must."""

    def group(self) -> dict[str, Any]:
        """Return what an optimizer must know of a parameter behind this quantizer; nothing, mostly.

        See :func:`hwbnn_train.optimizers.prepare` for the keys.
        """
        return {}

    def penalty(self, x: Tensor) -> Tensor | None:
        """Return what the quantizer of the weights ``x`` adds to the loss; None where it adds nothing."""
        return None

    def stored(self, w: Tensor) -> tuple[int, int]:
        """Return how many numbers hardware stores for the weights ``w``, and of how many bits each is; 32 if real."""
        levels = self.grid(w).levels
        return w.numel(), 32 if levels is None else (len(levels) - 1).bit_length()


class Real(Quantizer):
    """No quantization: ``q(x) = x``, ``dq/dx = 1``; for comparison with networks of real numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    def grid(self, x: Tensor) -> Grid:
        return Grid(None, torch.ones(()))


class Rectified(Real):
    """No quantization of activations: ``q(x) = max(x, 0)``, ``dq/dx = 1`` where ``x > 0``."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x)
