"""Sets of evenly spaced integers: what a value in a network may be."""

from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["BINARY", "BIPOLAR", "TERNARY", "Levels"]


@dataclass(frozen=True)
class Levels:
    """The evenly spaced integers ``low, low + step, ..., high`` that a value may take.

    Bipolar is ``Levels(-1, 1, 2)``, binary ``Levels(0, 1)``, ternary ``Levels(-1, 1)``, an unsigned
    4-bit activation ``Levels(0, 15)``. A set with a single value has step 1.

    Parameters
    ----------
    low, high : :class:`int`
        The smallest and the largest value, both within 63 bits and sign.
    step : :class:`int`
        Distance between neighbours, at least 1.
    """

    low: int
    high: int
    step: int = 1

    def __post_init__(self):
        for name in ("low", "high", "step"):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer):
                raise TypeError(f"Levels {name} must be an integer, not {value!r}")
            object.__setattr__(self, name, int(value))
        if self.step < 1:
            raise ValueError(f"Levels step must be at least 1, not {self.step}")
        if self.high < self.low or (self.high - self.low) % self.step:
            raise ValueError(f"Levels high must be low plus a multiple of step, not {self!r}")
        if self.low == self.high:
            object.__setattr__(self, "step", 1)
        if self.low < -(2**63) or self.high >= 2**63:
            raise ValueError(f"Levels must lie within 63 bits and sign, not {self.low}..{self.high}")

    @classmethod
    def unsigned(cls, bits: int) -> "Levels":
        """All integers of ``bits`` bits without sign, 0 to 2^bits - 1."""
        return cls(0, 2**bits - 1)

    @classmethod
    def signed(cls, bits: int, *, narrow: bool = False) -> "Levels":
        """All two's complement integers of ``bits`` bits; ``narrow`` leaves out the lowest."""
        return cls(-(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1)

    @classmethod
    def of(cls, values: ArrayLike) -> "Levels":
        """The smallest set that holds all of ``values`` (integers, at least one)."""
        present = [int(value) for value in np.unique(np.asarray(values))]
        return cls(present[0], present[-1], gcd(*(value - present[0] for value in present)) or 1)

    def __len__(self) -> int:
        return (self.high - self.low) // self.step + 1

    def __contains__(self, value: int) -> bool:
        return self.low <= value <= self.high and (value - self.low) % self.step == 0

    def __str__(self) -> str:
        names = {(-1, 1, 2): "bipolar", (0, 1, 1): "binary", (-1, 1, 1): "ternary"}
        by = f" by {self.step}" if self.step > 1 else ""
        return names.get((self.low, self.high, self.step), f"{self.low}..{self.high}{by}")

    @property
    def is_bipolar(self) -> bool:
        return (self.low, self.high, self.step) == (-1, 1, 2)

    @property
    def is_ternary(self) -> bool:
        return (self.low, self.high, self.step) == (-1, 1, 1)

    @property
    def bits(self) -> int:
        """Width of one value in the project's encoding (:mod:`hwbnn.pack`).

        1 for bipolar, 2 for ternary (mask and sign), otherwise the narrowest unsigned binary or, with
        a negative ``low``, two's complement that holds every value; at least 1.
        """
        if self.is_bipolar:
            return 1
        if self.low >= 0:
            return max(1, self.high.bit_length())
        return max((-self.low - 1).bit_length(), self.high.bit_length()) + 1

    @property
    def is_signed(self) -> bool:
        """Whether some value is negative."""
        return self.low < 0

    def values(self) -> NDArray[np.int64]:
        """Every value, ascending."""
        return np.arange(len(self), dtype=np.int64) * self.step + self.low

    def holds(self, values: ArrayLike) -> bool:
        """Tell whether every one of ``values`` is in the set."""
        array = np.asarray(values)
        if array.size == 0:
            return True
        if array.min() < self.low or array.max() > self.high:
            return False
        if self.step == 2 and array.dtype.kind == "i":  # bipolar: a remainder takes ten times as long
            odd = np.bitwise_and.reduce(array, axis=None) if self.low % 2 else ~np.bitwise_or.reduce(array, axis=None)
            return bool(odd & 1)
        return self.step == 1 or not np.any((array - self.low) % self.step)

    def hull(self, *others: "Levels") -> "Levels":
        """The smallest set that holds this one and all ``others``."""
        sets = (self, *others)
        low = min(one.low for one in sets)
        steps = [one.step for one in sets if len(one) > 1]
        return Levels(low, max(one.high for one in sets), gcd(*steps, *(one.low - low for one in sets)) or 1)


BIPOLAR = Levels(-1, 1, 2)
BINARY = Levels(0, 1)
TERNARY = Levels(-1, 1)
