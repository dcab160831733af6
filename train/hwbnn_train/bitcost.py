"""What learned bitlengths cost a network, as a number that gradients flow through."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, product

import torch
from torch import Tensor, nn

from hwbnn_train.layers import Quantized
from hwbnn_train.quantizers import LearnedBits, Quantizer

__all__ = ["WEIGHTINGS", "BitCost", "learned"]

WEIGHTINGS = ("bits", "operations", "footprint", "luts")
_CYCLES = 4096  # that a layer may take for an image: about 10,000 images per second at 50 MHz


def learned(model: nn.Module) -> list[LearnedBits]:
    """Return the quantizers of ``model`` whose bits are learned."""
    return [module for module in model.modules() if isinstance(module, LearnedBits)]


@dataclass(frozen=True, eq=False)
class _Site:
    """A layer as a matrix, and the quantizers of its weights, its input and its output (None behind the last)."""

    rows: int
    columns: int
    pixels: int
    inputs: int
    weights: int
    weight: Quantizer
    input: Quantizer | None
    output: Quantizer | None

    @property
    def operations(self) -> int:
        return self.rows * self.columns * self.pixels


class BitCost:
    """The cost of a network's bits, in bits: what :meth:`__call__` returns is the same number where all groups have it.

    A group is the weights or the inputs of a layer. With ``bits`` the cost is the mean over the groups; with
    ``operations`` they are weighted by the products that they take part in, with ``footprint`` by how many values they
    have (of one image). Those are the three regularizers of "Training for minimal bitlength"
    (arXiv:2002.03090). With ``luts`` it is the look-up tables that this project's cost model expects of the
    matrix-vector units with their thresholds, as a share of what 8 bits everywhere would take, times 8. Between
    integer bitlengths they are interpolated linearly in each.

    Parameters
    ----------
    model : Sequential
        Quantizers of activations sit at the inputs of layers.
    shape : tuple of :class:`int`
        Of one image.
    weighting : :class:`str`
        One of :data:`WEIGHTINGS`.
    technology : :class:`str`
        Of the look-up tables; a name of :func:`hwbnn.cost.names`. Where it has hard multipliers, products cost none.
    """

    def __init__(self, model: nn.Module, shape: tuple[int, ...], weighting: str, technology: str = "ice40-hx8k"):
        if weighting not in WEIGHTINGS:
            raise ValueError(f"BitCost weighting must be one of {', '.join(WEIGHTINGS)}, not {weighting!r}")
        self.weighting, self.technology = weighting, technology
        self.sites = list(_sites(model, shape))
        self.groups = [(quantizer, size) for site in self.sites for quantizer, size in (
            (site.weight, {"bits": 1, "operations": site.operations, "footprint": site.weights, "luts": 1}[weighting]),
            (site.input, {"bits": 1, "operations": site.operations, "footprint": site.inputs, "luts": 1}[weighting]))
            if isinstance(quantizer, LearnedBits)]
        if weighting == "luts":
            self.whole = sum(self._corner(site, *(8 if isinstance(q, LearnedBits) else _fixed(q) for q in _of(site)))
                             for site in self.sites)

    def __call__(self) -> Tensor:
        """Return the cost, in bits."""
        if self.weighting == "luts":
            return 8.0 * self.luts() / self.whole
        total = sum(size for _, size in self.groups)
        return torch.stack([quantizer.bits * (size / total) for quantizer, size in self.groups]).sum()

    def luts(self) -> Tensor:
        """Return the look-up tables of all matrix-vector units, in the technology's unit."""
        return torch.stack([self._between(site) for site in self.sites]).sum()

    def _between(self, site: _Site) -> Tensor:
        """Interpolate between the corners around the site's bits: products of shares, so gradients flow to each."""
        ends: list[list[tuple[int, Tensor | float]]] = []
        for quantizer in _of(site):
            if not isinstance(quantizer, LearnedBits):
                ends.append([(_fixed(quantizer), 1.0)])
                continue
            bits = quantizer.bits.clamp(1.0, float(quantizer.most))
            below = min(int(bits.detach()), quantizer.most - 1) if quantizer.most > 1 else 1
            ends.append([(below, 1.0 - (bits - below)), (min(below + 1, quantizer.most), bits - below)])
        total = torch.zeros((), device=next((q.bits.device for q in _of(site) if isinstance(q, LearnedBits)), None))
        for corner in product(*ends):
            share = 1.0
            for _, part in corner:
                share = share * part
            total = total + share * self._corner(site, *(bits for bits, _ in corner))
        return total

    def _corner(self, site: _Site, weight: int, input: int, output: int) -> float:
        return _luts(site.rows, site.columns, site.pixels, weight, input, output, self.technology)


def _of(site: _Site) -> tuple[Quantizer, Quantizer | None, Quantizer | None]:
    return site.weight, site.input, site.output


def _fixed(quantizer: Quantizer | None) -> int:
    """Return the bits of a quantizer that does not learn them; 0 where there is none."""
    if quantizer is None:
        return 0
    levels = quantizer.grid(torch.zeros(1)).levels
    return 0 if levels is None else levels.bits


@torch.no_grad()
def _sites(model: nn.Module, shape: tuple[int, ...]) -> Iterator[_Site]:
    """Yield the layers in the order in which an image passes them."""
    seen: list[tuple[Quantized, int, int]] = []

    def note(layer: Quantized, received: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append((layer, received[0].numel(), output.numel() // output.shape[1]))

    handles = [layer.register_forward_hook(note) for layer in model.modules() if isinstance(layer, Quantized)]
    was = model.training
    try:
        model.eval()(torch.zeros(1, *shape, device=next(model.parameters()).device))
    finally:
        model.train(was)
        for handle in handles:
            handle.remove()
    following = [after.quantize_input for (_, *_), (after, *_) in pairwise(seen)] + [None]
    for (layer, inputs, pixels), output in zip(seen, following, strict=True):
        yield _Site(layer.weight.shape[0], layer.weight[0].numel(), pixels, inputs, layer.weight.numel(),
                    layer.quantize_weight, layer.quantize_input, output)


@cache
def _luts(rows: int, columns: int, pixels: int, weight: int, input: int, output: int, technology: str) -> float:
    """Return the LUTs of a matrix-vector unit with random weights; ``output`` 0: without thresholds.

    The folding is the smallest that takes at most 4096 cycles for an image, the same for all bitlengths.
    """
    import numpy as np

    from hwbnn import cost, ir  # lazy: training without this regularizer needs none of it
    from hwbnn.cost.resources import of_stage
    from hwbnn.plan.lower import unsized

    levels = ir.BIPOLAR if weight == 1 else ir.Levels.signed(weight)
    weights = np.random.default_rng(0).choice(levels.values(), (rows, columns))
    nodes: list[ir.Node] = [ir.MatMul("fc", ("x",), ("acc",), weights, levels)]
    entry = ir.Input("x", (columns,), (columns,), ir.Levels.unsigned(input))
    if output:
        acc = nodes[0].infer(ir.Tensor((columns,), entry.levels)).levels
        thresholds = np.linspace(acc.low / 4, acc.high / 4, 2**output + 1)[1:-1].round().astype(np.int64)
        nodes.append(ir.Threshold("act", ("acc",), ("out",), np.tile(thresholds, (rows, 1)),
                                  ir.Levels.unsigned(output)))
    network = ir.Network("layer", entry, tuple(nodes), (ir.Output("y", nodes[-1].output, (rows,)),))
    stages = unsized(network, {"fc": _fold(rows, columns, pixels)})
    stage = next(stage for stage in stages if "fc" in stage.nodes)
    return float(of_stage(stage, cost.technology(technology)).luts.nominal)


def _fold(rows: int, columns: int, pixels: int):
    """Return the fold of fewest lanes, and of those the one with the most SIMD, that keeps within the cycles."""
    from hwbnn.plan import Fold  # lazy, as above

    pairs = [(pe, simd) for pe in range(1, rows + 1) if rows % pe == 0
             for simd in range(1, columns + 1) if columns % simd == 0]
    enough = [(pe * simd, pe, simd) for pe, simd in pairs
              if rows * columns * pixels // (pe * simd) <= _CYCLES] or [(rows * columns, rows, columns)]
    _, pe, simd = min(enough, key=lambda fold: (fold[0], fold[1]))
    return Fold(pe, simd)
