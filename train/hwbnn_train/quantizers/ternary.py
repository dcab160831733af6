"""Ternary weights, with a threshold taken from the weights themselves, drawn at random, or of two trained values."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from hwbnn.ir import TERNARY, Levels
from hwbnn_train.fused import fused
from hwbnn_train.quantizers.base import Grid, Quantizer, largest, noise, uniform
from hwbnn_train.quantizers.binary import substitute

__all__ = ["StochasticTernary", "TernaryWeights", "TrainedTernary"]


@fused("ternary")
def _ternary(w: Tensor, factor: float, per_filter: bool) -> tuple[Tensor, Tensor]:
    """Return the values of :class:`TernaryWeights` and ``alpha``."""
    magnitude = w.abs()
    axes = tuple(range(1 if per_filter else 0, w.ndim))
    # a mask of floats: products of floats and truth values are slow on a CPU
    delta = factor * magnitude.mean(dim=axes, keepdim=True)
    kept = torch.gt(magnitude, delta, out=torch.empty_like(magnitude))
    count = kept.sum(dim=axes, keepdim=True).clamp_(min=1)
    alpha = magnitude.mul_(kept).sum(dim=axes, keepdim=True) / count
    alpha = alpha.where(alpha > 0, 1.0)  # all weights 0: any scale will do
    return kept.mul_(alpha).mul_(torch.sign(w)), alpha if per_filter else alpha.reshape(())


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

    def forward(self, w: Tensor) -> Tensor:
        return substitute(w, _ternary(w.detach(), self.factor, self.per_filter)[0])

    def grid(self, w: Tensor) -> Grid:
        return Grid(TERNARY, _ternary(w.detach(), self.factor, self.per_filter)[1])

    def extra_repr(self) -> str:
        return f"factor={self.factor}, per_filter={self.per_filter}"


@fused("ternary")
def _drawn_ternary(w: Tensor, by_row: Tensor, by_column: Tensor, below: Tensor, scale: float) -> Tensor:
    # rounding x + v with v uniform in -1/2 .. 1/2 gives either neighbour of x as often as it should
    drawn = uniform(w, by_row, by_column, below, 0.5).add_(w, alpha=1.0 / scale)
    return drawn.round_().clamp_(-1.0, 1.0).mul_(scale)


class StochasticTernary(Quantizer):
    """Weights -1, 0 and +1 times a fixed scale: drawn in training, the nearest in evaluation.

    Forward in training: ``q(w) = scale sign(w)`` with probability ``clip(|w| / scale, 0, 1)``, else 0, whose mean is
    ``w`` itself. In evaluation: ``scale sign(w)`` where ``|w| > scale / 2``, else 0. Backward: ``dq/dw = 1``. Ternary
    connect of "Neural Networks with Few Multiplications" (Lin et al., arXiv:1510.03009), whose tests
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
        if not self.training:
            return substitute(w, (w.detach() / self.scale).round_().clamp_(-1.0, 1.0).mul_(self.scale))
        return substitute(w, _drawn_ternary(w.detach(), *noise(w, half=0.5), self.scale))

    def grid(self, w: Tensor) -> Grid:
        return Grid(TERNARY, torch.tensor(self.scale, dtype=w.dtype))

    def extra_repr(self) -> str:
        return f"scale={self.scale}"


@fused("ternary")
def _trained_ternary(w: Tensor, delta: float, positive: float, negative: float) -> Tensor:
    above, below = torch.gt(w, delta, out=torch.empty_like(w)), torch.lt(w, -delta, out=torch.empty_like(w))
    return above.mul_(positive).sub_(below, alpha=negative)


@fused("ternary")
def _trained_ternary_gradients(grad: Tensor, w: Tensor, delta: float, positive: float, negative: float
                               ) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients by the weights, possibly in the memory of ``grad``, and by the magnitudes."""
    above, below = torch.gt(w, delta, out=torch.empty_like(w)), torch.lt(w, -delta, out=torch.empty_like(w))
    flat = grad.flatten()
    by_positive, by_negative = torch.dot(flat, above.flatten()), -torch.dot(flat, below.flatten())
    slope = torch.add(torch.ones(()), above, alpha=positive - 1.0).add_(below, alpha=negative - 1.0)
    return slope.mul_(grad), by_positive, by_negative


class _TrainedTernary(torch.autograd.Function):
    @staticmethod
    def forward(ctx, w, positive, negative, quantizer, own):
        ctx.own, ctx.signs = own, np.sign([float(positive.detach()), float(negative.detach())]).tolist()
        ctx.how = (float(np.float32(quantizer.threshold) * np.float32(float(largest(w)))),
                   *quantizer.magnitudes()[:2])
        ctx.save_for_backward(w)
        return _trained_ternary(w, *ctx.how)

    @staticmethod
    def backward(ctx, grad):
        (w,) = ctx.saved_tensors
        by_w, *by = _trained_ternary_gradients(grad if ctx.own else grad.clone(), w, *ctx.how)
        return by_w, *(g * s for g, s in zip(by, ctx.signs, strict=True)), None, None


class TrainedTernary(Quantizer):
    """Weights ``-Wn``, 0 and ``+Wp``, both magnitudes trained.

    Forward: ``q(w) = +Wp`` where ``w > delta``, ``-Wn`` where ``w < -delta``, else 0, with ``delta = threshold * max
    |w|``. Backward: ``dq/dw = Wp``, ``Wn`` and 1 in the three regions; ``dL/dWp`` is the sum of the gradient where
    ``w > delta``, ``dL/dWn`` minus the sum where ``w < -delta``. Trained Ternary Quantization (Zhu et al.,
    arXiv:1612.01064; the authors' code, in which both magnitudes start at 1).

    Two real magnitudes are no multiples of one unit, so hardware that adds integers cannot have them. With ``bits``
    they are rounded: ``unit = max(Wp, Wn) / (2^(bits-1) - 1)``, ``q(w) = unit * (round(Wp / unit), 0, -round(Wn /
    unit))``, the gradients as before; hardware then holds weights of so many bits.

    Parameters
    ----------
    threshold : :class:`float`
        Over the largest magnitude; 0.05 in the paper.
    bits : :class:`int` or None
        Of the two magnitudes with their sign, 2 to 8; None: they stay real, and the layer cannot become hardware.
    """

    obstacle = "their two trained magnitudes have no common unit; round them to a few bits"

    def __init__(self, threshold: float = 0.05, *, bits: int | None = None):
        if not 0 <= threshold < 1:
            raise ValueError(f"TrainedTernary threshold must be at least 0 and below 1, not {threshold!r}")
        if bits is not None and (not isinstance(bits, int) or not 2 <= bits <= 8):
            raise ValueError(f"TrainedTernary bits must be an integer from 2 to 8 or None, not {bits!r}")
        super().__init__()
        self.threshold, self.bits = threshold, bits
        self.positive, self.negative = nn.Parameter(torch.ones(())), nn.Parameter(torch.ones(()))

    def magnitudes(self) -> tuple[float, float, float]:
        """Return ``Wp`` and ``Wn`` as used, and their unit (1 where they are real)."""
        magnitudes = np.abs([float(self.positive.detach()), float(self.negative.detach())]).astype(np.float32)
        if self.bits is None:
            return *magnitudes.tolist(), 1.0
        unit = np.maximum(magnitudes.max(), np.float32(1e-6)) / np.float32(2**(self.bits - 1) - 1)
        return *(np.rint(magnitudes / unit) * unit).tolist(), float(unit)

    def forward(self, w: Tensor) -> Tensor:
        return _TrainedTernary.apply(w, self.positive, self.negative, self, False)

    def for_product(self, w: Tensor) -> Tensor:
        return _TrainedTernary.apply(w, self.positive, self.negative, self, True)

    def grid(self, w: Tensor) -> Grid:
        if self.bits is None:
            return Grid(None, torch.ones(()))
        high = 2**(self.bits - 1) - 1
        return Grid(Levels(-high, high), torch.tensor(self.magnitudes()[2], dtype=w.dtype))

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}, bits={self.bits}"
