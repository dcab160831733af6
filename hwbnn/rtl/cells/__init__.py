"""Counting and adding on the carry logic of one FPGA family, and their behavioural twin.

Left to synthesis, ``a ^ w`` and ``+`` waste carry chains: a lane and its share of the adder tree take two to three
times the look-up tables that they need. Here the same functions are built from the family's own primitives. Every class
has the methods of :class:`Plain`, which is their meaning; the tests prove each equal to it (Yosys SAT). All are
combinational.
"""

from hwbnn.rtl.cells.ecp5 import Ecp5
from hwbnn.rtl.cells.ice40 import Ice40
from hwbnn.rtl.cells.plain import Bits, Cells, Plain
from hwbnn.rtl.cells.xilinx import Xilinx

__all__ = ["Bits", "Cells", "Ecp5", "Ice40", "Plain", "Xilinx", "cells"]

_FAMILIES: dict[str, type[Cells]] = {"ecp5": Ecp5, "ice40": Ice40, "xilinx": Xilinx}


def cells(family: str | None) -> Cells:
    """The cells of a family, the behavioural ones where it has none of its own."""
    return _FAMILIES.get(family or "", Plain)()
