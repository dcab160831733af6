"""Counting and adding on the carry logic of one FPGA family, and their behavioural twin.

Left to synthesis, ``a ^ w`` and ``+`` waste carry chains: a lane and its share of the adder tree take two to three
times the look-up tables that they need. Here the same functions are built from the family's own primitives. Every class
has the methods of :class:`Plain`, which is their meaning; the tests prove each equal to it (Yosys SAT). All are
combinational.
"""

from dataclasses import dataclass
from typing import Any

from hwbnn.rtl.cells.ecp5 import Ecp5
from hwbnn.rtl.cells.ice40 import Ice40
from hwbnn.rtl.cells.plain import Bits, Cells, GatedGroup, GatedLane, Lane, Plain
from hwbnn.rtl.cells.xilinx import Xilinx

__all__ = [
    "FAMILIES", "Bits", "Cells", "Ecp5", "Family", "GatedGroup", "GatedLane", "Ice40", "Lane", "Plain", "Xilinx",
    "cells",
]

FAMILIES: dict[str, type[Cells]] = {"ecp5": Ecp5, "ice40": Ice40, "xilinx": Xilinx}
"""The cells of families that have their own, by Yosys' name of the family."""

_ALIASES = {"ice5": "ice40"}  # Amaranth's name of UltraPlus


@dataclass(frozen=True)
class Family:
    """A platform to elaborate for that is a family of chips, and no board.

    Parameters
    ----------
    family : :class:`str`
        Yosys' name; any that has no cells of its own has the behavioural ones.
    """

    family: str


def cells(platform: Any) -> Cells:
    """The cells of the family of a platform: a :class:`Family`, a board's, or None and others for the behavioural."""
    family = str(getattr(platform, "family", "")).lower()
    return FAMILIES.get(_ALIASES.get(family, family), Plain)()
