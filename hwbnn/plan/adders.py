"""Graphs of adders that compute many sums of the same bits: what they are, when they compute, how they are made.

A *literal* is a bit or its complement, ``2 · signal + complemented``. Signal 0 is the constant 0, so that literal
0 is 0 and literal 1 is 1; then come the inputs, then what adders and comparisons give out. A *word* is literals, least
significant first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ONE", "ZERO", "Adder", "AdderGraph", "AtLeast", "GraphMaker", "Word", "constant_word"]

Word = tuple[int, ...]
Heap = dict[int, list[int]]  # literals that are added up, by the logarithm of what they count for

ZERO, ONE = 0, 1


@dataclass(frozen=True)
class Adder:
    """``x + y + carry``, a bit wider than the wider of the two: signals ``out`` and up. A full adder has a bit each."""

    x: Word
    y: Word
    carry: int
    out: int

    @property
    def bits(self) -> int:
        """Places of its carry chain."""
        return max(len(self.x), len(self.y))

    @property
    def given(self) -> int:
        """Signals that it gives out."""
        return self.bits + 1

    @property
    def literals(self) -> Word:
        return (*self.x, *self.y, self.carry)


@dataclass(frozen=True)
class AtLeast:
    """Whether the unsigned number ``x`` is at least ``limit``, which is in 1..2^bits - 1: signal ``out``."""

    x: Word
    limit: int
    out: int

    given = 1

    @property
    def literals(self) -> Word:
        return self.x


@dataclass(frozen=True, eq=False)
class AdderGraph:
    """Adders and comparisons in topological order, in a pipeline that runs free.

    Inputs stand in registers. After every ``spacing`` levels of adders, counted from these, and at the end, each bit
    that is still needed passes a register; a comparison belongs to the level of what it compares.

    Parameters
    ----------
    inputs : :class:`int`
        Signals 1 to ``inputs``.
    nodes : tuple
    outputs : tuple of words
        All of the same cycle.
    spacing : :class:`int`
    """

    inputs: int
    nodes: tuple[Adder | AtLeast, ...]
    outputs: tuple[Word, ...]
    spacing: int = 2

    def __post_init__(self):
        if self.spacing < 1:
            raise ValueError(f"Adder graph spacing must be at least 1 level, not {self.spacing}")
        known = self.inputs + 1
        for node in self.nodes:
            if node.out != known or any(literal >> 1 >= known for literal in node.literals):
                raise ValueError(f"Adder graph nodes must read what stands before them and give out signal {known}, "
                                 f"not {node}")
            known += node.given
        if any(literal >> 1 >= known for word in self.outputs for literal in word):
            raise ValueError("Adder graph outputs must be of its signals")

    @property
    def signals(self) -> int:
        """Number of signals, with the constant."""
        return 1 + self.inputs + sum(node.given for node in self.nodes)

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """Adders from the inputs to each signal, at most."""
        levels = [0] * (self.inputs + 1)
        for node in self.nodes:
            before = max((levels[literal >> 1] for literal in node.literals), default=0)
            levels += [before + isinstance(node, Adder)] * node.given
        return tuple(levels)

    @cached_property
    def stages(self) -> tuple[int, ...]:
        """Registers from the inputs' own to where each signal is computed."""
        return tuple(max(level - 1, 0) // self.spacing for level in self.levels)

    @cached_property
    def latency(self) -> int:
        """Registers from the inputs' own to the outputs, the last of them included."""
        return 1 + max((self.stages[literal >> 1] for word in self.outputs for literal in word), default=0)

    @cached_property
    def last_use(self) -> tuple[int, ...]:
        """The stage in which each signal is last read; where it is not, the one in which it is computed."""
        last = list(self.stages)
        for node in self.nodes:
            stage = self.stages[node.out]
            for literal in node.literals:
                last[literal >> 1] = max(last[literal >> 1], stage)
        for word in self.outputs:
            for literal in word:
                last[literal >> 1] = self.latency
        last[0] = self.stages[0]  # a constant needs no register
        return tuple(last)

    @cached_property
    def used_inputs(self) -> tuple[int, ...]:
        """Inputs that anything reads, as signals."""
        read = {literal >> 1 for node in self.nodes for literal in node.literals}
        read |= {literal >> 1 for word in self.outputs for literal in word}
        return tuple(n for n in range(1, self.inputs + 1) if n in read)

    @property
    def flip_flops(self) -> int:
        """Bits of the registers, the inputs' own included."""
        return len(self.used_inputs) + sum(np.subtract(self.last_use, self.stages).tolist())

    @cached_property
    def delays(self) -> int:
        """Those of its flip-flops that only hold what another one gave out, or an input."""
        made = sum(last > stage for last, stage in zip(self.last_use[self.inputs + 1:], self.stages[self.inputs + 1:],
                                                       strict=True))
        return self.flip_flops - made

    @cached_property
    def adder_bits(self) -> int:
        """Places of all carry chains, full adders among them."""
        return sum(node.bits for node in self.nodes if isinstance(node, Adder))

    @property
    def adders(self) -> int:
        return sum(isinstance(node, Adder) for node in self.nodes)

    @property
    def compared_bits(self) -> int:
        """Places of all comparisons with constants."""
        return sum(len(node.x) for node in self.nodes if isinstance(node, AtLeast))

    def compute(self, bits: ArrayLike) -> NDArray[np.int64]:
        """Return the outputs as unsigned numbers, (vectors, outputs), for input bits (vectors, inputs)."""
        bits = np.asarray(bits, np.int64)
        values = np.zeros((self.signals, len(bits)), np.int64)
        values[1:self.inputs + 1] = bits.T

        def number(word: Sequence[int]) -> NDArray[np.int64]:
            places = ((values[literal >> 1] ^ (literal & 1)) << n for n, literal in enumerate(word))
            return sum(places, start=np.zeros(len(bits), np.int64))

        for node in self.nodes:
            if isinstance(node, AtLeast):
                values[node.out] = number(node.x) >= node.limit
                continue
            total = number(node.x) + number(node.y) + number((node.carry,))
            for place in range(node.given):
                values[node.out + place] = total >> place & 1
        return np.stack([number(word) for word in self.outputs], axis=1)


def constant_word(value: int, bits: int) -> Word:
    """The lowest bits of a constant, as literals."""
    return tuple(ONE if value >> place & 1 else ZERO for place in range(bits))


class GraphMaker:
    """Appends nodes. Equal ones are made once."""

    def __init__(self, inputs: int):
        self.inputs = inputs
        self.nodes: list[Adder | AtLeast] = []
        self._signals = inputs + 1
        self._made: dict[tuple, Word] = {}

    def adder(self, x: Sequence[int], y: Sequence[int], carry: int = ZERO) -> Word:
        """The sum of two words and a bit, by an adder of its own."""
        key = tuple(x), tuple(y), carry
        if key not in self._made:
            node = Adder(*key, self._signals)
            self._made[key] = self._append(node)
        return self._made[key]

    def at_least(self, x: Sequence[int], limit: int) -> int:
        """Whether an unsigned number is at least ``limit``, as a literal."""
        x = tuple(x)
        if limit <= 0:
            return ONE
        if limit >> len(x):
            return ZERO
        key = x, limit
        if key not in self._made:
            self._made[key] = self._append(AtLeast(x, limit, self._signals))
        return self._made[key][0]

    def _append(self, node: Adder | AtLeast) -> Word:
        self.nodes.append(node)
        out = tuple(2 * (self._signals + place) for place in range(node.given))
        self._signals += node.given
        return out

    def total(self, heap: Mapping[int, Iterable[int]], bits: int) -> Word:
        """The sum of literals, modulo 2^``bits``: ``heap[w]`` are those that count for 2^w.

        In each round every column gives up two or three of its literals for each of as many adders as there are; an
        adder is as long as the columns from its first have two literals, and takes a third one there as its carry: so
        it takes one place, and no more than one besides, for each literal that it saves.
        """
        columns = [list(heap.get(place, ())) for place in range(bits)]
        while (most := max(map(len, columns), default=0)) > 1:
            columns = self._round(columns, min(most, 3))
        return tuple(column[0] if column else ZERO for column in columns)

    def _round(self, columns: list[list[int]], least: int) -> list[list[int]]:
        """One round, with adders that begin where ``least`` literals are."""
        after: list[list[int]] = [[] for _ in columns]
        start = 0
        while start < len(columns):
            here = columns[start]
            if len(here) < least:
                after[start] += here
                start += 1
                continue
            stop = start
            x, y = [], []
            carry = here.pop() if len(here) > 2 else ZERO
            while stop < len(columns) and len(columns[stop]) > 1:
                x.append(columns[stop].pop(0))
                y.append(columns[stop].pop(0))
                stop += 1
            for place, literal in enumerate(self.adder(x, y, carry), start):
                if place < len(columns):
                    after[place].append(literal)
        return after

    def graph(self, outputs: Iterable[Word], spacing: int) -> AdderGraph:
        """What was made, without what no output needs."""
        outputs = tuple(outputs)
        needed = {literal >> 1 for word in outputs for literal in word}
        kept: list[Adder | AtLeast] = []
        for node in reversed(self.nodes):
            if any(signal in needed for signal in range(node.out, node.out + node.given)):
                kept.append(node)
                needed.update(literal >> 1 for literal in node.literals)
        place = dict(zip(range(self.inputs + 1), range(self.inputs + 1), strict=True))
        nodes, known = [], self.inputs + 1

        def moved(word: Sequence[int]) -> Word:
            return tuple(2 * place[literal >> 1] + (literal & 1) for literal in word)

        for node in reversed(kept):
            place.update(zip(range(node.out, node.out + node.given), range(known, known + node.given), strict=True))
            nodes.append(Adder(moved(node.x), moved(node.y), moved((node.carry,))[0], known) if isinstance(node, Adder)
                         else AtLeast(moved(node.x), node.limit, known))
            known += node.given
        return AdderGraph(self.inputs, tuple(nodes), tuple(map(moved, outputs)), spacing)
