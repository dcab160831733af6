"""What a board's design takes beside the accelerator: the host link and two lights, as measured.

``python benchmarks/synthesis.py`` measures the host link with images of 8 to 3072 bytes. Flip-flops grow with the
width of a beat, which is gathered or sent byte by byte; on iCE40 each of them is a logic cell. Block memories follow
from the depth of the request buffer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hwbnn.cost import Quantity, technology
from hwbnn.cost.resources import Resources
from hwbnn.plan import Stream
from hwbnn_boards.board import Board
from hwbnn_boards.protocol import HEADER_BYTES, beats_of, window

__all__ = ["footprint"]

SOURCE = "benchmarks/synthesis.py: Yosys 0.70, nextpnr 0.11.1, images of 8 to 3072 bytes; lights of a whole design"
_METHOD = "measured"
_BLOCK_BYTES = 255  # a COBS block, which the encoder keeps until its length is known


@dataclass(frozen=True)
class _Measured:
    """Low, nominal and high of what does not grow with the width of a beat: cells after packing, LUT4, flip-flops."""

    luts: tuple[int, int, int]
    mapped_luts: tuple[int, int, int]
    flip_flops: tuple[int, int, int]


_LINKS: Mapping[str, _Measured] = MappingProxyType({
    "ecp5": _Measured((930, 1020, 1140), (855, 910, 1025), (330, 375, 410)),
    "ice40": _Measured((895, 940, 1030), (770, 810, 1000), (330, 375, 410)),
})


def footprint(board: Board, image: Stream, result: Stream) -> Resources:
    """Return what stands beside an accelerator on ``board`` that takes ``image`` and gives ``result``."""
    tech, known = technology(board.technology), _LINKS[board.family]
    beats = beats_of(image)
    buffer = window(beats.size) * (HEADER_BYTES + beats.size)
    blocks = sum(tech.block_memory.blocks(8, size, written=True) for size in (buffer, _BLOCK_BYTES))
    gathered = 8 * (beats.width + beats_of(result).width - 1)
    multiplexed = 8 * (blocks - 2)  # the request buffer's blocks, read as one

    def interval(ends: tuple[int, int, int], unit: str, more: int) -> Quantity:
        low, nominal, high = (end + more for end in ends)
        return Quantity(low, nominal, high, unit, _METHOD, (SOURCE,))

    flip_flops = interval(known.flip_flops, "FF", gathered)
    return Resources(
        luts=interval(known.luts, tech.lut, multiplexed + (gathered if tech.shared_cells else 0)),
        mapped_luts=interval(known.mapped_luts, "LUT4", multiplexed),
        flip_flops=flip_flops, mapped_flip_flops=flip_flops,
        memory_bits=Quantity.exact(8 * (buffer + _BLOCK_BYTES), "bit"),
        # A buffer of few words may go to LUT memory where there is some.
        blocks=Quantity(blocks - (tech.lut_memory is not None and buffer < 256), blocks, blocks,
                        tech.block_memory.name, "native shapes", (tech.block_memory.shapes.source,)),
        dsp=Quantity.exact(0, tech.dsp.unit))
