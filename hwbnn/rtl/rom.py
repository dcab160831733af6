"""Read-only memories."""

from amaranth.lib import memory

__all__ = ["rom"]


def rom(width: int, words, *, style: str) -> memory.Memory:
    """Make a read-only memory of ``words``, marked with what synthesis shall make of it."""
    return memory.Memory(shape=width, depth=len(words), init=words,
                         attrs={"rom_style": style, "ram_style": style})
