"""What carries out the steps of a program: the interface between sessions and devices."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hwbnn.infer.program import Program
from hwbnn.infer.steps import Product

__all__ = ["Engine"]


class Engine(Protocol):
    """A device that runs steps on arrays of its own."""

    name: str
    speed: str  # what a user should expect, for ``explain``
    device: str  # "cpu" or "cuda"
    batch_bytes: int  # of dense tensors, for one batch
    parallel: bool  # whether several threads may run batches at once

    def prepare(self, step: Product) -> None:
        """Bring a product's weights into the order in which the device reads them."""
        ...

    def run(self, program: Program, x: NDArray) -> NDArray:
        """Return the output of ``program``, dense, for level numbers (or dense integers) ``x`` of a batch."""
        ...

    def look_up(self, x: NDArray[np.uint8], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """table[x], of 256 entries, on the host."""
        ...

    def numbers(self, x: NDArray[np.float32], boundaries: NDArray[np.float32]) -> tuple[NDArray[np.uint8], bool]:
        """#{boundary <= x} on the host, and whether all of x is finite."""
        ...
