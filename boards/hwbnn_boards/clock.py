"""The clocks of a board's design where its PLL makes one."""

from typing import Any

from amaranth import ClockDomain, ClockSignal, Elaboratable, Instance, Module, ResetSignal, Signal
from amaranth.lib.cdc import ResetSynchronizer

from hwbnn_boards.pll import Pll

__all__ = ["DOMAIN", "PllDomain"]

DOMAIN = "pll"
_SETTLING = 15e-6  # seconds that iCE40 is kept in reset, since its block memories read as zeroes at first (Amaranth)


class PllDomain(Elaboratable):
    """The clock domain :data:`DOMAIN`, made of the oscillator's; in reset with ``sync``, and until the loop is locked.

    On iCE40 the loop takes the oscillator's pad for itself, so ``sync`` is made here, too.
    """

    def __init__(self, loop: Pll):
        self.loop = loop

    def elaborate(self, platform: Any):
        m = Module()
        out, locked = Signal(name="out"), Signal(name="locked")
        (self._on_pad if self.loop.family == "ice40" else self._on_clock)(m, platform, out, locked)
        m.domains += ClockDomain(DOMAIN)
        m.d.comb += ClockSignal(DOMAIN).eq(out)
        platform.add_clock_constraint(out, self.loop.hz)
        m.submodules.reset = ResetSynchronizer(ResetSignal(allow_reset_less=True) | ~locked, domain=DOMAIN)
        return m

    @property
    def _settings(self) -> dict[str, int]:
        return {f"p_{name}": value for name, value in self.loop.settings.items()}

    def _on_clock(self, m: Module, platform: Any, out: Signal, locked: Signal):
        m.submodules.loop = Instance(
            "EHXPLLL", p_FEEDBK_PATH="CLKOP", p_CLKOP_ENABLE="ENABLED", p_CLKOP_FPHASE=0, p_OUTDIVIDER_MUXA="DIVA",
            p_PLLRST_ENA="DISABLED", p_INTFB_WAKE="DISABLED", p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED", **self._settings, i_CLKI=ClockSignal(), i_CLKFB=out, i_RST=0, i_STDBY=0,
            i_PHASESEL0=0, i_PHASESEL1=0, i_PHASEDIR=1, i_PHASESTEP=1, i_PHASELOADREG=1, i_PLLWAKESYNC=0,
            i_ENCLKOP=0, o_CLKOP=out, o_LOCK=locked)

    def _on_pad(self, m: Module, platform: Any, out: Signal, locked: Signal):
        pin, reference = platform.request(platform.default_clk, dir="-"), Signal(name="reference")
        m.submodules.loop = Instance(
            "SB_PLL40_2_PAD", p_FEEDBACK_PATH="SIMPLE", p_PLLOUT_SELECT_PORTB="GENCLK", **self._settings,
            io_PACKAGEPIN=pin.io, i_RESETB=1, i_BYPASS=0, o_PLLOUTGLOBALA=reference, o_PLLOUTGLOBALB=out,
            o_LOCK=locked)
        m.domains += [ClockDomain("sync"), ClockDomain("por", reset_less=True, local=True)]
        m.d.comb += [ClockSignal().eq(reference), ClockSignal("por").eq(reference)]
        timer = Signal(range(int(_SETTLING * self.loop.reference_hz) + 1), init=0)
        settled = Signal()
        m.d.comb += ResetSignal().eq(~settled)
        with m.If(timer == int(_SETTLING * self.loop.reference_hz)):
            m.d.por += settled.eq(1)
        with m.Else():
            m.d.por += timer.eq(timer + 1)
