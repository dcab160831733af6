"""Training without multiplications: powers of two, shift-based batch normalization, shift-based AdaMax.

All from BinaryNet (Courbariaux et al., arXiv:1602.02830) and the authors' Torch code, which the details follow where
the paper is silent.
"""

import functools
import math
from typing import Any

import torch
from torch import Tensor, nn

from hwbnn_train.fused import fits_any_size, fused
from hwbnn_train.stepping import Stepping

__all__ = ["CARRY", "ShiftAdaMax", "ShiftBatchNorm", "ap2", "ap2_of_magnitudes"]


def ap2(x: Tensor) -> Tensor:
    """Return ``sign(x) 2^round(log2 |x|)``, the nearest power of two on a logarithmic scale; 0 for 0.

    Numbers below the smallest normal one become 0 or that one.
    """
    if x.dtype in (torch.bfloat16, torch.float16):
        return ap2(x.float()).to(x.dtype)
    if x.dtype != torch.float32:
        fraction, exponent = torch.frexp(x)  # |fraction| in 0.5 .. 1
        power = torch.ldexp(torch.ones_like(x), exponent - (fraction.abs() < 2**-0.5).to(exponent.dtype))
        return torch.copysign(power, x) * (x != 0)
    # then only the exponent and the sign are kept, which are the upper nine bits
    bits = x.detach().view(torch.int32)
    return (bits + CARRY).bitwise_and_(-0x800000).view(torch.float32)


# a fraction above that of sqrt(2) carries into the exponent
CARRY = 0x800000 - 0x3504F4


def ap2_of_magnitudes(x: Tensor, *, out: Tensor) -> Tensor:
    """Write :func:`ap2` of the positive numbers ``x`` to ``out``."""
    if x.dtype != torch.float32:
        return out.copy_(ap2(x))
    torch.add(x.view(torch.int32), CARRY, out=out.view(torch.int32)).bitwise_and_(-0x800000)
    return out


@fused("shift")
def _shift_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float, carry: int) -> tuple[Tensor, ...]:
    """Return the normalized ``x``, AP2 of ``x`` less its mean, and the mean, the inverse, its AP2 and that of gamma."""
    mean = x.mean(dim=0)
    c = x - mean
    power = ap2(c)
    inverse = (torch.mean(c * power, dim=0) + eps).rsqrt()
    s, g = ap2(inverse), ap2(gamma)
    return torch.addcmul(beta, c, s * g), power, mean, inverse, s, g


@fused("shift")
def _shift_norm_gradients(grad: Tensor, power: Tensor, s: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients by the input, gamma and beta."""
    along, total = (power * grad).sum(dim=0), grad.sum(dim=0)
    by_x = grad - total / len(grad)
    by_x.addcmul_(power, s.square() * along / len(grad), value=-1).mul_(g * s)
    return by_x, s * along, total  # AP2(c s) is AP2(c) s, as s is a power of two


class _ShiftNorm(torch.autograd.Function):
    """Forward and backward over axis 0 of ``x`` (samples x channels), in the authors' form."""

    @staticmethod
    def forward(ctx, x, gamma, beta, eps):
        y, power, mean, inverse, s, g = _shift_norm(x, gamma, beta, eps, CARRY)
        ctx.save_for_backward(power, s, g)
        ctx.mark_non_differentiable(mean, inverse)
        return y, mean, inverse

    @staticmethod
    def backward(ctx, grad, *_):
        return *_shift_norm_gradients(grad, *ctx.saved_tensors), None


class ShiftBatchNorm(nn.Module):
    """Batch normalization whose multiplications are shifts, over axis 1 of tensors of 2 to 4 axes.

    ``c = x - mean(x)``, ``var = mean(c AP2(c))``, ``s = AP2(1 / sqrt(var + eps))``, ``y = AP2(gamma) c s + beta``.
    The gradient by ``x`` is ``AP2(gamma) s (g - mean(g) - AP2(c) s^2 mean(AP2(c) g))``, by ``gamma`` the sum of
    ``AP2(c s) g``, by ``beta`` the sum of ``g``. Running are the mean and ``1 / sqrt(var + eps)``, the latter not
    rounded; evaluation rounds it.

    Parameters
    ----------
    num_features : :class:`int`
        Channels.
    eps : :class:`float`
        Added to the variance.
    momentum : :class:`float` or None
        Weight of the newest batch in the running statistics; None: their mean over all batches.
    """

    running_mean: Tensor
    running_inverse: Tensor
    batches: Tensor

    def __init__(self, num_features: int, *, eps: float = 1e-5, momentum: float | None = 0.125):
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_inverse", torch.ones(num_features))
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))

    def reset_running_stats(self) -> None:
        """Forget the running statistics."""
        self.running_mean.zero_()
        self.running_inverse.fill_(1.0)
        self.batches.zero_()

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            shape = (-1, *[1] * (x.ndim - 2))
            scale = ap2(self.weight) * ap2(self.running_inverse)
            return (x - self.running_mean.reshape(shape)) * scale.reshape(shape) + self.bias.reshape(shape)
        rows = x.float().movedim(1, -1).reshape(-1, self.num_features)
        y, mean, inverse = _ShiftNorm.apply(rows, self.weight, self.bias, self.eps)
        with torch.no_grad():
            self.batches += 1
            weight = 1.0 / float(self.batches) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean, weight)
            self.running_inverse.lerp_(inverse, weight)
        return y.reshape(x.movedim(1, -1).shape).movedim(-1, 1)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


@functools.lru_cache(maxsize=16)  # most parameters have the same rate
def _power(x: float) -> float:
    return float(ap2(torch.tensor(x)))


class ShiftAdaMax(Stepping):
    """AdaMax whose multiplications by rates and divisions are shifts.

    ``m = b1 m + (1 - b1) g``, ``v = max(b2 v, |g|)``,
    ``w -= AP2(lr / (1 - b1^t)) m / (AP2(v) + 2^-27)``. The paper suggests ``lr = 2^-10``, ``1 - b1 = 2^-3`` and
    ``1 - b2 = 2^-10``; the authors' code has 0.9 and 0.999.

    The state keeps ``v`` itself. The authors' code writes ``AP2(v) + 2^-27`` back into it; since
    ``AP2(0.999 2^k) = 2^k`` it can then never decay.

    Parameters
    ----------
    params : iterable
        As any torch optimizer takes it. The parameters of a group with a ``limit`` are clipped to it.
    lr : :class:`float`
        Learning rate, before rounding.
    betas : pair of :class:`float`
        Decay of the first moment and of the norm.
    torch_compatible : :class:`bool`
        Whether the state keeps what the authors' Torch code keeps.
    """

    def __init__(self, params, lr: float = 2**-10, betas: tuple[float, float] = (1 - 2**-3, 1 - 2**-10), *,
                 torch_compatible: bool = False):
        if not lr > 0:
            raise ValueError(f"ShiftAdaMax lr must be positive, not {lr!r}")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"ShiftAdaMax betas must be at least 0 and below 1, not {betas!r}")
        super().__init__(params, {"lr": lr, "betas": betas, "torch_compatible": torch_compatible})

    def step_group(self, group: dict[str, Any]) -> None:
        first, second = group["betas"]
        compatible = group.get("torch_compatible", False)  # older checkpoints have no such key
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if not state:
                state["step"] = torch.zeros(())
                state["exp_avg"], state["exp_inf"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            state["step"] += 1
            limit = math.inf if group.get("limit") is None else group["limit"]
            rate = _power(group["lr"] / (1 - first ** float(state["step"])))
            if not compatible and fits_any_size(parameter, parameter.grad, *state.values()):
                from hwbnn_train.fused import updates  # lazy: brings numba

                updates.shift_adamax(parameter, parameter.grad, state["exp_avg"], state["exp_inf"], rate,
                                     group["betas"], CARRY, limit)
                continue
            state["exp_avg"].lerp_(parameter.grad, 1 - first)
            magnitude = parameter.grad.abs()
            torch.maximum(state["exp_inf"].mul_(second), magnitude, out=state["exp_inf"])
            below = ap2_of_magnitudes(state["exp_inf"], out=magnitude).add_(2**-27)
            parameter.addcdiv_(state["exp_avg"], below, value=-rate)
            if compatible:
                state["exp_inf"].copy_(below)
            if limit < math.inf:
                parameter.clamp_(-limit, limit)
