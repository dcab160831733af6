"""Powers of two: values that multiply by a shift."""

import torch
from torch import Tensor, nn

__all__ = ["StochasticPower"]


class StochasticPower(nn.Module):
    """Round to one of the two nearest powers of two, without bias; for what the gradient of weights multiplies by.

    With ``e = floor(log2 |x|)`` the result is ``sign(x) 2^(e+1)`` with probability ``|x| / 2^e - 1``, else
    ``sign(x) 2^e``, so that its mean is ``x``; 0 stays 0. Exponents are clipped to ``low .. high``, where given; values
    below ``2^low`` become ``2^low``. Quantized back propagation of "Neural Networks with Few Multiplications" (Lin et
    al., arXiv:1510.03009, section 4). The authors' code clips exponents to -4..3 in convolutions only, and turns zeros
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
        fraction, exponent = torch.frexp(x)  # |fraction| in 0.5 .. 1, so |x| / 2^e - 1 = 2 |fraction| - 1
        up = torch.rand_like(x) < 2.0 * fraction.abs() - 1.0
        exponent = exponent - 1 + up
        if self.low is not None or self.high is not None:
            exponent = exponent.clamp(self.low, self.high)
        return torch.copysign(torch.ldexp(torch.ones_like(x), exponent), x) * (x != 0)

    def extra_repr(self) -> str:
        return f"low={self.low}, high={self.high}"
