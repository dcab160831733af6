"""What the optimizers of our own have in common: a step, group by group."""

from typing import Any, ClassVar

import torch
from torch.optim import Optimizer

__all__ = ["Stepping"]


class Stepping(Optimizer):
    """An optimizer that says what a step does to one group.

    ``kept`` names the attributes that a copy has, beside those of every optimizer.
    """

    kept: ClassVar[tuple[str, ...]] = ()

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), **{name: getattr(self, name) for name in self.kept}}

    @torch.no_grad()
    def step(self, closure=None):
        """Take one step; ``closure`` computes the loss anew, where given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self.step_group(group)
        return loss

    def step_group(self, group: dict[str, Any]) -> None:
        """Update the parameters of the group from their gradients."""
        raise NotImplementedError(type(self).__name__)  # every optimizer defines it
