"""The layers that have a folding, the foldings that suit them, and the cycles these take."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

from hwbnn import ir
from hwbnn.errors import UserError
from hwbnn.plan import Fold, UnitOptions
from hwbnn.plan.control import kept_words
from hwbnn.plan.matrices import Matrix
from hwbnn.plan.zeros import lane_of, skipped

__all__ = ["Layer", "cycles", "divisors", "foldings", "is_chain", "layers", "matrix", "parallel", "parts", "rate"]

Layer = ir.MatMul | ir.Conv
DEFAULT = UnitOptions()


def divisors(value: int) -> list[int]:
    """Return the divisors of ``value``, ascending."""
    small = [n for n in range(1, math.isqrt(value) + 1) if value % n == 0]
    return small + [value // n for n in reversed(small) if n * n != value]


def layers(network: ir.Network) -> list[Layer]:
    """The nodes of ``network`` that have a folding, in the order of the network."""
    return [node for node in network.nodes if isinstance(node, Layer)]


def matrix(node: Layer) -> Matrix:
    """What a fold of ``node`` divides."""
    found = Matrix.of(node)
    assert found is not None  # of a layer there is one
    return found


def parallel(node: Layer, options: UnitOptions = DEFAULT) -> Fold:
    """The folding that is none."""
    return Fold(matrix(node).rows, matrix(node).columns, options)


def foldings(node: Layer, options: UnitOptions = DEFAULT) -> Iterator[Fold]:
    """Every folding of a layer that is built with ``options``."""
    most = parallel(node)
    if options.datapath == "parallel":
        return iter((replace(most, options=options),))
    return (Fold(pe, simd, options) for pe in divisors(most.pe) for simd in divisors(most.simd))


def cycles(network: ir.Network, node: Layer, fold: Fold) -> int:
    """Cycles per frame of the matrix-vector unit alone; where activations decide, in the worst case."""
    whole, pixels = matrix(node), network.tensors[node.output].pixels
    sf, nf = whole.columns // fold.simd, whole.rows // fold.pe
    if fold.options.loadable or fold.options.datapath == "parallel":
        return pixels * whole.uses * nf * sf
    try:
        lane = lane_of(network.tensors[node.input].levels, whole.weights, fold.options)
    except ValueError as error:
        raise UserError(f"{node.name}: {error}") from None
    if not whole.is_depthwise and skipped(fold.options, lane, whole.weights, fold, nf) == "weights":
        return pixels * int(kept_words(whole.weights, fold.pe, fold.simd, nf).sum())
    return pixels * whole.uses * nf * sf


def rate(clock_hz: int, interval: int) -> str:
    """Frames per second in words, rounded down so that asking for it succeeds."""
    exact = Fraction(clock_hz, interval)
    return f"{math.floor(exact):,}" if exact >= 100 else f"{math.floor(exact * 1000) / 1000:g}"


def is_chain(network: ir.Network) -> bool:
    """Whether each node reads what the one before it wrote, and nothing else."""
    written = [network.input.name, *(node.output for node in network.nodes)]
    return all(node.inputs == (before,) for node, before in zip(network.nodes, written, strict=False))


def parts(network: ir.Network) -> list[ir.Network]:
    """A network of one layer for each layer.

    A chain is cut before each layer but the first. Of a graph with branches only the layers are left, each with the
    thresholds that its hardware computes.
    """
    if not is_chain(network):
        return [_alone(network, node) for node in layers(network)]
    names: Sequence[int] = [n for n, node in enumerate(network.nodes) if isinstance(node, Layer)]
    cuts = [0, *names[1:], len(network.nodes)]
    result = []
    for start, stop in pairwise(cuts):
        result.append(_part(network, network.nodes[start:stop]))
    return result


def _alone(network: ir.Network, node: Layer) -> ir.Network:
    readers = network.consumers(node.output)
    fused = len(readers) == 1 and isinstance(readers[0], ir.Threshold)
    return _part(network, (node, *readers) if fused else (node,))


def _part(network: ir.Network, nodes: Sequence[ir.Node]) -> ir.Network:
    tensor = network.tensors[nodes[0].input]
    entry = ir.Input(nodes[0].input, tensor.shape, tensor.shape, tensor.levels)
    out = network.tensors[nodes[-1].output]
    return ir.Network(network.name, entry, tuple(nodes), (ir.Output("y", nodes[-1].output, out.shape),))
