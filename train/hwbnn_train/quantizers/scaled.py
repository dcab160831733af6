"""One bit times a scale: of the weights' mean magnitude, trained, or the one that costs the loss least."""

import torch
from torch import Tensor, nn

from hwbnn.ir import BIPOLAR
from hwbnn_train.quantizers.base import Grid, Quantizer, sign
from hwbnn_train.quantizers.binary import sign_window, substitute

__all__ = ["LossAware", "MeanScaledSign", "ScaledSign", "SwishSign"]


class _SwishSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, beta):
        ctx.save_for_backward(x)
        ctx.beta = beta
        return sign(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        z = (ctx.beta * x).clamp(-40.0, 40.0)  # cosh of more overflows, and the slope is 0 long before
        return grad * (ctx.beta * (2.0 - z * torch.tanh(z / 2.0)) / (1.0 + torch.cosh(z))), None


class SwishSign(Quantizer):
    """One bit: the sign, with a smooth slope.

    Forward: ``q(x) = +1 if x >= 0 else -1``. Backward: the derivative of
    ``2 s(bx) (1 + bx (1 - s(bx))) - 1``, ``s`` being the logistic function:
    ``b (2 - bx tanh(bx / 2)) / (1 + cosh(bx))``; it is ``b`` at 0 and slightly negative for ``|bx| > 2.4``. BNN+
    (Darabi et al., arXiv:1812.11800, section 3.1).

    Parameters
    ----------
    beta : :class:`float`
        Steepness; 5 in the paper's experiments.
    """

    def __init__(self, beta: float = 5.0):
        if not beta > 0:
            raise ValueError(f"SwishSign beta must be positive, not {beta!r}")
        super().__init__()
        self.beta = beta

    def forward(self, x: Tensor) -> Tensor:
        return _SwishSign.apply(x, self.beta)

    def grid(self, x: Tensor) -> Grid:
        return Grid(BIPOLAR, torch.ones((), dtype=x.dtype))

    def extra_repr(self) -> str:
        return f"beta={self.beta}"


class ScaledSign(Quantizer):
    """One bit times a trained scale per filter, and a pull of the real weights towards plus and minus that scale.

    Forward: ``q(w) = a sign(w)`` with ``a = |alpha|``, one for each output (the first axis). Backward: the gradient
    of the product by ``alpha``, and ``dq/dw = a``. Adds to the loss ``rate * sum |a - |w||`` (``manhattan``) or
    ``rate * sum (a - |w|)^2`` (``euclidean``). The regularizers R1 and R2 of BNN+ (Darabi et al., arXiv:1812.11800,
    section 3.2). Where the paper puts the scales and how they start is not known to us: here one per filter, starting
    from the mean magnitude of its weights.

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

    def initialize(self, w: Tensor) -> None:
        self.alpha.copy_(w.abs().flatten(1).mean(dim=1))

    def _scale(self, w: Tensor) -> Tensor:
        return self.alpha.abs().clamp(min=1e-6).reshape(-1, *[1] * (w.ndim - 1))

    def forward(self, w: Tensor) -> Tensor:
        return self._scale(w) * substitute(w, sign(w))

    def penalty(self, w: Tensor) -> Tensor:
        distance = self._scale(w) - w.abs()
        return self.rate * (distance.abs() if self.kind == "manhattan" else distance.square()).sum()

    def grid(self, w: Tensor) -> Grid:
        return Grid(BIPOLAR, self._scale(w).detach())

    def extra_repr(self) -> str:
        return f"filters={len(self.alpha)}, kind={self.kind!r}, rate={self.rate}"


class MeanScaledSign(Quantizer):
    """One bit times the mean magnitude of the filter's weights, which fits them best.

    Forward: ``q(w) = alpha sign(w)`` with ``alpha = mean |w|`` over each filter (the first axis). Backward: that of the
    product, with ``dsign(w)/dw = 1`` where ``|w| <= 1``:
    ``alpha g 1[|w| <= 1] + sign(w) / n * sum g sign(w)``. Binary-Weight-Networks and XNOR-Net (Rastegari et al.,
    arXiv:1603.05279, sections 3.1 and 3.2), whose printed gradient leaves out the terms between different weights.
    """

    @staticmethod
    def _scale(w: Tensor) -> Tensor:
        return w.abs().mean(dim=tuple(range(1, w.ndim)), keepdim=True).clamp(min=1e-12)

    def forward(self, w: Tensor) -> Tensor:
        return self._scale(w) * sign_window(w, 1.0)

    def grid(self, w: Tensor) -> Grid:
        return Grid(BIPOLAR, self._scale(w.detach()))


class LossAware(Quantizer):
    """One bit times the scale that costs the loss least, to second order.

    Forward: ``q(w) = alpha sign(w)`` with ``alpha = |d * w|_1 / |d|_1``, where ``d`` is the square root of Adam's
    second moment of each weight, a diagonal estimate of the curvature; before the first step
    ``alpha = mean |w|``. Backward: ``dq/dw = 1``. With Adam as the optimizer this is loss-aware binarization (Hou et
    al., arXiv:1611.01600, section 3, algorithm 1), whose proximal Newton step is Adam's own step on the
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
        d = second_moment.sqrt().add_(1e-8).flatten()
        self.alpha.copy_((torch.dot(d, w.abs().flatten()) / d.sum()).clamp(min=1e-12))

    def forward(self, w: Tensor) -> Tensor:
        return substitute(w, self.alpha * sign(w))

    def grid(self, w: Tensor) -> Grid:
        return Grid(BIPOLAR, self.alpha.clone())
