"""Stochastic gradient descent that ends its steps as quantized weights ask, in the same pass over them."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hwbnn_train.fused import fits, fits_any_size
from hwbnn_train.low_precision import RoundedParameter, finish_update
from hwbnn_train.optimizers import end_step
from hwbnn_train.stepping import Stepping

__all__ = ["Descent"]


class Descent(Stepping):
    """``b <- momentum b + g``, ``w <- w - lr b``, and what each weight asks for behind that.

    The same as :func:`hwbnn_train.optimizers.prepare` or :func:`hwbnn_train.low_precision.round_updates` of torch's
    SGD, with the same state; large weights in a CPU's memory are read and written once in a step.

    Parameters
    ----------
    params : iterable
        Groups, with ``limit`` and ``states`` where :func:`hwbnn_train.optimizers.parameter_groups` made them.
    lr : :class:`float`
        Learning rate.
    momentum : :class:`float`
        Share of the sum of gradients that stays in a step.
    rounded : mapping of Tensor to RoundedParameter
        Parameters whose updates and storage are rounded, and how.
    max_norm : :class:`float` or None
        Greatest norm of the weights of an output, where they are rounded.
    """

    kept = ("_rounded", "_max_norm")

    def __init__(self, params, lr: float, momentum: float = 0.0, *,
                 rounded: Mapping[Tensor, RoundedParameter] | None = None, max_norm: float | None = None):
        if not lr > 0:
            raise ValueError(f"Descent lr must be positive, not {lr!r}")
        if not 0 <= momentum < 1:
            raise ValueError(f"Descent momentum must be at least 0 and below 1, not {momentum!r}")
        super().__init__(params, {"lr": lr, "momentum": momentum})
        self._rounded, self._max_norm = dict(rounded or {}), max_norm

    def step_group(self, group: dict[str, Any]) -> None:
        for parameter in group["params"]:
            if parameter.grad is not None:
                self._step(parameter, parameter.grad, group)

    def _step(self, parameter: Tensor, grad: Tensor, group: dict[str, Any]) -> None:
        momentum, lr = group["momentum"], group["lr"]
        mean = grad
        if momentum:
            state = self.state[parameter]
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            mean = state["momentum_buffer"]
        rounded, states, limit = self._rounded.get(parameter), group.get("states"), group.get("limit")
        if states is None and (fits if rounded is None else fits_any_size)(parameter, grad, mean):
            from hwbnn_train.fused import updates  # lazy: brings numba

            if rounded is None:
                updates.descent(parameter, grad, mean, lr, momentum, math.inf if limit is None else limit)
                return
            if not (rounded.update.is_due or rounded.storage.is_due):
                updates.rounded_descent(parameter, grad, mean, lr, momentum, rounded.update.rule(),
                                        rounded.storage.rule(), self._max_norm if parameter.ndim > 1 else None)
                return
        old = parameter.clone() if rounded is not None or states is not None else None
        if momentum:
            mean.mul_(momentum).add_(grad)
        parameter.add_(mean, alpha=-lr)
        if rounded is not None and old is not None:
            finish_update(parameter, old, rounded, self._max_norm)
        elif "states" in group:
            end_step(parameter, old, group, 3.0)
