"""The mean of the weights along a training, which is what is deployed."""

import copy

import torch
from torch import Tensor, nn

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
    steps : :class:`int`
        Steps behind, when a training goes on.
    """

    def __init__(self, model: nn.Module, share: float, steps: int = 0):
        self.model, self.share, self.steps = copy.deepcopy(model), share, steps
        self._means = dict(zip(model.parameters(), self.model.parameters(), strict=True))
        self._left = dict(self._means)

    @property
    def weight(self) -> float:
        """Weight of the newest parameters in the mean, at this step."""
        return 1.0 - min(self.share, (1 + self.steps) / (10 + self.steps))

    def take(self, parameter: nn.Parameter) -> Tensor:
        """Return the mean of a parameter, which the caller brings up to this step."""
        return self._left.pop(parameter)

    @torch.no_grad()
    def follow(self) -> None:
        """Bring the means that nobody took up to this step, which then is over."""
        if self._left:
            torch._foreach_lerp_(list(self._left.values()), list(self._left), self.weight)
        self.steps += 1
        self._left = dict(self._means)

    @torch.no_grad()
    def take_buffers(self, model: nn.Module) -> None:
        """Copy everything that is not averaged."""
        for mine, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(buffer)
