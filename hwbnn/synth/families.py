"""What differs between FPGA families on the way to a bitstream."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["FAMILIES", "Family"]

# Amaranth calls element 0 of an array `x[0]`, and so does Yosys bit 0 of `x`; abc9 takes one for the other and stops
# (YosysHQ/yosys#4349). Hidden names cannot clash.
_HIDE = "rename -hide w:*[[]*"


@dataclass(frozen=True)
class Family:
    """One family, as the tools see it.

    Parameters
    ----------
    placer, packer : :class:`str`
        Tools that place and route, and that make the bitstream.
    bitstream : :class:`str`
        Name ending of the bitstream.
    adapt : :class:`str`
        Yosys commands that the family needs before synthesis.
    """

    placer: str
    packer: str
    bitstream: str
    adapt: str = ""

    @property
    def before_synthesis(self) -> str:
        """Yosys commands between reading and synthesis."""
        return "\n".join(filter(None, (_HIDE, self.adapt)))


FAMILIES: Mapping[str, Family] = MappingProxyType({
    "ecp5": Family("nextpnr-ecp5", "ecppack", ".bit"),
    "ice40": Family(
        "nextpnr-ice40", "icepack", ".bin",
        # There is no LUT RAM, and Yosys refuses what it cannot map as asked.
        adapt='setattr -set ram_style "logic" a:ram_style=distributed'),
})
