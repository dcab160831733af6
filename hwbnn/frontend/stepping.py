"""Where a monotone function of integers, or of floats, steps from one level to the next."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwbnn import ir

__all__ = ["EXHAUSTIVE", "Crossings", "Floats", "Integers", "NotMonotoneError", "UnknownValueError", "crossings"]

EXHAUSTIVE = 2**16  # domains up to this size are evaluated everywhere
_CHUNK = 2**20      # values at a time
_SAMPLES = 4096     # places where a bisected function is tested


@dataclass(frozen=True)
class Integers:
    """The values of a tensor, by ordinal."""

    levels: ir.Levels

    def __len__(self) -> int:
        return len(self.levels)

    def at(self, ordinals: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.levels.low + self.levels.step * ordinals


class Floats:
    """Every finite float32, ascending, by ordinal; the two zeros are one value."""

    _MAGNITUDES = int(np.float32(np.finfo(np.float32).max).view(np.int32))

    def __len__(self) -> int:
        return 2 * self._MAGNITUDES + 1

    def at(self, ordinals: NDArray[np.int64]) -> NDArray[np.float32]:
        signed = np.asarray(ordinals, np.int64) - self._MAGNITUDES
        magnitude = np.abs(signed).astype(np.int32).view(np.float32)
        return np.where(signed < 0, -magnitude, magnitude)


@dataclass(frozen=True)
class Crossings:
    """Where each level is first reached.

    Parameters
    ----------
    ordinals : int64 array (channels or 1, levels - 1)
        Number of values, counted from the low end where the channel rises and from the high end where it falls,
        that stay below level k + 1.
    rising : bool array (channels or 1,)
        False where the function falls. A constant one rises.
    """

    ordinals: NDArray[np.int64]
    rising: NDArray[np.bool_]


class NotMonotoneError(Exception):
    """The function turns in ``channel``, near ``x``."""

    def __init__(self, channel: int, x):
        super().__init__(channel, x)
        self.channel, self.x = channel, x


class UnknownValueError(Exception):
    """The function took ``value`` in ``channel``, which is none of the values it should take."""

    def __init__(self, channel: int, value):
        super().__init__(channel, value)
        self.channel, self.value = channel, value


def crossings(function: Callable[[NDArray], NDArray], domain: Integers | Floats, values: NDArray,
              width: int) -> Crossings:
    """Find where ``function`` steps, per channel, and test that it is monotone.

    Domains of up to :data:`EXHAUSTIVE` values are evaluated everywhere, so monotonicity is certain there. Larger
    ones are bisected, and tested at :data:`_SAMPLES` places and on both sides of every step.

    Parameters
    ----------
    function : callable
        From (n, width) to (n, width).
    values : array (width or 1, levels)
        Everything that the function may return, ascending.
    width : :class:`int`
        Number of channels that differ.
    """
    level = _leveller(function, values, width)
    return (_everywhere if len(domain) <= EXHAUSTIVE else _bisected)(level, domain, values.shape[1], width)


def _leveller(function, values: NDArray, width: int):
    """From x (n, width) to the number of the level (n, width)."""
    def level(x: NDArray) -> NDArray[np.int64]:
        y = np.broadcast_to(function(x), (len(x), width))
        if len(values) == 1:
            found = np.searchsorted(values[0], y)
            reached = values[0][np.minimum(found, values.shape[1] - 1)]
        else:
            found = np.stack([np.searchsorted(row, y[:, c]) for c, row in enumerate(values)], axis=1)
            reached = values[np.arange(width), np.minimum(found, values.shape[1] - 1)]
        if np.any(reached != y):
            row, channel = (int(n) for n in np.argwhere(reached != y)[0])
            raise UnknownValueError(channel, y[row, channel])
        return found
    return level


def _everywhere(level, domain, count: int, width: int) -> Crossings:
    histogram = np.zeros((width, count), np.int64)
    rises, falls = np.zeros(width, bool), np.zeros(width, bool)
    rows = max(1, _CHUNK // max(width, 1))
    last = None
    for start in range(0, len(domain), rows):
        x = domain.at(np.arange(start, min(start + rows, len(domain))))
        found = level(np.broadcast_to(x[:, None], (len(x), width)))
        flat = (found + np.arange(width) * count).ravel()
        histogram += np.bincount(flat, minlength=width * count).reshape(width, count)
        joined = found if last is None else np.concatenate([last, found])
        change = np.diff(joined, axis=0)
        rises |= np.any(change > 0, axis=0)
        falls |= np.any(change < 0, axis=0)
        if np.any(rises & falls):
            channel = int(np.argmax(rises & falls))
            turn = np.argmax(change[:, channel] * (1 if change[0, channel] >= 0 else -1) < 0)
            raise NotMonotoneError(channel, x[min(int(turn), len(x) - 1)])
        last = found[-1:]
    return Crossings(np.cumsum(histogram, axis=1)[:, :-1], ~falls)


def _bisected(level, domain, count: int, width: int) -> Crossings:
    size = len(domain)
    ends = level(np.repeat(domain.at(np.array([0, size - 1]))[:, None], width, axis=1))
    rising = ends[1] >= ends[0]

    def reached(ordinals: NDArray[np.int64]) -> NDArray[np.int64]:  # counted in each channel's direction
        return level(domain.at(np.where(rising, ordinals, size - 1 - ordinals)))

    wanted = np.arange(1, count)[:, None]
    low = np.zeros((count - 1, width), np.int64)
    high = np.full((count - 1, width), size, np.int64)
    while np.any(low < high):
        middle = low + (high - low) // 2
        enough = (reached(np.minimum(middle, size - 1)) >= wanted) & (low < high)
        high = np.where(enough, middle, high)
        low = np.where(enough | (low >= high), low, middle + 1)
    found = high.T

    rng = np.random.default_rng(0)
    places = np.concatenate([np.linspace(0, size - 1, _SAMPLES).astype(np.int64), rng.integers(0, size, _SAMPLES)])
    places = np.minimum(places, size - 1)
    samples = np.concatenate([np.repeat(places[:, None], width, axis=1), np.minimum(high, size - 1),
                              np.maximum(high - 1, 0)])
    rows = max(1, _CHUNK // max(width, 1))
    for start in range(0, len(samples), rows):
        part = samples[start:start + rows]
        expected = np.stack([np.searchsorted(found[c], part[:, c], side="right") for c in range(width)], axis=1)
        wrong = reached(part) != expected
        if np.any(wrong):
            row, channel = (int(n) for n in np.argwhere(wrong)[0])
            raise NotMonotoneError(channel, domain.at(part[row:row + 1, channel])[0])
    return Crossings(found, rising)
