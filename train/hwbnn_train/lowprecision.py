"""Low precision multiplications: every tensor of a training rounded to a number format of its own.

From "Training Deep Neural Networks with Low Precision Multiplications" (Courbariaux et al., arXiv:1412.7024) and the
authors' code. A :class:`Format` says how numbers are stored; :class:`Rounded` puts one on a value and one on its
gradient; :class:`RoundedParameter` adds those of a parameter's update and storage, which :func:`round_updates`
applies.
"""

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hwbnn.ir import Levels
from hwbnn_train.fused import fused
from hwbnn_train.layers import Quantized
from hwbnn_train.quantizers import Grid, Quantizer
from hwbnn_train.quantizers.fixed import nearest

__all__ = ["DynamicFixed", "Fixed", "Format", "Half", "Maxout", "Multiply", "Rounded", "RoundedParameter", "Single",
           "finish_update", "round_updates", "rounded_parameters"]


class Format(nn.Module):
    """How a tensor's numbers are stored; called, it rounds a tensor, without a gradient, with ``own`` in its memory.

    ``levels`` and ``unit`` are the integers and what they count, where the numbers are fixed point; else None.
    """

    levels: Levels | None = None
    unit: float | None = None

    @property
    def is_due(self) -> bool:
        """Whether the next call does more than round to fixed point, or to nothing, or is not that."""
        return True

    def rule(self) -> tuple[float, int, int]:
        """Return the unit (0: nothing rounds) and the bounds of a call that is not made, but counts."""
        raise NotImplementedError  # of what can be not due


class Single(Format):
    """Float32: numbers as they are."""

    is_due = False

    def rule(self) -> tuple[float, int, int]:
        return 0.0, 0, 0

    def forward(self, x: Tensor, own: bool = False) -> Tensor:
        return x


class Half(Format):
    """Float16: rounded to 11 significant bits; beyond 65504 infinite."""

    def forward(self, x: Tensor, own: bool = False) -> Tensor:
        return x.half().float()


class Fixed(Format):
    """Fixed point of one range: ``q(x) = clip(round(x p), -(2^n - 1), 2^n - 1) / p`` with ``p = 2^(n - integer)``.

    arXiv:1412.7024, section 4; ``n`` is one less than ``bits``.

    Parameters
    ----------
    bits : :class:`int`
        With the sign, 2 to 22.
    integer : :class:`int`
        Bits before the point, without the sign; negative where the numbers are smaller.
    """

    def __init__(self, bits: int, integer: int):
        if not isinstance(bits, int) or not 2 <= bits <= 22:
            raise ValueError(f"{type(self).__name__} bits must be an integer from 2 to 22, not {bits!r}")
        super().__init__()
        high = 2**(bits - 1) - 1
        self.bits, self.levels = bits, Levels(-high, high)
        self.register_buffer("integer", torch.tensor(integer))

    @property
    def unit(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]  # follows the range
        """The smallest positive number."""
        return 2.0 ** (int(self.integer) - self.bits + 1)

    @property
    def is_due(self) -> bool:
        return False

    def rule(self) -> tuple[float, int, int]:
        return self.unit, self.levels.low, self.levels.high

    @torch.no_grad()
    def forward(self, x: Tensor, own: bool = False) -> Tensor:
        return nearest(x, self.unit, self.levels.low, self.levels.high, own=own)

    def extra_repr(self) -> str:
        return f"bits={self.bits}, integer={int(self.integer)}"


class DynamicFixed(Fixed):
    """Fixed point whose range follows the numbers.

    In training the share of numbers that reach the largest one, and the share that would with half the range, are
    noted; after every ``every`` calls, the range doubles where the first is above ``rate``, and halves where the
    second is not. While ``searching``, numbers pass unrounded and the range follows at once. arXiv:1412.7024, section
    5; the paper changes ranges every 10,000 images with a rate of 1e-4, and first finds them in a short training of
    high precision. The shares are noted in each tenth call.

    Parameters
    ----------
    bits, integer : :class:`int`
        As for :class:`Fixed`; ``integer`` is the range to begin with.
    rate : :class:`float`
        Share of overflows allowed.
    every : :class:`int`
        Calls between changes, a multiple of 10.
    """

    counts: Tensor
    searching: Tensor

    def __init__(self, bits: int, integer: int = 5, *, rate: float = 1e-4, every: int = 100):
        if not 0 < rate < 1:
            raise ValueError(f"DynamicFixed rate must lie between 0 and 1, not {rate!r}")
        if not isinstance(every, int) or every < 1 or every % 10:
            raise ValueError(f"DynamicFixed every must be a positive multiple of 10, not {every!r}")
        super().__init__(bits, integer)
        self.rate, self.every = rate, every
        self.register_buffer("counts", torch.zeros(3))  # calls, and sums of the two shares
        self.register_buffer("searching", torch.tensor(False))
        self._calls = 0  # the first of the counts: counting there would take longer than rounding
        self.register_state_dict_pre_hook(DynamicFixed._keep_calls)
        self.register_load_state_dict_post_hook(DynamicFixed._restore_calls)

    def _keep_calls(self, *_) -> None:
        self.counts[0] = self._calls

    def _restore_calls(self, *_) -> None:
        self._calls = int(self.counts[0])

    @torch.no_grad()
    def forward(self, x: Tensor, own: bool = False) -> Tensor:
        if self.training:
            self._follow(x)
            if bool(self.searching):
                return x
        return super().forward(x, own)

    @property
    def is_due(self) -> bool:
        return self.training and (self._calls % 10 == 9 or bool(self.searching))

    def rule(self) -> tuple[float, int, int]:
        self._calls += self.training
        return super().rule()

    def _follow(self, x: Tensor) -> None:
        self._calls += 1
        calls = self._calls
        if calls % 10 == 0:
            over, over_half = self._shares(x)
            self.counts[1] += over
            self.counts[2] += over_half
            if bool(self.searching) and bool(x.any()):
                while self._shares(x)[0] > self.rate:
                    self.integer += 1
                while self._shares(x)[1] <= self.rate:
                    self.integer -= 1
        if calls >= self.every:
            over, over_half = (self.counts[1:] * 10 / self.every).tolist()
            if over > self.rate:
                self.integer += 1
            elif over_half <= self.rate:
                self.integer.sub_(1).clamp_(min=-60)
            self.counts.zero_()
            self._calls = 0

    def _shares(self, x: Tensor) -> tuple[float, float]:
        """Return the shares of numbers that reach the largest one, and half of it."""
        over, over_half = _reaching(x, self.unit * self.levels.high)
        return over / x.numel(), over_half / x.numel()


@fused("levels")
def _reaching(x: Tensor, bound: float) -> tuple[int, int]:
    """Return how many numbers have a magnitude of at least ``bound``, and of half of it."""
    magnitude = x.abs()
    return tuple(int(torch.count_nonzero(magnitude >= part * bound)) for part in (1.0, 0.5))


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

    def factors(self, w: Tensor) -> tuple[Tensor, None]:
        return _Rounded.apply(w, self.values, self.errors, True), None


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
