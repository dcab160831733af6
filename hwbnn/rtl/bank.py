"""A bank of words behind an address, and the port over which it is written."""

from collections.abc import Sequence
from typing import Any

from amaranth import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from hwbnn.plan import Bank, Stage
from hwbnn.plan.bank import SPRAM_BITS, SPRAM_WORDS
from hwbnn.rtl.rom import rom
from hwbnn.rtl.spram import Spram

__all__ = ["BankReader", "load_port", "load_ports"]


def load_port(bank: Bank) -> wiring.Signature:
    """What writes ``data`` to the word at ``address`` in each cycle of ``enable``."""
    return wiring.Signature({"address": Out(range(bank.depth)), "data": Out(bank.width), "enable": Out(1)})


def load_ports(stage: Stage) -> dict[str, wiring.Member]:
    """The ports over which the banks of a stage are written."""
    return {f"load_{name}": In(load_port(loaded.bank)) for name, loaded in stage.banks.items()}


class BankReader(wiring.Component):
    """Give out one word of a bank after another. Runs free; latency ``bank.latency``, II 1.

    Where the bank is loadable, a word that is read while any is written has no meaning.

    Parameters
    ----------
    bank : :class:`Bank`
    words : sequence of :class:`int`
        What it holds at power-up, unless it is SPRAM.

    Members
    -------
    address : :py:`In(range(bank.depth))`
    data : :py:`Out(bank.width)`
        The word at the address of ``bank.latency`` cycles ago.
    load : :py:`In(load_port(bank))`
        Where the bank is loadable.
    """

    address: Signal
    data: Signal
    load: Any  # a port, of those that are loadable only

    def __init__(self, bank: Bank, words: Sequence[int]):
        if len(words) != bank.depth:
            raise ValueError(f"Bank {bank.name} must have {bank.depth} words, not {len(words)}")
        self._bank, self._words = bank, words
        load = {"load": In(load_port(bank))} if bank.loadable else {}
        super().__init__({"address": In(range(bank.depth)), "data": Out(bank.width), **load})

    @property
    def bank(self) -> Bank:
        """What it reads."""
        return self._bank

    @property
    def latency(self) -> int:
        """Cycles from address to word."""
        return self._bank.latency

    def elaborate(self, platform):
        m = Module()
        bank = self._bank
        if not bank.has_memory:
            if not bank.loadable:
                m.d.comb += self.data.eq(Const(self._words[0], bank.width))
                return m
            word = Signal(bank.width, init=self._words[0], reset_less=True)
            m.d.comb += self.data.eq(word)
            with m.If(self.load.enable):
                m.d.sync += word.eq(self.load.data)
            return m
        word = Signal(bank.width, reset_less=True)
        m.d.comb += self.data.eq(word)
        m.d.sync += word.eq(self._spram(m) if bank.style == "spram" else self._memory(m))
        return m

    def _memory(self, m: Module) -> Value:
        """Return the word at the address; of block memory that of the cycle before."""
        bank = self._bank
        domain = "sync" if bank.style == "block" else "comb"
        if not bank.loadable:
            m.submodules.rom = words = rom(bank.width, self._words, style=bank.style)
        else:
            m.submodules.ram = words = memory.Memory(shape=bank.width, depth=bank.depth, init=self._words,
                                                     attrs={"ram_style": bank.style})
            write = words.write_port()
            m.d.comb += [write.addr.eq(self.load.address), write.data.eq(self.load.data),
                         write.en.eq(self.load.enable)]
        read = words.read_port(domain=domain)
        m.d.comb += read.addr.eq(self.address)
        return read.data

    def _spram(self, m: Module) -> Value:
        """Return the word at the address of the cycle before, from rows of blocks side by side."""
        bank, load = self._bank, self.load
        address = Signal(range(bank.depth), name="shared")
        m.d.comb += address.eq(Mux(load.enable, load.address, self.address))
        low, high = address[:SPRAM_WORDS.bit_length() - 1], address[SPRAM_WORDS.bit_length() - 1:]
        rows = []
        for row in range(bank.rows):
            columns = []
            for column in range(bank.columns):
                m.submodules[f"ram_{row}_{column}"] = ram = Spram()
                m.d.comb += [
                    ram.address.eq(low), ram.enable.eq(load.enable & (high == row if bank.rows > 1 else 1)),
                    ram.word.eq(load.data[column * SPRAM_BITS:(column + 1) * SPRAM_BITS]),
                ]
                columns.append(ram.data)
            rows.append(Cat(columns)[:bank.width])
        if bank.rows == 1:
            return rows[0]
        read_row = Signal(range(bank.rows))
        m.d.sync += read_row.eq(high)
        return Array(rows)[read_row]
