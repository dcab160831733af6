"""Fixed point: steps of a power of two that fits the values a trained network has."""

import torch
from torch import Tensor

from hwbnn.ir import Levels
from hwbnn_train.fused import fused
from hwbnn_train.quantizers.base import Grid, Quantizer

__all__ = ["QFormat", "fixed_point", "nearest"]


def nearest(x: Tensor, unit: float, low: int, high: int, *, own: bool = False) -> Tensor:
    """Return what :func:`fixed_point` does without drawing, and without a gradient; ``own``: in the memory of ``x``."""
    return (_fixed_in_place if own else _fixed)(x, unit, low, high)


@fused("levels")
def _fixed_in_place(x: Tensor, unit: float, low: int, high: int) -> Tensor:
    large = 1.5 * 2.0**23 * unit  # as below
    return x.clamp_(low * unit, high * unit).add_(large).sub_(large)


@fused("levels", elementwise=True)
def _fixed(x: Tensor, unit: float, low: int, high: int) -> Tensor:
    # floats from 2^23 to 2^24 are the integers: adding and taking away 1.5 * 2^23 rounds, in two passes
    large = 1.5 * 2.0**23 * unit
    return x.clamp(low * unit, high * unit).add_(large).sub_(large)


class _FixedPoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, unit, low, high, stochastic):
        numbers = x.float()  # bfloat16 has too few bits for either way of rounding
        if stochastic:
            y = numbers / unit
            y = y.add_(torch.rand_like(y)).floor_().clamp_(low, high).mul_(unit)
        else:
            y = nearest(numbers, unit, low, high)
        return y.to(x.dtype)

    @staticmethod
    def backward(ctx, grad):
        return grad, None, None, None, None


def fixed_point(x: Tensor, unit: float, levels: Levels, *, stochastic: bool = False) -> Tensor:
    """Return the nearest multiples of ``unit`` within ``levels``, or one of the two nearest drawn without bias.

    Halves go to the even neighbour. The gradient passes unchanged.

    Parameters
    ----------
    x : Tensor
        Any shape; floats of other types are rounded as float32 and given back in their type.
    unit : :class:`float`
        A power of two from 2^-80 to 2^80.
    levels : :class:`hwbnn.ir.Levels`
        Of step 1, within -2^22 to 2^22.
    """
    return _FixedPoint.apply(x, unit, levels.low, levels.high, stochastic)


class QFormat(Quantizer):
    """Fixed point Qm.f, of a range that is measured while the network still has real numbers.

    With ``m + f = bits`` and ``max = 2^(m-1) - 2^-f``. Forward: ``q(x) = clip(round(x 2^f) / 2^f, -max, max)``, or
    drawn, ``clip(floor(x 2^f + u) / 2^f, -max, max)`` with ``u`` uniform in 0..1, in training where ``stochastic`` is
    set; rectified activations have 0 below. Backward: ``dq/dx = 1`` (0 where the rectifier cuts). ADaPTION (Milde et
    al., arXiv:1711.04713; the authors' low-precision layers), whose layers each have their own ``m`` and ``f``, from
    the ranges of a trained network that is tuned on afterwards.

    In training with ``measuring`` set, numbers pass real (rectified) and the largest magnitude is noted; evaluation
    always rounds. ``f`` is the largest for which ``2^(m-1)`` is at least that magnitude.

    Parameters
    ----------
    bits : :class:`int`
        With the sign, 2 to 16.
    rectified : :class:`bool`
        Whether ``max(x, 0)`` is taken first.
    stochastic : :class:`bool`
        Whether to draw in training.
    """

    largest: Tensor

    def __init__(self, bits: int, *, rectified: bool = False, stochastic: bool = False):
        if not isinstance(bits, int) or not 2 <= bits <= 16:
            raise ValueError(f"QFormat bits must be an integer from 2 to 16, not {bits!r}")
        super().__init__()
        self.bits, self.rectified, self.stochastic, self.measuring = bits, rectified, stochastic, False
        high = 2**(bits - 1) - 1
        self.levels = Levels(0 if rectified else -high, high)
        self.register_buffer("largest", torch.ones(()))

    @property
    def fraction(self) -> int:
        """The f of Qm.f."""
        mantissa, exponent = torch.frexp(self.largest)  # largest = mantissa 2^exponent, mantissa in 0.5 .. 1
        return self.bits - 1 - int(exponent) + int(mantissa == 0.5)

    def initialize(self, x: Tensor) -> None:
        self._note(x)

    def _note(self, x: Tensor) -> None:
        self.largest.copy_(x.detach().abs().amax().clamp(2.0**-40, 2.0**40))

    def forward(self, x: Tensor) -> Tensor:
        if self.rectified:
            x = torch.relu(x)
        if self.training and self.measuring:
            with torch.no_grad():
                # activations differ from batch to batch, and early ones tell little about late ones
                self._note(torch.maximum(x.abs().amax(), 0.999 * self.largest) if self.rectified else x)
            return x
        return fixed_point(x, 2.0**-self.fraction, self.levels, stochastic=self.stochastic and self.training)

    def grid(self, x: Tensor) -> Grid:
        return Grid(self.levels, torch.tensor(2.0**-self.fraction))

    def extra_repr(self) -> str:
        return f"bits={self.bits}, rectified={self.rectified}, stochastic={self.stochastic}"
