"""The mean of the weights along a training, which is what is deployed."""

import copy

import torch
from torch import nn

__all__ = ["Average"]


class Average:
    """An exponential mean of a model's parameters over the latest steps, as a model of its own.

    Real weights near 0 change their sign all the time while binary weights are trained; that of their mean is the sign
    that they mostly had. After each step ``mean <- s mean + (1 - s) parameters``, where ``s`` is ``share`` or, early
    in the training, ``(1 + n) / (10 + n)`` behind ``n`` steps, if that is less. Such means are as old as Polyak and
    Juditsky (1992); which paper first took them of the real weights behind binary ones is not known to us.

    Parameters
    ----------
    model : Module
        What is trained; copied.
    share : :class:`float`
        Of the mean, that stays in a step.
    """

    def __init__(self, model: nn.Module, share: float):
        self.model, self.share = copy.deepcopy(model), share
        self._of, self._pairs = model, self._parameters(model)

    def _parameters(self, model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        return list(self.model.parameters()), list(model.parameters())

    @torch.no_grad()
    def follow(self, model: nn.Module, steps: int) -> None:
        """Take in the parameters after a step that ``steps`` others were before."""
        weight = 1.0 - min(self.share, (1 + steps) / (10 + steps))
        if model is not self._of:
            self._of, self._pairs = model, self._parameters(model)
        torch._foreach_lerp_(*self._pairs, weight)

    @torch.no_grad()
    def take_buffers(self, model: nn.Module) -> None:
        """Copy everything that is not averaged."""
        for mine, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(buffer)
