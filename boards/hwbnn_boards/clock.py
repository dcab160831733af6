"""The clock of a board's design where its PLL makes it."""

from typing import Any

from amaranth import ClockDomain, ClockSignal, Elaboratable, Instance, Module, ResetSignal, Signal
from amaranth.lib.cdc import ResetSynchronizer

from hwbnn_boards.pll import Pll

__all__ = ["DOMAIN", "PllDomain"]

DOMAIN = "pll"


class PllDomain(Elaboratable):
    """The clock domain :data:`DOMAIN`, made of ``sync``; in reset with it, and until the loop is locked."""

    def __init__(self, loop: Pll):
        self.loop = loop

    def elaborate(self, platform: Any):
        m = Module()
        out, locked = Signal(), Signal()
        m.submodules.loop = _instance(self.loop, out, locked)
        m.domains += ClockDomain(DOMAIN)
        m.d.comb += ClockSignal(DOMAIN).eq(out)
        platform.add_clock_constraint(out, self.loop.hz)
        m.submodules.reset = ResetSynchronizer(ResetSignal(allow_reset_less=True) | ~locked, domain=DOMAIN)
        return m


def _instance(loop: Pll, out: Signal, locked: Signal) -> Instance:
    settings = {f"p_{name}": value for name, value in loop.settings.items()}
    if loop.family == "ice40":
        return Instance("SB_PLL40_CORE", p_FEEDBACK_PATH="SIMPLE", **settings, i_REFERENCECLK=ClockSignal(),
                        i_RESETB=1, i_BYPASS=0, o_PLLOUTGLOBAL=out, o_LOCK=locked)
    return Instance("EHXPLLL", p_FEEDBK_PATH="CLKOP", p_CLKOP_ENABLE="ENABLED", p_CLKOP_FPHASE=0,
                    p_OUTDIVIDER_MUXA="DIVA", p_PLLRST_ENA="DISABLED", p_INTFB_WAKE="DISABLED",
                    p_STDBY_ENABLE="DISABLED", p_DPHASE_SOURCE="DISABLED", **settings, i_CLKI=ClockSignal(),
                    i_CLKFB=out, i_RST=0, i_STDBY=0, i_PHASESEL0=0, i_PHASESEL1=0, i_PHASEDIR=1, i_PHASESTEP=1,
                    i_PHASELOADREG=1, i_PLLWAKESYNC=0, i_ENCLKOP=0, o_CLKOP=out, o_LOCK=locked)
