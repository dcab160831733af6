"""Dropout behind a quantizer, where a zero is a value missing and not a level."""

from torch import Tensor
from torch.nn import functional

from hwbnn_train.quantizers.base import Grid, Quantizer

__all__ = ["Dropped"]


class Dropped(Quantizer):
    """Another quantizer, whose values are left out at random in training.

    Forward in training: ``q(x) / (1 - rate)``, or 0 with probability ``rate``; in evaluation ``q(x)``. Backward: that
    of the inner quantizer, where the value was kept. BinaryNet's authors drop binarized activations like this
    (``mnist.py``).

    Parameters
    ----------
    inner : Quantizer
        What quantizes.
    rate : :class:`float`
        Probability that a value is left out.
    """

    def __init__(self, inner: Quantizer, rate: float):
        if not 0 < rate < 1:
            raise ValueError(f"Dropped rate must lie between 0 and 1, not {rate!r}")
        super().__init__()
        self.inner, self.rate = inner, rate

    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(self.inner(x), self.rate, self.training)

    def grid(self, x: Tensor) -> Grid:
        return self.inner.grid(x)

    def extra_repr(self) -> str:
        return f"rate={self.rate}"
