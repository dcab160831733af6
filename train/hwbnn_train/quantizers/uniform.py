"""Several bits: evenly spaced levels with a fixed step."""

import math

import torch
from torch import Tensor

from hwbnn.ir import Levels
from hwbnn_train.quantizers.base import Grid, Quantizer, levels, passing

__all__ = ["Uniform"]


class _RoundSTE(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, low, high, start, stop):
        ctx.window = start, stop
        if ctx.window != (-math.inf, math.inf):
            ctx.save_for_backward(x)
        return levels(x, scale, low, high)

    @staticmethod
    def backward(ctx, grad):
        start, stop = ctx.window
        if ctx.window != (-math.inf, math.inf):
            (x,) = ctx.saved_tensors
            grad = passing(grad, x, start, stop)
        return grad, None, None, None, None, None


class Uniform(Quantizer):
    """Evenly spaced levels with a fixed step.

    Forward: ``q(x) = scale * clip(round(x / scale), low, high)``. Backward: ``dq/dx = 1`` where
    ``scale * low <= x <= scale * high`` or, if a window is given, where ``|x| <= window``; else 0.

    This is QONNX's ``Quant``, and the linear quantizer of QNN (Hubara et al., arXiv:1609.07061) read
    as ``clip(round(x 2^(k-1)) / 2^(k-1))``: signed, ``scale = 2^-(k-1)``, window 1 for activations and infinite for
    weights, which are clipped. Unsigned it contains the rectifier.

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
    window : :class:`float` or None
        Half-width of the range around 0 in which the gradient passes; None: from the lowest level to the highest.
    """

    def __init__(self, bits: int, *, scale: float = 1.0, signed: bool = False, narrow: bool = False,
                 window: float | None = None):
        least = 2 if signed else 1
        if not isinstance(bits, int) or not least <= bits <= 16:
            raise ValueError(f"Uniform bits must be an integer from {least} to 16, not {bits!r}")
        if not 0 < scale < math.inf:
            raise ValueError(f"Uniform scale must be positive and finite, not {scale!r}")
        if narrow and not signed:
            raise ValueError("Uniform narrow must go with signed, and the levels are unsigned")
        if window is not None and not window > 0:
            raise ValueError(f"Uniform window must be positive, not {window!r}")
        super().__init__()
        self.bits, self.scale, self.signed, self.narrow, self.window = bits, scale, signed, narrow, window
        self.levels = Levels(-2**(bits - 1) + narrow, 2**(bits - 1) - 1) if signed else Levels(0, 2**bits - 1)

    def forward(self, x: Tensor) -> Tensor:
        low, high = self.levels.low, self.levels.high
        start, stop = (self.scale * low, self.scale * high) if self.window is None else (-self.window, self.window)
        return _RoundSTE.apply(x, self.scale, low, high, start, stop)

    def grid(self, x: Tensor) -> Grid:
        return Grid(self.levels, torch.tensor(self.scale, dtype=x.dtype))

    def extra_repr(self) -> str:
        return (f"bits={self.bits}, scale={self.scale}, signed={self.signed}, narrow={self.narrow}, "
                f"window={self.window}")
