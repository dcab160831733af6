"""From an integer network and a folding to the graph of stages that computes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

from hwbnn import ir
from hwbnn.errors import UserError
from hwbnn.ir import Levels
from hwbnn.plan.branches import FifoStage, ForkStage
from hwbnn.plan.build import Builder, converters
from hwbnn.plan.channel import UNLIMITED
from hwbnn.plan.elementwise import AffineStage, ThresholdStage
from hwbnn.plan.general import Rooms
from hwbnn.plan.graph import Edge, chain, check
from hwbnn.plan.loader import LoaderStage, loaded_banks
from hwbnn.plan.maps import MAPS
from hwbnn.plan.matrices import Matrix
from hwbnn.plan.matrix_vector import MatrixVectorStage
from hwbnn.plan.pace import RELAXED, Pace
from hwbnn.plan.pad import PadStage
from hwbnn.plan.parallel import ParallelStage, not_parallel
from hwbnn.plan.pool import PoolStage
from hwbnn.plan.records import STYLES, Fold, Memory, PipelineStage, Stage, Stream, Style, ceil_div
from hwbnn.plan.schedule import Blocked, Cycles, Schedule, paced, schedule, steady
from hwbnn.plan.storage import buffer_style
from hwbnn.plan.width_converter import JoinStage, WidthConverterStage
from hwbnn.plan.window import WindowStage

__all__ = ["Plan", "converters", "lower", "unsized"]


@dataclass(frozen=True, eq=False)
class Plan:
    """The hardware of one network: stages in topological order, from the AXI4-Stream input to the output.

    ``edges`` are the streams between them; None where the stages are a chain. ``pace`` is what the stages were made
    for.
    ``folds`` is keyed by the names of the MatMul and Conv nodes. ``input`` and ``output`` are what crosses the two
    AXI4-Stream ports, before padding to bytes.
    """

    network: ir.Network
    folds: Mapping[str, Fold]
    stages: tuple[Stage, ...]
    edges: tuple[Edge, ...] = None  # pyright: ignore[reportAssignmentType]  # becomes a chain below
    pace: Pace = RELAXED

    def __post_init__(self):
        if self.edges is None:
            object.__setattr__(self, "edges", chain(self.stages))
        check(self.stages, self.edges)

    @cached_property
    def loader(self) -> LoaderStage | None:
        """What writes the loadable banks; None where there are none."""
        targets = {place: loaded.bank for place, loaded in loaded_banks(self.stages).items()}
        if not targets:
            return None
        stream = Stream(Levels.unsigned(8), 1, 1)
        return LoaderStage(name="loader", nodes=(), i=stream, o=stream, targets=targets)

    @property
    def parts(self) -> tuple[Stage, ...]:
        """Everything that takes cells: the stages, and the loader."""
        return self.stages if self.loader is None else (*self.stages, self.loader)

    @property
    def input(self) -> Stream:
        return self.stages[0].i

    @property
    def output(self) -> Stream:
        return self.stages[-1].o

    @property
    def lanes(self) -> int:
        """Products per cycle over all layers: sum of PE · SIMD."""
        return sum(stage.fold.lanes for stage in self.stages
                   if isinstance(stage, MatrixVectorStage | ParallelStage))

    @property
    def flip_flops(self) -> int:
        """Bits of flip-flops of the accelerator, exactly as emitted."""
        return sum(stage.flip_flops for stage in self.parts)

    @property
    def memories(self) -> tuple[Memory, ...]:
        return tuple(memory for stage in self.stages for memory in stage.memories)

    @cached_property
    def cycles(self) -> Cycles:
        """Exact cycles from first input to last output of the first frame, and between frames later on."""
        return steady(self.stages, edges=self.edges)

    def schedule(self, frames: int) -> Schedule:
        """When ``frames`` frames pass, sent as fast as they are taken."""
        return schedule(self.stages, frames, edges=self.edges)

    def before(self, stage: Stage) -> tuple[Stage, ...]:
        """The stages that ``stage`` reads, in the order of its ports."""
        source = {edge.into: edge.source for edge in self.edges if edge.target == stage.name}
        return tuple(self.stage(source[port]) for port in stage.inputs if port in source)

    def after(self, stage: Stage) -> tuple[Stage, ...]:
        """The stages that read ``stage``, in the order of its ports."""
        target = {edge.port: edge.target for edge in self.edges if edge.source == stage.name}
        return tuple(self.stage(target[port]) for port in stage.outputs if port in target)

    def stage(self, name: str) -> Stage:
        """The stage called ``name``."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise ValueError(f"Stage must be one of {', '.join(s.name for s in self.stages)}, not {name}")


def lower(network: ir.Network, folds: Mapping[str, Fold], *,
          styles: Mapping[str, Style] = MappingProxyType({}),
          fifo_depths: Mapping[str, int] = MappingProxyType({}), pace: Pace = RELAXED) -> Plan:
    """Plan the hardware of ``network``.

    Parameters
    ----------
    network : :class:`ir.Network`
        Of MatMul, Threshold, Affine, TopK, Reshape, Add, Concat, Slice, Conv, MaxPool, SumPool, Pad,
        Upsample, DepthToSpace and Transpose, with one output.
    folds : mapping
        PE and SIMD of each MatMul and Conv, by node name; none may be missing.
    styles : mapping
        What memories are made of, by memory name (``fc1.weights``, ``fc1.inputs``, ``fc1.thresholds``, ...);
        the others follow :func:`rom_style` and :func:`buffer_style`.
    fifo_depths : mapping
        Depths of output FIFOs by stage name; the others are taken from the schedule, just deep enough
        that the slowest stage never waits for another.
    pace : :class:`Pace`
        How densely registers stand.

    Raises
    ------
    UserError
        The network, the folding or a style is not possible; the message names the node.
    """
    matrices = _matrices(_checked(network), folds)
    stages, edges = _built(network, folds, styles, pace=pace)
    sized = _deepened(_with_fifos(stages, edges, styles), fifo_depths)
    known = {block.bank: block.style for stage in sized for block in stage.memories}
    for name, style in styles.items():
        if name not in known:
            raise UserError(f"Memory must be one of {', '.join(sorted(known))}, not {name}")
        if known[name] != style:
            raise UserError(f"Memory {name} style must be {known[name]}, not {style}")
    plan = Plan(network, MappingProxyType({name: folds[name] for name in matrices}), tuple(sized), tuple(edges),
                pace)
    if fifo_depths:
        try:
            plan.schedule(2)
        except Blocked as blocked:
            raise UserError(f"FIFO depths of {network.name} must let every stream go on, and these would wait for "
                            f"each other: {blocked.streams}") from None
    return plan


def unsized(network: ir.Network, folds: Mapping[str, Fold], *,
            styles: Mapping[str, Style] = MappingProxyType({}), rooms: Rooms = MappingProxyType({}),
            pace: Pace = RELAXED) -> list[Stage]:
    """The stages of :func:`lower` with each FIFO at its least depth: no schedule is run, so this is quick.

    ``rooms`` are of loadable affine nodes, in place of those that their own constants ask for.
    """
    return _built(network, folds, styles, rooms, pace=pace)[0]


def _built(network: ir.Network, folds: Mapping[str, Fold],
           styles: Mapping[str, Style], rooms: Rooms = MappingProxyType({}), *,
           pace: Pace) -> tuple[list[Stage], list[Edge]]:
    """Stages in topological order, and what connects them."""
    for name, style in styles.items():
        if style not in STYLES:
            raise UserError(f"Memory {name} style must be one of {', '.join(STYLES)}, not {style}")
    nodes = _checked(network)
    _matrices(nodes, folds)
    builder = Builder(network, folds, styles, rooms, pace)
    for node in nodes:
        builder.add(node)
    return builder.finish()


def _matrices(nodes: Sequence[ir.Node], folds: Mapping[str, Fold]) -> dict[str, Matrix]:
    """The matrices by name, once every one has a fold that suits it and nothing else has one."""
    matrices = {node.name: matrix for node in nodes if (matrix := Matrix.of(node)) is not None}
    for name in folds:
        if name not in matrices:
            raise UserError(f"Folds must be given for {', '.join(matrices) or 'no node'}, not {name}")
    for name, matrix in matrices.items():
        if name not in folds:
            raise UserError(f"Folds must be given for every MatMul and Conv, and {name} has none")
        try:
            folds[name].check(matrix.rows, matrix.columns)
        except ValueError as error:
            raise UserError(f"{name}: {error}") from None
        options = folds[name].options
        if options.datapath == "parallel" and (problem := not_parallel(next(n for n in nodes if n.name == name),
                                                                       matrix, folds[name])):
            raise UserError(f"{name}: {problem}")
        if options.loadable and options.zeros == "static":
            raise UserError(f"{name}: zeros must be none, dynamic or isolate where weights are loadable, not static")
    return matrices


_SUPPORTED = (ir.MatMul, ir.Threshold, ir.Affine, ir.TopK, ir.Reshape, ir.Add, ir.Concat, ir.Slice, *MAPS)


def _checked(network: ir.Network) -> Sequence[ir.Node]:
    """The nodes, once all are known and lead to the one output."""
    if len(network.outputs) != 1:
        raise UserError(f"Network {network.name} must have one output, not {len(network.outputs)}")
    read = {tensor for node in network.nodes for tensor in node.inputs} | {network.outputs[0].tensor}
    for node in network.nodes:
        if not isinstance(node, _SUPPORTED):
            names = [kind.__name__ for kind in _SUPPORTED]
            raise UserError(f"Node {node.name} must be {', '.join(names[:-1])} or {names[-1]}, not {node.op}")
        if node.output not in read:
            raise UserError(f"Node {node.name} must lead to the output {network.outputs[0].name}, and nothing "
                            f"reads {node.output}")
    return network.nodes


def _with_fifos(stages: Sequence[Stage], edges: Sequence[Edge], styles: Mapping[str, Style]) -> list[Stage]:
    """Give every FIFO the depth that the schedule asks for when frames come at the slowest stage's pace."""
    slowest = max(stage.ii for stage in stages)
    has_maps = any(isinstance(stage, WindowStage | PadStage) for stage in stages)
    frames = 4 if has_maps else len(stages) + 4
    while True:
        needed = schedule(stages, frames, edges=edges, interval=slowest, unlimited=True).occupied
        sized = [_sized(stage, depth, styles) for stage, depth in zip(stages, needed, strict=True)]
        if all(stage.latency == before.latency for stage, before in zip(sized, stages, strict=True)):
            break
        stages = sized  # a FIFO went to block memory, which gives out a cycle later
    if has_maps:
        sized = _leaner(sized, edges, slowest)
    if not any(isinstance(stage, ForkStage) for stage in sized):
        return sized
    kind = FifoStage if has_maps else PipelineStage  # of maps the branches alone, which is what is large
    trimmed = _trimmed(sized, edges, kind, frames)
    return trimmed if not has_maps or paced(trimmed, slowest, edges=edges) else sized


def _leaner(stages: Sequence[Stage], edges: Sequence[Edge], slowest: int) -> list[Stage]:
    """The same with shallower FIFOs where a map passes, if that keeps the pace.

    A stage that works through a map faster than the slowest would otherwise store the rest of the map. In front of a
    window, whose buffer serves, a FIFO is as shallow as can be; in front of a matrix it holds up to two vectors.
    """
    by_name = {stage.name: stage for stage in stages}
    after = {edge.source: by_name[edge.target] for edge in reversed(edges)}
    for spare in (0, 1):
        capped = []
        for stage in stages:
            if isinstance(stage, PipelineStage) and not isinstance(stage, FifoStage):
                most = min(stage.fifo_depth, _useful_depth(stage, after, spare=spare))
                stage = replace(stage, fifo_depth=max(stage.least_fifo_depth, most))
            capped.append(stage)
        try:
            if paced(capped, slowest, edges=edges):
                return capped
        except Blocked:
            pass
    return list(stages)


def _useful_depth(stage: Stage, after: Mapping[str, Stage], *, spare: int) -> int:
    """How deep a FIFO may have to be for the sake of what comes after it.

    What joins beats holds nearly all of a word itself, so that it may do without one, unless some are to ``spare``.
    """
    joins = isinstance(stage, JoinStage) and not spare
    if isinstance(stage, WindowStage) and not spare and _is_even(after[stage.name]):
        return 1
    following = after[stage.name]
    while isinstance(following, WidthConverterStage | ThresholdStage | AffineStage):
        following = after[following.name]
    if isinstance(following, WindowStage | PadStage | PoolStage):
        return 1
    if isinstance(following, MatrixVectorStage | ParallelStage):
        return max(1, 2 * ceil_div(following.columns, stage.o.lanes) - joins)
    return UNLIMITED


def _is_even(stage: Stage) -> bool:
    """Whether a stage takes beats as they come out of a window."""
    return isinstance(stage, JoinStage) or (isinstance(stage, MatrixVectorStage) and stage.period == 1)


def _trimmed(stages: Sequence[Stage], edges: Sequence[Edge], kind: type[PipelineStage], frames: int) -> list[Stage]:
    """Take from the FIFOs of stages of a kind what none of ``frames`` frames needs to pass as early.

    Where streams meet again, a beat may as well wait elsewhere. Deeper FIFOs never make a schedule later, so the
    least depth that keeps it is found by bisection.
    """
    trimmed = list(stages)

    def finished(place: int, depth: int) -> tuple[int, ...]:
        shallower = list(trimmed)
        shallower[place] = replace(trimmed[place], fifo_depth=depth)  # pyright: ignore[reportCallIssue]  # has one
        try:
            return schedule(shallower, frames, edges=edges).finished
        except Blocked:
            return ()

    wanted = schedule(trimmed, frames, edges=edges).finished
    places = [n for n, stage in enumerate(trimmed)
              if isinstance(stage, kind) and stage.fifo_depth > stage.least_fifo_depth]
    for place in sorted(places, key=lambda n: -trimmed[n].o.bits):
        stage = trimmed[place]
        assert isinstance(stage, PipelineStage)  # places are of these
        low, high = stage.least_fifo_depth, stage.fifo_depth  # the latter suffices
        middle = high - 1  # most often nothing can be taken
        while low < high:
            if finished(place, middle) == wanted:
                high = middle
            else:
                low = middle + 1
            middle = (low + high) // 2
        trimmed[place] = replace(stage, fifo_depth=high)
    return trimmed


def _sized(stage: Stage, depth: int, styles: Mapping[str, Style]) -> Stage:
    """The stage with a FIFO of ``depth``, or the least if that is more; a branch FIFO in the memory that suits it."""
    if not isinstance(stage, PipelineStage):
        return stage
    if not isinstance(stage, FifoStage):
        return replace(stage, fifo_depth=max(depth, stage.least_fifo_depth))
    style = styles.get(stage.fifo.name) or ("block" if stage.style == "block" else buffer_style(stage.i.bits, depth))
    try:
        return replace(stage, style=style, fifo_depth=max(depth, 3 if style == "block" else 2))
    except ValueError as error:
        raise UserError(str(error)) from None


def _deepened(stages: Sequence[Stage], depths: Mapping[str, int]) -> list[Stage]:
    """Give FIFOs the depths that were asked for, by stage name."""
    pipelines = {stage.name: stage for stage in stages if isinstance(stage, PipelineStage)}
    for name, depth in depths.items():
        stage = pipelines.get(name)
        if isinstance(stage, WindowStage) and stage.holds and depth != 1:
            raise UserError(f"{name} fifo_depth must be 1, since its memory holds the beat that is offered, not "
                            f"{depth!r}")
        if stage is None:
            raise UserError(f"FIFO depths must be given for {', '.join(pipelines) or 'no stage'}, not {name}")
    try:
        return [replace(pipelines[stage.name], fifo_depth=depths[stage.name]) if stage.name in depths else stage
                for stage in stages]
    except (TypeError, ValueError) as error:
        raise UserError(str(error)) from None
