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
from hwbnn_train.fused import fused

__all__ = ["Grid", "Quantizer", "Real", "Rectified", "draws", "integers", "largest", "levels", "noise", "passing",
           "sign", "uniform"]


def sign(x: Tensor, magnitude: Tensor | None = None) -> Tensor:
    """Return +1 where ``x >= 0`` and -1 elsewhere, times a positive magnitude, in the type of ``x``; no gradient."""
    if magnitude is None or not magnitude.ndim:
        return _signs(x.detach(), 1.0 if magnitude is None else float(magnitude))
    return _signs(x.detach(), 1.0).mul_(magnitude.detach())


@fused("levels", elementwise=True)
def levels(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    """Return ``scale * clip(round(x / scale), low, high)``, without a gradient."""
    y = x.clone() if scale == 1.0 else x / scale
    y.round_().clamp_(low, high)
    return y if scale == 1.0 else y.mul_(scale)


@fused("levels", elementwise=True)
def largest(x: Tensor) -> Tensor:
    """Return the largest magnitude, without a gradient."""
    low, high = torch.aminmax(x)
    return torch.maximum(-low, high)


@fused("binary", elementwise=True)
def _signs(x: Tensor, magnitude: float) -> Tensor:
    """Return the signs times a magnitude.

    A comparison that writes floats is several times faster than ``where`` on a CPU, and than ``copysign``, which would
    have to be kept from the sign of -0.0.
    """
    result = torch.ge(x, 0.0, out=torch.empty_like(x))
    return torch.add(torch.tensor(-magnitude, dtype=x.dtype), result, alpha=2.0 * magnitude, out=result)


def passing(grad: Tensor, x: Tensor, low: float, high: float) -> Tensor:
    """Return ``grad`` where ``low <= x <= high``, and 0 elsewhere."""
    if x.dtype == grad.dtype == torch.float32:  # in a single pass, with bounds that do not belong to the range
        ends = np.nextafter(np.array([low, high], np.float32), np.array([-np.inf, np.inf], np.float32))
        return torch.ops.aten.hardtanh_backward(grad, x, *ends.tolist())
    return grad * ((x >= low) & (x <= high)).to(grad.dtype)


def draws(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return random integers of ``dtype``, one for each row of ``x`` (the first axis) and one for each column."""
    rows = len(x) if x.ndim else 1
    columns = x.numel() // max(rows, 1)
    count = -(-(rows + columns) * torch.iinfo(dtype).bits // 64)
    drawn = torch.empty(count, dtype=torch.int64, device=x.device).random_(-2**63, None).view(dtype)
    return drawn[:rows], drawn[rows:rows + columns]


def integers(x: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    """Return an integer for each of ``x`` from the :func:`draws`, any two of them independent.

    With ``s`` the sum, with overflow, of the numbers of the row and the column it is ``s (2 s + 1)``, which maps all
    integers of so many bits to all of them, and gives rows whose draws are neighbours nothing in common. The
    product of a row and other numbers has the mean and the variance that as many draws as ``x`` has elements
    would give it; those would take a third of the time of a training step's products.
    """
    s = by_row[:, None] + by_column
    return s.mul(2).add_(1).mul_(s).reshape(x.shape)


def noise(x: Tensor, *, center: float = 0.0, half: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """Draw what :func:`uniform` makes of it a number for each of ``x``: for the rows, the columns, and all of them.

    Each number has 16 bits of :func:`integers`; what is below them is drawn once for all. So each alone is as finely
    uniform as a float, and two of them depend on each other only where their 16 bits agree.
    """
    below = torch.rand((), dtype=x.dtype, device=x.device).mul_(half * 2.0**-15).add_(center)
    return *draws(x, torch.int16), below


def uniform(x: Tensor, by_row: Tensor, by_column: Tensor, below: Tensor, half: float) -> Tensor:
    """Return a random number for each of ``x``, uniform within ``half`` around the center (rounding aside)."""
    whole = integers(x, by_row, by_column).to(x.dtype)
    return torch.add(below, whole, alpha=half * 2.0**-15, out=whole)


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
    behind it cannot become hardware, where its grid has no levels. ``training_bits`` is how many of a weight behind it
    training must keep between steps, without the optimizer's moments: those of a real number, mostly. ``short`` says
    that bfloat16 holds its values in training without loss.
    """

    lr_scale: float = 1.0
    short: bool = False
    training_bits: int = 32
    obstacle = "they are real numbers"

    def for_product(self, w: Tensor) -> Tensor:
        """Return the quantized weights for one product in training, whose gradient by them may be overwritten."""
        return self(w)

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
    """No quantization of activations: ``q(x) = max(x, 0)``, ``dq/dx = 1`` where ``x > 0``.

    The rectifier between the layers of BinaryConnect (arXiv:1511.00363).
    """

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x)
