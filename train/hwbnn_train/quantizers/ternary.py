"""Ternary weights: with a threshold taken from the weights themselves, and drawn at random."""

import math

import torch
from torch import Tensor

from hwbnn.ir import TERNARY
from hwbnn_train.quantizers.base import Grid, Quantizer
from hwbnn_train.quantizers.binary import substitute

__all__ = ["StochasticTernary", "TernaryWeights"]


class TernaryWeights(Quantizer):
    """Weights -1, 0 and +1 times a scale that fits them best.

    Forward: ``t = sign(w)`` where ``|w| > delta``, else 0, with ``delta = factor * mean |w|``; ``q(w) = alpha t`` with
    ``alpha = <w, t> / <t, t>``, the mean of ``|w|`` above the threshold. Backward: ``dq/dw = 1``.

    Ternary Weight Networks (Li et al., arXiv:1605.04711; the authors' Caffe code) take mean and scale over the
    layer; TernaryNet (arXiv:1801.09449) takes them per filter.

    Parameters
    ----------
    factor : :class:`float`
        Threshold over mean magnitude; 0.7 in both papers.
    per_filter : :class:`bool`
        One threshold and scale for each output (the first axis) instead of one for the layer.
    """

    def __init__(self, factor: float = 0.7, *, per_filter: bool = False):
        if not 0 <= factor < 1:
            raise ValueError(f"TernaryWeights factor must be at least 0 and below 1, not {factor!r}")
        super().__init__()
        self.factor, self.per_filter = factor, per_filter

    def _parts(self, w: Tensor) -> tuple[Tensor, Tensor]:
        """Return where weights are not 0, and ``alpha``."""
        magnitude = w.detach().abs()
        axes = tuple(range(1 if self.per_filter else 0, w.ndim))
        kept = magnitude > self.factor * magnitude.mean(dim=axes, keepdim=True)
        count = kept.sum(dim=axes, keepdim=True).clamp_(min=1)
        alpha = magnitude.mul_(kept).sum(dim=axes, keepdim=True) / count
        alpha = alpha.where(alpha > 0, 1.0)  # all weights 0: any scale will do
        return kept, alpha if self.per_filter else alpha.reshape(())

    def forward(self, w: Tensor) -> Tensor:
        kept, alpha = self._parts(w)
        value = kept * alpha
        return substitute(w, torch.copysign(value, w.detach(), out=value))

    def grid(self, w: Tensor) -> Grid:
        return Grid(TERNARY, self._parts(w)[1])

    def extra_repr(self) -> str:
        return f"factor={self.factor}, per_filter={self.per_filter}"


class StochasticTernary(Quantizer):
    """Weights -1, 0 and +1 times a fixed scale: drawn in training, the nearest in evaluation.

    Forward in training: ``q(w) = scale sign(w)`` with probability ``clip(|w| / scale, 0, 1)``, else 0, whose mean is
    ``w`` itself. In evaluation: ``scale sign(w)`` where ``|w| > scale / 2``, else 0. Backward: ``dq/dw = 1``. Ternary
    connect of "Neural Networks with Few Multiplications" (Lin et al., arXiv:1510.03009, section 3.2), whose tests
    use the real weights.

    Parameters
    ----------
    scale : :class:`float`
        The magnitude, and the bound of the real weights.
    """

    def __init__(self, scale: float = 1.0):
        if not 0 < scale < math.inf:
            raise ValueError(f"StochasticTernary scale must be positive and finite, not {scale!r}")
        super().__init__()
        self.scale = scale

    def forward(self, w: Tensor) -> Tensor:
        magnitude = w.detach().abs() / self.scale
        kept = magnitude > (torch.rand_like(magnitude) if self.training else 0.5)
        return substitute(w, torch.copysign(kept * self.scale, w.detach()))

    def grid(self, w: Tensor) -> Grid:
        return Grid(TERNARY, torch.tensor(self.scale, dtype=w.dtype))

    def extra_repr(self) -> str:
        return f"scale={self.scale}"
