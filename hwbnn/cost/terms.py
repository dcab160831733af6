"""What closed forms are made of: amounts by what they scale with."""

from dataclasses import dataclass, fields

__all__ = ["Forms"]


@dataclass(frozen=True)
class Forms:
    """Uncalibrated look-up tables of one stage by what they scale with, and what is none but may cost cells.

    Parameters
    ----------
    datapath : sums, lanes, compares, selections.
    control : counters, handshakes, credits.
    rom : constants in logic.
    chains : number of carry chains (each costs cells where it starts and ends).
    registers : flip-flops without a look-up table in front of them.
    carries : bits of carry chains whose look-up table computes nothing, where that takes a cell.
    merged : flip-flops of the emitted RTL that synthesis removes, because their bits are constant or alike.
    multipliers : pairs of operand widths, one per general multiplication.
    asked : operand and result widths of multiplications for which the chip's multipliers were asked.
    """

    datapath: float = 0.0
    control: float = 0.0
    rom: float = 0.0
    chains: int = 0
    registers: int = 0
    carries: int = 0
    merged: int = 0
    multipliers: tuple[tuple[int, int], ...] = ()
    asked: tuple[tuple[int, int, int], ...] = ()

    def __add__(self, other: "Forms") -> "Forms":
        return Forms(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __mul__(self, times: int) -> "Forms":
        return Forms(*(getattr(self, f.name) * times for f in fields(self)))

    def as_control(self) -> "Forms":
        """The same with its datapath counted as control."""
        return Forms(0.0, self.control + self.datapath, *(getattr(self, f.name) for f in fields(self)[2:]))
