"""What a folding is asked for: a rate, a latency, a number of look-up tables, a chip, or the folding itself."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from hwbnn.errors import UserError

__all__ = ["OPTIONS", "Goal", "budget", "latency_cycles"]

OPTIONS = {"rate": "--target-fps", "luts": "--max-luts", "latency": "--max-latency", "fit": "--fit",
           "given": "--folds or --fold"}
_UNITS = {"ns": 10**-9, "us": 10**-6, "µs": 10**-6, "ms": 10**-3, "s": 1}


@dataclass(frozen=True)
class Goal:
    """One demand on a folding.

    Parameters
    ----------
    kind : :class:`str`
        ``rate``, ``luts``, ``latency``, ``fit`` or ``given``.
    value : object
        Frames per second; look-up tables; cycles or a time such as ``50us``; None; the folding as users write it
        or the path of a file that holds it.
    """

    kind: Literal["rate", "luts", "latency", "fit", "given"]
    value: Any = None

    @classmethod
    def of(cls, *, target_fps: float | None = None, max_luts: int | None = None,
           max_latency: int | str | None = None, fit: bool = False,
           folds: Mapping[str, Any] | str | os.PathLike | None = None) -> "Goal":
        """Return the one demand that is made. Raises :class:`UserError` where it is none, several or no sense."""
        made = [goal for goal in (cls("rate", target_fps), cls("luts", max_luts), cls("latency", max_latency),
                                  cls("fit", fit or None), cls("given", folds)) if goal.value is not None]
        if len(made) != 1:
            given = "--fold" if isinstance(folds, Mapping) else "--folds"
            told = " and ".join(given if goal.kind == "given" else OPTIONS[goal.kind] for goal in made)
            raise UserError("Folding must be asked for in one way, by --target-fps, --max-luts, --max-latency, --fit, "
                            f"--folds or --fold, {f'not by {told} at once' if made else 'and none was given'}")
        goal = made[0]
        if goal.kind == "rate":
            _check_rate(goal.value)
        if goal.kind == "luts" and (isinstance(max_luts, bool) or not isinstance(max_luts, int) or max_luts < 1):
            raise UserError(f"Look-up tables must be a whole number of at least 1, not {max_luts!r}")
        if goal.kind == "latency":
            _latency(goal.value)
        return goal

    def __str__(self) -> str:
        match self.kind:
            case "rate":
                return f"the cheapest that reaches {self.value:,.12g} frames/s"
            case "luts":
                return f"the fastest within {self.value:,} look-up tables"
            case "latency":
                return f"the cheapest with a latency of at most {self.value}" + (
                    " cycles" if str(self.value).isdecimal() else "")
            case "fit":
                return "the fastest that fits the board"
        return "given"


def _check_rate(target_fps: Any) -> None:
    if isinstance(target_fps, bool) or not isinstance(target_fps, int | float) \
            or not math.isfinite(target_fps) or target_fps <= 0:
        raise UserError(f"Target rate must be a positive number of frames per second, not {target_fps!r}")


def _check_clock(clock_hz: Any) -> None:
    if isinstance(clock_hz, bool) or not isinstance(clock_hz, int) or clock_hz < 1:
        raise UserError(f"Clock must be a whole number of hertz, at least 1, not {clock_hz!r}")


def budget(clock_hz: int, target_fps: float) -> int:
    """Cycles that a frame may take at most: exactly ``floor(clock_hz / target_fps)``."""
    _check_clock(clock_hz)
    _check_rate(target_fps)
    return math.floor(clock_hz / Fraction(target_fps))


def _latency(value: Any) -> tuple[Fraction, str | None]:
    """Number and unit of a latency; no unit means cycles."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zµ]*)\s*", str(value))
    number, unit = (Fraction(match[1]), match[2]) if match else (Fraction(0), "")
    if isinstance(value, bool) or number <= 0 or unit not in {"", *_UNITS} or not (unit or number.denominator == 1):
        raise UserError(f"Latency must be cycles such as 120 or a time such as 50us (s, ms, us, ns), not {value}")
    return number, unit or None


def latency_cycles(clock_hz: int, value: int | str) -> int:
    """Cycles that a frame may take from its first input through its last output: ``120``, or ``50us`` at a clock."""
    _check_clock(clock_hz)
    number, unit = _latency(value)
    return math.floor(number if unit is None else number * clock_hz * Fraction(str(_UNITS[unit])))
