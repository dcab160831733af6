"""What differs between FPGA families on the way to a bitstream."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["FAMILIES", "Family"]


@dataclass(frozen=True)
class Family:
    """One family, as the tools see it.

    Parameters
    ----------
    placer, packer : :class:`str`
        Tools that place and route, and that make the bitstream.
    bitstream : :class:`str`
        Name ending of the bitstream.
    before_synthesis : :class:`str`
        Yosys commands between reading and synthesis.
    """

    placer: str
    packer: str
    bitstream: str
    before_synthesis: str = ""


FAMILIES: Mapping[str, Family] = MappingProxyType({
    "ecp5": Family("nextpnr-ecp5", "ecppack", ".bit"),
    "ice40": Family(
        "nextpnr-ice40", "icepack", ".bin",
        # There is no LUT RAM, and Yosys refuses what it cannot map as asked.
        before_synthesis='setattr -set ram_style "logic" a:ram_style=distributed'),
})
