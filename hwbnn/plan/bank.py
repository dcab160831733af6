"""Banks of words that a pipeline reads by address: weights, thresholds, offsets; constant, or written at run time."""

from collections.abc import Sequence
from dataclasses import dataclass

from hwbnn.plan.records import Memory, Style, ceil_div, index_bits

__all__ = ["SPRAM_BITS", "SPRAM_WORDS", "Bank", "Loaded"]

SPRAM_WORDS, SPRAM_BITS = 16384, 16  # of SB_SPRAM256KA


@dataclass(frozen=True)
class Bank:
    """``depth`` words of ``width`` bits, read by address; a single word is wires, or a register where it is loadable.

    Parameters
    ----------
    name : :class:`str`
        Of the memory, unique in a plan.
    width, depth : :class:`int`
    style : :class:`str`
        What the memory is made of. Of "spram" as many blocks as the width takes stand beside each other, and as many
        rows of them as the depth takes.
    loadable : :class:`bool`
        Whether words can be written. Where memory can be initialised it comes up with those it was compiled with.
    """

    name: str
    width: int
    depth: int
    style: Style
    loadable: bool = False

    def __post_init__(self):
        if self.style == "spram" and not self.loadable:
            raise ValueError(f"Bank {self.name} must be loadable to be of style spram, which cannot be initialised")
        if self.style == "logic" and self.loadable and self.has_memory:
            raise ValueError(f"Bank {self.name} style must be block, distributed or spram where it is loadable, "
                             "not logic")

    @property
    def has_memory(self) -> bool:
        """Whether there is an address."""
        return self.depth > 1

    @property
    def latency(self) -> int:
        """Cycles from address to word: through block memory or SPRAM and a fabric register, or a register."""
        return (2 if self.style in ("block", "spram") else 1) if self.has_memory else 0

    @property
    def columns(self) -> int:
        """Blocks of SPRAM side by side."""
        return ceil_div(self.width, SPRAM_BITS)

    @property
    def rows(self) -> int:
        """Rows of blocks of SPRAM."""
        return ceil_div(self.depth, SPRAM_WORDS)

    @property
    def flip_flops(self) -> int:
        """The fabric register, and of SPRAM the row that was read."""
        if not self.has_memory:
            return self.width if self.loadable else 0
        return self.width + (index_bits(self.rows) if self.style == "spram" else 0)

    @property
    def memories(self) -> tuple[Memory, ...]:
        if not self.has_memory:
            return ()
        if self.style == "spram":
            return tuple(Memory(f"{self.name}.{row}_{column}", SPRAM_BITS, SPRAM_WORDS, "spram")
                         for row in range(self.rows) for column in range(self.columns))
        return (Memory(self.name, self.width, self.depth, self.style, written=self.loadable),)


@dataclass(frozen=True, eq=False)
class Loaded:
    """A bank that can be written, and the words that the plan's network wants there."""

    bank: Bank
    words: Sequence[int]
