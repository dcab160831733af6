"""How densely registers stand in an accelerator, and what its memories are split into: what a clock asks of a chip."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["RELAXED", "Pace"]


@dataclass(frozen=True)
class Pace:
    """Where registers stand beyond those that the function needs.

    The first, :data:`RELAXED`, is the smallest hardware, and suits any family. Which one a clock asks for is in the
    chip's table of :mod:`hwbnn.cost`.

    Parameters
    ----------
    levels : :class:`int`
        Levels of adders between registers, at most.
    address : :class:`int`
        Registers before the address of a block memory.
    output : :class:`int`
        Registers behind a block memory before the one in fabric, which the memory may take into itself.
    shapes : tuple of (words, bits)
        Shapes of the family's block memory. Memories are split into blocks of one of them; none leaves it to synthesis.
    rows : :class:`int`
        Rows of blocks, at most, where there is a shape that deep. More rows can mean fewer blocks, as wide shapes have
        bits that narrow ones have not; a look-up table for each bit chooses among them.
    """

    levels: int = 2
    address: int = 0
    output: int = 0
    shapes: tuple[tuple[int, int], ...] = ()
    rows: int = 2

    def __post_init__(self):
        for name, least in (("levels", 1), ("address", 0), ("output", 0), ("rows", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"Pace {name} must be an integer, not {value!r}")
            if value < least:
                raise ValueError(f"Pace {name} must be at least {least}, not {value}")
        for shape in self.shapes:
            if len(shape) != 2 or min(shape) < 1:
                raise ValueError(f"Pace shapes must be words and bits of at least 1, not {shape!r}")

    @property
    def record(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {**asdict(self), "shapes": [list(shape) for shape in self.shapes]}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Pace":
        """The inverse of :attr:`record`; nothing is the relaxed pace. ``ValueError`` or ``TypeError`` for others."""
        known = cls.__dataclass_fields__
        for name in record:
            if name not in known:
                raise ValueError(f"Pace must be of {', '.join(known)}, not {name}")
        shapes = tuple((words, bits) for words, bits in record.get("shapes", ()))
        return cls(**{**record, "shapes": shapes})

    def shape(self, width: int, depth: int, *, written: bool = False) -> tuple[int, int]:
        """The shape of which ``depth`` words of ``width`` bits take the fewest blocks, the deepest of those.

        In at most :attr:`rows` rows of blocks where there is a shape that deep, else in the deepest: what chooses among
        rows is slow.
        Constants of all rows stand side by side in one block; what is ``written`` has rows of its own.
        """
        def blocks(shape: tuple[int, int]) -> int:
            rows = -(-depth // shape[0])
            return rows * -(-width // shape[1]) if written else -(-width * rows // shape[1])

        if not self.shapes:
            return depth, width
        shapes = [shape for shape in self.shapes if self.rows * shape[0] >= depth] or [max(self.shapes)]
        return min(shapes, key=lambda shape: (blocks(shape), -shape[0]))


RELAXED = Pace()
"""The pace of the slowest clocks: nothing stands where it need not."""
