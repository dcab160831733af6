"""Constants per channel, read group by group: thresholds, offsets, multipliers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwbnn.ir import Levels
from hwbnn.ir import Threshold as ThresholdNode
from hwbnn.plan.bank import Bank, Loaded
from hwbnn.plan.pace import RELAXED, Pace
from hwbnn.plan.records import Memory, Style, ceil_div, index_bits, span_bits
from hwbnn.plan.tree import Tree

__all__ = ["Borders", "SearchedThresholds", "Table", "Thresholds", "ram_style", "rom_style", "searches"]


FEW = 4  # thresholds of which the level is a function that a look-up table holds


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
    block memory's own register and one in fabric, or as many more as ``pace`` asks for. A ``loadable`` table is never
    wires: words that are equal now may differ when others are written.
    """

    name: str
    width: int
    words: tuple[int, ...]
    style: Style
    borders: Borders | None = None
    loadable: bool = False
    pace: Pace = RELAXED

    def at(self, pace: Pace) -> "Table":
        """The same, with registers as ``pace`` says."""
        return replace(self, pace=pace)

    @cached_property
    def is_constant(self) -> bool:
        return not self.loadable and (self.width == 0 or len(set(self.words)) == 1)

    @cached_property
    def bank(self) -> Bank:
        """Where the words stand; where they are equal, and stay so, a single one."""
        depth = 1 if self.is_constant else len(self.words)
        return Bank(self.name, self.width, depth, self.style, self.loadable, self.pace)

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
        return self.bank.flip_flops + (self.place_flip_flops if self.bank.has_memory else 0)

    @property
    def place_flip_flops(self) -> int:
        """Counters that say which word is next."""
        total = index_bits(self.run)
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

    def at(self, pace: Pace) -> "Thresholds":
        """The same, with registers as ``pace`` says."""
        return replace(self, table=self.table.at(pace))

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
        return Tree(self.count, 0, 1, self.table.pace.levels)

    @property
    def counts(self) -> bool:
        """Whether the comparisons are added up in registers: few become the output level in a look-up table each."""
        return self.count > FEW

    @property
    def latency(self) -> int:
        """Cycles from S (and its constants) to the output level."""
        return 1 + (self.tree.latency if self.counts else 0)

    @property
    def lead(self) -> int:
        """Cycles before S at which the next group is announced."""
        return self.table.latency

    @property
    def flip_flops(self) -> int:
        """Registers of comparisons and their sum, over all lanes, and the table's."""
        return self.lanes * (self.count + (self.tree.flip_flops if self.counts else 0)) + self.table.flip_flops

    @property
    def memories(self) -> tuple[Memory, ...]:
        return self.table.memories


def searches(count: int, bits: int, lanes: int, words: int) -> bool:
    """Tell whether ``count`` thresholds of ``bits`` bits are cheaper searched than compared all at once.

    Both in LUT4 by the laws of :mod:`hwbnn.cost.datapath`, for chips that differ: a register of the search, which keeps
    numbers waiting, counts as one (nothing on ECP5, more on iCE40), and each bit of width of a block memory as 11, its
    share of a chip's. A compare is as wide as its number, and a sum takes two for each threshold.
    """
    if count < 2:
        return False
    steps = count.bit_length()

    def read(width: int, depth: int) -> float:
        if depth < 2:
            return 0.0
        return width * (11.0 * ceil_div(depth, 512) if rom_style(width, depth) == "block" else
                        1.0 if depth <= 16 else 0.145 * depth)

    at_once = lanes * count * (bits + 2) + read(lanes * count * bits, words)
    deeper = sum(read(bits, words << step) for step in range(1, steps))
    return lanes * (steps * bits + deeper + (2 * steps - 1) * bits) + read(lanes * bits, words) < at_once


@dataclass(frozen=True, eq=False)
class SearchedThresholds(Thresholds):
    """The same by binary search: each step compares S with one threshold and halves those that are left.

    Step k reads one of the 2^k thresholds that the steps before leave in the middle, from a memory of its own for each
    lane but for the first step, where all lanes read one word. Channels that count thresholds not reached search among
    the same. Steps follow each other in a pipeline, so II is 1 and the latency that of all of them.

    Parameters
    ----------
    table : :class:`Table`
        Of the first step.
    deeper : tuple of tuples of :class:`Table`
        For each step after the first one per lane, read at (group · 2^k + what the steps before found).
    """

    deeper: tuple[tuple[Table, ...], ...] = ()

    @classmethod
    def like(cls, t: Thresholds, styles: Mapping[str, Style]) -> "SearchedThresholds":
        """``t``, whose channels are of one polarity, searched; ``styles`` are those of memories, by name."""
        count, channels = t.count, len(t.constants)
        steps, width = count.bit_length(), span_bits(t.low, t.high + 1)
        full = np.full((channels, (1 << steps) - 1), t.high + 1, np.int64)  # never reached
        full[:, :count] = np.sort(t.constants, axis=1)
        code = (full & ((1 << width) - 1)).tolist()
        groups, name = channels // t.lanes, t.table.name

        def table(suffix: str, width: int, words: list[int], borders: Borders | None = None) -> Table:
            known = f"{name}.{suffix}"
            return Table(known, width, tuple(words), styles.get(known) or rom_style(width, len(words)), borders)

        def entry(channel: int, step: int, prefix: int) -> int:
            return code[channel][(prefix << (steps - step)) + (1 << (steps - step - 1)) - 1]

        first = [sum(entry(group * t.lanes + lane, 0, 0) << lane * width for lane in range(t.lanes))
                 for group in range(groups)]
        deeper = tuple(tuple(table(f"{step}.{lane}", width, [
            entry(group * t.lanes + lane, step, prefix) for group in range(groups) for prefix in range(1 << step)])
            for lane in range(t.lanes)) for step in range(1, steps))
        return cls(t.constants, t.inverts, t.low, t.high, t.levels, t.lanes,
                   table("0", t.lanes * width, first, t.table.borders), deeper=deeper)

    def at(self, pace):
        return replace(self, table=self.table.at(pace),
                       deeper=tuple(tuple(table.at(pace) for table in tables) for tables in self.deeper))

    @property
    def steps(self) -> int:
        """Thresholds that are compared one after another."""
        return self.count.bit_length()

    @property
    def reads(self) -> tuple[int, ...]:
        """Cycles of each step from address to threshold; one more to what it found."""
        return tuple(max(table.latency for table in self.tables(step)) for step in range(self.steps))

    def tables(self, step: int) -> tuple[Table, ...]:
        """What is read in a step."""
        return self.deeper[step - 1] if step else (self.table,)

    @property
    def latency(self):
        return sum(self.reads) + self.steps

    @property
    def lead(self):
        return 0

    @property
    def flip_flops(self):
        words, width = len(self.table.words), span_bits(self.low, self.high)
        total = self.lanes * width * (self.latency - 1)  # S
        for step, read in enumerate(self.reads):
            total += self.lanes * (step * (read + 1) + 1)  # what was found
            for table in self.tables(step):
                total += table.bank.flip_flops + table.width * (read - table.latency) if table.bank.has_memory else 0
        if words > 1:
            total += self.table.place_flip_flops + index_bits(words) * (sum(self.reads[:-1]) + self.steps - 1)
        return total

    @property
    def memories(self):
        return tuple(memory for step in range(self.steps) for table in self.tables(step) for memory in table.memories)
