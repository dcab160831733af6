"""One block of UP5K's single-port RAM, and its twin for simulation and other chips."""

from typing import Any

from amaranth import ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from hwbnn.plan.bank import SPRAM_BITS, SPRAM_WORDS

__all__ = ["Spram", "has_spram"]


def has_spram(platform: Any) -> bool:
    """Whether what is built for ``platform`` may instantiate SB_SPRAM256KA."""
    return str(getattr(platform, "device", "")).startswith("iCE40UP")


class Spram(wiring.Component):
    """16384 words of 16 bits with one address; what they hold at power-up is not known.

    A word is written in the cycle of :py:`enable`. Otherwise the word at :py:`address` stands at :py:`data` in the next
    cycle; after a cycle of writing :py:`data` has no meaning.

    Members
    -------
    address : :py:`In(14)`
    enable : :py:`In(1)`
    word : :py:`In(16)`
        What is written.
    data : :py:`Out(16)`
    """

    address: Signal
    enable: Signal
    word: Signal
    data: Signal

    def __init__(self):
        super().__init__({"address": In(range(SPRAM_WORDS)), "enable": In(1), "word": In(SPRAM_BITS),
                          "data": Out(SPRAM_BITS)})

    def elaborate(self, platform):
        m = Module()
        if has_spram(platform):
            m.submodules.ram = Instance(
                "SB_SPRAM256KA", i_CLOCK=ClockSignal(), i_ADDRESS=self.address, i_DATAIN=self.word,
                i_MASKWREN=Const(0xF, 4), i_WREN=self.enable, i_CHIPSELECT=Const(1, 1), i_STANDBY=Const(0, 1),
                i_SLEEP=Const(0, 1), i_POWEROFF=Const(1, 1), o_DATAOUT=self.data)  # POWEROFF is active low
            return m
        # "huge" is Yosys's word for SPRAM, which `synth_ice40 -spram` makes of it.
        m.submodules.ram = ram = memory.Memory(shape=SPRAM_BITS, depth=SPRAM_WORDS, init=[],
                                               attrs={"ram_style": "huge"})
        write, read = ram.write_port(), ram.read_port(domain="sync")
        m.d.comb += [
            write.addr.eq(self.address), write.data.eq(self.word), write.en.eq(self.enable),
            read.addr.eq(self.address), read.en.eq(~self.enable), self.data.eq(read.data),
        ]
        return m
