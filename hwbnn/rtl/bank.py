"""A bank of words behind an address."""

from collections.abc import Sequence

from amaranth import Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwbnn.plan import Bank
from hwbnn.rtl.rom import rom

__all__ = ["BankReader"]


class BankReader(wiring.Component):
    """Give out one of ``words`` after another. Runs free; latency ``bank.latency``, II 1.

    Members
    -------
    address : :py:`In(range(bank.depth))`
    data : :py:`Out(bank.width)`
        The word at the address of ``bank.latency`` cycles ago.
    """

    address: Signal
    data: Signal

    def __init__(self, bank: Bank, words: Sequence[int]):
        if len(words) != bank.depth:
            raise ValueError(f"Bank {bank.name} must have {bank.depth} words, not {len(words)}")
        self._bank, self._words = bank, words
        super().__init__({"address": In(range(bank.depth)), "data": Out(bank.width)})

    @property
    def latency(self) -> int:
        """Cycles from address to word."""
        return self._bank.latency

    def elaborate(self, platform):
        m = Module()
        bank = self._bank
        if not bank.has_memory:
            m.d.comb += self.data.eq(Const(self._words[0], bank.width))
            return m
        m.submodules.rom = words = rom(bank.width, self._words, style=bank.style)
        read = words.read_port(domain="sync" if bank.style == "block" else "comb")
        word = Signal(bank.width, reset_less=True)
        m.d.comb += [read.addr.eq(self.address), self.data.eq(word)]
        m.d.sync += word.eq(read.data)
        return m
