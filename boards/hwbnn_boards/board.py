"""What the rest of hwbnn needs to know about a board: a record, without the board's platform package."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hwbnn_boards.pll import Pll, pll

__all__ = ["Board"]


@dataclass(frozen=True)
class Board:
    """One board: its clock, the device on it, how the host reaches it, and how a platform is made.

    The record itself needs nothing but Python, so that compiling and estimating work without
    amaranth-boards; only :meth:`platform` needs it.

    Parameters
    ----------
    name : :class:`str`
        What a user types, such as ``ulx3s-85f``.
    title : :class:`str`
        What a user reads.
    technology : :class:`str`
        Key of the device's capacities and constants in :mod:`hwbnn.cost`.
    clock_hz : :class:`int`
        Frequency that clocks the accelerator: the oscillator's, or what the PLL makes of it.
    make_platform : callable
        Imports amaranth-boards and returns a new platform.
    activity_led, error_led : :class:`int`
        Numbers of the ``led`` resources that show a served frame and a refused one.
    programmer : :class:`str`
        Command that loads a bitstream; ``{}`` stands for the file.
    uart : :class:`int`
        Number of the ``uart`` resource that reaches the host.
    baud : :class:`int`
        Bits per second of the host link.
    pll : :class:`~hwbnn_boards.pll.Pll` or None
        What makes the clock; None where the oscillator does.
    """

    name: str
    title: str
    technology: str
    clock_hz: int
    make_platform: Callable[[], Any]
    activity_led: int
    error_led: int
    programmer: str
    uart: int = 0
    baud: int = 1_000_000
    pll: Pll | None = None

    @property
    def oscillator_hz(self) -> int:
        """Frequency of the oscillator, which the host link has whatever the clock."""
        return self.clock_hz if self.pll is None else self.pll.reference_hz

    def at(self, clock_hz: int) -> "Board":
        """Return the same board clocked with ``clock_hz``. :class:`UserError` where it cannot make that."""
        loop = None if clock_hz == self.oscillator_hz else pll(self.family, self.oscillator_hz, clock_hz)
        return replace(self, clock_hz=clock_hz, pll=loop)

    @property
    def family(self) -> str:
        """Yosys' and nextpnr's name of the device family: ``ecp5`` or ``ice40``."""
        return self.technology.split("-")[0]

    def platform(self) -> Any:
        """Return a new Amaranth platform; one is good for one build. Needs the extra ``synth``."""
        return self.make_platform()
