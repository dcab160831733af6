"""Operations and memory accesses of one stage per inference, counted from its record."""

from dataclasses import dataclass

from hwbnn.cost.elementwise import multiplier_bits
from hwbnn.plan import (
    AddStage,
    AffineStage,
    ArgMaxStage,
    Dot,
    FusedThresholds,
    MatrixVectorStage,
    Memory,
    ParallelStage,
    PipelineStage,
    PoolStage,
    Stage,
    ThresholdStage,
    TopKStage,
    WindowStage,
)
from hwbnn.plan.records import span_bits
from hwbnn.plan.tables import SearchedThresholds, Thresholds
from hwbnn.plan.tree import Tree

__all__ = ["Access", "Operations", "operations"]


@dataclass(frozen=True)
class Access:
    """A memory, and how many of its words are read or written per inference."""

    memory: Memory
    per_frame: int


@dataclass(frozen=True)
class Operations:
    """What one stage does per inference.

    Parameters
    ----------
    macs : products of an activation and a weight.
    bit_operations : one-bit additions (full adders, compares) and one-bit products (XNOR, AND) in all.
    weight_accesses, feature_accesses : of constants (weights, thresholds, offsets), and of data.
    """

    macs: int = 0
    bit_operations: int = 0
    weight_accesses: tuple[Access, ...] = ()
    feature_accesses: tuple[Access, ...] = ()


def full_adders(tree: Tree) -> int:
    """Full adders of one use of an adder tree: each takes one bit away."""
    return max(0, tree.count * tree.bits(1) - tree.bits(tree.count))


def _added(dot: Dot) -> int:
    """Full adders of one use of a processing element: of the count of its lanes, or of its trees."""
    if dot.count is None:
        return len(dot.lane.planes) * full_adders(dot.tree)
    bits = dot.simd * span_bits(*dot.lane.bounds)
    return max(0, bits - dot.bits - dot.has_spare)


def _compares(t: Thresholds) -> int:
    """One-bit operations of the thresholds of one group."""
    if isinstance(t, SearchedThresholds):
        return t.lanes * t.steps * span_bits(t.low, t.high + 1)
    return t.lanes * (t.count * span_bits(t.low, t.high + 1) + full_adders(t.tree))


def operations(stage: Stage) -> Operations:
    """Count the operations and accesses of ``stage`` per inference."""
    bits, macs = 0, 0
    if isinstance(stage, MatrixVectorStage):
        lane, issues = stage.lane, stage.ii
        macs = issues * stage.fold.lanes
        per_lane = lane.x.bits * lane.w.bits
        bits = macs * per_lane + issues * stage.fold.pe * (_added(stage.dot) + stage.total_bits * (stage.sf > 1))
        if isinstance(stage.thresholds, FusedThresholds):  # accumulators start from them; a single beat adds them
            t = stage.thresholds
            bits += stage.o.beats * stage.fold.pe * t.total_bits * ((stage.sf == 1) + t.gaps)
        elif stage.thresholds is not None:
            bits += stage.o.beats * _compares(stage.thresholds)
        else:
            bits += stage.o.beats * stage.fold.pe * stage.o.levels.bits
    elif isinstance(stage, ParallelStage):
        macs = stage.ii * stage.fold.lanes
        bits = stage.ii * (stage.graph.adder_bits + stage.graph.compared_bits)
    elif isinstance(stage, ThresholdStage):
        bits = stage.o.beats * _compares(stage.thresholds)
    elif isinstance(stage, AffineStage):
        macs = stage.o.beats * stage.i.lanes
        bits = macs * (stage.i.levels.bits * multiplier_bits(stage) + stage.o.levels.bits)
    elif isinstance(stage, ArgMaxStage):
        bits = stage.i.beats * stage.i.lanes * stage.value_bits
    elif isinstance(stage, TopKStage):
        bits = stage.i.beats * stage.k * stage.value_bits
    elif isinstance(stage, AddStage):
        bits = stage.o.beats * stage.o.lanes * stage.o.levels.bits
    elif isinstance(stage, PoolStage):
        bits = stage.i.beats * stage.i.lanes * stage.value_bits
    weights, features = [], []
    for memory in stage.memories:
        part = memory.name.removeprefix(f"{stage.name}.")
        if part.partition(".")[0] == "weights":
            weights.append(Access(memory, stage.ii))
        elif part == "sequence":
            assert isinstance(stage, MatrixVectorStage)  # no other stage has one
            weights.append(Access(memory, stage.ii - stage.o.beats // stage.nf * stage.sf))  # not in first passes
        elif part == "inputs":
            assert isinstance(stage, MatrixVectorStage)  # no other stage keeps its input
            features.append(Access(memory, stage.ii + stage.reads_all * stage.i.beats))  # written, read in passes
        elif isinstance(stage, WindowStage) and memory == stage.buffer:
            features.append(Access(memory, stage.i.beats + stage.o.beats))  # written once, read as often as it leaves
        elif isinstance(stage, PipelineStage) and memory == stage.fifo:
            features.append(Access(memory, 2 * stage.o.beats))  # written and read
        else:  # thresholds, offsets, constants: a word per group
            weights.append(Access(memory, stage.o.beats))
    return Operations(macs, bits, tuple(weights), tuple(features))
