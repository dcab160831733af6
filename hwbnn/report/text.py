"""Numbers as a reader wants them."""

from collections.abc import Iterable

from hwbnn.cost import Figure, Unknown

__all__ = ["count", "duration", "figure", "nominal", "parts", "percent", "reasons"]

NOTHING = "–"


def count(value: float | None) -> str:
    """A whole number with thousands apart."""
    return NOTHING if value is None else f"{value:,.0f}"


def percent(share: float | None, digits: int = 0) -> str:
    """A share of one as per cent."""
    return NOTHING if share is None else f"{100 * share:.{digits}f} %"


def duration(seconds: float | None) -> str:
    """A time with the unit that fits."""
    if seconds is None:
        return NOTHING
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def figure(value: Figure | None) -> str:
    """A figure without its unit, with its interval where it has one."""
    if value is None:
        return NOTHING
    if isinstance(value, Unknown):
        return "unknown"
    if value.is_exact:
        return count(value.nominal)
    return f"{count(value.nominal)} ({count(value.low)}–{count(value.high)})"


def nominal(value: Figure | None) -> str:
    """A figure with its unit and without its interval."""
    return NOTHING if value is None else parts(value)[0]


def parts(value: Figure) -> tuple[str, str]:
    """A figure with its unit, and its interval with the same one (empty where there is none)."""
    text = str(value)
    if "(" not in text:
        return text, ""
    amount, _, rest = text.partition(" (")
    interval, _, unit = rest.partition(") ")
    return f"{amount} {unit}", f"{interval.replace('-', '–')} {unit}"


def reasons(unknowns: Iterable[str]) -> str:
    """Why figures are unknown, each reason once, with what it holds for: ``a, b: no published constant``."""
    by_reason: dict[str, list[str]] = {}
    for unknown in unknowns:
        what, _, why = unknown.partition(" unknown: ")
        by_reason.setdefault(why, []).append(what)
    return "; ".join(f"{', '.join(whats)}: {why}" if why else ", ".join(whats) for why, whats in by_reason.items())
