"""Moving decision points off the integers, so that no rounding of floats can change what a network computes.

Behind a layer with quantized inputs and weights, batch normalization reads integers times a known step, and the next
quantizer cuts them at decision points. Where such a point lies within float rounding of an integer, two programs that
round differently may decide differently on the images that reach exactly this integer. Moving it a little makes the
network mean the same everywhere.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from hwbnn_train.layers import Quantized
from hwbnn_train.quantizers import Quantizer

__all__ = ["decisions", "settle"]

_PASSED = (nn.MaxPool2d, nn.Flatten, nn.Dropout, nn.Identity)


def decisions(quantizer: Quantizer) -> Tensor:
    """Return the values, ascending, at which the output of ``quantizer`` steps up."""
    grid = quantizer.grid(torch.zeros(()))
    if grid.thresholds is not None:
        return grid.thresholds.double()
    assert grid.levels is not None  # the caller asks for quantized activations only
    levels = torch.arange(grid.levels.low, grid.levels.high, grid.levels.step, dtype=torch.float64)
    return (levels + grid.levels.step / 2) * grid.scale.double()


@torch.no_grad()
def settle(model: nn.Sequential, *, margin: float = 2e-6) -> int:
    """Move decision points that lie too near to an integer, through the running means; return how many channels moved.

    A channel is moved by the least amount that brings all its decision points ``margin`` times the size of its sums
    away from every integer, without carrying a clear one across an integer: decisions of exact arithmetic stay as
    they are, except those at points that coincide with an integer.

    Parameters
    ----------
    model : Sequential
        In evaluation mode. Only ``layer, batch normalization, quantizer`` in this order is looked at, with pooling,
        flattening and dropout anywhere between.
    margin : :class:`float`
        Relative to the sums; float32 rounds at 6e-8, a few times over.
    """
    moved = 0
    step: Tensor | None = None  # of the sums that reach the current layer
    norm: nn.BatchNorm1d | nn.BatchNorm2d | None = None
    values: Quantizer | None = None  # quantizer of the current values
    for module in _leaves(model):
        quantizer = module.quantize_input if isinstance(module, Quantized) else module
        if isinstance(quantizer, Quantizer):
            if norm is not None and step is not None and quantizer.grid(torch.zeros(())).levels is not None:
                moved += _move(norm, step, decisions(quantizer), margin)
            values = quantizer
        if isinstance(module, Quantized):
            step, norm = _step(module, values), None
            values = None
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and step is not None and norm is None:
            norm = module
        elif not isinstance(module, _PASSED):
            step = norm = None
    return moved


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


def _move(norm: nn.BatchNorm1d | nn.BatchNorm2d, step: Tensor, cuts: Tensor, margin: float) -> int:
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None  # batch normalization without them is refused by the export
    gain = 1.0 if norm.weight is None else norm.weight.double()
    offset = 0.0 if norm.bias is None else norm.bias.double()
    slope = gain / (variance.double() + norm.eps).sqrt()
    # decision points as sums, channels x cuts, counted in steps
    points = ((cuts - torch.as_tensor(offset).reshape(-1, 1)) / slope.reshape(-1, 1) + mean.double()[:, None])
    points = points / step.reshape(-1, 1)
    size = margin * (1.0 + (mean.double() / step).abs()[:, None] + points.abs())
    usable = points.isfinite() & (points.abs() < 2.0**24)  # a gain of 0 decides nothing; beyond this no sum goes
    count = 0
    for channel in (usable & (_distance(points) < size)).any(dim=1).nonzero().flatten().tolist():
        p, room = points[channel][usable[channel]], size[channel][usable[channel]]
        clear = _distance(p) >= room
        for k in range(1, 200):
            shift = (k + 1) // 2 * float(room.max()) * (1 if k % 2 else -1)
            after = p + shift
            if bool((_distance(after) >= room).all()) and bool((after.floor() == p.floor())[clear].all()):
                mean[channel] += shift * float(step.expand(len(points))[channel])
                count += 1
                break
    return count


def _distance(points: Tensor) -> Tensor:
    return (points - points.round()).abs()
