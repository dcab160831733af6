"""One bit times a scale: of the weights' mean magnitude, trained, or the one that costs the loss least."""

from typing import Any

import torch
from torch import Tensor, nn

from hwbnn.ir import BIPOLAR
from hwbnn_train.fused import fused
from hwbnn_train.quantizers.base import Grid, Quantizer, passing, sign
from hwbnn_train.quantizers.binary import substitute

__all__ = ["LossAware", "MeanScaledSign", "ScaledSign", "SwishSign"]


@fused("binary", elementwise=True)
def _swish_gradient(grad: Tensor, x: Tensor, beta: float) -> Tensor:
    # with the logistic function s: tanh(z / 2) = 2 s - 1, and 1 / (1 + cosh z) = 2 s (1 - s), which is faster
    z = (beta * x).clamp_(-40.0, 40.0)  # the slope is 0 long before
    s = z.sigmoid()
    slope = z.mul_(s.mul(2.0).sub_(1.0)).neg_().add_(2.0).mul_(s).mul_(s.neg_().add_(1.0))
    return slope.mul_(grad).mul_(2.0 * beta)


class _SwishSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, beta):
        ctx.save_for_backward(x)
        ctx.beta = float(beta)
        return sign(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        by_x = _swish_gradient(grad, x, ctx.beta)
        return by_x, (by_x * x).sum() / ctx.beta if ctx.needs_input_grad[1] else None


class SwishSign(Quantizer):
    """One bit: the sign, with a smooth slope.

    Forward: ``q(x) = +1 if x >= 0 else -1``. Backward: the derivative of
    ``2 s(bx) (1 + bx (1 - s(bx))) - 1``, ``s`` being the logistic function:
    ``b (2 - bx tanh(bx / 2)) / (1 + cosh(bx))``; it is ``b`` at 0 and slightly negative for ``|bx| > 2.4``. By
    ``b``, where it is learned: the derivative of the same function. BNN+ (Darabi et al., arXiv:1812.11800).

    Parameters
    ----------
    beta : :class:`float`
        Steepness. 5 is what larq and bitorch have; in the paper it is learned, and fixed for ImageNet.
    learned : :class:`bool`
        Whether the steepness is a parameter; it is kept at 0.01 or more.
    """

    def __init__(self, beta: float = 5.0, *, learned: bool = False):
        if not beta > 0:
            raise ValueError(f"SwishSign beta must be positive, not {beta!r}")
        super().__init__()
        self.beta = nn.Parameter(torch.tensor(beta)) if learned else beta

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.beta, nn.Parameter) and self.training:
            self.beta.data.clamp_(min=0.01)
        return _SwishSign.apply(x, self.beta)

    def grid(self, x: Tensor) -> Grid:
        return Grid(BIPOLAR, torch.ones((), dtype=x.dtype))

    def extra_repr(self) -> str:
        return f"beta={float(self.beta):.3g}, learned={isinstance(self.beta, nn.Parameter)}"


def _mean_magnitudes(w: Tensor) -> Tensor:
    """Return the mean magnitude of each filter, shaped to broadcast against the weights; never 0."""
    sums = w.abs().sum(dim=tuple(range(1, w.ndim)), keepdim=True)  # faster than a norm on a CPU
    return sums.div_(w[0].numel()).clamp_(min=1e-12)


@fused("binary")
def _mean_scaled_signs(w: Tensor) -> tuple[Tensor, Tensor]:
    """Return the signs of weights times the mean magnitude of their filter, and this."""
    scale = _mean_magnitudes(w)
    return sign(w, scale), scale


@fused("binary")
def _mean_scaled_signs_gradient(grad: Tensor, w: Tensor, scale: Tensor) -> Tensor:
    """Return the gradient by the weights, possibly in the memory of ``grad``."""
    signs = sign(w)
    by_scale = torch.mul(grad, signs).sum(dim=tuple(range(1, w.ndim)), keepdim=True)
    return passing(grad, w, -1.0, 1.0).mul_(scale).addcmul_(signs, by_scale.div_(w[0].numel()))


class _MeanScaledSigns(torch.autograd.Function):
    @staticmethod
    def forward(ctx, w, own):
        q, scale = _mean_scaled_signs(w)
        ctx.own = own
        ctx.save_for_backward(w, scale)
        return q

    @staticmethod
    def backward(ctx, grad):
        return _mean_scaled_signs_gradient(grad if ctx.own else grad.clone(), *ctx.saved_tensors), None


@fused("binary")
def _scaled_signs(w: Tensor, alpha: Tensor, squared: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``q``, the sum of ``|a - |w||`` or of its squares, and minus its slope by each ``a``."""
    scale = _at_least(alpha, w)
    difference = w.abs().sub_(scale)
    slope = difference.mul(2.0) if squared else difference.sgn()
    slopes = slope.sum(dim=tuple(range(1, w.ndim)))
    return sign(w, scale), (difference.square_() if squared else difference.abs_()).sum(), slopes


@fused("binary")
def _scaled_signs_gradients(grad: Tensor, w: Tensor, alpha: Tensor, slopes: Tensor, rate: Tensor, squared: bool
                            ) -> tuple[Tensor, Tensor]:
    """Return the gradients by the weights, possibly in the memory of ``grad``, and by ``alpha``.

    ``grad`` is the gradient by ``q``, and ``rate`` that by the distance.
    """
    signs, scale = sign(w), _at_least(alpha, w)
    by_scale = torch.mul(grad, signs).sum(dim=tuple(range(1, w.ndim))).sub_(rate * slopes)
    difference = torch.addcmul(w, signs, scale, value=-1)  # sign(w) (|w| - a)
    pull = (difference.mul_(2.0) if squared else difference.sgn_()).mul_(rate)
    # with a least scale of 1e-6: the sign of alpha, which is that of alpha / scale, rounded towards 0
    return pull.add_(grad.mul_(scale)), by_scale.mul_(alpha.div(scale.view(-1)).trunc_())


class _ScaledSigns(torch.autograd.Function):
    """The signs of weights times ``|alpha|`` (of at least 1e-6), and ``rate`` times their distance from these values.

    The gradient passes by the signs.
    """

    @staticmethod
    def forward(ctx, w, alpha, rate, squared, own, spent):
        ctx.rate, ctx.squared, ctx.own, ctx.spent = rate, squared, own, spent
        q, distance, slopes = _scaled_signs(w, alpha, squared)
        ctx.save_for_backward(w, alpha, slopes)
        return q, distance.mul_(rate)

    @staticmethod
    def backward(ctx, grad, by_distance):
        ctx.spent.append(True)
        by = _scaled_signs_gradients(grad if ctx.own else grad.clone(), *ctx.saved_tensors, ctx.rate * by_distance,
                                     ctx.squared)
        return *by, None, None, None, None


def _at_least(alpha: Tensor, w: Tensor) -> Tensor:
    return alpha.abs().clamp_(min=1e-6).view(-1, *[1] * (w.ndim - 1))


class ScaledSign(Quantizer):
    """One bit times a trained scale per filter, and a pull of the real weights towards plus and minus that scale.

    Forward: ``q(w) = a sign(w)`` with ``a = |alpha|``, one for each output (the first axis). Backward: the gradient
    of the product by ``alpha``, and ``dq/dw = a``. Adds to the loss ``rate * sum |a - |w||`` (``manhattan``) or
    ``rate * sum (a - |w|)^2`` (``euclidean``). The regularizers R1 and R2 of BNN+ (Darabi et al., arXiv:1812.11800).
    Where the paper puts the scales and how they start is not known to us: here one per filter, starting from the mean
    magnitude of its weights.

    Parameters
    ----------
    filters : :class:`int`
        Outputs of the layer.
    kind : :class:`str`
        ``manhattan`` or ``euclidean``.
    rate : :class:`float`
        Weight of the regularizer; 1e-6 and 1e-7 are said to be the paper's, for the two kinds.
    """

    def __init__(self, filters: int, *, kind: str = "manhattan", rate: float = 1e-6):
        if kind not in ("manhattan", "euclidean"):
            raise ValueError(f"ScaledSign kind must be manhattan or euclidean, not {kind!r}")
        if not rate >= 0:
            raise ValueError(f"ScaledSign rate must be at least 0, not {rate!r}")
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(filters))
        self.kind, self.rate = kind, rate
        self._known: tuple[tuple[int, int], list[bool], Tensor] | None = None

    def initialize(self, w: Tensor) -> None:
        self.alpha.copy_(w.abs().flatten(1).mean(dim=1))

    def forward(self, w: Tensor) -> Tensor:
        return self._parts(w, False)[0]

    def for_product(self, w: Tensor) -> Tensor:
        q, penalty, spent = self._parts(w, True)
        self._known = (w.data_ptr(), w._version), spent, penalty  # for the same step
        return q

    def _parts(self, w: Tensor, own: bool) -> tuple[Tensor, Tensor, list[bool]]:
        spent: list[bool] = []
        return *_ScaledSigns.apply(w, self.alpha, self.rate, self.kind == "euclidean", own, spent), spent

    def penalty(self, w: Tensor) -> Tensor:
        known, self._known = self._known, None
        if known is not None and known[0] == (w.data_ptr(), w._version) and known[2].requires_grad and not known[1]:
            return known[2]
        return self._parts(w, False)[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_known": None}

    def grid(self, w: Tensor) -> Grid:
        return Grid(BIPOLAR, _at_least(self.alpha.detach(), w))

    def extra_repr(self) -> str:
        return f"filters={len(self.alpha)}, kind={self.kind!r}, rate={self.rate}"


class MeanScaledSign(Quantizer):
    """One bit times the mean magnitude of the filter's weights, which fits them best.

    Forward: ``q(w) = alpha sign(w)`` with ``alpha = mean |w|`` over each filter (the first axis). Backward: that of the
    product, with ``dsign(w)/dw = 1`` where ``|w| <= 1``:
    ``alpha g 1[|w| <= 1] + sign(w) / n * sum g sign(w)``. Binary-Weight-Networks and XNOR-Net (Rastegari et al.,
    arXiv:1603.05279), whose printed gradient leaves out the terms between different weights.
    The slope of ``|w|`` is taken as 1 at 0, as the sign is.
    """

    def forward(self, w: Tensor) -> Tensor:
        return _MeanScaledSigns.apply(w, False)

    def for_product(self, w: Tensor) -> Tensor:
        return _MeanScaledSigns.apply(w, True)

    def grid(self, w: Tensor) -> Grid:
        return Grid(BIPOLAR, _mean_scaled_signs(w.detach())[1])


@fused("binary")
def _weighted_sums(w: Tensor, second_moment: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``|d * w|_1`` and ``|d|_1`` of :class:`LossAware`."""
    d = second_moment.sqrt().add_(1e-8)
    return torch.dot(d.flatten(), w.abs().flatten()), d.sum()


class LossAware(Quantizer):
    """One bit times the scale that costs the loss least, to second order.

    Forward: ``q(w) = alpha sign(w)`` with ``alpha = |d * w|_1 / |d|_1``, where ``d`` is the square root of Adam's
    second moment of each weight, a diagonal estimate of the curvature; before the first step
    ``alpha = mean |w|``. Backward: ``dq/dw = 1``. With Adam as the optimizer this is loss-aware binarization (Hou et
    al., arXiv:1611.01600), whose proximal Newton step is Adam's own step on the
    gradient by ``alpha sign(w)``. :func:`hwbnn_train.optimizers.loss_aware` calls
    :meth:`update` after each step.
    """

    alpha: Tensor

    def __init__(self):
        super().__init__()
        self.register_buffer("alpha", torch.ones(()))

    def initialize(self, w: Tensor) -> None:
        self.alpha.copy_(w.abs().mean().clamp(min=1e-12))

    def update(self, w: Tensor, second_moment: Tensor) -> None:
        """Take the scale from the weights and the optimizer's second moment of their gradients."""
        part, whole = _weighted_sums(w.detach(), second_moment)
        self.alpha.copy_((part / whole).clamp(min=1e-12))

    def forward(self, w: Tensor) -> Tensor:
        return substitute(w, sign(w, self.alpha))

    def grid(self, w: Tensor) -> Grid:
        return Grid(BIPOLAR, self.alpha.clone())
