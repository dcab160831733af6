"""Quantizers: real tensors in, a few evenly spaced values out, each with its own rule for the gradient.

Every class states its forward formula, its backward formula and where both come from. The conventions of this
file hold for the whole package: ``sign(0) = +1``, also for the negative zero (as in QONNX's ``BipolarQuant``),
and ``round`` takes halves to the even neighbour (as in QONNX's ``Quant``).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hwbnn.ir import BIPOLAR, Levels

__all__ = ["Grid", "Quantizer", "Sign", "Uniform", "sign"]


def sign(x: Tensor) -> Tensor:
    """Return +1 where ``x >= 0`` and -1 elsewhere, in the type of ``x``; without a gradient.

    ``copysign`` is several times faster than ``where`` on a CPU. Adding 0 turns -0.0, whose sign bit is set, to
    +0.0.
    """
    return torch.copysign(torch.ones((), dtype=x.dtype, device=x.device), x.detach() + 0.0)


@dataclass(frozen=True)
class Grid:
    """The values a quantizer gives: ``scale`` times the integers of ``levels``.

    Parameters
    ----------
    levels : :class:`hwbnn.ir.Levels`
        The integers, as hardware will hold them.
    scale : Tensor
        Positive; a scalar, or one value per output channel shaped to broadcast against the quantized tensor.
    """

    levels: Levels
    scale: Tensor

    def __post_init__(self):
        if not bool(torch.all(torch.isfinite(self.scale) & (self.scale > 0))):
            raise ValueError(f"Grid scale must be positive and finite, not {self.scale.tolist()}")


class Quantizer(nn.Module):
    """Maps a real tensor to values of a :class:`Grid`; the gradient goes back as the subclass says."""

    def grid(self, x: Tensor) -> Grid:
        """Return the values that quantizing ``x`` in evaluation mode gives; the export writes them."""
        raise NotImplementedError


class _SignSTE(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, window):
        ctx.window = window
        if window != math.inf:
            ctx.save_for_backward(x)
        return sign(x)

    @staticmethod
    def backward(ctx, grad):
        if ctx.window == math.inf:
            return grad, None
        (x,) = ctx.saved_tensors
        return grad * (x.abs() <= ctx.window), None


class Sign(Quantizer):
    """One bit: the sign.

    Forward: ``q(x) = +1 if x >= 0 else -1``. Backward: ``dq/dx = 1`` where ``|x| <= window``, else 0: the
    straight-through estimator with saturation.

    Activations of BinaryNet use a window of 1 (Courbariaux et al., "Binarized Neural Networks",
    arXiv:1602.02830, section 1.3); weights use an infinite one, since there the clipping of the real weights
    does that job (arXiv:1511.00363, section 2.4; the authors' ``binary_net.py``).

    Parameters
    ----------
    window : :class:`float`
        Half-width of the range around 0 in which the gradient passes.
    """

    def __init__(self, window: float = math.inf):
        if not window > 0:
            raise ValueError(f"Sign window must be positive, not {window!r}")
        super().__init__()
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        return _SignSTE.apply(x, self.window)

    def grid(self, x: Tensor) -> Grid:
        return Grid(BIPOLAR, torch.ones((), dtype=x.dtype))

    def extra_repr(self) -> str:
        return f"window={self.window}"


class _RoundSTE(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, low, high):
        ctx.save_for_backward(x)
        ctx.range = scale * low, scale * high
        return (x / scale).round().clamp(low, high) * scale

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        low, high = ctx.range
        return grad * ((x >= low) & (x <= high)), None, None, None


class Uniform(Quantizer):
    """Evenly spaced levels with a fixed step.

    Forward: ``q(x) = scale * clip(round(x / scale), low, high)``. Backward: ``dq/dx = 1`` where
    ``scale * low <= x <= scale * high``, else 0. This is the linear quantizer of QNN (Hubara et al.,
    arXiv:1609.07061, section 3.1) with the step as a parameter, and QONNX's ``Quant``.

    Parameters
    ----------
    bits : :class:`int`
        2 to 16, or 1 for unsigned.
    scale : :class:`float`
        The step between levels.
    signed : :class:`bool`
        Levels ``-2^(bits-1) .. 2^(bits-1)-1`` if true, ``0 .. 2^bits-1`` otherwise.
    narrow : :class:`bool`
        Leave out the lowest signed level, so that the levels are symmetric.
    """

    def __init__(self, bits: int, *, scale: float = 1.0, signed: bool = False, narrow: bool = False):
        least = 2 if signed else 1
        if not isinstance(bits, int) or not least <= bits <= 16:
            raise ValueError(f"Uniform bits must be an integer from {least} to 16, not {bits!r}")
        if not 0 < scale < math.inf:
            raise ValueError(f"Uniform scale must be positive and finite, not {scale!r}")
        if narrow and not signed:
            raise ValueError("Uniform narrow must go with signed, and the levels are unsigned")
        super().__init__()
        self.bits, self.scale, self.signed, self.narrow = bits, scale, signed, narrow
        self.levels = Levels(-2**(bits - 1) + narrow, 2**(bits - 1) - 1) if signed else Levels(0, 2**bits - 1)

    def forward(self, x: Tensor) -> Tensor:
        return _RoundSTE.apply(x, self.scale, self.levels.low, self.levels.high)

    def grid(self, x: Tensor) -> Grid:
        return Grid(self.levels, torch.tensor(self.scale, dtype=x.dtype))

    def extra_repr(self) -> str:
        return f"bits={self.bits}, scale={self.scale}, signed={self.signed}, narrow={self.narrow}"
