"""What differs between FPGA families on the way to a bitstream."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hwbnn.plan import MatrixVectorStage, MultiplierLane, Plan

__all__ = ["FAMILIES", "Family"]

# Amaranth calls element 0 of an array `x[0]`, and so does Yosys bit 0 of `x`; abc9 takes one for the other and stops
# (YosysHQ/yosys#4349). Hidden names cannot clash.
_HIDE = "rename -hide w:*[[]*"

# Products outside of hwbnn.rtl.lanes.Multiplier become adders before the family's synthesis can see them. So do sums:
# ice40_dsp of Yosys 0.70 takes one into a multiplier whose other addend, a register, it has given to another one.
_OTHERS = """\
proc
select -set asked *.multiplier_*/t:$mul
alumacc t:$add t:$sub t:$mul @asked %d %u %u
maccmap"""


@dataclass(frozen=True)
class Family:
    """One family, as the tools see it.

    Parameters
    ----------
    placer, packer : :class:`str`
        Tools that place and route, and that make the bitstream; empty where there is no open placer.
    bitstream : :class:`str`
        Name ending of the bitstream.
    adapt : :class:`str`
        Yosys commands that the family needs before synthesis.
    multiplying : :class:`str`
        Option of the synthesis by which products become multipliers, where it is none of their own accord.
    """

    placer: str
    packer: str
    bitstream: str
    adapt: str = ""
    multiplying: str = ""

    @property
    def before_synthesis(self) -> str:
        """Yosys commands between reading and synthesis."""
        return "\n".join(filter(None, (_HIDE, self.adapt)))

    def prepared(self, plan: Plan) -> str:
        """The same for a plan: where it asks for multipliers, only the products that are meant are left to them."""
        return "\n".join((self.before_synthesis, _OTHERS)) if self._multiplies(plan) else self.before_synthesis

    def options(self, plan: Plan, options: str) -> str:
        """Options of the synthesis of a plan, ``options`` among them."""
        return " ".join(filter(None, (options, self.multiplying if self._multiplies(plan) else "")))

    def _multiplies(self, plan: Plan) -> bool:
        return bool(self.multiplying) and any(
            isinstance(stage, MatrixVectorStage) and isinstance(stage.lane, MultiplierLane) for stage in plan.stages)


FAMILIES: Mapping[str, Family] = MappingProxyType({
    "ecp5": Family("nextpnr-ecp5", "ecppack", ".bit"),
    "ice40": Family(
        "nextpnr-ice40", "icepack", ".bin",
        # There is no LUT RAM, and Yosys refuses what it cannot map as asked.
        adapt='setattr -set ram_style "logic" a:ram_style=distributed',
        multiplying="-dsp"),
    # Counted and, where a placer is installed, placed without a board; none of these makes a bitstream here.
    "gowin": Family("nextpnr-himbaechel-gowin", "gowin_pack", ".fs"),
    "nexus": Family("nextpnr-nexus", "prjoxide", ".bit"),
    "xilinx": Family("", "", ""),
})
