"""What writes the loadable banks of an accelerator: a byte stream of packets, each some words of one bank."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hwbnn.plan.bank import Bank, Loaded
from hwbnn.plan.interface import ERROR_BITS
from hwbnn.plan.records import Stage, ceil_div, index_bits

__all__ = [
    "ADDRESS_BYTES", "HEADER_BYTES", "WORDS_BITS", "LoaderStage", "contents", "loaded_banks", "packets", "word_bytes",
]

ADDRESS_BYTES = 3
HEADER_BYTES = 1 + ADDRESS_BYTES
WORDS_BITS = 32  # of the count of words written


def word_bytes(bank: Bank) -> int:
    """Bytes of a word in a packet."""
    return ceil_div(bank.width, 8)


def loaded_banks(stages: Sequence[Stage]) -> dict[tuple[str, str], Loaded]:
    """Every loadable bank by stage and port, in the order of their numbers."""
    return {(stage.name, port): loaded for stage in stages for port, loaded in stage.banks.items()}


def contents(stages: Sequence[Stage]) -> list[bytes]:
    """Return what the words of each loadable bank are as bytes, in the order of the banks' numbers."""
    return [b"".join(word.to_bytes(word_bytes(loaded.bank), "little") for word in loaded.words)
            for loaded in loaded_banks(stages).values()]


def packets(stage: "LoaderStage", banks: Sequence[bytes], *, limit: int) -> list[bytes]:
    """Return what writes ``banks``, as :func:`contents` makes them: packets of at most ``limit`` bytes.

    Byte 0 is the number of a bank, bytes 1 to 3 are the address of the first word (least significant first), then
    words follow, each in as many bytes as it needs, least significant first.
    """
    made = []
    for number, (bank, content) in enumerate(zip(stage.targets.values(), banks, strict=True)):
        size = word_bytes(bank)
        most = (limit - HEADER_BYTES) // size
        if most < 1:
            raise ValueError(f"Limit must be at least the {HEADER_BYTES + size} bytes of a packet with one word of "
                             f"{bank.name}, not {limit}")
        made += [bytes([number]) + base.to_bytes(ADDRESS_BYTES, "little") + content[base * size:(base + most) * size]
                 for base in range(0, bank.depth, most)]
    return made


@dataclass(frozen=True, eq=False, kw_only=True)
class LoaderStage(Stage):
    """The loader: not on the way of frames, so it is none of ``Plan.stages``, but it takes cells like them.

    Parameters
    ----------
    targets : mapping
        The banks, by stage and port, in the order of their numbers.
    """

    targets: Mapping[tuple[str, str], Bank]

    def __post_init__(self):
        if len(self.targets) > 256:
            raise ValueError(f"Loader must have at most 256 banks to write, not {len(self.targets)}")
        for bank in self.targets.values():
            if bank.depth > 1 << 8 * ADDRESS_BYTES:
                raise ValueError(f"Bank {bank.name} must have at most {1 << 8 * ADDRESS_BYTES} words to be loadable, "
                                 f"not {bank.depth}")

    @property
    def word_bytes(self) -> int:
        """Bytes of the widest word."""
        return max(word_bytes(bank) for bank in self.targets.values())

    @property
    def latency(self) -> int:
        return 0

    @property
    def ii(self) -> int:
        return 1

    @property
    def flip_flops(self) -> int:
        """The word, its byte, address and bank; place in the header; strobes, faults; two counts."""
        return (8 * self.word_bytes + index_bits(self.word_bytes) + 8 * ADDRESS_BYTES + 8
                + index_bits(HEADER_BYTES + 1) + 3 + ERROR_BITS + WORDS_BITS)
