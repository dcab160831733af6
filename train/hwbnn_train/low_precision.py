"""Low precision multiplications: every tensor of a training rounded to a number format of its own.

From "Training Deep Neural Networks with Low Precision Multiplications" (Courbariaux et al., arXiv:1412.7024) and the
authors' code. A :class:`hwbnn_train.formats.Format` says how numbers are stored; :class:`Rounded` puts one on a value
and one on its gradient; :class:`RoundedParameter` adds those of a parameter's update and storage, which
:func:`round_updates` applies.
"""

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hwbnn.ir import Levels
from hwbnn_train.formats import Format
from hwbnn_train.layers import Quantized
from hwbnn_train.quantizers import Grid, Quantizer

__all__ = ["Maxout", "Multiply", "Rounded", "RoundedParameter", "finish_update", "round_updates", "rounded_parameters"]


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, values, errors, own):
        ctx.errors, ctx.own = errors, own
        y = values(x)
        return y.view_as(x) if y is x else y

    @staticmethod
    def backward(ctx, grad):
        return ctx.errors(grad, ctx.own), None, None, None


class Rounded(Quantizer):
    """A value rounded to one format, and its gradient to another; before that the rectifier, if it is asked for.

    Parameters
    ----------
    values, errors : Format
        Of the value and of the gradient.
    rectified : :class:`bool`
        Whether ``max(x, 0)`` is taken first.
    """

    obstacle = "they are floats"

    def __init__(self, values: Format, errors: Format, *, rectified: bool = False):
        super().__init__()
        self.values, self.errors, self.rectified = values, errors, rectified

    def forward(self, x: Tensor) -> Tensor:
        return _Rounded.apply(torch.relu(x) if self.rectified else x, self.values, self.errors, False)

    def grid(self, x: Tensor) -> Grid:
        levels, unit = self.values.levels, self.values.unit
        if levels is None or unit is None:
            return Grid(None, torch.ones(()))
        return Grid(Levels(0, levels.high) if self.rectified else levels, torch.tensor(unit))


class RoundedParameter(Rounded):
    """A weight or bias, with formats also of its update and of its storage, which has more bits than its use.

    Parameters
    ----------
    values, errors, update, storage : Format
        Of the parameter as it is used, its gradient, what a step adds to it, and what is kept between steps.
    """

    def __init__(self, values: Format, errors: Format, update: Format, storage: Format):
        super().__init__(values, errors)
        self.update, self.storage = update, storage
        self.training_bits = storage.bits

    def for_product(self, w: Tensor) -> Tensor:
        return _Rounded.apply(w, self.values, self.errors, True)


def round_updates(optimizer: Optimizer, model: nn.Module, *, max_norm: float | None = None) -> Optimizer:
    """Make every step of ``optimizer`` round the update and the storage of ``model``'s rounded parameters.

    ``w <- storage(w + update(opt(w) - w))``; where ``max_norm`` is given, the weights of an output whose norm is
    greater are scaled to it before they are stored (the authors' code).
    """
    rounded = rounded_parameters(model)
    before: dict[Tensor, Tensor] = {}

    @torch.no_grad()
    def remember(optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
        before.update({parameter: parameter.clone() for parameter in rounded})

    @torch.no_grad()
    def finish(optimizer: Optimizer, args: tuple, kwargs: dict) -> None:
        for parameter, quantizer in rounded.items():
            finish_update(parameter, before.pop(parameter), quantizer, max_norm)

    optimizer.register_step_pre_hook(remember)
    optimizer.register_step_post_hook(finish)
    return optimizer


def rounded_parameters(model: nn.Module) -> dict[Tensor, RoundedParameter]:
    """Return ``model``'s rounded parameters, and how they are rounded."""
    return {parameter: quantizer for layer in model.modules() if isinstance(layer, Quantized)
            for parameter, quantizer in ((layer.weight, layer.quantize_weight), (layer.bias, layer.quantize_bias))
            if isinstance(quantizer, RoundedParameter) and parameter is not None}


@torch.no_grad()
def finish_update(parameter: Tensor, old: Tensor, quantizer: RoundedParameter, max_norm: float | None) -> None:
    """Do to a parameter that a step changed from ``old`` what :func:`round_updates` says."""
    new = quantizer.update(parameter.sub_(old)).add_(old)
    if max_norm is not None and parameter.ndim > 1:
        # several times faster than a norm on a CPU
        norm = new.flatten(1).square().sum(dim=1).sqrt_().reshape(-1, *[1] * (new.ndim - 1))
        new.mul_(norm.clamp(max=max_norm) / (norm + 1e-7))
    stored = quantizer.storage(new)
    if stored is not parameter:
        parameter.copy_(stored)


class Maxout(nn.Module):
    """The largest of every ``pieces`` neighbouring channels; tensors of N x channels x ..., channels a multiple of it.

    Goodfellow et al., "Maxout Networks" (arXiv:1302.4389). It cannot become hardware of this project, which compares no
    channels with each other but the last layer's.
    """

    def __init__(self, pieces: int):
        if not isinstance(pieces, int) or pieces < 1:
            raise ValueError(f"Maxout pieces must be a positive integer, not {pieces!r}")
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, self.pieces)).amax(dim=2)

    def extra_repr(self) -> str:
        return f"pieces={self.pieces}"


class Multiply(nn.Module):
    """All values times one factor."""

    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor

    def extra_repr(self) -> str:
        return f"{self.factor}"
