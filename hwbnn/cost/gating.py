"""Operations that rest because an operand is 0: the table of GXNOR-Net, for any distribution of states.

A product of an activation and a weight with a zero state is gated: it takes no multiplication, no XNOR, no addition.
Deng et al., GXNOR-Net: Training deep neural networks with ternary weights and activations without full-precision
memory, Neural Networks 100 (2018), table 3, count the operations of a neuron with M inputs so, for uniform states.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hwbnn import golden, ir

__all__ = ["KINDS", "LayerRest", "Operations", "operations_table", "resting", "resting_of_layers"]


@dataclass(frozen=True)
class Operations:
    """What a neuron of M inputs needs: each is a share of M, from a least (all that can rest does) to M.

    Parameters
    ----------
    network : :class:`str`
    multiplications, accumulations, xnors : pair of :class:`int`
        Least and most, in units of M.
    bitcounts : pair of :class:`int`
        Least and most, per neuron.
    resting : :class:`~fractions.Fraction`
        Chance that a product rests, for uniform states.
    """

    network: str
    multiplications: tuple[int, int]
    accumulations: tuple[int, int]
    xnors: tuple[int, int]
    bitcounts: tuple[int, int]
    resting: Fraction


#: Network to the states of its weights and activations; None stands for numbers that are practically never 0.
KINDS: Mapping[str, tuple[tuple[int, ...] | None, tuple[int, ...] | None]] = {
    "full precision": (None, None),
    "binary weights": ((-1, 1), None),
    "ternary weights": ((-1, 0, 1), None),
    "binary (XNOR)": ((-1, 1), (-1, 1)),
    "ternary (gated XNOR)": ((-1, 0, 1), (-1, 0, 1)),
}


def resting(weight_zero: Fraction | float, activation_zero: Fraction | float) -> Fraction | float:
    """Chance that a product rests, where the zeros of its operands are independent."""
    return 1 - (1 - weight_zero) * (1 - activation_zero)


def _zero(states: Iterable[int] | None) -> Fraction:
    """Share of 0 among equally likely states."""
    values = [] if states is None else list(states)
    return Fraction(values.count(0), len(values)) if values else Fraction(0)


def operations_table() -> list[Operations]:
    """GXNOR-Net's table of operations for uniform states, from the states of :data:`KINDS`."""
    rows = []
    for name, (weights, activations) in KINDS.items():
        rest = resting(_zero(weights), _zero(activations))
        assert isinstance(rest, Fraction)  # of fractions
        least = int(rest == 0)
        bits, multiplies = activations is not None, weights is None
        rows.append(Operations(
            name, (int(multiplies), int(multiplies)), (0, 0) if bits else (least, 1), (least, 1) if bits else (0, 0),
            (least, 1) if bits else (0, 0), rest))
    return rows


@dataclass(frozen=True)
class LayerRest:
    """Zeros of one layer, as they are: in its weights, and in what it saw.

    Parameters
    ----------
    layer : :class:`str`
    weight_zero : :class:`float`
        Share of zero weights.
    activation_zero : :class:`float` or None
        Share of zero activations in the images; None where none were given.
    resting : :class:`float`
        Share of products with a zero operand; without images those of zero weights.
    uniform : :class:`float`
        The same, were all states equally likely.
    products : :class:`int`
        Per inference.
    """

    layer: str
    weight_zero: float
    activation_zero: float | None
    resting: float
    uniform: float
    products: int


def resting_of_layers(network: ir.Network, x: NDArray | None = None) -> list[LayerRest]:
    """Return the zeros of each layer with products, with the activations that the images ``x`` give.

    Products are counted one by one, by the layer itself with a 1 for everything that is not 0, so that zeros of weights
    and activations that go together are seen. Padding is no product.

    Parameters
    ----------
    x : array (N, *graph shape)
        In the form that the graph takes.
    """
    tensors = None if x is None else golden.evaluate(network, golden.encode(network, x))
    rows = []
    for node in network.nodes:
        if not isinstance(node, ir.MatMul | ir.Conv):
            continue
        levels, shape = network.tensors[node.input].levels, network.tensors[node.input].shape
        ones, present = np.ones((1, *shape), np.int64), (node.weights != 0).astype(np.int64)
        seen = ones if tensors is None else (tensors[node.input] != 0).astype(np.int64)
        products = int(golden.apply(_counting(node, np.ones_like(present)), ones).sum())
        live = int(golden.apply(_counting(node, present), seen).sum()) / len(seen)
        states = Fraction(int(levels.holds(0)), len(levels)), Fraction(int(node.weight_levels.holds(0)),
                                                                         len(node.weight_levels))
        rows.append(LayerRest(node.name, float(1 - present.mean()), None if tensors is None else float(1 - seen.mean()),
                              1 - live / products, float(resting(states[1], states[0])), products))
    return rows


def _counting(node: ir.MatMul | ir.Conv, weights: NDArray) -> ir.MatMul | ir.Conv:
    """The layer with other weights, 0 or 1."""
    return replace(node, weights=weights, weight_levels=ir.Levels(0, 1))
