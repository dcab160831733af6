"""Powers of two: values that multiply by a shift."""

import math

import torch
from torch import Tensor, nn

from hwbnn.ir import Levels
from hwbnn_train.fused import fused
from hwbnn_train.quantizers.base import Grid, Quantizer, draws, integers, largest, passing, sign
from hwbnn_train.quantizers.binary import substitute
from hwbnn_train.shift import CARRY, ap2, ap2_of_magnitudes

__all__ = ["LogActivation", "LogGradient", "LogWeights", "StochasticPower"]


_MANTISSA = 2**23 - 1  # its bits in a float of 32


@fused("levels", elementwise=True)
def _powers(x: Tensor, carry: int, low: float, high: float) -> Tensor:
    """Return ``sign(x) clip(AP2(|x|), low, high)``; the sign of 0 is +1."""
    magnitude = x.abs()
    return ap2_of_magnitudes(magnitude, out=magnitude).clamp_(low, high).mul_(sign(x))


class LogWeights(Quantizer):
    """Weights that are a sign and a power of two.

    Forward: ``q(w) = sign(w) clip(AP2(|w|), 2^(high-n+1), 2^high)`` with ``n = 2^(bits-1)`` exponents, AP2 being the
    nearest power of two on a logarithmic scale. Backward: ``dq/dw = 1``. Logarithmic quantization of QNN (Hubara et
    al., arXiv:1609.07061); a sign and an exponent leave no code for 0. Hardware of this project holds
    such weights as integers of ``n + 1`` bits.

    Parameters
    ----------
    bits : :class:`int`
        2 to 4: one for the sign, the others for the exponent.
    high : :class:`int`
        Greatest exponent.
    """

    def __init__(self, bits: int, *, high: int = 0):
        if not isinstance(bits, int) or not 2 <= bits <= 4:
            raise ValueError(f"LogWeights bits must be an integer from 2 to 4, not {bits!r}")
        super().__init__()
        self.bits, self.high = bits, high
        self.low = high + 1 - 2**(bits - 1)

    def forward(self, w: Tensor) -> Tensor:
        return substitute(w, _powers(w.detach(), CARRY, 2.0**self.low, 2.0**self.high))

    def grid(self, w: Tensor) -> Grid:
        high = 2**(self.high - self.low)
        return Grid(Levels(-high, high), torch.tensor(2.0**self.low, dtype=w.dtype))

    def extra_repr(self) -> str:
        return f"bits={self.bits}, high={self.high}"


class LogActivation(Quantizer):
    """Activations that are 0 or a power of two.

    Forward: ``q(x) = min(AP2(x), 2^high)`` where AP2 is at least ``2^(high-n+1)``, else 0, with ``n = 2^bits - 1``
    exponents. Backward: ``dq/dx = 1`` where ``0 <= x <= 2^high``, else 0. Logarithmic quantization of QNN (Hubara et
    al., arXiv:1609.07061), unsigned, so that it contains the rectifier. The steps are uneven: as levels
    0, 1, 2, 4, ... it passes several thresholds at once.

    Parameters
    ----------
    bits : :class:`int`
        1 to 3.
    high : :class:`int`
        Greatest exponent.
    """

    thresholds: Tensor

    def __init__(self, bits: int, *, high: int = 0):
        if not isinstance(bits, int) or not 1 <= bits <= 3:
            raise ValueError(f"LogActivation bits must be an integer from 1 to 3, not {bits!r}")
        super().__init__()
        self.bits, self.high = bits, high
        self.low = high + 2 - 2**bits
        # AP2 goes up behind the float nearest to the square root of two
        first = torch.nextafter(torch.tensor(math.sqrt(2.0)), torch.tensor(math.inf))
        cuts = [first * 2.0**(exponent - 1) for exponent in range(self.low, high + 1)]
        rises = [1, *(2**k for k in range(high - self.low))]
        self.register_buffer("thresholds", torch.stack(cuts).repeat_interleave(torch.tensor(rises)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return _LogSTE.apply(x, 2.0**self.low, 2.0**self.high)

    def grid(self, x: Tensor) -> Grid:
        return Grid(Levels(0, 2**(self.high - self.low)), torch.tensor(2.0**self.low), self.thresholds)

    def extra_repr(self) -> str:
        return f"bits={self.bits}, high={self.high}"


@fused("levels", elementwise=True)
def _power_steps(x: Tensor, carry: int, least: float, most: float) -> Tensor:
    """Return AP2, ``most`` above that, and 0 where it is at most ``least``, which is no power of two."""
    return torch.threshold_(ap2(x).clamp_(max=most), least, 0.0)


@fused("levels", elementwise=True)
def _shrunk_powers(x: Tensor, carry: int, least: float) -> Tensor:
    """Return AP2, and 0 where its magnitude is at most ``least``, which is no power of two."""
    return torch.nn.functional.hardshrink(ap2(x), least)


class _LogSTE(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, low, high):
        ctx.save_for_backward(x)
        ctx.high = high
        return _power_steps(x.detach(), CARRY, 0.75 * low, high)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return passing(grad, x, 0.0, ctx.high), None, None


class LogGradient(nn.Module):
    """Gradients that are 0 or a sign and a power of two; for :class:`hwbnn_train.layers.Quantized`'s ``error``.

    ``q(g) = AP2(g)`` where that is at least ``2^(E-n+1)``, else 0, ``2^E`` being the power of two of the largest
    magnitude in the tensor and ``n = 2^(bits-1) - 1`` the number of exponents; one code of each sign is 0. QNN
    (Hubara et al., arXiv:1609.07061) has gradients of 6 bits; its rounding and scale are not known to
    us.

    Parameters
    ----------
    bits : :class:`int`
        2 to 8: one for the sign, the others for the exponent.
    """

    def __init__(self, bits: int = 6):
        if not isinstance(bits, int) or not 2 <= bits <= 8:
            raise ValueError(f"LogGradient bits must be an integer from 2 to 8, not {bits!r}")
        super().__init__()
        self.bits = bits

    @torch.no_grad()
    def forward(self, g: Tensor) -> Tensor:
        most = float(ap2(largest(g)))  # AP2 keeps the order
        return _shrunk_powers(g, CARRY, 0.75 * most * 2.0 ** (2 - 2**(self.bits - 1)))

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


@fused("levels")
def _drawn_powers(x: Tensor, by_row: Tensor, by_column: Tensor) -> Tensor:
    # |x| / 2^e - 1 is the mantissa: a number drawn from its range carries into the exponent as often as it should
    drawn = integers(x, by_row, by_column).bitwise_and_(_MANTISSA)
    return drawn.add_(x.view(torch.int32)).bitwise_and_(~_MANTISSA).view(torch.float32)


class StochasticPower(nn.Module):
    """Round to one of the two nearest powers of two, without bias; for what the gradient of weights multiplies by.

    With ``e = floor(log2 |x|)`` the result is ``sign(x) 2^(e+1)`` with probability ``|x| / 2^e - 1``, else
    ``sign(x) 2^e``, so that its mean is ``x``; 0 stays 0. Exponents are clipped to ``low .. high``, where given; values
    below ``2^low`` become ``2^low``. Quantized back propagation of "Neural Networks with Few Multiplications" (Lin et
    al., arXiv:1510.03009). The authors' code clips exponents to -4..3 in convolutions only, and turns zeros
    into ``-2^-4`` there; here they stay 0.

    Parameters
    ----------
    low, high : :class:`int` or None
        Bounds of the exponents.
    """

    def __init__(self, low: int | None = None, high: int | None = None):
        if low is not None and high is not None and low > high:
            raise ValueError(f"StochasticPower low must be at most high, not low={low!r} and high={high!r}")
        super().__init__()
        self.low, self.high = low, high

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        power = _drawn_powers(x, *draws(x, torch.int32))
        if self.low is None and self.high is None:
            return power
        low, high = (None if exponent is None else 2.0**exponent for exponent in (self.low, self.high))
        return torch.copysign(power.abs().clamp_(low, high), power).mul_(x != 0)

    def extra_repr(self) -> str:
        return f"low={self.low}, high={self.high}"
