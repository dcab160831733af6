"""Figures that say how sure they are: an interval with unit, method and sources, or an explicit unknown."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from numbers import Real
from typing import Any

__all__ = ["Figure", "Quantity", "Unknown", "from_json", "product", "total"]

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"),
             (1e-12, "p"), (1e-15, "f"))
_SCALED = ("J", "W", "s", "Hz")  # units that are printed with a prefix


def _merged(*sources: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(source for group in sources for source in group))


def _grouped(value: float) -> str:
    """A number for reading: integers whole, others with three significant digits."""
    if value == int(value) and (isinstance(value, int) or abs(value) >= 100):
        return f"{int(value):,}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


@dataclass(frozen=True)
class Unknown:
    """A figure for which there is no sourced constant. It is not 0: whatever it enters is unknown too.

    Parameters
    ----------
    unit : :class:`str`
        Unit the figure would have.
    reason : :class:`str`
        What is missing.
    """

    unit: str
    reason: str

    known = False

    def __str__(self) -> str:
        return "unknown"

    def scale(self, factor: float, unit: str | None = None) -> "Unknown":
        """Return the figure in another unit, still unknown."""
        return self if unit is None else replace(self, unit=unit)

    def to_json(self) -> dict[str, Any]:
        """Return a record for a JSON file; :func:`from_json` reads it."""
        return {"unknown": self.reason, "unit": self.unit}


@dataclass(frozen=True)
class Quantity:
    """A figure with its interval: ``low <= nominal <= high``, all in ``unit``.

    An interval whose ends are equal is exact. Sums and products are those of interval arithmetic: the
    ends assume that all errors have the same sign, so the interval of a sum is never too narrow because
    its terms share a cause. Whole numbers stay whole.

    Parameters
    ----------
    low, nominal, high : number
        Finite.
    unit : :class:`str`
        For instance ``LUT4``, ``bit``, ``cycle``, ``J``, ``s``.
    method : :class:`str`
        How the figure was made, for instance ``exact`` or ``closed form``.
    sources : tuple of :class:`str`
        Where its constants come from.
    """

    low: float
    nominal: float
    high: float
    unit: str
    method: str
    sources: tuple[str, ...] = ()

    known = True

    def __post_init__(self):
        for name in ("low", "nominal", "high"):
            value = getattr(self, name)
            if not isinstance(value, Real) or isinstance(value, bool):
                raise TypeError(f"Quantity {name} must be a number, not {value!r}")
            if not isfinite(value):
                raise ValueError(f"Quantity {name} must be finite, not {value!r}")
        if not self.low <= self.nominal <= self.high:
            raise ValueError(f"Quantity must have low <= nominal <= high, not {self.low}, {self.nominal}, "
                             f"{self.high}")
        object.__setattr__(self, "sources", tuple(self.sources))

    @classmethod
    def exact(cls, value: float, unit: str, *, method: str = "exact", sources: Iterable[str] = ()) -> "Quantity":
        """A figure without error."""
        return cls(value, value, value, unit, method, tuple(sources))

    @classmethod
    def about(cls, value: float, unit: str, *, relative: float, method: str, sources: Iterable[str] = ()
              ) -> "Quantity":
        """``value`` and ``relative`` (0 to 1) of it to both sides."""
        if not 0 <= relative <= 1:
            raise ValueError(f"Quantity relative uncertainty must lie in 0..1, not {relative!r}")
        margin = abs(value) * relative
        return cls(value - margin, value, value + margin, unit, method, tuple(sources))

    @property
    def is_exact(self) -> bool:
        """Whether the interval is a single value."""
        return self.low == self.high

    @property
    def relative(self) -> float:
        """Half the interval's width over the nominal value; infinite where that is 0 and the width is not."""
        width = (self.high - self.low) / 2
        return width / abs(self.nominal) if self.nominal else (float("inf") if width else 0.0)

    def contains(self, value: float) -> bool:
        """Tell whether ``value`` lies in the interval, ends included."""
        return self.low <= value <= self.high

    def scale(self, factor: float, unit: str | None = None) -> "Quantity":
        """Return the figure times an exact ``factor``, in ``unit`` where that changes."""
        ends = sorted((self.low * factor, self.high * factor))
        return replace(self, low=ends[0], nominal=self.nominal * factor, high=ends[1], unit=unit or self.unit)

    def to_json(self) -> dict[str, Any]:
        """Return a record for a JSON file; :func:`from_json` reads it."""
        return {"low": self.low, "nominal": self.nominal, "high": self.high, "unit": self.unit,
                "method": self.method, "sources": list(self.sources)}

    def __str__(self) -> str:
        """``1,234 (1,100-1,400) LUT4``; the interval is left out where the figure is exact."""
        unit, factor = self.unit, 1.0
        if unit in _SCALED:
            size = max(abs(self.nominal), abs(self.high))
            factor, prefix = next(((f, p) for f, p in _PREFIXES if size >= f), (1.0, ""))
            unit = prefix + unit
        low, nominal, high = (_grouped(v if factor == 1.0 else v / factor)
                              for v in (self.low, self.nominal, self.high))
        return f"{nominal} {unit}" if self.is_exact else f"{nominal} ({low}-{high}) {unit}"


Figure = Quantity | Unknown


def total(figures: Iterable[Figure], unit: str, *, method: str | None = None) -> Figure:
    """Return the sum of ``figures``, all in ``unit``; unknown as soon as one of them is.

    The sum of none is an exact 0. ``method`` defaults to the terms' own, joined.
    """
    terms = list(figures)
    for term in terms:
        if term.unit != unit:
            raise ValueError(f"Figures to add must have the unit {unit}, not {term.unit}")
    missing = [term for term in terms if isinstance(term, Unknown)]
    if missing:
        return Unknown(unit, "; ".join(_merged([term.reason for term in missing])))
    known = [term for term in terms if isinstance(term, Quantity)]
    if method is None:
        method = ", ".join(_merged([term.method for term in known])) or "exact"
    return Quantity(sum(t.low for t in known), sum(t.nominal for t in known), sum(t.high for t in known),
                    unit, method, _merged(*(t.sources for t in known)))


def product(unit: str, *figures: Figure, method: str | None = None) -> Figure:
    """Return the product of ``figures`` as ``unit``; unknown as soon as one of them is.

    An exact 0 among them makes an exact 0 even beside an unknown: what does not occur costs nothing.
    """
    if any(isinstance(f, Quantity) and f.is_exact and f.nominal == 0 for f in figures):
        return Quantity.exact(0, unit)
    missing = [f for f in figures if isinstance(f, Unknown)]
    if missing:
        return Unknown(unit, "; ".join(_merged([f.reason for f in missing])))
    known = [f for f in figures if isinstance(f, Quantity)]
    low: float = 1
    nominal: float = 1
    high: float = 1
    for f in known:
        ends = [low * f.low, low * f.high, high * f.low, high * f.high]
        low, nominal, high = min(ends), nominal * f.nominal, max(ends)
    if method is None:
        method = ", ".join(_merged([f.method for f in known])) or "exact"
    return Quantity(low, nominal, high, unit, method, _merged(*(f.sources for f in known)))


def from_json(record: Mapping[str, Any]) -> Figure:
    """Read a figure from the record that its ``to_json`` made."""
    if "unknown" in record:
        return Unknown(record["unit"], record["unknown"])
    return Quantity(record["low"], record["nominal"], record["high"], record["unit"], record["method"],
                    tuple(record["sources"]))
