"""Phase-locked loops of ECP5 and iCE40: which frequencies they make of an oscillator's, and how."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType

from hwbnn.errors import UserError

__all__ = ["Pll", "fastest", "pll"]


@dataclass(frozen=True)
class Pll:
    """Settings of a loop that makes ``hz`` of ``reference_hz``.

    Parameters
    ----------
    family : :class:`str`
        ``ecp5`` or ``ice40``.
    settings : mapping
        Parameters of EHXPLLL, or of SB_PLL40_CORE, that differ from loop to loop.
    """

    family: str
    reference_hz: int
    hz: int
    settings: Mapping[str, int]


def pll(family: str, reference_hz: int, hz: int) -> Pll:
    """Return the settings for exactly ``hz``, of several those with the fastest oscillator within the loop.

    Raises
    ------
    UserError
        The loop makes another frequency only; the message states the nearest.
    """
    makes = _LOOPS[family](reference_hz)
    exact = [(vco, settings) for made, vco, settings in makes if made == hz]
    if not exact:
        near = sorted({made for made, *_ in _LOOPS[family](reference_hz) if made.denominator == 1},
                      key=lambda made: (abs(made - hz), made))
        raise UserError(f"Clock must be one that the board's PLL makes of {reference_hz / 1e6:g} MHz, such as "
                        f"{float(near[0]) / 1e6:g} MHz, not {hz / 1e6:g} MHz")
    _, settings = max(exact, key=lambda found: found[0])
    return Pll(family, reference_hz, hz, MappingProxyType(settings))


def fastest(family: str, reference_hz: int, most_hz: float) -> int | None:
    """The fastest clock in whole hertz, at most ``most_hz``, that a loop makes or that is the reference; or None."""
    made = {made for made, *_ in _LOOPS[family](reference_hz) if made.denominator == 1}
    return max((int(hz) for hz in made | {reference_hz} if hz <= most_hz), default=None)


_Loop = Iterator[tuple[Fraction, Fraction, dict[str, int]]]  # output, oscillator, settings


def _ecp5(reference_hz: int) -> _Loop:
    """Lattice FPGA-DS-02012, sysCLOCK PLL timing: phase detector 3.125 to 400 MHz, oscillator 400 to 800 MHz."""
    for refdiv in range(1, 129):
        detector = Fraction(reference_hz, refdiv)
        if not 3_125_000 <= detector <= 400_000_000:
            continue
        for fbdiv in range(1, 81):
            out = detector * fbdiv
            for opdiv in range(1, 129):
                if 400_000_000 <= out * opdiv <= 800_000_000:
                    yield out, out * opdiv, {"CLKI_DIV": refdiv, "CLKFB_DIV": fbdiv, "CLKOP_DIV": opdiv,
                                             "CLKOP_CPHASE": opdiv // 2}


def _ice40(reference_hz: int) -> _Loop:
    """Lattice FPGA-TN-02052: phase detector 10 to 133 MHz, oscillator 533 to 1066 MHz, output 16 to 275 MHz."""
    for divr in range(16):
        detector = Fraction(reference_hz, divr + 1)
        if not 10_000_000 <= detector <= 133_000_000:
            continue
        within = sum(detector >= limit for limit in (17e6, 26e6, 44e6, 66e6, 101e6)) + 1
        for divf in range(128):
            vco = detector * (divf + 1)
            for divq in range(1, 7):
                if 533_000_000 <= vco <= 1_066_000_000 and 16_000_000 <= vco / 2**divq <= 275_000_000:
                    yield vco / 2**divq, vco, {"DIVR": divr, "DIVF": divf, "DIVQ": divq, "FILTER_RANGE": within}


_LOOPS = MappingProxyType({"ecp5": _ecp5, "ice40": _ice40})
