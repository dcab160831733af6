"""What binary weights ask of an optimizer, for any torch optimizer: scaled learning rates, and clipping."""

from collections.abc import Iterator

import torch
from torch import nn
from torch.optim import Optimizer

from hwbnn_train.layers import QuantLinear

__all__ = ["parameter_groups", "prepare", "set_learning_rate"]


def parameter_groups(model: nn.Module) -> list[dict]:
    """Sort the parameters of ``model`` into groups for a torch optimizer.

    Real weights behind a quantizer form a group per ``lr_scale`` and ``limit`` of their layer; everything else
    forms one group with ``lr_scale`` 1 and no ``limit``. The names of a group's parameters stand in ``names``.
    """
    groups: dict[tuple[float, float | None], dict] = {}
    for name, parameter, lr_scale, limit in _parameters(model):
        group = groups.setdefault((lr_scale, limit), {"params": [], "names": [], "lr_scale": lr_scale,
                                                      "limit": limit})
        group["params"].append(parameter)
        group["names"].append(name)
    return list(groups.values())


def _parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter, float, float | None]]:
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix, recurse=False):
            if isinstance(module, QuantLinear) and parameter is module.weight:
                yield name, parameter, module.lr_scale, module.limit
            else:
                yield name, parameter, 1.0, None


def prepare(optimizer: Optimizer) -> Optimizer:
    """Make ``optimizer``, built on :func:`parameter_groups`, clip each limited group after every step.

    With the learning rates of :func:`set_learning_rate` a step is
    ``w <- clip(w + lr_scale * (opt(w) - w), -limit, limit)`` (BinaryConnect, arXiv:1511.00363, section 2.4 and
    2.5): the updates of SGD, with momentum or not, and of the Adam family are proportional to the learning
    rate, so scaling the rate scales the update.
    """
    optimizer.register_step_post_hook(_clip)
    return optimizer


@torch.no_grad()
def _clip(optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
    for group in optimizer.param_groups:
        if group["limit"] is not None:
            for parameter in group["params"]:
                parameter.clamp_(-group["limit"], group["limit"])


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """Set the rate of every group to ``lr`` times the group's ``lr_scale``."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]
