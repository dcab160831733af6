"""What quantized weights ask of an optimizer, for any torch optimizer: scaled rates, clipping, discrete transitions."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hwbnn_train.layers import Quantized
from hwbnn_train.quantizers import Quantizer
from hwbnn_train.quantizers.base import noise, uniform
from hwbnn_train.quantizers.discrete import step
from hwbnn_train.quantizers.scaled import LossAware

__all__ = ["clip_gradients", "end_step", "loss_aware", "parameter_groups", "prepare", "set_learning_rate", "transition"]


def parameter_groups(model: nn.Module) -> list[dict]:
    """Sort the parameters of ``model`` into groups for a torch optimizer.

    Weights behind a quantizer form a group per ``lr_scale`` and ``limit`` of their layer and per
    :meth:`~hwbnn_train.quantizers.Quantizer.group` of their quantizer; everything else forms one group with
    ``lr_scale`` 1, or that of the quantizer it belongs to, and no ``limit``. The names of a group's parameters stand
    in ``names``.
    """
    groups: dict[str, dict] = {}
    for name, parameter, options in _parameters(model):
        group = groups.setdefault(repr(options), {"params": [], "names": [], **options})
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())


def _parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, dict]]:
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix, recurse=False):
            if isinstance(module, Quantized) and parameter is module.weight:
                yield name, parameter, {"lr_scale": module.lr_scale, "limit": module.limit, "states": None,
                                        **module.quantize_weight.group()}
            else:
                scale = module.lr_scale if isinstance(module, Quantizer) else 1.0
                yield name, parameter, {"lr_scale": scale, "limit": None, "states": None}


def prepare(optimizer: Optimizer, *, slope: float = 3.0) -> Optimizer:
    """Make every step of ``optimizer``, built on :func:`parameter_groups`, end as each group asks.

    ``limit``: the parameters are clipped to ``-limit .. limit``. With the learning rates of
    :func:`set_learning_rate` a step is ``w <- clip(w + lr_scale * (opt(w) - w), -limit, limit)`` (BinaryConnect,
    arXiv:1511.00363): the updates of SGD, with momentum or not, and of the Adam family are
    proportional to the learning rate, so scaling the rate scales the update.

    ``states``: the parameters are in the space ``Z_N`` of that N, and what the optimizer would add to them is
    turned into a change of state by :func:`transition` with the given ``slope``.
    """
    before: dict[Tensor, Tensor] = {}

    @torch.no_grad()
    def remember(optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
        before.update({p: p.clone() for group in optimizer.param_groups if group["states"] is not None
                       for p in group["params"]})

    @torch.no_grad()
    def finish(optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                end_step(parameter, before.pop(parameter, None), group, slope)

    optimizer.register_step_pre_hook(remember)
    optimizer.register_step_post_hook(finish)
    return optimizer


def end_step(parameter: Tensor, old: Tensor | None, group: dict[str, Any], slope: float) -> None:
    """Clip a parameter behind a step, or let it go from its state ``old`` to another, as its group asks."""
    if group["states"] is not None:
        assert old is not None
        _transition(old, parameter.sub_(old), group["states"], slope)
    elif group["limit"] is not None and group["limit"] < math.inf:
        parameter.clamp_(-group["limit"], group["limit"])


def clip_gradients(optimizer: Optimizer, bound: float) -> Optimizer:
    """Make every step of ``optimizer`` begin with clipping each gradient to ``-bound .. bound``."""
    if not bound > 0:
        raise ValueError(f"Bound of gradients must be positive, not {bound!r}")

    def clip(optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
        for group in optimizer.param_groups:
            nn.utils.clip_grad_value_(group["params"], bound)

    optimizer.register_step_pre_hook(clip)
    return optimizer


def loss_aware(optimizer: Optimizer, model: nn.Module) -> Optimizer:
    """Make every step of ``optimizer``, one of the Adam family, update the scales of ``model``'s loss-aware weights.

    See :class:`hwbnn_train.quantizers.LossAware`.
    """
    layers = [layer for layer in model.modules()
              if isinstance(layer, Quantized) and isinstance(layer.quantize_weight, LossAware)]

    @torch.no_grad()
    def update(optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
        for layer in layers:
            if layer.weight.grad is None:
                continue
            if "exp_avg_sq" not in optimizer.state[layer.weight]:
                raise TypeError(f"Loss-aware binarization must have an optimizer that keeps second moments, not "
                                f"{type(optimizer).__name__}")
            layer.quantize_weight.update(layer.weight, optimizer.state[layer.weight]["exp_avg_sq"])

    optimizer.register_step_post_hook(update)
    return optimizer


def transition(w: Tensor, dw: Tensor, n: int, slope: float = 3.0) -> Tensor:
    """Return the states to which ``w``, in ``Z_N``, goes when the optimizer would add ``dw``.

    With the step ``L`` of the space, ``k = trunc(dw / L)`` and ``nu = dw - k L``: each weight goes ``k`` states and,
    with probability ``tanh(slope |nu| / L)``, one more in the direction of ``dw``; never beyond -1 and +1. For small
    ``dw`` the expected move is ``slope * dw``. Discrete state transition of GXNOR-Net (arXiv:1705.09283;
    the authors' code, where the slope is 3).
    """
    return _transition(w, dw.clone(), n, slope)


def _transition(w: Tensor, dw: Tensor, n: int, slope: float) -> Tensor:
    """Return what :func:`transition` does, in the memory of ``dw``."""
    size = step(n)
    ratio = dw if size == 1.0 else dw.div_(size)
    low, high = torch.aminmax(ratio)
    whole = ratio.trunc() if low <= -1.0 or high >= 1.0 else None
    part = ratio if whole is None else ratio.sub_(whole)
    # rounding q + v with v uniform in -1/2 .. 1/2 gives 1 in the direction of q with probability |q|; q is tanh(x), as
    # 2 s(2x) - 1 with the logistic function s, which is several times faster on a CPU
    drawn = uniform(part, *noise(part, center=-1.0, half=0.5), 0.5)
    moves = drawn.add_(part.mul_(2.0 * slope).sigmoid_(), alpha=2.0).round_()
    if whole is not None:
        moves.add_(whole)
    # exact: states are multiples of a power of two
    return torch.add(w, moves, alpha=size, out=dw).clamp_(-1.0, 1.0)


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """Set the rate of every group to ``lr`` times the group's ``lr_scale``."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]
