"""A lowered network: steps in order, and how to walk them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from hwbnn import ir
from hwbnn.infer.steps import Step

__all__ = ["Program"]

Array = TypeVar("Array")


@dataclass(eq=False)
class Program:
    """Steps in order, with the slots that may be dropped after each.

    ``entry`` is the slot that the encoded input fills: level numbers where they fit a byte, else dense.
    """

    net: ir.Network
    entry: str
    steps: list[Step]
    output: str
    last_use: list[tuple[str, ...]]

    def walk(self, x: Array, execute: Callable[..., Array], *, done: int = 0) -> Array:
        """Carry out every step by ``execute(step, *inputs)``, from the entry's ``x`` to the output.

        Where the first ``done`` steps are done, ``x`` is what the last of them wrote, which alone is read later.
        """
        slots = {self.steps[done - 1].writes if done else self.entry: x}
        for step, dropped in zip(self.steps[done:], self.last_use[done:], strict=True):
            slots[step.writes] = execute(step, *(slots[name] for name in step.reads))
            for slot in dropped:
                slots.pop(slot, None)
        return slots[self.output]
