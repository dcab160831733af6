"""Where data are kept: the rule by which buffers go to block memory."""

from hwbnn.plan.records import Style

__all__ = ["buffer_style"]


def buffer_style(width: int, depth: int) -> Style:
    """Where values wait that are read again: more than 64 words and 8192 bits go to block memory."""
    return "block" if depth > 64 and depth * width > 8192 else "distributed"
