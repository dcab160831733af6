"""What the engine and the kernels agree on; nothing here needs a compiler."""

from dataclasses import dataclass

__all__ = ["AMX_BLOCK", "COLUMNS", "DOT_ROWS", "ENTRY", "LANES", "TILES", "Tile"]

LANES = 8  # columns per vector: 64-bit lanes of 512 bits; narrower machines take two or four registers

COLUMNS = 32  # of a panel of bytes
DOT_ROWS = 8  # of a VPDPBUSD block
AMX_BLOCK = 32  # rows of an AMX block: two tiles

ENTRY = "run_kernel"  # the function of a compiled kernel


@dataclass(frozen=True)
class Tile:
    """Shape of a micro-kernel and how it counts.

    Parameters
    ----------
    rows, vectors : :class:`int`
        Accumulators of the tile: ``rows`` by ``vectors`` vectors of 8 columns.
    words : 1 or 4
        Words counted together: 1 counts each word's ones; 4 adds four words in carry-save form first.
    """

    rows: int
    vectors: int
    words: int = 1

    @property
    def columns(self) -> int:
        return self.vectors * LANES


# Tiles without and with a mask beside the sign of each word, measured with benchmarks/cpu.py. An avx512 machine has
# 32 vector registers of 8 columns, avx2 keeps 8 columns in two of its 16.
TILES: dict[str, tuple[Tile, Tile]] = {
    "avx512-vpopcntdq": (Tile(4, 4), Tile(4, 2)),
    "avx512": (Tile(2, 2, words=4), Tile(2, 2, words=4)),
    "avx2": (Tile(1, 1, words=4), Tile(1, 1, words=4)),
    "portable": (Tile(2, 1), Tile(2, 1)),
}
