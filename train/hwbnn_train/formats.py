"""Number formats that tensors of a training are rounded to: floats, fixed point, and fixed point of a range that moves.

From "Training Deep Neural Networks with Low Precision Multiplications" (Courbariaux et al., arXiv:1412.7024) and the
authors' code.
"""

import torch
from torch import Tensor, nn

from hwbnn.ir import Levels
from hwbnn_train.fused import fused
from hwbnn_train.quantizers.fixed import nearest

__all__ = ["DynamicFixed", "Fixed", "Format", "Half", "Single"]


class _Known:
    """The number in a scalar buffer, which is read anew only when the buffer was changed: reading costs a microsecond.

    Copies know nothing yet.
    """

    __slots__ = ("_at", "_of", "_value")

    def __init__(self):
        self._of, self._at, self._value = None, 0, 0

    def __reduce__(self):
        return type(self), ()

    def of(self, buffer: Tensor) -> int:
        """Return it."""
        if self._of is not buffer or self._at != buffer._version:
            self._of, self._at, self._value = buffer, buffer._version, int(buffer)
        return self._value


class Format(nn.Module):
    """How a tensor's numbers are stored; called, it rounds a tensor, without a gradient, with ``own`` in its memory.

    ``levels`` and ``unit`` are the integers and what they count, where the numbers are fixed point; else None. ``bits``
    is what a number takes.
    """

    bits: int = 32
    levels: Levels | None = None
    unit: float | None = None

    @property
    def is_due(self) -> bool:
        """Whether the next call does more than round to fixed point, or to nothing, or is not that."""
        return True

    def rule(self) -> tuple[float, int, int]:
        """Return the unit (0: nothing rounds) and the bounds of a call that is not made, but counts."""
        raise NotImplementedError(type(self).__name__)  # every format that is not always due defines it


class Single(Format):
    """Float32: numbers as they are."""

    is_due = False

    def rule(self) -> tuple[float, int, int]:
        return 0.0, 0, 0

    def forward(self, x: Tensor, own: bool = False) -> Tensor:
        return x


class Half(Format):
    """Float16: rounded to 11 significant bits; beyond 65504 infinite."""

    bits = 16

    def forward(self, x: Tensor, own: bool = False) -> Tensor:
        return x.half().float()


class Fixed(Format):
    """Fixed point of one range: ``q(x) = clip(round(x p), -(2^n - 1), 2^n - 1) / p`` with ``p = 2^(n - integer)``.

    arXiv:1412.7024; ``n`` is one less than ``bits``.

    Parameters
    ----------
    bits : :class:`int`
        With the sign, 2 to 22.
    integer : :class:`int`
        Bits before the point, without the sign, -40 to 40; negative where the numbers are smaller.
    """

    def __init__(self, bits: int, integer: int):
        if not isinstance(bits, int) or not 2 <= bits <= 22:
            raise ValueError(f"{type(self).__name__} bits must be an integer from 2 to 22, not {bits!r}")
        if not -40 <= integer <= 40:
            raise ValueError(f"{type(self).__name__} integer must be from -40 to 40, not {integer!r}")
        super().__init__()
        high = 2**(bits - 1) - 1
        self.bits, self.levels = bits, Levels(-high, high)
        self.register_buffer("integer", torch.tensor(integer))
        self._integer = _Known()

    @property
    def unit(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]  # follows the range
        """The smallest positive number."""
        return 2.0 ** (self._integer.of(self._buffers["integer"]) - self.bits + 1)

    @property
    def is_due(self) -> bool:
        return False

    def rule(self) -> tuple[float, int, int]:
        return self.unit, self.levels.low, self.levels.high

    def forward(self, x: Tensor, own: bool = False) -> Tensor:
        return nearest(x.detach(), self.unit, self.levels.low, self.levels.high, own=own)

    def extra_repr(self) -> str:
        return f"bits={self.bits}, integer={int(self.integer)}"


class DynamicFixed(Fixed):
    """Fixed point whose range follows the numbers.

    In training the share of numbers that reach the largest one, and the share that would with half the range, are
    noted; after every ``every`` calls, the range doubles where the first is above ``rate``, and halves where the
    second is not. While ``searching``, numbers pass unrounded and the range follows at once. arXiv:1412.7024; the paper
    changes ranges every 10,000 images with a rate of 1e-4, and first finds them in a short training of
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
        self._searching = _Known()
        self._calls = 0  # the first of the counts: counting there would take longer than rounding
        self.register_state_dict_pre_hook(DynamicFixed._keep_calls)
        self.register_load_state_dict_post_hook(DynamicFixed._restore_calls)

    def _keep_calls(self, *_) -> None:
        self.counts[0] = self._calls

    def _restore_calls(self, *_) -> None:
        self._calls = int(self.counts[0])

    @property
    def is_searching(self) -> bool:
        """Whether numbers pass unrounded and the range follows at once, in training."""
        return bool(self._searching.of(self._buffers["searching"]))  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor, own: bool = False) -> Tensor:
        if self.training:
            self._follow(x.detach())
            if self.is_searching:
                return x
        return super().forward(x, own)

    @property
    def is_due(self) -> bool:
        return self.training and (self._calls % 10 == 9 or self.is_searching)

    def rule(self) -> tuple[float, int, int]:
        self.__dict__["_calls"] += self.training
        return super().rule()

    def _follow(self, x: Tensor) -> None:
        self.__dict__["_calls"] += 1  # setting an attribute of a module takes long
        calls = self._calls
        if calls % 10 == 0:
            over, over_half = self._shares(x)
            self.counts[1] += over
            self.counts[2] += over_half
            if self.is_searching and bool(x.any()) and bool(torch.isfinite(x).all()):
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


@fused("levels", elementwise=True)
def _reaching(x: Tensor, bound: float) -> tuple[int, int]:
    """Return how many numbers have a magnitude of at least ``bound``, and of half of it."""
    magnitude = x.abs()
    return tuple(int(torch.count_nonzero(magnitude >= part * bound)) for part in (1.0, 0.5))
