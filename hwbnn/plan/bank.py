"""Banks of words that a pipeline reads by address: weights, thresholds, offsets; constant, or written at run time."""

from collections.abc import Sequence
from dataclasses import dataclass

from hwbnn.plan.pace import RELAXED, Pace
from hwbnn.plan.records import Memory, Style, ceil_div, index_bits

__all__ = ["SPRAM_BITS", "SPRAM_WORDS", "Bank", "Loaded"]

SPRAM_WORDS, SPRAM_BITS = 16384, 16  # of SB_SPRAM256KA
LOGIC_WORDS = 32  # of constants in look-up tables that are read within a cycle where the pace is fast: two LUT4 each


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
    pace : :class:`Pace`
        Of block memory: the registers around it, and the shapes of the blocks that it is split into.
    """

    name: str
    width: int
    depth: int
    style: Style
    loadable: bool = False
    pace: Pace = RELAXED

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
        """Cycles from address to word: the fabric register, and before it memory that reads through a register."""
        if not self.has_memory:
            return 0
        early = {"block": self.pace.address + 1 + self.pace.output, "spram": 1, "logic": int(self.rows > 1)}
        return 1 + early.get(self.style, 0)

    @property
    def shape(self) -> tuple[int, int]:
        """Words and bits of a block; those of the bank where it is not split."""
        if self.style == "spram":
            return SPRAM_WORDS, SPRAM_BITS
        if self.style == "block":
            return self.pace.shape(self.width, self.depth, written=self.loadable)
        if self.style == "logic" and self.pace.levels == 1 and self.depth > LOGIC_WORDS:
            return LOGIC_WORDS, self.width
        return self.depth, self.width

    @property
    def rows(self) -> int:
        """Rows of blocks, one of which holds a word."""
        return ceil_div(self.depth, self.shape[0])

    @property
    def columns(self) -> int:
        """Blocks side by side. Rows of constants in block memory are so too, as if they were one wide word."""
        return ceil_div(self.width * (self.rows if self._is_one_row else 1), self.shape[1])

    @property
    def _is_one_row(self) -> bool:
        """Whether rows stand side by side in the same blocks."""
        return self.style == "block" and not self.loadable

    @property
    def flip_flops(self) -> int:
        """The fabric register, those that the pace asks for, and the row that was read."""
        if not self.has_memory:
            return self.width if self.loadable else 0
        row = index_bits(self.rows)
        if self.style == "spram":
            return self.width + row
        if self.style != "block":  # where there are rows each has a register
            return self.width + (self.rows * self.width + row if self.rows > 1 else 0)
        pace = self.pace
        return (self.width + pace.address * index_bits(self.depth) + (1 + pace.output) * row
                + pace.output * self.width * self.rows)

    @property
    def memories(self) -> tuple[Memory, ...]:
        """Its blocks, row by row; a bank that is a single block gives it its name."""
        if not self.has_memory:
            return ()
        if self.style == "spram":
            return tuple(Memory(f"{self.name}.{row}_{column}", SPRAM_BITS, SPRAM_WORDS, "spram")
                         for row in range(self.rows) for column in range(self.columns))
        words, bits = self.shape
        high, rows = (1, self.rows) if self._is_one_row else (self.rows, 1)
        if self.rows == self.columns == 1:
            return (Memory(self.name, self.width, self.depth, self.style, written=self.loadable),)
        return tuple(Memory(f"{self.name}.{row}_{column}", min(bits, rows * self.width - column * bits),
                            min(words, self.depth - row * words), self.style, written=self.loadable)
                     for row in range(high) for column in range(self.columns))


@dataclass(frozen=True, eq=False)
class Loaded:
    """A bank that can be written, and the words that the plan's network wants there."""

    bank: Bank
    words: Sequence[int]
