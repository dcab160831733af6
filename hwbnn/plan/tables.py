"""Constants per channel, read group by group: thresholds, offsets, multipliers."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwbnn.ir import Levels
from hwbnn.ir import Threshold as ThresholdNode
from hwbnn.plan.bank import Bank, Loaded
from hwbnn.plan.records import Memory, Style, index_bits, span_bits
from hwbnn.plan.tree import Tree

__all__ = ["Borders", "Table", "Thresholds", "ram_style", "rom_style"]


def rom_style(width: int, depth: int) -> Style:
    """Where constants live unless told otherwise: more than 32 words and 2048 bits go to block memory.

    Up to 32 words a bit is a function of at most 5 address bits, two LUT4: cheaper than a block memory of
    which most would stay empty.
    """
    return "block" if depth > 32 and depth * width > 2048 else "logic"


def ram_style(width: int, depth: int, style: Style | None = None) -> Style:
    """Where words live that can be written: as :func:`rom_style` says, but in LUT memory instead of logic.

    What is to stand in ``style`` "block" or "spram" does so where it is large: weights in either, and other words of
    more than 128 bits in block memory.
    """
    if style in ("block", "spram"):
        return "block" if depth * width > 128 else "distributed"
    return style or ("block" if rom_style(width, depth) == "block" else "distributed")


@dataclass(frozen=True)
class Borders:
    """Which pixels of a map are alike: the class of each row and of each column, counted from 0.

    The class of a pixel is ``row class · column classes + column class``.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]

    @property
    def column_classes(self) -> int:
        return max(self.columns) + 1

    @property
    def classes(self) -> int:
        return (max(self.rows) + 1) * self.column_classes


@dataclass(frozen=True, eq=False)
class Table:
    """``words`` of ``width`` bits read in order, over and over; equal words are wires, not a memory.

    With ``borders`` there is a run of words for each class of pixels, one class after another, and each pixel of
    a map reads the run of its own.

    ``latency`` cycles pass from asking to the word: 0 for wires, 1 from logic into a register, 2 through a
    block memory's own register and one in fabric. A ``loadable`` table is never wires: words that are equal now may
    differ when others are written.
    """

    name: str
    width: int
    words: tuple[int, ...]
    style: Style
    borders: Borders | None = None
    loadable: bool = False

    @cached_property
    def is_constant(self) -> bool:
        return not self.loadable and (self.width == 0 or len(set(self.words)) == 1)

    @cached_property
    def bank(self) -> Bank:
        """Where the words stand; where they are equal, and stay so, a single one."""
        return Bank(self.name, self.width, 1 if self.is_constant else len(self.words), self.style, self.loadable)

    @property
    def banks(self) -> dict[str, Loaded]:
        """The bank by the last part of its name, where it is loadable."""
        return {self.name.rpartition(".")[2]: Loaded(self.bank, self.words)} if self.loadable else {}

    @property
    def latency(self) -> int:
        return self.bank.latency

    @property
    def memories(self) -> tuple[Memory, ...]:
        return self.bank.memories

    @property
    def flip_flops(self) -> int:
        """The reader's counter and the fabric register."""
        total = self.bank.flip_flops
        if not self.bank.has_memory:
            return total
        total += index_bits(self.run)
        if self.borders is not None:
            total += index_bits(len(self.borders.rows)) + index_bits(len(self.borders.columns))
        return total

    @property
    def run(self) -> int:
        """Words per pixel, or all of them without borders."""
        return len(self.words) if self.borders is None else len(self.words) // self.borders.classes

    @classmethod
    def of(cls, name: str, columns: list[tuple[ArrayLike, int]], lanes: int, style: Style | None,
           borders: Borders | None = None, *, loadable: bool = False) -> "Table":
        """Lay out fields per channel: each is (integers of shape (channels, ...), bits of each integer).

        With ``borders`` there are as many times more channels as there are classes.

        Channel p of a group is at bits ``p · (all fields' bits)``, its fields follow each other.
        """
        bits = [np.asarray(value).reshape(len(value), -1).shape[1] * width  # pyright: ignore[reportArgumentType]
                for value, width in columns]
        words = []
        arrays = [(np.asarray(v).reshape(len(v), -1).tolist(), width)  # pyright: ignore[reportArgumentType]
                  for v, width in columns]
        channels = len(arrays[0][0])
        for base in range(0, channels, lanes):
            word = shift = 0
            for c in range(base, base + lanes):
                for values, width in arrays:
                    for value in values[c]:
                        word |= (value & ((1 << width) - 1)) << shift
                        shift += width
            words.append(word)
        width = lanes * sum(bits)
        if loadable:
            return cls(name, width, tuple(words), ram_style(width, len(words), style), borders, True)
        if style == "spram":  # of what is loadable beside it
            style = None
        return cls(name, width, tuple(words), style or rom_style(width, len(words)), borders)


@dataclass(frozen=True, eq=False)
class Thresholds:
    """A threshold node in the domain of an integer S with ``x = scale · S + offset[channel]``.

    The output is level number ``#{k : (S >= constants[c, k]) XOR inverts[c]}``; constants are clipped to
    low..high + 1, which S in low..high cannot tell from the originals.

    Parameters
    ----------
    constants : int64 array (channels, n)
    inverts : int64 array (channels,) of 0 and 1
    low, high : :class:`int`
        Range of S.
    levels : :class:`Levels`
        The n + 1 output levels.
    lanes : :class:`int`
        Channels per beat.
    has_polarity : :class:`bool`
        Whether each channel carries a bit for its polarity although all are alike: other constants may be loaded.
    """

    constants: NDArray[np.int64]
    inverts: NDArray[np.int64]
    low: int
    high: int
    levels: Levels
    lanes: int
    table: Table
    has_polarity: bool = False

    @classmethod
    def of(cls, node: ThresholdNode, channels: int, *, low: int, high: int, scale: int = 1,
           offsets: NDArray[np.int64] | int = 0, lanes: int, name: str, style: Style | None = None,
           borders: Borders | None = None, loadable: bool = False, has_polarity: bool = False) -> "Thresholds":
        """Fold ``scale`` and ``offsets`` into ``node``'s thresholds, in exact integers.

        With ``borders`` the offsets are those of all channels for one class after another. ``has_polarity`` is for
        loadable ones whose polarity may come to differ between channels.
        """
        n, classes = node.thresholds.shape[1], borders.classes if borders is not None else 1
        limits = np.tile(np.broadcast_to(node.thresholds, (channels, n)), (classes, 1)).astype(object)
        signs = np.tile(np.broadcast_to(node.signs, (channels,)), classes).astype(object)
        a, b = (signs * scale)[:, None], (signs * np.asarray(offsets).astype(object))[:, None]
        # a S + b >= T: for a > 0, S >= ceil((T - b) / a); for a < 0 not S >= floor((b - T) / -a) + 1
        rising = a > 0
        size = abs(scale)
        constants = np.where(rising, -((b - limits) // size), (b - limits) // size + 1)
        constants = np.clip(constants, low, high + 1).astype(np.int64)
        inverts = (~rising[:, 0].astype(bool)).astype(np.int64)
        fields: list[tuple[ArrayLike, int]] = [(constants, span_bits(low, high + 1))]
        if has_polarity or len(set(inverts.tolist())) > 1:
            fields.append((inverts, 1))
        return cls(constants, inverts, low, high, node.levels, lanes,
                   Table.of(name, fields, lanes, style, borders, loadable=loadable), has_polarity)

    @property
    def count(self) -> int:
        """Thresholds per channel."""
        return self.constants.shape[1]

    @property
    def is_mixed(self) -> bool:
        """Whether channels may differ in polarity, so that each carries a bit for it."""
        return self.has_polarity or len(set(self.inverts.tolist())) > 1

    @property
    def tree(self) -> Tree:
        """Adds up the reached thresholds."""
        return Tree(self.count, 0, 1)

    @property
    def latency(self) -> int:
        """Cycles from S (and its constants) to the output level."""
        return 1 + self.tree.latency

    @property
    def flip_flops(self) -> int:
        """Registers of comparisons and their sum, over all lanes, and the table's."""
        return self.lanes * (self.count + self.tree.flip_flops) + self.table.flip_flops
