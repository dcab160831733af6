"""A bank of words that a pipeline reads by address: the weight memory of a matrix-vector unit."""

from dataclasses import dataclass

from hwbnn.plan.records import Memory, Style

__all__ = ["Bank"]


@dataclass(frozen=True)
class Bank:
    """``depth`` words of ``width`` bits, read by address; a single word is wires, not a memory.

    Parameters
    ----------
    name : :class:`str`
        Of the memory, unique in a plan.
    width, depth : :class:`int`
    style : :class:`str`
        What the memory is made of.
    """

    name: str
    width: int
    depth: int
    style: Style

    @property
    def has_memory(self) -> bool:
        """Whether there is an address."""
        return self.depth > 1

    @property
    def latency(self) -> int:
        """Cycles from address to word: through block memory and a fabric register, or a register."""
        return (2 if self.style == "block" else 1) if self.has_memory else 0

    @property
    def flip_flops(self) -> int:
        """The fabric register."""
        return self.width if self.has_memory else 0

    @property
    def memories(self) -> tuple[Memory, ...]:
        return (Memory(self.name, self.width, self.depth, self.style),) if self.has_memory else ()
