"""Collects the stages and edges of a network, node by node."""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from hwbnn import ir
from hwbnn.errors import UserError
from hwbnn.plan.branches import AddStage, ConcatStage, FifoStage, ForkStage, JoiningStage, SliceStage
from hwbnn.plan.control import kept_words
from hwbnn.plan.elementwise import AffineStage, ArgMaxStage, ThresholdStage, TopKStage
from hwbnn.plan.fused import FusedThresholds
from hwbnn.plan.general import Rooms, general
from hwbnn.plan.graph import Edge
from hwbnn.plan.interface import FrameInputStage, FrameOutputStage
from hwbnn.plan.maps import MAPS, input_lanes, push_window, replays
from hwbnn.plan.matrices import Matrix
from hwbnn.plan.matrix_vector import MatrixVectorStage, row_offsets
from hwbnn.plan.pace import RELAXED, Pace
from hwbnn.plan.parallel import ParallelStage, parallel_graph, sum_thresholds
from hwbnn.plan.pool import PoolStage
from hwbnn.plan.records import Fold, Stage, Stream, Style, span_bits
from hwbnn.plan.storage import buffer_style, spares_luts
from hwbnn.plan.tables import Borders, SearchedThresholds, Thresholds, ram_style, rom_style, searches
from hwbnn.plan.width_converter import JoinStage, PartStage
from hwbnn.plan.window import Loop
from hwbnn.plan.zeros import isolates, lane_of, skipped

__all__ = ["Builder", "buffered", "converters"]


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


@dataclass(frozen=True)
class _Head:
    """An output port that nobody reads yet, and what it gives out."""

    stage: str
    port: str
    stream: Stream


class Builder:
    """Appends stages; ``stream`` is what the last of them gives out on the branch that is being built.

    A tensor that several nodes read leaves its stage through a fork. A node's stages begin with :meth:`enter` and
    end with :meth:`leave`.
    """

    def __init__(self, network: ir.Network, folds: Mapping[str, Fold], styles: Mapping[str, Style],
                 rooms: Rooms = MappingProxyType({}), pace: Pace = RELAXED):
        network = general(network, (name for name, fold in folds.items() if fold.options.loadable), rooms)
        self.network, self.folds, self.styles, self.loadable = network, folds, styles, network.loadable
        self.pace, self.storage = pace, "auto"
        self.stages: list[Stage] = []
        self.edges: list[Edge] = []
        self.fused: set[str] = set()
        self.heads: dict[str, deque[_Head]] = {}
        tensor = network.tensors[network.input.name]
        first = next((node for node in network.nodes if isinstance(node, ir.MatMul | ir.Conv)), None)
        values, lanes = math.prod(tensor.shape), 1
        if first is not None:
            wanted = input_lanes(network, first, folds[first.name])
            lanes = wanted if tensor.channels % wanted == 0 else 1
        stream = Stream(tensor.levels, lanes, values // lanes)
        self.stages.append(FrameInputStage(name="input", nodes=(), i=stream, o=stream))
        self.head = _Head("input", "o", stream)
        self.leave(network.input.name)

    @property
    def stream(self) -> Stream:
        return self.head.stream

    def push(self, stage: Stage):
        """Append a stage that reads the branch."""
        stage = self._paced(stage)
        self.edges.append(Edge(self.head.stage, stage.name, self.head.port))
        self.stages.append(stage)
        self.head = _Head(stage.name, "o", stage.o)

    def _paced(self, stage: Stage) -> Stage:
        return stage if self.pace == RELAXED else stage.at(self.pace)

    def meet(self, stage: Stage, heads: Iterable[_Head]):
        """Append a stage that reads several branches."""
        stage = self._paced(stage)
        self.edges += [Edge(head.stage, stage.name, head.port, into)
                       for head, into in zip(heads, stage.inputs, strict=True)]
        self.stages.append(stage)
        self.head = _Head(stage.name, "o", stage.o)

    def enter(self, tensor: str):
        """Go on where ``tensor`` is given out."""
        self.head = self.heads[tensor].popleft()

    def leave(self, tensor: str):
        """The branch has come to ``tensor``: give every reader a port of its own."""
        readers = sum(node.inputs.count(tensor) for node in self.network.nodes)
        readers += sum(output.tensor == tensor for output in self.network.outputs)
        heads = [self.head]
        if readers > 1:
            self.push(ForkStage(name=f"{self.head.stage}.fork", nodes=(), i=self.stream, o=self.stream,
                                count=readers))
            heads = [_Head(self.head.stage, f"o_{n}", self.stream) for n in range(readers)]
        self.heads[tensor] = deque(heads)

    def out(self, node: ir.Node, lanes: int) -> Stream:
        tensor = self.network.tensors[node.output]
        return Stream(tensor.levels, lanes, math.prod(tensor.shape) // lanes)

    def convert(self, lanes: int, before: str):
        """Bring the branch to ``lanes`` lanes."""
        known = {stage.name for stage in self.stages}
        for stage in converters(self.stream, lanes, before):
            self.push(replace(stage, name=f"{stage.name}_2") if stage.name in known else stage)

    def add(self, node: ir.Node):
        """Append the stages of ``node``, unless another node's stage computes it."""
        if node.name in self.fused:
            return
        self.enter(node.input)
        match node:
            case ir.MatMul():
                node = self.matrix(node)
            case ir.Threshold() | ir.Affine() | ir.TopK():
                channels = self.network.tensors[node.input].channels
                one_by_one = isinstance(node, ir.TopK) and node.k > 1
                self.convert(1 if one_by_one else math.gcd(self.stream.lanes, channels), node.name)
                self.push(self.elementwise(node, channels))
            case ir.Add():
                self.sum(node)
            case ir.Concat():
                self.concat(node)
            case ir.Slice():
                self.slice(node)
            case _ if type(node) in MAPS:
                node = MAPS[type(node)](self, node) or node
        self.leave(node.output)

    def elementwise(self, node: ir.Threshold | ir.Affine | ir.TopK, channels: int) -> Stage:
        lanes, levels = self.stream.lanes, self.stream.levels
        if isinstance(node, ir.TopK) and node.k > 1:
            return TopKStage(name=node.name, nodes=(node.name,), i=self.stream, o=self.out(node, node.k),
                             channels=channels)
        if isinstance(node, ir.TopK):
            return ArgMaxStage(name=node.name, nodes=(node.name,), i=self.stream, o=self.out(node, 1),
                               channels=channels)
        if isinstance(node, ir.Affine):
            return AffineStage(
                name=node.name, nodes=(node.name,), i=self.stream, o=self.out(node, lanes),
                multipliers=_spread(node.multipliers, channels), offsets=_spread(node.offsets, channels),
                style=self.styles.get(f"{node.name}.constants") or self._table_style(node),
                spans=self.network.room(node) if node.name in self.loadable else None)
        loadable = node.name in self.loadable
        thresholds = self.cheapest(Thresholds.of(
            node, channels, low=levels.low, high=levels.high, lanes=lanes, name=f"{node.name}.thresholds",
            style=self.styles.get(f"{node.name}.thresholds") or self._table_style(node),
            loadable=loadable, has_polarity=loadable))
        return ThresholdStage(name=node.name, nodes=(node.name,), i=self.stream, o=self.out(node, lanes),
                              thresholds=thresholds)

    def _table_style(self, node: ir.Node) -> Style | None:
        """What constants behind loadable layers are to be made of: block memory where the layers avoid LUT memory."""
        asked = {fold.options.weights for fold in self.folds.values() if fold.options.loadable}
        return "block" if node.name in self.loadable and asked & {"block", "spram"} else None

    def matrix(self, node: ir.MatMul | ir.Conv, *, borders: Borders | None = None,
               corrections: NDArray[np.int64] | None = None) -> ir.Node:
        """Append a matrix-vector unit; return the last node it computes."""
        fold, matrix = self.folds[node.name], Matrix.of(node)
        assert matrix is not None  # of these nodes there is one
        if fold.options.datapath == "parallel":
            return self.parallel(node, matrix)
        self.convert(fold.lanes if matrix.is_depthwise else fold.simd * matrix.tap_count, node.name)
        loadable, self.storage = fold.options.loadable, fold.options.storage
        if loadable and matrix.taps is not None:
            raise UserError(f"Layer {node.name} must have kernels of several weights to be loadable, and it is a shift "
                            "layer, whose weights other taps could come with")
        present = node.weight_levels.values() if loadable else matrix.weights
        try:
            lane = lane_of(self.stream.levels, present, fold.options)
        except ValueError as error:
            raise UserError(f"{node.name}: {error}") from None
        sf, nf = matrix.columns // fold.simd, 1 if matrix.is_depthwise else matrix.rows // fold.pe
        skips = skipped(fold.options, lane, matrix.weights, fold, nf)
        isolated = isolates(fold.options, lane)
        replayed = skips == "nothing" and not isolated and replays(fold, matrix)
        if replayed:
            vectors = self.stream.beats // sf
            push_window(self, f"{node.name}.replay", (Loop(vectors, sf),), (Loop(nf, 0), Loop(sf, 1)))
        kept = kept_words(matrix.weights, fold.pe, fold.simd, nf) if skips == "weights" else None
        depth = sf * (node.rows // fold.pe) if kept is None else int(kept.sum())
        weight_style, table_style = self._weight_styles(node, fold.lanes * lane.w.bits, depth)
        threshold = self.sole_threshold(node)
        thresholds, nodes, last = None, (node.name,), node
        if threshold is not None:
            self.fused.add(threshold.name)
            nodes, last = (node.name, threshold.name), threshold
            offsets = row_offsets(lane, matrix.weights, fold, nf, skips)
            thresholds = Thresholds.of(
                threshold, node.rows, low=matrix.columns * lane.low, high=matrix.columns * lane.high,
                scale=lane.scale, offsets=offsets if corrections is None else (offsets + corrections).ravel(),
                lanes=fold.pe, name=f"{node.name}.thresholds",
                style=self.styles.get(f"{node.name}.thresholds") or table_style, borders=borders, loadable=loadable,
                has_polarity=loadable and lane.w.low != -lane.w.high)  # whose weights cannot be negated instead
            thresholds = self.cheapest(thresholds)
            table = thresholds.table
            if type(thresholds) is Thresholds and table.name not in self.styles and self.spares(
                    table.width, table.bank.depth):
                thresholds = replace(thresholds, table=replace(table, style="block"))
        stage = MatrixVectorStage(
            name=node.name, nodes=nodes, i=self.stream, o=self.out(last, fold.pe), rows=node.rows,
            columns=matrix.columns, fold=fold, weights=matrix.weights, lane=lane, thresholds=thresholds,
            groups=node.rows // fold.pe if matrix.is_depthwise else matrix.groups, apart=matrix.is_depthwise,
            borders=borders, corrections=corrections, taps=matrix.taps, tap_count=matrix.tap_count, loadable=loadable,
            weight_style=weight_style,
            input_style=self.styles.get(f"{node.name}.inputs") or (
                "block" if self.spares(self.stream.bits, sf) else buffer_style(self.stream.bits, sf)),
            offset_style=self.styles.get(f"{node.name}.offsets") or table_style,
            sequence_style=self.styles.get(f"{node.name}.sequence"), skips=skips,
            isolated=isolated, replayed=replayed)
        if thresholds is not None and stage.can_start and FusedThresholds.fits(thresholds):
            stage = replace(stage, thresholds=FusedThresholds.like(thresholds), fifo_depth=0)
        self.push(stage)
        return last

    def spares(self, width: int, depth: int) -> bool:
        """Whether the layer keeps such words in block memory to spare look-up tables."""
        return self.storage == "block" and spares_luts(width, depth)

    def sole_threshold(self, node: ir.Node) -> ir.Threshold | None:
        """The thresholds that alone read ``node``, which its hardware then computes as well."""
        readers = self.network.consumers(node.output)
        is_output = any(output.tensor == node.output for output in self.network.outputs)
        sole = len(readers) == 1 and not is_output
        return readers[0] if sole and isinstance(readers[0], ir.Threshold) else None

    def parallel(self, node: ir.MatMul | ir.Conv, matrix: Matrix) -> ir.Node:
        """Append a layer of adders; return the last node it computes."""
        self.convert(matrix.columns, node.name)
        threshold, x = self.sole_threshold(node), self.stream.levels
        thresholds = None
        if threshold is not None:
            self.fused.add(threshold.name)
            thresholds = sum_thresholds(threshold, matrix.weights, x, f"{node.name}.thresholds")
        last = node if threshold is None else threshold
        o = self.out(last, matrix.rows)
        self.push(ParallelStage(
            name=node.name, nodes=(node.name,) if threshold is None else (node.name, threshold.name), i=self.stream,
            o=o, weights=matrix.weights, thresholds=thresholds,
            graph=parallel_graph(matrix.weights, x, o.levels, thresholds)))
        return last

    def _weight_styles(self, node: ir.MatMul | ir.Conv, width: int, depth: int) -> tuple[Style, Style | None]:
        """What the weight memory of a matrix is made of, and what its tables are to be; None leaves it to them."""
        fold, name = self.folds[node.name], f"{node.name}.weights"
        asked = self.styles.get(name) or (None if fold.options.weights == "auto" else fold.options.weights)
        if not fold.options.loadable:
            if asked == "spram":
                raise UserError(f"Weights of {node.name} must be loadable to stand in SPRAM, which cannot be "
                                f"initialised; add --loadable {node.name}")
            # look-up tables as memory or as logic are the same thing where nothing is written
            style = "logic" if asked == "distributed" else asked or rom_style(width, depth)
            return style, None  # pyright: ignore[reportReturnType]  # a style, once auto is out
        if asked == "logic":
            raise UserError(f"Weights of {node.name} must be block, distributed or spram where they are loadable, not "
                            "logic")
        return asked or ram_style(width, depth), asked  # pyright: ignore[reportReturnType]  # a style, once auto is out

    def cheapest(self, thresholds: Thresholds) -> Thresholds:
        """The same, searched where that is cheaper; not where the style of their one memory was given."""
        width, words = span_bits(thresholds.low, thresholds.high + 1), len(thresholds.table.words)
        if thresholds.table.name in self.styles or thresholds.table.loadable or thresholds.is_mixed or not searches(
                thresholds.count, width, thresholds.lanes, words):
            return thresholds
        return SearchedThresholds.like(thresholds, self.styles)

    def branches(self, node: ir.Node, lanes: Sequence[int], heads: Sequence[_Head]) -> list[_Head]:
        """Bring the branches that ``node`` reads to so many lanes each."""
        converted = []
        for n, (head, size) in enumerate(zip(heads, lanes, strict=True)):
            self.head = head
            self.convert(size, f"{node.name}.i_{n}")
            converted.append(self.head)
        return converted

    def gather(self, node: ir.Node) -> list[_Head]:
        """Where the tensors that ``node`` reads are given out, the first of which was entered."""
        return [self.head, *(self.heads[tensor].popleft() for tensor in node.inputs[1:])]

    def sum(self, node: ir.Add):
        """Append an adder with as many lanes as the wider of its branches."""
        heads = self.gather(node)
        lanes = max(head.stream.lanes for head in heads)
        first, second = heads = self.branches(node, [lanes] * 2, heads)
        self.meet(AddStage(name=node.name, nodes=(node.name,), i=first.stream, others=(second.stream,),
                           o=self.out(node, lanes)), heads)

    def concat(self, node: ir.Concat):
        """Append a unit that joins channels, wide enough not to be slower than what feeds it."""
        heads = self.gather(node)
        channels = tuple(self.network.tensors[name].channels for name in node.inputs)
        total, common = sum(channels), math.gcd(*channels)
        pixels = self.network.tensors[node.output].pixels
        beats = max(head.stream.beats for head in heads)
        enough = [lanes for lanes in range(1, common + 1) if common % lanes == 0 and pixels * total // lanes <= beats]
        lanes = [enough[0]] * len(heads) if enough else channels
        heads = self.branches(node, lanes, heads)
        first, *others = (head.stream for head in heads)
        self.meet(ConcatStage(name=node.name, nodes=(node.name,), i=first, others=tuple(others),
                              o=self.out(node, enough[0] if enough else total), channels=channels), heads)

    def slice(self, node: ir.Slice):
        """Append a unit that keeps some channels: whole beats where that is possible, else lanes of whole pixels."""
        channels = self.network.tensors[node.input].channels
        lanes = math.gcd(self.stream.lanes, channels)
        whole = self.stream.lanes == channels or bool(node.start % lanes or node.stop % lanes)
        self.convert(channels if whole else lanes, node.name)
        self.push(SliceStage(
            name=node.name, nodes=(node.name,), i=self.stream, channels=channels, start=node.start, stop=node.stop,
            o=self.out(node, node.stop - node.start if whole else lanes)))

    def finish(self) -> tuple[list[Stage], list[Edge]]:
        """Append the output; return all stages and edges, with FIFOs where branches need them."""
        self.enter(self.network.outputs[0].tensor)
        self.push(FrameOutputStage(name="output", nodes=(), i=self.stream, o=self.stream))
        return buffered(self.stages, self.edges)


def buffered(stages: Sequence[Stage], edges: Sequence[Edge]) -> tuple[list[Stage], list[Edge]]:
    """Insert FIFOs, of the least depth, where a branch may have to wait for another or ready would run too far.

    One reader of a fork goes without, so that it sets the pace at which beats leave the FIFO before the fork; those
    whose own output FIFO can hold whatever comes need none.
    """
    by_name = {stage.name: stage for stage in stages}
    cut: dict[Edge, FifoStage] = {}
    paced: set[str] = set()  # forks that have a reader without FIFO
    for edge in edges:
        source, target = by_name[edge.source], by_name[edge.target]
        needed = source.is_combinational and target.is_combinational
        if isinstance(source, ForkStage) and not needed and not _absorbs(target):
            needed = source.name in paced or isinstance(target, JoiningStage)
            if not needed:
                paced.add(source.name)
        if needed:
            stream = target.inputs[edge.into]
            suffix = edge.into.removeprefix("i")
            cut[edge] = FifoStage(name=f"{target.name}.buffer{suffix}", nodes=(), i=stream, o=stream)
    ordered: list[Stage] = []
    for stage in stages:
        ordered += [fifo for edge, fifo in cut.items() if edge.target == stage.name]
        ordered.append(stage)
    connected: list[Edge] = []
    for edge in edges:
        if edge in cut:
            connected.append(Edge(edge.source, cut[edge].name, edge.port))
            connected.append(Edge(cut[edge].name, edge.target, into=edge.into))
        else:
            connected.append(edge)
    return ordered, connected


def _absorbs(stage: Stage) -> bool:
    """Whether the stage takes a beat in every cycle in which its own output FIFO has room."""
    if isinstance(stage, MatrixVectorStage):
        return stage.nf == 1
    return isinstance(stage, ThresholdStage | AffineStage | ArgMaxStage | TopKStage | JoinStage | ParallelStage
                      | PoolStage | SliceStage)


def _spread(values, channels: int):
    return values.repeat(channels) if len(values) == 1 else values
