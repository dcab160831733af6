"""The operations that a network takes for an image, as GXNOR-Net counts them, with the zeros that it has."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hwbnn_train.diagnostics import Probe, probes, weight_values
from hwbnn_train.layers import Quantized

__all__ = ["Counts", "LayerOperations", "Operations", "operations"]


@dataclass(frozen=True)
class Counts:
    """Operations of one image, means over images.

    A bit count adds up the XNORs of one sum; one of nothing but zeros needs none.

    Parameters
    ----------
    multiplications, accumulations, xnors, bitcounts : :class:`float`
        How many.
    resting : :class:`float`
        Share of the products that take none, because an operand that this kind of network knows to be 0 is 0.
    """

    multiplications: float
    accumulations: float
    xnors: float
    bitcounts: float
    resting: float


@dataclass(frozen=True)
class LayerOperations:
    """One layer.

    Parameters
    ----------
    name : :class:`str`
        Of the layer in the model.
    kind : :class:`str`
        The row of the table that it counts by, as its quantizers are: a key of :data:`hwbnn.cost.gating.KINDS`.
        Weights of more than three values multiply, as those of full precision do.
    products, sums : :class:`int`
        Products of an input and a weight, padding left out, and outputs that they add up to.
    counts : Counts
        Of the layer as it is.
    """

    name: str
    kind: str
    products: int
    sums: int
    counts: Counts


@dataclass(frozen=True)
class Operations:
    """A network.

    Parameters
    ----------
    layers : list of LayerOperations
        Each as it is.
    total : Counts
        Their sum.
    kinds : :class:`dict`
        By kind, the sum were all layers of that kind, with the zeros that they have.
    """

    layers: list[LayerOperations]
    total: Counts
    kinds: dict[str, Counts]


@dataclass(frozen=True)
class _Measured:
    """Products and sums of one image, and how many of them are live: by weights alone, and by both operands."""

    name: str
    kind: str
    products: int
    sums: int
    by_weights: tuple[float, float]
    by_both: tuple[float, float]


def operations(model: nn.Module, x: Tensor) -> Operations:
    """Return the operations of ``model`` for one of the images ``x`` (N x ...), or for one token of texts.

    Deng et al., GXNOR-Net (arXiv:1705.09283), table of operations: a neuron of M inputs takes M multiplications and
    accumulations at full precision, M accumulations with binary weights, those of weights that are not 0 with ternary
    ones, M XNORs and a bit count with binary activations besides, and with ternary ones XNORs where neither operand is
    0. What the paper has for uniform states is measured here. Batch normalization is not in it.
    """
    measured = [_measure(name, probe) for name, probe in probes(model, x).items()]
    table = _table()
    layers = [LayerOperations(m.name, m.kind, m.products, m.sums, _total([m], [table[m.kind]])) for m in measured]
    return Operations(layers, _total(measured, [table[m.kind] for m in measured]),
                      {kind: _total(measured, [row] * len(measured)) for kind, row in table.items()})


def _table():
    from hwbnn.cost.gating import operations_table  # lazy: brings the whole cost model

    return {row.network: row for row in operations_table()}


@torch.no_grad()
def _measure(name: str, probe: Probe) -> _Measured:
    layer, one = probe.layer, torch.ones_like(probe.inputs[:1])
    weights, inputs = (probe.quantized != 0).float(), (probe.inputs != 0).float()
    products = layer.product(one, torch.ones_like(weights), None)
    by_weights, by_both = layer.product(one, weights, None), layer.product(inputs, weights, None)
    return _Measured(name, _kind(layer), int(products.sum(dtype=torch.float64)), products.numel(),
                     _live(by_weights), _live(by_both))


def _live(sums: Tensor) -> tuple[float, float]:
    """Return, per image, the live products and the outputs that have one, from the live products of each output."""
    return float(sums.sum(dtype=torch.float64)) / len(sums), float((sums > 0.5).sum()) / len(sums)


def _kind(layer: Quantized) -> str:
    values = weight_values(layer)
    if values is None:
        return "full precision"
    levels = None if layer.quantize_input is None else layer.quantize_input.grid(torch.zeros(1)).levels
    if levels is None or levels.low < -1 or levels.high > 1:
        return "binary weights" if values == 2 else "ternary weights"
    return "binary (XNOR)" if values == 2 and 0 not in levels else "ternary (gated XNOR)"


def _total(measured: Iterable[_Measured], rows: Iterable) -> Counts:
    """Return the sum of layers, each counted by its row of the table."""
    counts, products, done_products = torch.zeros(4, dtype=torch.float64), 0, 0.0
    for layer, row in zip(measured, rows, strict=True):
        done, sums = float(layer.products), float(layer.sums)
        if row.resting:
            done, sums = layer.by_both if row.bitcounts[1] else layer.by_weights
        counts += torch.tensor([row.multiplications[1] * done, row.accumulations[1] * done, row.xnors[1] * done,
                                row.bitcounts[1] * sums], dtype=torch.float64)
        products, done_products = products + layer.products, done_products + done
    return Counts(*counts.tolist(), 1.0 - done_products / max(products, 1))
