"""Logic depth of each component between two flip-flops, and the frequency that follows from it.

A path is so many levels of look-up tables, a carry chain being one, and so many bits of a chain; it may start at a
block memory, whose output is late, or pass a hard multiplier. Wires grow with the size of a component, by a term in
the logarithm of its flip-flops. Which paths a component has is known from its record; the delays are fitted to nextpnr
(``hwbnn calibrate``).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log2

from hwbnn.cost.datapath import CHAIN_BITS, CHAIN_HALVES, GROUP
from hwbnn.cost.elementwise import multiplier_bits
from hwbnn.cost.fabric import fabric
from hwbnn.cost.quantity import Figure, Quantity, Unknown
from hwbnn.cost.technology import DelayModel, Technology
from hwbnn.plan import (
    Adder,
    AffineStage,
    ArgMaxStage,
    ConditionalLane,
    Count,
    EventControl,
    FrameInputStage,
    FusedThresholds,
    MatrixVectorStage,
    PadStage,
    ParallelStage,
    PipelineStage,
    PoolStage,
    Stage,
    ThresholdStage,
    TopKStage,
    WindowStage,
)
from hwbnn.plan.dot import Dot
from hwbnn.plan.records import index_bits, span_bits
from hwbnn.plan.tables import SearchedThresholds, Table, Thresholds
from hwbnn.plan.tree import Tree

__all__ = ["Path", "fmax", "paths", "period", "slowest", "spread"]


@dataclass(frozen=True)
class Path:
    """What a signal passes between two flip-flops.

    Parameters
    ----------
    what : :class:`str`
        For reading: ``sum``, ``compare``, ``counter``, ...
    levels : :class:`int`
        Look-up tables and carry chains in a row.
    carry : :class:`int`
        Bits of carry chains in a row.
    memory : :class:`bool`
        Whether it starts at the output of a block memory.
    multiplier : :class:`bool`
        Whether it passes a hard multiplier.
    """

    what: str
    levels: int
    carry: int = 0
    memory: bool = False
    multiplier: bool = False

    def __str__(self) -> str:
        """``sum: 2 levels, 7 bits of carry``."""
        parts = [name for name, there in (("block memory", self.memory), ("multiplier", self.multiplier)) if there]
        parts.append(f"{self.levels} level{'s' if self.levels != 1 else ''}")
        parts += [f"{self.carry} bits of carry"] if self.carry else []
        return f"{self.what}: {', '.join(parts)}"


def _tree(tree: Tree, lane: int, what: str) -> list[Path]:
    """Sums of up to four operands between registers; ``lane`` levels stand in front of the first."""
    found, sizes, before = [], [1] * tree.count, lane
    while len(sizes) > 1:
        together = min(GROUP, 1 << tree.every)
        groups = [sizes[n:n + together] for n in range(0, len(sizes), together)]
        widest = max(groups, key=sum)
        result = tree.bits(sum(widest))
        operands = len(widest)
        if tree.bits(max(widest)) == 1:
            found.append(Path(what, before + 1))
        else:
            found.append(Path(what, before + max(operands - 2, 0) + (result < CHAIN_BITS),
                              result if result >= CHAIN_BITS else 0))
        before, sizes = 0, [sum(group) for group in groups]
    return found


def _thresholds(t: Thresholds) -> list[Path]:
    bits = span_bits(t.low, t.high + 1)
    found = [Path("compare", 1, bits if bits >= CHAIN_BITS else 0), *_constants(t.table)]
    if not isinstance(t, SearchedThresholds):
        found += _tree(t.tree, 0, "count of thresholds") if t.counts else []
    return found


def _count(count: Count) -> list[Path]:
    """A group is two adders in a row; above there are ``every`` between registers."""
    widest = max(count.groups)
    return [Path("count", 1 + (widest > 3), (widest > 1) + 2 * (widest > 3)), *_adders(count)]


def _adders(count: Count) -> list[Path]:
    """Of the levels above the groups."""
    together = min(count.every, len(count.levels) - 1)
    return [Path("count", together, together * max(sums).bit_length()) for sums in count.levels[1:]]


def _dot(dot: Dot, *, constant: bool) -> list[Path]:
    if isinstance(dot.count, Count):
        return _count(dot.count)
    if dot.count is not None:  # a group's sum goes from lane to lane
        joins = [Path("count", 1, dot.count.twos.high.bit_length())] if dot.count.joins else []
        return [Path("lanes", 1 + max(map(sum, dot.count.groups)), 2), *_adders(dot.count.twos), *joins]
    lane = dot.lane
    levels = 0 if constant else 1 if isinstance(lane, ConditionalLane) else 2
    found = _tree(dot.tree, levels, "sum") or [Path("lane", levels + 1)]
    for groups in dot.planes.levels:
        bits = max(span_bits(*dot.planes.span(group)) for group in groups)
        found.append(Path("sum of planes", 1, bits))
    return found


def _counter(states: int) -> Path:
    """Count, compare with the end, and enable what follows."""
    bits = index_bits(states)
    return Path("counter", 2 + (bits > 4), bits if bits >= CHAIN_BITS else 0)


def _logic(depth: int) -> int:
    """Levels of a table of constants in logic: 16 words are one, and each twice as many one more."""
    return 1 + max(0, index_bits(depth) - 4)


def _constants(table: Table) -> list[Path]:
    """From the place, and the class of the pixel where there are borders, to the word."""
    if not table.bank.has_memory:
        return []
    if table.style != "logic":  # into the register behind it
        return [Path("constants", 0, memory=table.style == "block" and not table.bank.pace.output)]
    before = 0 if table.borders is None else 2 + index_bits(len(table.borders.columns)) // 4
    return [Path("constants", before + _logic(table.bank.shape[0]), index_bits(table.bank.depth) * (before > 0))]


def _matrix(stage: MatrixVectorStage, tech: Technology | None) -> list[Path]:
    constant = not stage.has_weight_memory and not stage.loadable
    chained = tech is not None and fabric(tech.family).paired  # rows share chains, which are as long as they may be
    found = [*_dot(stage.dot, constant=constant), _counter(stage.sf), _counter(stage.weight_depth)]
    if stage.sf > 1:
        rows = stage.fold.pe if chained else 1
        found.append(Path("accumulator", 2, min(CHAIN_HALVES, rows * (stage.total_bits + 1))))
    if stage.has_weight_memory and stage.weight_style == "block":
        found.append(Path("weight memory", 0, memory=not stage.pace.output))
    elif stage.has_weight_memory and stage.weight_style == "logic":
        found.append(Path("weights", _logic(stage.weight_bank.shape[0])))
    if stage.has_input_memory and stage.input_style == "block":
        found.append(Path("input memory", 1, memory=not stage.pace.output))
    if isinstance(stage.control, EventControl):
        found.append(Path("live inputs", 2 + (stage.input_lanes * stage.lane.x.bits).bit_length() // 2))
    if isinstance(stage.thresholds, FusedThresholds):
        found += [Path("start", 1, stage.thresholds.total_bits), *_constants(stage.thresholds.table)]
        if stage.thresholds.gaps:
            found.append(Path("compare", 1, stage.thresholds.total_bits))
    elif stage.thresholds is not None:
        found += _thresholds(stage.thresholds)
    else:
        assert stage.offset_table is not None  # where there are no thresholds
        found += [Path("offset", 1, stage.o.levels.bits), *_constants(stage.offset_table)]
    return found


def _affine(stage: AffineStage, tech: Technology | None) -> list[Path]:
    """A hard multiplier and the sum of its parts, or rows of adders, two by two."""
    x, y = stage.i.levels.bits, multiplier_bits(stage)
    found = [Path("offset", 1, stage.o.levels.bits), *_constants(stage.table)]
    if stage.planes is not None:
        return [*found, Path("planes", stage.planes.every, stage.planes.every * (x + y))]
    hard = tech is None or (tech.multiplier is not None and tech.multiplies_in_dsp)
    if hard:
        several = tech is not None and tech.multiplier is not None and max(x, y) > tech.multiplier.operand.value
        return [*found, Path("product", int(several), (x + y) // 2 * several, multiplier=True)]
    return [*found, Path("product", 2 + index_bits(x), x + y)]


def paths(stage: Stage, tech: Technology | None = None) -> tuple[Path, ...]:
    """The paths of ``stage`` that may be its slowest; without a chip on one that has hard multipliers."""
    found = [Path("handshake", 2)]
    if isinstance(stage, PipelineStage):
        level = stage.fifo_depth.bit_length()
        found.append(Path("credits", 2 + (level >= CHAIN_BITS), level if level >= CHAIN_BITS else 0))
    if tech is not None and tech.lut_memory is None:  # flip-flops, of which one is chosen
        found += [Path("storage", 1 + index_bits(memory.depth)) for memory in stage.memories
                  if memory.style == "distributed"]
    if isinstance(stage, MatrixVectorStage):
        found += _matrix(stage, tech)
    elif isinstance(stage, ParallelStage):
        graph = stage.graph
        widest = max((node.bits for node in graph.nodes if isinstance(node, Adder)), default=0)
        found.append(Path("adders", graph.spacing, graph.spacing * widest if widest >= CHAIN_BITS else 0))
    elif isinstance(stage, ThresholdStage):
        found += _thresholds(stage.thresholds)
    elif isinstance(stage, AffineStage):
        found += _affine(stage, tech)
    elif isinstance(stage, ArgMaxStage):
        found.append(Path("compare", 3, stage.split or stage.value_bits))
    elif isinstance(stage, TopKStage):
        found.append(Path("compare", 2, stage.value_bits))
    elif isinstance(stage, PoolStage):
        found.append(Path("compare", 2, stage.value_bits if stage.value_bits >= CHAIN_BITS else 0))
    elif isinstance(stage, FrameInputStage | PadStage):
        found.append(Path("position", 3))
    elif isinstance(stage, WindowStage):
        found += [Path("address", 3 + len(stage.loops) // 2, index_bits(stage.depth)),
                  Path("buffer", 1, memory=stage.buffer.style == "block" and not stage.pace.output)]
    return tuple(found)


def spread(stages: Iterable[Stage]) -> float:
    """How far wires go, in doublings: log2 of the flip-flops of all that is placed together."""
    return log2(max(2, sum(stage.flip_flops for stage in stages)))


def period(path: Path, doublings: float, model: DelayModel) -> float:
    """Nominal seconds of a path in a component of ``doublings``."""
    return (model.base.value + model.level.value * path.levels + model.carry.value * path.carry
            + model.spread.value * doublings + path.memory * model.memory.value
            + path.multiplier * model.multiplier.value)


def slowest(stage: Stage, tech: Technology) -> Path:
    """The path that decides; without a calibration the one of most levels, four bits of carry counting as one."""
    if not tech.delay_model.known:
        return max(paths(stage, tech), key=lambda p: p.levels + p.carry / 4 + 3 * p.memory + 4 * p.multiplier)
    return max(paths(stage, tech), key=lambda path: period(path, 0, tech.delay_model))


def fmax(stages: Sequence[Stage], tech: Technology) -> Figure:
    """Frequency that ``stages`` reach together; unknown where the target was not calibrated."""
    model = tech.delay_model
    if not model.known:
        return Unknown("Hz", f"frequency of {tech.title}: {model.base.source}")
    hertz = 1 / max(period(slowest(stage, tech), spread(stages), model) for stage in stages)
    return Quantity(hertz * model.low.value, hertz, hertz * model.high.value, "Hz", "logic depth, calibrated",
                    (model.base.source,))
