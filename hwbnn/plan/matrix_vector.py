"""The folded matrix-vector unit, with or without thresholds."""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from hwbnn import pack
from hwbnn.ir import Levels
from hwbnn.plan.bank import Bank, Loaded
from hwbnn.plan.control import SKIPS, Control, EventControl, SequenceControl, Skips, kept_words
from hwbnn.plan.dot import Dot
from hwbnn.plan.fused import FusedThresholds
from hwbnn.plan.lanes import Lane
from hwbnn.plan.pace import RELAXED, Pace
from hwbnn.plan.records import Fold, Memory, PipelineStage, Style, index_bits, span_bits
from hwbnn.plan.tables import Borders, Table, Thresholds
from hwbnn.plan.zeros import still_words

__all__ = ["MatrixVectorStage", "row_offsets"]


def row_offsets(lane: Lane, weights: NDArray[np.int64], fold: Fold, nf: int, skips: Skips) -> NDArray[np.int64]:
    """Return ``dot - lane.scale · S`` of each row, S being the sum of the terms of the words that are kept."""
    offsets = lane.offsets(weights)
    if skips == "weights" and lane.idle_weight:
        left_out = (~kept_words(weights, fold.pe, fold.simd, nf)).sum(axis=1) * fold.simd
        offsets = offsets + lane.scale * lane.idle_weight * left_out.repeat(fold.pe)
    return offsets


@dataclass(frozen=True, eq=False, kw_only=True)
class MatrixVectorStage(PipelineStage):
    """PE rows times SIMD columns per cycle; a vector takes SF · NF cycles, SF = columns/SIMD, NF = rows/PE.

    The input is taken during the first of NF passes and kept for the others. Accumulators leave as true
    values, or through ``thresholds`` as output levels.

    A grouped matrix is ``groups`` matrices below each other, of ``rows / groups`` rows each: vector v is multiplied
    by number v modulo ``groups``, and NF counts the row groups of one of them. In a depthwise unit
    (``apart``) each PE has its own SIMD inputs, lane k of PE p at ``k · PE + p``, and a vector of all PEs makes
    one output beat: ``groups`` is rows/PE.

    Parameters
    ----------
    rows, columns : :class:`int`
    fold : :class:`Fold`
    weights : int64 array (rows, columns)
    lane : :class:`Lane`
    thresholds : :class:`Thresholds` or None
        In the domain of the sum of terms.
    groups : :class:`int`
    apart : :class:`bool`
    borders : :class:`Borders` or None
        Classes of pixels that differ in what zero padding leaves out.
    corrections : int64 array (classes, rows) or None
        What each class adds to the value of each row.
    taps : int64 array (rows, columns) or None
        In a shift layer, which of ``tap_count`` inputs each weight meets: an input beat has SIMD lanes for each tap,
        tap after tap. Taps stand above the weights in the memory, once for all PEs where every row has the same.
    offset_style, weight_style, input_style, sequence_style : :class:`str`
        What the memories are made of.
    loadable : :class:`bool`
        Whether weights, thresholds and offsets can be written at run time. All widths are then those that any weights
        of the lane's levels can need.
    replayed : :class:`bool`
        Whether inputs come anew for every pass, so that none are kept here.
    skips : :class:`str`
        Beats that take no cycle, but in a first pass: ``nothing``, or those whose ``weights`` or ``activations`` are
        all zero. Where the activations decide, the interval depends on the data, and :attr:`ii` is the worst case.
    isolated : :class:`bool`
        Whether what a zero does not change is kept still: the address of weights while all activations of a beat are
        zero, signs while there is no number, and the tail but when a sum is complete.
    live : tuple of :class:`int` or None
        Of the vectors of a run, how many beats are not left out for their activations (:attr:`EventControl.live`).
    pace : :class:`Pace`
    """

    rows: int
    columns: int
    fold: Fold
    weights: NDArray[np.int64]
    lane: Lane
    thresholds: Thresholds | None
    weight_style: Style
    input_style: Style
    offset_style: Style | None = None
    groups: int = 1
    apart: bool = False
    borders: Borders | None = None
    corrections: NDArray[np.int64] | None = None
    taps: NDArray[np.int64] | None = None
    tap_count: int = 1
    loadable: bool = False
    sequence_style: Style | None = None
    replayed: bool = False
    skips: Skips = "nothing"
    isolated: bool = False
    live: tuple[int, ...] | None = None
    pace: Pace = RELAXED

    def __post_init__(self):
        if self.groups < 1 or self.rows % self.groups:
            raise ValueError(f"{self.name} groups must divide {self.rows} rows, not be {self.groups}")
        if self.apart and self.groups * self.fold.pe != self.rows:
            raise ValueError(f"{self.name} groups of a depthwise unit must be {self.rows // self.fold.pe}, its rows by "
                             f"PE, not {self.groups}")
        self.fold.check(self.rows // self.groups, self.columns)
        if self.weights.shape != (self.rows, self.columns):
            raise ValueError(f"{self.name} weights must have shape ({self.rows}, {self.columns}), not "
                             f"{self.weights.shape}")
        if self.taps is not None and (self.apart or self.taps.shape != self.weights.shape
                                      or not 0 <= self.taps.min() <= self.taps.max() < self.tap_count):
            raise ValueError(f"{self.name} taps must be below {self.tap_count} and one for each weight, in a unit that "
                             "is not depthwise")
        if self.skips not in SKIPS:
            raise ValueError(f"{self.name} skips must be one of {', '.join(SKIPS)}, not {self.skips}")
        idle = self.lane.idle_activation if self.skips == "activations" else self.lane.idle_weight
        if self.skips != "nothing" and (idle is None or not self.has_input_memory):
            raise ValueError(f"{self.name} must have lanes that zeros leave idle, and inputs that are read again, to "
                             f"skip {self.skips}")
        adds_nothing = 0 in (self.lane.idle_weight, self.lane.idle_activation)
        if self.isolated and (self.skips != "nothing" or not adds_nothing):
            raise ValueError(f"{self.name} must have zeros that add nothing, and skip nothing, to be isolated")
        if self.is_fused and not self.can_start:
            raise ValueError(f"{self.name} accumulators must start from 0 or from what was left out, not from "
                             "thresholds")
        super().__post_init__()

    def at(self, pace):
        thresholds = None if self.thresholds is None else self.thresholds.at(pace)
        return replace(self, pace=pace, thresholds=thresholds, fifo_depth=0)

    @property
    def sf(self) -> int:
        """Synapse fold: beats per row."""
        return self.columns // self.fold.simd

    @property
    def nf(self) -> int:
        """Neuron fold: groups of rows per vector."""
        return self.rows // self.groups // self.fold.pe

    @property
    def weight_depth(self) -> int:
        """Words of weights."""
        return self.control.depth

    @cached_property
    def control(self) -> Control:
        """Which beat is issued next."""
        shape = self.sf, self.nf, self.groups
        if self.skips == "weights":
            kept = kept_words(self.weights, self.fold.pe, self.fold.simd, self.nf)
            return SequenceControl(*shape, name=f"{self.name}.sequence", kept=kept, style=self.sequence_style)
        if self.skips == "activations":
            return EventControl(*shape, live=self.live)
        return Control(*shape, replayed=self.replayed)

    @property
    def input_lanes(self) -> int:
        """Activations per beat."""
        return self.fold.lanes if self.apart else self.fold.simd * self.tap_count

    @property
    def tap_bits(self) -> int:
        """Bits of the number of a tap; 0 where there is nothing to choose."""
        return index_bits(self.tap_count)

    @property
    def taps_are_shared(self) -> bool:
        """Whether all PEs always choose alike."""
        if self.taps is None:
            return False
        return bool(np.all(self.taps.reshape(-1, self.fold.pe, self.columns) == self.taps[::self.fold.pe, None]))

    @cached_property
    def chosen_lanes(self) -> int:
        """Lanes that choose a tap."""
        return 0 if self.taps is None else self.fold.simd if self.taps_are_shared else self.fold.lanes

    @property
    def group_beats(self):
        return self.sf

    @property
    def period(self):
        return 1 if self.replayed else self.nf

    def repeated(self, group):
        return self.control.beats(group)

    @property
    def ii(self):
        passes = self.control.cycle
        return self.o.beats // len(passes) * sum(passes)

    @property
    def least_fifo_depth(self):
        around = np.cumsum(self.control.cycle * (2 + self.delay // sum(self.control.cycle)))
        period = len(self.control.cycle)
        starts = np.concatenate([[0], around[:period - 1]])  # beats before each row group
        return int(np.max(np.searchsorted(around, starts + self.delay) - np.arange(period))) + 2

    def live_beats(self, values: NDArray[np.int64]) -> tuple[int, ...]:
        """Return :attr:`live` of a run that takes ``values`` (frames, values in stream order)."""
        beats = values.reshape(-1, self.sf, self.input_lanes).any(axis=2).sum(axis=1)
        return tuple(np.maximum(beats, 1).tolist())

    @property
    def sums(self) -> tuple[int, int]:
        """Least and greatest sum of terms over a row."""
        return self.columns * self.lane.low, self.columns * self.lane.high

    @property
    def sum_bits(self) -> int:
        """Width of a sum over a row."""
        return span_bits(*self.sums)

    @property
    def is_fused(self) -> bool:
        """Whether accumulators start from thresholds, and their signs are the result."""
        return isinstance(self.thresholds, FusedThresholds)

    @property
    def can_start(self) -> bool:
        """Whether accumulators may start from thresholds: not from what was left out, nor where they are kept apart."""
        return not self.keeps_sums and not (self.skips == "activations" and self.lane.idle_activation)

    @property
    def total_bits(self) -> int:
        """Width of an accumulator; where nothing but its sign is read after a single beat, of that alone."""
        if isinstance(self.thresholds, FusedThresholds):
            return self.thresholds.total_bits if self.sf > 1 or self.thresholds.gaps else 1
        return self.sum_bits

    @cached_property
    def dot(self) -> Dot:
        """What one PE adds up in a cycle; accumulators that add take a spare bit of it."""
        return Dot(self.lane, self.fold.simd, self.pace, self.sf > 1 or self.is_fused)

    @cached_property
    def weight_words(self) -> list[int]:
        """Contents of the weight memory, one integer per address."""
        pack_words = still_words if self.isolated else pack.weight_words
        words = pack_words(self.weights, self.lane.w, self.fold.pe, self.fold.simd)
        if self.taps is not None:
            chosen, pe = (self.taps[::self.fold.pe], 1) if self.taps_are_shared else (self.taps, self.fold.pe)
            above = pack.weight_words(chosen, Levels(0, self.tap_count - 1), pe, self.fold.simd)
            words = [word | taps << self.weight_bits for word, taps in zip(words, above, strict=True)]
        if isinstance(self.control, SequenceControl):
            words = list(compress(words, self.control.kept.ravel().tolist()))
        return words

    @property
    def weight_bits(self) -> int:
        """Width of the weights of a beat, without taps."""
        return self.fold.lanes * self.lane.w.bits

    @property
    def weight_bank(self) -> Bank:
        """Where the weights of PE rows and SIMD columns are read from."""
        return Bank(f"{self.name}.weights", self.weight_bits + self.chosen_lanes * self.tap_bits, self.weight_depth,
                    self.weight_style, self.loadable, self.pace)

    @property
    def banks(self):
        if not self.loadable:
            return {}
        table = self.thresholds.table if self.thresholds is not None else self.offset_table
        assert table is not None  # one or the other
        return {"weights": Loaded(self.weight_bank, self.weight_words), **table.banks}

    @property
    def has_weight_memory(self) -> bool:
        """False where a single word is left, which becomes wires."""
        return self.weight_bank.has_memory

    @property
    def has_input_memory(self) -> bool:
        """Whether more than one word of inputs is kept for later passes."""
        return self.sf > 1 and self.nf > 1 and not self.replayed

    @property
    def reads_all(self) -> bool:
        """Whether all passes read that memory, the first a cycle after it wrote; not where only some words are stored.

        Else the first pass takes the stream, which needs a multiplexer.
        """
        return self.has_input_memory and self.skips != "activations"

    @property
    def tag_bits(self) -> int:
        """The number of its beat beside each word of inputs, where activations decide which are stored."""
        return index_bits(self.sf) if self.skips == "activations" else 0

    @property
    def weight_latency(self) -> int:
        """Cycles from issue to the weights."""
        return self.weight_bank.latency

    @property
    def input_latency(self) -> int:
        """Cycles from issue to the inputs' register."""
        early = 1 + self.pace.output if self.has_input_memory and self.input_style == "block" else 0
        return 1 + self.reads_all + early

    @property
    def front(self) -> int:
        """Cycles from issue to both operands standing in registers.

        Where activations decide, the number of the beat comes with its inputs, and a register holds the address.
        """
        held = self.skips == "activations" or self.keeps_address
        least = self.input_latency + 1 if held else 0
        asked = self.lead - self.dot.latency - 1 - self.keeps_sums
        return max(least + self.weight_latency, self.input_latency, asked)

    @property
    def lead(self) -> int:
        """Cycles before a finished accumulator at which its thresholds or its offset are asked for."""
        if self.thresholds is not None:
            return self.thresholds.lead
        assert self.offset_table is not None  # one or the other
        return self.offset_table.latency

    @property
    def keeps_address(self) -> bool:
        """Whether the address of weights stays where it is while all activations are zero."""
        return self.isolated and self.has_weight_memory and self.lane.x.holds(0)

    @property
    def keeps_sums(self) -> bool:
        """Whether the tail sees complete sums only, in a register."""
        return self.isolated and self.sf > 1

    @property
    def sum_latency(self) -> int:
        """Cycles from issue to the sum of the beat's terms."""
        return self.front + self.dot.latency

    @property
    def offsets(self) -> NDArray[np.int64]:
        """What is added to ``lane.scale`` times the sum for each row's value; with borders class after class."""
        offsets = row_offsets(self.lane, self.weights, self.fold, self.nf, self.skips)
        return offsets if self.corrections is None else (offsets + self.corrections).ravel()

    @property
    def offset_span(self) -> range:
        """From the least to the greatest offset, 0 included; where weights are loadable, of any weights."""
        if self.loadable:
            return self._widest_offsets
        return range(min(0, int(self.offsets.min())), max(0, int(self.offsets.max())) + 1)

    @property
    def _widest_offsets(self) -> range:
        w, ends = self.lane.w, self._extreme_offsets
        values = (self.i.levels.low, self.i.levels.high)
        reach = 0 if self.corrections is None else self.columns * max(map(abs, (w.low, w.high))) * max(map(abs, values))
        return range(min(0, int(ends.min())) - reach, max(0, int(ends.max())) + reach + 1)

    @property
    def _extreme_offsets(self) -> NDArray[np.int64]:
        """Of the rows with the least and with the greatest sum of weights: each lane's offsets are linear in it."""
        return self.lane.offsets(np.repeat([[self.lane.w.low], [self.lane.w.high]], self.columns, axis=1))

    @cached_property
    def offset_table(self) -> Table | None:
        """The offsets where accumulators leave as numbers."""
        if self.thresholds is not None:
            return None
        bits = span_bits(self.offset_span.start, self.offset_span.stop - 1)
        return Table.of(f"{self.name}.offsets", [(self.offsets, bits)], self.fold.pe, self.offset_style,
                        self.borders, loadable=self.has_loadable_offsets).at(self.pace)

    @property
    def has_loadable_offsets(self) -> bool:
        """Whether other weights may have other offsets."""
        ends = self._extreme_offsets
        return self.loadable and (self.corrections is not None or bool(np.any(ends != ends[0])))

    @property
    def tail_latency(self) -> int:
        """Cycles from a finished accumulator to what enters the FIFO."""
        return 1 if self.thresholds is None else self.thresholds.latency

    @property
    def delay(self):
        return self.sum_latency + 1 + self.keeps_sums + self.tail_latency + 1

    @property
    def flip_flops(self):
        pe = self.fold.pe
        a_bits = self.input_lanes * self.lane.x.bits
        total = self.control.flip_flops + self.weight_bank.flip_flops
        if self.has_weight_memory:
            total += (self.front - self.weight_latency) * index_bits(self.weight_depth)
        total += a_bits * (1 + self.front - self.input_latency) + self.tag_bits
        if self.has_input_memory and self.input_style == "block":
            word, pace = a_bits + self.tag_bits, self.pace
            total += pace.output * word  # what was read, and beside it that of the first pass
            total += 0 if self.reads_all else (1 + pace.output) * (word + 1)
        if self.reads_all:
            total += index_bits(self.sf)
        if self.skips == "activations" and self.lane.idle_activation:
            total += index_bits(self.sf) * self.sum_latency  # how many beats were left out
        total += (3 if self.sf > 1 else 1) * self.sum_latency + 1 + self.tail_latency  # flags beside the pipeline
        total += pe * (self.dot.flip_flops + self.total_bits)
        if self.keeps_sums:
            total += pe * self.sum_bits + 1
        if self.thresholds is not None:
            total += self.thresholds.flip_flops
        else:
            assert self.offset_table is not None
            total += self.offset_table.flip_flops + self.o.bits
        return total + self.fifo_flip_flops

    @property
    def memories(self):
        result = [*self.weight_bank.memories, *self.control.memories]
        if self.has_input_memory:
            result.append(Memory(f"{self.name}.inputs", self.input_lanes * self.lane.x.bits + self.tag_bits, self.sf,
                                 self.input_style, written=True))
        if self.thresholds is not None:
            return (*result, *self.thresholds.memories, *self.fifo_memories)
        assert self.offset_table is not None  # one or the other
        return (*result, *self.offset_table.memories, *self.fifo_memories)
