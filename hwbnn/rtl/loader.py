"""The configuration stream: packets of bytes become writes to the loadable banks."""

from amaranth import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hwbnn.plan.interface import ERROR_BITS
from hwbnn.plan.loader import ADDRESS_BYTES, HEADER_BYTES, WORDS_BITS, LoaderStage, word_bytes
from hwbnn.rtl.bank import load_port

__all__ = ["BYTE", "Loader"]

#: A byte of a packet, and whether it is the packet's last.
BYTE = data.StructLayout({"data": 8, "last": 1})


class Loader(wiring.Component):
    """Write the words of each packet to one bank, from one address upwards.

    :func:`hwbnn.plan.loader.packets` says what a packet is. A byte is taken in every cycle; a word is written in the
    cycle after its last byte. What does not belong to a bank is dropped: packets for a bank that there is not, words
    beyond a bank's end, what is left of a word where a packet ends. Each packet with any of these, or without a word,
    adds one to :py:`errors`, which stays at its greatest value. Nothing holds frames back meanwhile: who loads sends
    none until all is loaded, and loads only after the last result.

    Members
    -------
    i : :py:`In(stream.Signature(BYTE))`
        Always ready.
    load_0, load_1, ... : :py:`Out(load_port(bank))`
        The banks, by their numbers.
    words : :py:`Out(32)`
        Words written since reset, modulo 2^32.
    errors : :py:`Out(16)`
        Faulty packets since reset.
    """

    i: stream.Interface
    words: Signal
    errors: Signal

    def __init__(self, stage: LoaderStage):
        if not isinstance(stage, LoaderStage):
            raise TypeError(f"Loader stage must be a LoaderStage, not {stage!r}")
        self._stage = stage
        super().__init__({
            "i": In(stream.Signature(BYTE)),
            **{f"load_{n}": Out(load_port(bank)) for n, bank in enumerate(stage.targets.values())},
            "words": Out(WORDS_BITS),
            "errors": Out(ERROR_BITS),
        })

    @property
    def stage(self) -> LoaderStage:
        """What it writes."""
        return self._stage

    def elaborate(self, platform):
        m = Module()
        stage, banks = self._stage, list(self._stage.targets.values())
        sizes = [word_bytes(bank) for bank in banks]

        place = Signal(range(HEADER_BYTES + 1))  # in the header, or behind it
        # Number begins with no bank's, so that the first header changes it: Icarus does not evaluate what depends on a
        # register alone before that changes, and would lose the words of bank 0.
        number, address = Signal(8, init=0xFF), Signal(8 * ADDRESS_BYTES)
        word, byte = Signal(8 * stage.word_bytes), Signal(range(stage.word_bytes))
        write, ended, faulty = Signal(), Signal(), Signal()
        known, whole, inside = Signal(), Signal(), Signal()
        entry = self.i.payload
        m.d.comb += [
            self.i.ready.eq(1),
            known.eq(number < len(banks)),
            whole.eq((place == HEADER_BYTES) & (byte == Array(size - 1 for size in sizes)[number])),
            inside.eq(known & (address < Array(bank.depth for bank in banks)[number])),
        ]

        m.d.sync += [write.eq(self.i.valid & whole), ended.eq(self.i.valid & entry.last)]
        with m.If(self.i.valid):
            with m.If(place == 0):
                m.d.sync += number.eq(entry.data)
            with m.Elif(place < HEADER_BYTES):
                m.d.sync += address.eq(Cat(address, entry.data)[8:])
            with m.Else():
                m.d.sync += [word.eq(Cat(word, entry.data)[8:]), byte.eq(Mux(whole, 0, byte + 1))]
            with m.If(entry.last):
                m.d.sync += [place.eq(0), byte.eq(0)]
            with m.Elif(place < HEADER_BYTES):
                m.d.sync += place.eq(place + 1)
        with m.If(write):
            m.d.sync += address.eq(address + 1)
            with m.If(inside):
                m.d.sync += self.words.eq(self.words + 1)

        for n, size in enumerate(sizes):
            port = getattr(self, f"load_{n}")
            m.d.comb += [
                port.address.eq(address),
                port.data.eq(word[8 * (stage.word_bytes - size):]),
                port.enable.eq(write & inside & (number == n)),
            ]
        bad = faulty | (write & ~inside)
        m.d.sync += faulty.eq((bad & ~ended) | (self.i.valid & entry.last & ~whole))
        with m.If(ended & bad & ~self.errors.all()):
            m.d.sync += self.errors.eq(self.errors + 1)
        return m
