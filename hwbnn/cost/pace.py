"""Which pace a clock asks for on a chip: a small table of frequencies that nextpnr was seen to reach."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hwbnn.cost.technology import Constant, Technology
from hwbnn.errors import UserError
from hwbnn.plan import RELAXED, Pace

__all__ = ["CLOCKS", "Clocks", "pace"]

_LEAST = 1_000_000  # hertz


@dataclass(frozen=True)
class Clocks:
    """Up to which frequency each pace of a chip is used.

    Parameters
    ----------
    relaxed : :class:`Constant`
        In MHz, of the smallest hardware.
    fast : :class:`Constant`
        In MHz, with all registers there are: the highest clock that can be asked for.
    output : :class:`int`
        Registers that a block memory can take behind itself.
    """

    relaxed: Constant
    fast: Constant
    output: int


def _clocks(relaxed: int, fast: int, output: int, device: str) -> Clocks:
    source = f"benchmarks/hardware.py fmax, nextpnr, {device}: median of 3 seeds of folded networks, rounded down"
    below = "what nextpnr reaches with the relaxed pace, without products by constants of many bits"
    return Clocks(Constant(relaxed, "MHz", "measured", source, below),
                  Constant(fast, "MHz", "measured", source, "what nextpnr reaches at best; the seed decides"), output)


CLOCKS: Mapping[str, Clocks] = MappingProxyType({
    "ecp5-25": _clocks(80, 200, 1, "LFE5U-85F, speed 6"),
    "ecp5-45": _clocks(80, 200, 1, "LFE5U-85F, speed 6"),
    "ecp5-85": _clocks(80, 200, 1, "LFE5U-85F, speed 6"),
    "ice40-hx1k": _clocks(65, 160, 0, "HX8K"),
    "ice40-hx8k": _clocks(65, 160, 0, "HX8K"),
    "ice40-up5k": _clocks(24, 70, 0, "UP5K"),
})


def pace(tech: Technology, clock_hz: int, *, deep: bool = False) -> Pace:
    """Return where registers have to stand for ``clock_hz``; chips without a table are always relaxed.

    Parameters
    ----------
    deep : :class:`bool`
        Whether block memories are split into blocks as deep as they are, so that no look-up tables choose among
        blocks, even where wider ones would be fewer.

    Raises
    ------
    UserError
        The clock is out of the chip's range.
    """
    known = CLOCKS.get(tech.name)
    highest = None if known is None else 1_000_000 * known.fast.value
    if clock_hz < _LEAST or (highest is not None and clock_hz > highest):
        limits = "at least 1 MHz" if highest is None else f"1 to {highest / 1e6:g} MHz"
        raise UserError(f"Clock must be {limits} on {tech.title}, not {clock_hz / 1e6:g} MHz")
    shapes, rows = tech.block_memory.shapes.value, 1 if deep else RELAXED.rows
    if known is None or clock_hz <= 1_000_000 * known.relaxed.value:
        return Pace(shapes=shapes, rows=rows) if deep else RELAXED
    return Pace(levels=1, address=1, output=known.output, shapes=shapes, rows=rows)
