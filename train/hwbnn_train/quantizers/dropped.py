"""Dropout behind a quantizer, where a zero is a value missing and not a level."""

from torch import Tensor
from torch.nn import functional

from hwbnn_train.quantizers.base import Grid, Quantizer

__all__ = ["Dropped"]


class Dropped(Quantizer):
    """Another quantizer, whose values are left out at random in training.

    Forward in training: ``center + (q(x) - center) / (1 - rate)``, or ``center`` with probability ``rate``; in
    evaluation ``q(x)``. Backward: that of the inner quantizer, over ``1 - rate``, where the value was kept. BinaryNet's
    authors drop pixels and binarized activations, both around 0, like this (``mnist.py``).

    Parameters
    ----------
    inner : Quantizer
        What quantizes.
    rate : :class:`float`
        Probability that a value is left out.
    center : :class:`float`
        What stands in its place.
    """

    def __init__(self, inner: Quantizer, rate: float, *, center: float = 0.0):
        if not 0 < rate < 1:
            raise ValueError(f"Dropped rate must lie between 0 and 1, not {rate!r}")
        super().__init__()
        self.inner, self.rate, self.center = inner, rate, center

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        if not self.training:
            return y
        return functional.dropout(y - self.center, self.rate) + self.center

    def grid(self, x: Tensor) -> Grid:
        return self.inner.grid(x)

    def extra_repr(self) -> str:
        return f"rate={self.rate}, center={self.center}"
