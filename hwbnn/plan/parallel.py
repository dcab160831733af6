"""A fully parallel layer with constant weights: a vector in every cycle, weights that have become wires."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hwbnn.ir import Conv, Levels, Node
from hwbnn.ir import Threshold as ThresholdNode
from hwbnn.plan.adders import AdderGraph
from hwbnn.plan.matrices import Matrix
from hwbnn.plan.pace import RELAXED
from hwbnn.plan.records import Fold, PipelineStage
from hwbnn.plan.subset_sums import bit_values, matrix_graph, sum_span
from hwbnn.plan.tables import Thresholds

__all__ = ["ParallelStage", "not_parallel", "parallel_graph", "sum_thresholds"]



def not_parallel(node: Node, matrix: Matrix, fold: Fold) -> str | None:
    """Why the layer cannot be a :class:`ParallelStage` as ``fold`` asks; None where it can."""
    options = fold.options
    if options.loadable:
        return "Datapath parallel must have constant weights, not loadable ones"
    told = {"weights": options.weights, "zeros": options.zeros}
    if told["weights"] not in ("auto", "logic") or told["zeros"] in ("dynamic", "isolate"):
        name = "zeros" if told["zeros"] in ("dynamic", "isolate") else "weights"
        asked = f"{name} {told[name]}"
        return f"Datapath parallel must have weights that are wires, which leaves nothing to ask of them, not {asked}"
    if matrix.groups > 1 or matrix.is_depthwise or matrix.taps is not None:
        return "Datapath parallel must have one matrix for all channels, and this layer has groups or shifts"
    if isinstance(node, Conv) and any(node.padding):
        return "Datapath parallel must have windows without padding, and this layer pads"
    if (fold.pe, fold.simd) != (matrix.rows, matrix.columns):
        return (f"Datapath parallel must have PE {matrix.rows} and SIMD {matrix.columns}, all rows and columns, not "
                f"{fold.pe} and {fold.simd}")
    return None


def sum_thresholds(node: ThresholdNode, weights: NDArray[np.int64], x: Levels, name: str) -> Thresholds:
    """The thresholds of the rows of a matrix, in the domain of the sums that :func:`parallel_graph` makes."""
    _, scale, offset = bit_values(x)
    low, high = sum_span(weights, x).T
    return Thresholds.of(node, len(weights), low=int(low.min()), high=int(high.max()), scale=scale,
                         offsets=offset * weights.sum(axis=1), lanes=len(weights), name=name, style="logic")


def parallel_graph(weights: NDArray[np.int64], x: Levels, o: Levels, thresholds: Thresholds | None,
                   spacing: int = RELAXED.levels) -> AdderGraph:
    """The adders of a layer. Searched once for the same layer: a search takes seconds where layers are wide.

    Parameters
    ----------
    weights : int64 array (rows, columns)
    x, o : :class:`Levels`
        Of the inputs, and of the outputs where these are numbers.
    thresholds : :class:`Thresholds` or None
        Of :func:`sum_thresholds`.
    spacing : :class:`int`
        Levels of adders between two registers.
    """
    bits = 0 if thresholds is not None else Levels(min(o.low, -1), max(o.high, 0)).bits
    limits = () if thresholds is None else tuple(map(tuple, thresholds.constants.tolist()))
    inverts = () if thresholds is None else tuple(thresholds.inverts.tolist())
    return _graph(weights.astype(np.int64).tobytes(), weights.shape, x, bits, limits, inverts, spacing)


@lru_cache(maxsize=64)
def _graph(data: bytes, shape: tuple[int, int], x: Levels, bits: int, limits: tuple[tuple[int, ...], ...],
           inverts: Sequence[int], spacing: int) -> AdderGraph:
    weights = np.frombuffer(data, np.int64).reshape(shape)
    return matrix_graph(weights, x, limits=limits or None, inverts=inverts, number_bits=bits, spacing=spacing)


@dataclass(frozen=True, eq=False, kw_only=True)
class ParallelStage(PipelineStage):
    """All rows and all columns of a constant matrix in every cycle, made of the adders of ``graph`` alone.

    A beat is a whole vector, of inputs as of outputs. Inputs pass a register, then the graph, whose last register is in
    front of the output FIFO.

    Parameters
    ----------
    weights : int64 array (rows, columns)
    thresholds : :class:`Thresholds` or None
        Of :func:`sum_thresholds`; without, dot products leave as numbers.
    graph : :class:`AdderGraph`
        Of :func:`parallel_graph`.
    """

    weights: NDArray[np.int64]
    thresholds: Thresholds | None
    graph: AdderGraph

    def __post_init__(self):
        rows, columns = self.weights.shape
        if (self.i.lanes, self.o.lanes) != (columns, rows):
            raise ValueError(f"{self.name} streams must have {columns} and {rows} lanes, the columns and rows of the "
                             f"weights, not {self.i.lanes} and {self.o.lanes}")
        if self.graph.inputs != self.i.bits or len(self.graph.outputs) != rows:
            raise ValueError(f"{self.name} graph must have {self.i.bits} inputs and {rows} outputs, not "
                             f"{self.graph.inputs} and {len(self.graph.outputs)}")
        super().__post_init__()

    def at(self, pace):
        return replace(self, graph=replace(self.graph, spacing=pace.levels), fifo_depth=0)

    @property
    def rows(self) -> int:
        return self.weights.shape[0]

    @property
    def columns(self) -> int:
        return self.weights.shape[1]

    @property
    def fold(self) -> Fold:
        """What it stands for: as many PEs as rows, of as many lanes as columns."""
        return Fold(self.rows, self.columns)

    sf = nf = 1  # beats per row, and groups of rows, as of a unit without folding

    @property
    def datapath_latency(self) -> int:
        """Cycles from an input transfer to its outputs in registers."""
        return 1 + self.graph.latency

    @property
    def delay(self):
        return self.datapath_latency + 1

    @property
    def flip_flops(self):
        """Those of the graph, a flag for each cycle, and the FIFO's."""
        return self.graph.flip_flops + self.datapath_latency + self.fifo_flip_flops

    @property
    def memories(self):
        return self.fifo_memories
