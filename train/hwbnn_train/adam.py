"""Adam that ends its steps as quantized weights ask, in the same pass over them."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

from hwbnn_train.averaging import Average
from hwbnn_train.fused import fits
from hwbnn_train.optimizers import end_step
from hwbnn_train.quantizers.base import noise
from hwbnn_train.quantizers.discrete import step as size_of
from hwbnn_train.stepping import Stepping

__all__ = ["Adam"]


class Adam(Stepping):
    """Adam (Kingma and Ba, arXiv:1412.6980), built on :func:`hwbnn_train.optimizers.parameter_groups`.

    The same as :func:`hwbnn_train.optimizers.prepare` of torch's fused Adam, with the same state; large weights in a
    CPU's memory are read and written once in a step. Where :attr:`average` is set, the mean of the weights is taken
    in the same pass; who sets it calls its :meth:`~hwbnn_train.averaging.Average.follow` after each step.

    Parameters
    ----------
    params : iterable
        Groups with ``limit`` and ``states``.
    lr : :class:`float`
        Learning rate.
    betas : pair of :class:`float`
        Shares of the moments of the gradient that stay in a step.
    eps : :class:`float`
        Added to the root of the second moment.
    slope : :class:`float`
        Of the transition probability of discrete states (:func:`hwbnn_train.optimizers.transition`).
    """

    average: Average | None = None
    kept = ("slope",)

    def __init__(self, params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 slope: float = 3.0):
        if not lr > 0:
            raise ValueError(f"Adam lr must be positive, not {lr!r}")
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"Adam betas must be at least 0 and below 1, not {betas!r}")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})
        self.slope = slope

    def step_group(self, group: dict[str, Any]) -> None:
        parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
        for parameter in parameters:
            state = self.state[parameter]
            if not state:
                state["step"] = torch.zeros((), device=parameter.device)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            state["step"] = state["step"].to(parameter.device)  # where a checkpoint was loaded it is elsewhere
        large = {id(parameter) for parameter in parameters if fits(*self._tensors(parameter))}
        for parameter in parameters:
            if id(parameter) in large:
                self._in_one_pass(parameter, group)
        self._by_torch([parameter for parameter in parameters if id(parameter) not in large], group)

    def _tensors(self, parameter: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        state, grad = self.state[parameter], parameter.grad
        assert grad is not None
        return parameter, grad, state["exp_avg"], state["exp_avg_sq"]

    def _in_one_pass(self, parameter: Tensor, group: dict[str, Any]) -> None:
        from hwbnn_train.fused import updates  # lazy: brings numba

        step = self.state[parameter]["step"].add_(1.0)
        how = (int(step), group["lr"], group["betas"], group["eps"])
        if group["states"] is None:
            limit = math.inf if group["limit"] is None else group["limit"]
            if self.average is None:
                updates.adam(*self._tensors(parameter), *how, limit)
            else:
                updates.adam_and_mean(*self._tensors(parameter), self.average.take(parameter), *how, limit,
                                      self.average.weight)
            return
        drawn = noise(parameter, center=-1.0, half=0.5)
        updates.adam_transition(*self._tensors(parameter), *how, *drawn, size_of(group["states"]), self.slope)

    def _by_torch(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        if not parameters:
            return
        before = {p: p.clone() for p in parameters if group["states"] is not None}
        _, grads, means, squares = map(list, zip(*map(self._tensors, parameters), strict=True))
        steps = [self.state[parameter]["step"] for parameter in parameters]
        first, second = group["betas"]
        adam(parameters, grads, means, squares, [], steps, fused=True, amsgrad=False, beta1=first, beta2=second,
             lr=group["lr"], weight_decay=0.0, eps=group["eps"], maximize=False)
        for parameter in parameters:
            end_step(parameter, before.get(parameter), group, self.slope)
