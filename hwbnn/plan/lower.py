"""From an integer network and a folding to the chain of stages that computes it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

from hwbnn import ir
from hwbnn.errors import UserError
from hwbnn.plan.elementwise import AffineStage, ArgMaxStage, ThresholdStage
from hwbnn.plan.interface import FrameInputStage, FrameOutputStage
from hwbnn.plan.lanes import lane_for, weight_levels
from hwbnn.plan.matrix_vector import MatrixVectorStage, buffer_style
from hwbnn.plan.records import STYLES, Fold, Memory, PipelineStage, Stage, Stream, Style
from hwbnn.plan.schedule import Cycles, schedule
from hwbnn.plan.tables import Thresholds, rom_style
from hwbnn.plan.width_converter import JoinStage, PartStage

__all__ = ["Plan", "converters", "lower", "unsized"]


@dataclass(frozen=True, eq=False)
class Plan:
    """The hardware of one network: a chain of stages, from the AXI4-Stream input to the output.

    ``folds`` is keyed by the names of the MatMul nodes. ``input`` and ``output`` are what crosses the two
    AXI4-Stream ports, before padding to bytes.
    """

    network: ir.Network
    folds: Mapping[str, Fold]
    stages: tuple[Stage, ...]

    @property
    def input(self) -> Stream:
        return self.stages[0].i

    @property
    def output(self) -> Stream:
        return self.stages[-1].o

    @property
    def lanes(self) -> int:
        """Products per cycle over all matrix-vector units: sum of PE · SIMD."""
        return sum(stage.fold.lanes for stage in self.stages if isinstance(stage, MatrixVectorStage))

    @property
    def flip_flops(self) -> int:
        """Bits of flip-flops of the accelerator, exactly as emitted."""
        return sum(stage.flip_flops for stage in self.stages)

    @property
    def memories(self) -> tuple[Memory, ...]:
        return tuple(memory for stage in self.stages for memory in stage.memories)

    @cached_property
    def cycles(self) -> Cycles:
        """Exact cycles from first input to last output of the first frame, and between frames later on."""
        frames = 2 * len(self.stages) + 4
        for _ in range(6):
            run = schedule(self.stages, frames)
            intervals = [b - a for a, b in zip(run.finished, run.finished[1:], strict=False)]
            settled = intervals[-(len(self.stages) + 2):]
            if len(set(settled)) == 1:
                return Cycles(run.finished[0] - run.started[0], settled[0])
            frames *= 2
        raise RuntimeError(f"Frames of {self.network.name} do not settle to a steady interval")

    def stage(self, name: str) -> Stage:
        """The stage called ``name``."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise ValueError(f"Stage must be one of {', '.join(s.name for s in self.stages)}, not {name}")


def lower(network: ir.Network, folds: Mapping[str, Fold], *,
          styles: Mapping[str, Style] = MappingProxyType({}),
          fifo_depths: Mapping[str, int] = MappingProxyType({})) -> Plan:
    """Plan the hardware of ``network``.

    Parameters
    ----------
    network : :class:`ir.Network`
        A chain of MatMul, Threshold, Affine, TopK (k = 1) and Reshape.
    folds : mapping
        PE and SIMD of each MatMul, by node name; none may be missing.
    styles : mapping
        What memories are made of, by memory name (``fc1.weights``, ``fc1.inputs``, ``fc1.thresholds``, ...);
        the others follow :func:`rom_style` and :func:`buffer_style`.
    fifo_depths : mapping
        Depths of output FIFOs by stage name; the others are taken from the schedule, just deep enough
        that the slowest stage never waits for another.

    Raises
    ------
    UserError
        The network, the folding or a style is not possible; the message names the node.
    """
    matrices = _matrices(_chain(network), folds)
    stages = _with_fifos(unsized(network, folds, styles=styles), fifo_depths)
    known = {memory.name: memory.style for stage in stages for memory in stage.memories}
    for name, style in styles.items():
        if name not in known:
            raise UserError(f"Memory must be one of {', '.join(sorted(known))}, not {name}")
        if known[name] != style:
            raise UserError(f"Memory {name} style must be {known[name]}, not {style}")
    return Plan(network, MappingProxyType({name: folds[name] for name in matrices}), tuple(stages))


def unsized(network: ir.Network, folds: Mapping[str, Fold], *,
            styles: Mapping[str, Style] = MappingProxyType({})) -> list[Stage]:
    """The stages of :func:`lower` with each FIFO at its least depth: no schedule is run, so this is quick."""
    for name, style in styles.items():
        if style not in STYLES:
            raise UserError(f"Memory {name} style must be one of {', '.join(STYLES)}, not {style}")
    chain = _chain(network)
    _matrices(chain, folds)
    builder = _Builder(network, folds, styles)
    for node in chain:
        builder.add(node)
    return builder.finish()


def converters(stream: Stream, lanes: int, before: str) -> list[Stage]:
    """The stages that bring ``stream`` to ``lanes`` lanes, by way of their least common multiple where needed."""
    stages: list[Stage] = []
    for size in (math.lcm(lanes, stream.lanes), lanes):
        if size != stream.lanes:
            o = Stream(stream.levels, size, stream.lanes * stream.beats // size)
            kind, verb = (JoinStage, "join") if size > stream.lanes else (PartStage, "part")
            stages.append(kind(name=f"{before}.{verb}", nodes=(), i=stream, o=o))
            stream = o
    return stages


def _matrices(chain: Sequence[ir.Node], folds: Mapping[str, Fold]) -> dict[str, ir.MatMul]:
    """The matrices by name, once every one has a fold that suits it and nothing else has one."""
    matrices = {node.name: node for node in chain if isinstance(node, ir.MatMul)}
    for name in folds:
        if name not in matrices:
            raise UserError(f"Folds must be given for {', '.join(matrices) or 'no node'}, not {name}")
    for name, node in matrices.items():
        if name not in folds:
            raise UserError(f"Folds must be given for every MatMul, and {name} has none")
        try:
            folds[name].check(node.rows, node.columns)
        except ValueError as error:
            raise UserError(f"{name}: {error}") from None
    return matrices


def _chain(network: ir.Network) -> list[ir.Node]:
    """The nodes, each of which reads what the one before wrote."""
    if len(network.outputs) != 1:
        raise UserError(f"Network {network.name} must have one output, not {len(network.outputs)}")
    previous = network.input.name
    for node in network.nodes:
        if not isinstance(node, ir.MatMul | ir.Threshold | ir.Affine | ir.TopK | ir.Reshape):
            raise UserError(f"Node {node.name} must be MatMul, Threshold, Affine, TopK or Reshape, not {node.op}")
        if isinstance(node, ir.TopK) and node.k != 1:
            raise UserError(f"TopK {node.name} k must be 1, not {node.k}")
        if node.inputs != (previous,):
            raise UserError(f"Node {node.name} must read {previous}, the tensor before it, not "
                            f"{', '.join(node.inputs)}")
        previous = node.output
    if network.outputs[0].tensor != previous:
        raise UserError(f"Output {network.outputs[0].name} must be the last tensor {previous}, not "
                        f"{network.outputs[0].tensor}")
    return list(network.nodes)


class _Builder:
    """Collects stages; ``stream`` is what the last of them gives out."""

    def __init__(self, network: ir.Network, folds: Mapping[str, Fold], styles: Mapping[str, Style]):
        self.network, self.folds, self.styles = network, folds, styles
        self.stages: list[Stage] = []
        self.fused: set[str] = set()
        tensor = network.tensors[network.input.name]
        self.channels = tensor.channels
        first = next((node for node in network.nodes if isinstance(node, ir.MatMul)), None)
        values = math.prod(tensor.shape)
        lanes = folds[first.name].simd if first is not None and tensor.channels % folds[first.name].simd == 0 \
            else 1
        self.stream = Stream(tensor.levels, lanes, values // lanes)
        self.stages.append(FrameInputStage(name="input", nodes=(), i=self.stream, o=self.stream))

    def push(self, stage: Stage):
        self.stages.append(stage)
        self.stream = stage.o

    def out(self, node: ir.Node, lanes: int) -> Stream:
        tensor = self.network.tensors[node.output]
        return Stream(tensor.levels, lanes, math.prod(tensor.shape) // lanes)

    def convert(self, lanes: int, before: str):
        for stage in converters(self.stream, lanes, before):
            self.push(stage)

    def add(self, node: ir.Node):
        if node.name in self.fused:
            return
        if isinstance(node, ir.MatMul):
            self.matrix(node)
        elif isinstance(node, ir.Threshold):
            lv = self.stream.levels
            thresholds = Thresholds.of(
                node, self.channels, low=lv.low, high=lv.high, lanes=self.stream.lanes,
                name=f"{node.name}.thresholds", style=self.styles.get(f"{node.name}.thresholds"))
            self.push(ThresholdStage(name=node.name, nodes=(node.name,), i=self.stream,
                                     o=self.out(node, self.stream.lanes), thresholds=thresholds))
        elif isinstance(node, ir.Affine):
            self.push(AffineStage(
                name=node.name, nodes=(node.name,), i=self.stream, o=self.out(node, self.stream.lanes),
                multipliers=_spread(node.multipliers, self.channels), offsets=_spread(node.offsets, self.channels),
                style=self.styles.get(f"{node.name}.constants")))
        elif isinstance(node, ir.TopK):
            self.push(ArgMaxStage(name=node.name, nodes=(node.name,), i=self.stream, o=self.out(node, 1),
                                  channels=self.channels))
        self.channels = self.network.tensors[node.output].channels

    def matrix(self, node: ir.MatMul):
        fold = self.folds[node.name]
        self.convert(fold.simd, node.name)
        lane = lane_for(self.stream.levels, weight_levels(node.weights))
        readers = self.network.consumers(node.output)
        threshold = readers[0] if readers and isinstance(readers[0], ir.Threshold) else None
        thresholds, nodes, last = None, (node.name,), node
        if threshold is not None:
            self.fused.add(threshold.name)
            nodes, last = (node.name, threshold.name), threshold
            thresholds = Thresholds.of(
                threshold, node.rows, low=node.columns * lane.low, high=node.columns * lane.high,
                scale=lane.scale, offsets=lane.offsets(node.weights), lanes=fold.pe,
                name=f"{node.name}.thresholds", style=self.styles.get(f"{node.name}.thresholds"))
        sf, nf = node.columns // fold.simd, node.rows // fold.pe
        width = fold.lanes * lane.w.bits
        self.push(MatrixVectorStage(
            name=node.name, nodes=nodes, i=self.stream, o=self.out(last, fold.pe), rows=node.rows,
            columns=node.columns, fold=fold, weights=node.weights, lane=lane, thresholds=thresholds,
            weight_style=self.styles.get(f"{node.name}.weights") or rom_style(width, sf * nf),
            input_style=self.styles.get(f"{node.name}.inputs") or buffer_style(self.stream.bits, sf),
            offset_style=self.styles.get(f"{node.name}.offsets")))

    def finish(self) -> list[Stage]:
        return [*self.stages, FrameOutputStage(name="output", nodes=(), i=self.stream, o=self.stream)]


def _spread(values, channels: int):
    return values.repeat(channels) if len(values) == 1 else values


def _with_fifos(stages: Sequence[Stage], depths: Mapping[str, int]) -> list[Stage]:
    """Give every FIFO the depth that the schedule asks for when frames come at the slowest stage's pace."""
    pipelines = [stage.name for stage in stages if isinstance(stage, PipelineStage)]
    for name in depths:
        if name not in pipelines:
            raise UserError(f"FIFO depths must be given for {', '.join(pipelines) or 'no stage'}, not {name}")
    slowest = max(stage.ii for stage in stages)
    needed = schedule(stages, len(stages) + 4, interval=slowest, unlimited=True).occupied
    return [replace(stage, fifo_depth=depths.get(stage.name, max(depth, stage.least_fifo_depth)))
            if isinstance(stage, PipelineStage) else stage
            for stage, depth in zip(stages, needed, strict=True)]
