"""Moving decision points off the integers, so that no rounding of floats can change what a network computes.

Behind a layer with quantized inputs and weights, batch normalization reads integers times a known step, and the next
quantizer cuts them at decision points. Where such a point lies within float rounding of an integer, two programs that
round differently may decide differently on the images that reach exactly this integer. Moving it a little makes the
network mean the same everywhere.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hwbnn_train.layers import Quantized
from hwbnn_train.parallel import on_cpu
from hwbnn_train.quantizers import Quantizer

__all__ = ["Settled", "Sums", "activations", "decisions", "settle"]

_MARGIN = 2e-6  # float32 rounds at 6e-8, a few times over
_TRIALS = 200  # the first that is not made, of shifts to either side in turns

_PASSED = (nn.MaxPool2d, nn.Flatten, nn.Dropout, nn.Identity)


def decisions(quantizer: Quantizer) -> Tensor:
    """Return the values, ascending, at which the output of ``quantizer`` steps up."""
    grid = quantizer.grid(torch.zeros(()))
    if grid.thresholds is not None:
        return grid.thresholds.double()
    assert grid.levels is not None  # the caller asks for quantized activations only
    levels = torch.arange(grid.levels.low, grid.levels.high, grid.levels.step, dtype=torch.float64)
    return (levels + grid.levels.step / 2) * grid.scale.double()


class Settled(NamedTuple):
    """How many channels :func:`settle` moved, and how many it could not bring away from every integer."""

    moved: int
    unclear: int


class Sums(NamedTuple):
    """What a quantizer behind batch normalization reads: integers times ``step``, one or one per channel, normalized.
    """

    norm: nn.BatchNorm1d | nn.BatchNorm2d
    step: Tensor

    def line(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean, slope and offset of each channel: ``(sum - mean) * slope + offset`` is what is read."""
        norm = self.norm
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None and variance is not None  # batch normalization without them is refused by the export
        ones = torch.ones(len(mean), dtype=torch.float64)
        gain = ones if norm.weight is None else norm.weight.double()
        offset = 0 * ones if norm.bias is None else norm.bias.double()
        return mean.double(), gain / (variance.double() + norm.eps).sqrt(), offset

    @torch.no_grad()
    def rounding(self, cuts: Tensor) -> Tensor:
        """Return, channels x cuts, how far from a cut float rounding may carry what is read; generously."""
        mean, slope, offset = (values[:, None] for values in self.line())
        terms = slope.abs() * (self.step.reshape(-1, 1) + mean.abs()) + (cuts - offset + slope * mean).abs()
        return _MARGIN * (terms + cuts.abs())


def activations(model: nn.Sequential) -> Iterator[tuple[Quantizer, Sums | None]]:
    """Yield the quantizers of activations in the order in which they are called.

    With each comes what it reads, where that is ``layer, batch normalization, quantizer`` in this order, with pooling,
    flattening and dropout anywhere between, and the layer has quantized inputs and weights and no bias.
    """
    step: Tensor | None = None  # of the sums that reach the current layer
    norm: nn.BatchNorm1d | nn.BatchNorm2d | None = None
    values: Quantizer | None = None  # quantizer of the current values
    for module in _leaves(model):
        quantizer = module.quantize_input if isinstance(module, Quantized) else module
        if isinstance(quantizer, Quantizer):
            yield quantizer, None if norm is None or step is None else Sums(norm, step)
            values = quantizer
        if isinstance(module, Quantized):
            step, norm = _step(module, values), None
            values = None
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and step is not None and norm is None:
            norm = module
        elif not isinstance(module, _PASSED):
            step = norm = None


@torch.no_grad()
def settle(model: nn.Sequential, *, margin: float = _MARGIN) -> Settled:
    """Move decision points that lie too near to an integer, through the running means.

    A channel is moved by the least amount that brings all its decision points ``margin`` times the size of its sums
    away from every integer, without carrying a clear one across an integer: decisions of exact arithmetic stay as
    they are, except those at points that coincide with an integer. A channel of very many decision points, or of very
    large sums, may have no such amount; it stays, and is counted.

    Parameters
    ----------
    model : Sequential
        In evaluation mode. Only what :func:`activations` knows the sums of is looked at.
    margin : :class:`float`
        Relative to the sums.
    """
    moved = unclear = 0
    with on_cpu(model):
        for quantizer, sums in activations(model):
            if sums is not None and quantizer.grid(torch.zeros(())).levels is not None:
                found = _move(sums, decisions(quantizer), margin)
                moved, unclear = moved + found.moved, unclear + found.unclear
    return Settled(moved, unclear)


def _leaves(model: nn.Sequential) -> Iterator[nn.Module]:
    for module in model._modules.values():
        if isinstance(module, nn.Sequential):
            yield from _leaves(module)
        elif module is not None:
            yield module


def _step(layer: Quantized, values: Quantizer | None) -> Tensor | None:
    """Return the distance between neighbouring sums of ``layer``, one or one per output; None where they are real."""
    weights = layer.quantize_weight.grid(layer.weight)
    if values is None or weights.levels is None or layer.bias is not None:
        return None
    inputs = values.grid(torch.zeros(()))
    return None if inputs.levels is None else (weights.scale.flatten() * inputs.scale).double()


def _move(sums: Sums, cuts: Tensor, margin: float) -> Settled:
    mean, slope, offset = sums.line()
    step = sums.step
    # decision points as sums, channels x cuts, counted in steps
    points = ((cuts - offset.reshape(-1, 1)) / slope.reshape(-1, 1) + mean[:, None]) / step.reshape(-1, 1)
    size = margin * (1.0 + (mean / step).abs()[:, None] + points.abs())
    usable = points.isfinite() & (points.abs() < 2.0**24)  # a gain of 0 decides nothing; beyond this no sum goes
    moved = unclear = 0
    for channel in (usable & (_distance(points) < size)).any(dim=1).nonzero().flatten().tolist():
        p, room = points[channel][usable[channel]], size[channel][usable[channel]]
        shift = _shift(p, room)
        if shift is None:
            unclear += 1
        else:
            sums.norm.running_mean[channel] += shift * float(step.expand(len(points))[channel])
            moved += 1
    return Settled(moved, unclear)


def _shift(points: Tensor, room: Tensor) -> float | None:
    """Return the least of the shifts tried that brings points so far from integers; None where none does."""
    places = (points - points.floor()).sort().values
    if float(torch.diff(places, append=places[:1] + 1.0).max()) < 2.0 * float(room.min()):
        return None  # wherever they are shifted, an integer lies too near to one
    clear = _distance(points) >= room
    for first in range(1, _TRIALS, 20):
        k = torch.arange(first, min(first + 20, _TRIALS), dtype=torch.float64)
        shifts = (k + 1) // 2 * float(room.max()) * (2 * (k % 2) - 1)
        after = points + shifts[:, None]
        stays = (after.floor() == points.floor()) | ~clear
        fitting = ((_distance(after) >= room) & stays).all(dim=1).nonzero()
        if len(fitting):
            return float(shifts[fitting[0, 0]])
    return None


def _distance(points: Tensor) -> Tensor:
    return (points - points.round()).abs()
