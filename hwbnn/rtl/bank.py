"""A bank of words behind an address, and the port over which it is written."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from amaranth import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from hwbnn.plan import Bank, Memory, Stage
from hwbnn.plan.bank import SPRAM_BITS, SPRAM_WORDS
from hwbnn.rtl.pipeline import delayed
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
        read = {"spram": self._spram, "block": self._blocks}.get(bank.style, self._logic)
        m.d.sync += word.eq(read(m))
        return m

    def _logic(self, m: Module) -> Value:
        """Return the word at the address; where there are rows, of the cycle before."""
        bank = self._bank
        words = bank.shape[0]
        rows = []
        for row, block in enumerate(bank.memories):
            contents = self._words[row * words:(row + 1) * words]
            read = self._storage(m, block, contents, row=row).read_port(domain="comb")
            m.d.comb += read.addr.eq(self.address[:(words - 1).bit_length()])
            rows.append(delayed(m, read.data, int(bank.rows > 1), name=f"row_{row}"))
        if bank.rows == 1:
            return rows[0]
        return Array(rows)[delayed(m, self.address[(words - 1).bit_length():], 1, name="row")]

    def _blocks(self, m: Module) -> Value:
        """Return the word at the address of ``latency - 1`` cycles ago, from rows and columns of blocks."""
        bank = self._bank
        words, bits = bank.shape
        address = delayed(m, self.address, bank.pace.address, name="address")
        low, high = address[:(words - 1).bit_length()], address[(words - 1).bit_length():]
        rows = [[*self._words[row * words:(row + 1) * words]] for row in range(bank.rows)]
        if not bank.loadable:  # all rows are one of wide words
            whole = zip_longest(*rows, fillvalue=0)
            rows = [[sum(word << row * bank.width for row, word in enumerate(side)) for side in whole]]
        blocks, data = iter(bank.memories), []
        for row, contents in enumerate(rows):
            for column in range(bank.columns):
                part = [word >> column * bits & (1 << bits) - 1 for word in contents]
                read = self._storage(m, next(blocks), part, row=row, column=column).read_port(domain="sync")
                m.d.comb += read.addr.eq(low)
                data.append(delayed(m, read.data, bank.pace.output, name=f"block_{row}_{column}"))
        found = Cat(data)
        if bank.rows == 1:
            return found
        read_row = delayed(m, high, 1 + bank.pace.output, name="row")
        return Array(found.word_select(row, bank.width) for row in range(bank.rows))[read_row]

    def _storage(self, m: Module, block: Memory, words: Sequence[int], *, row: int, column: int = 0) -> memory.Memory:
        """Make one memory of the bank, with its write port where it is loadable."""
        bank = self._bank
        suffix = "" if len(bank.memories) == 1 else f"_{row}_{column}"
        if not bank.loadable:
            m.submodules[f"rom{suffix}"] = storage = rom(block.width, words, style=bank.style)
            return storage
        m.submodules[f"ram{suffix}"] = storage = memory.Memory(
            shape=block.width, depth=block.depth, init=words, attrs={"ram_style": bank.style})
        write, start = storage.write_port(), column * bank.shape[1]
        inside = (bank.shape[0] - 1).bit_length()
        m.d.comb += [
            write.addr.eq(self.load.address[:inside]), write.data.eq(self.load.data[start:start + block.width]),
            write.en.eq(self.load.enable & (self.load.address[inside:] == row if bank.rows > 1 else 1)),
        ]
        return storage

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
