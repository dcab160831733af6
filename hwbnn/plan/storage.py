"""Where data are kept: the rules by which buffers and tables go to block memory."""

from hwbnn.plan.records import Style, ceil_div

__all__ = ["buffer_style", "spares_luts"]

_WORDS = 16  # of the smallest LUT memory
_BITS = 36  # of the widest word of a block
_LEAST = 48  # bits of LUT memory of 16 words that a block should stand for; such memory is 4 bits wide


def buffer_style(width: int, depth: int) -> Style:
    """Where values wait that are read again: more than 64 words and 8192 bits go to block memory."""
    return "block" if depth > 64 and depth * width > 8192 else "distributed"


def spares_luts(width: int, depth: int) -> bool:
    """Whether a block memory for these words stands for enough look-up tables, where blocks are there to be used."""
    return depth > _WORDS and min(4 * ceil_div(width, 4), _BITS) * ceil_div(depth, _WORDS) >= _LEAST
