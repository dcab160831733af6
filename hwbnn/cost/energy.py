"""Energy per inference: in the FPGA where its constants are known, and as a 45 nm reference everywhere.

**FPGA** (E = P_static · t + cycles · E_clock + pin toggles · E_sink + memory accesses · E_access): t and cycles
are the steady-state interval between frames. Pin toggles are LUT inputs (four per LUT, at most) times the chance to
toggle times the glitch factor, over the cycles in which the stage works. A constant that nobody has published makes
the figure unknown.

**Reference at 45 nm**: the same operations and the bits moved, priced as in an ASIC. It is no estimate of the FPGA;
it compares networks and gives each layer's share where the FPGA's figure is unknown.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hwbnn.cost.asic import asic
from hwbnn.cost.operations import Access, operations
from hwbnn.cost.quantity import Figure, Quantity, Unknown, from_json, product, total
from hwbnn.cost.resources import Resources
from hwbnn.cost.technology import Technology
from hwbnn.plan import Stage

__all__ = [
    "CAUSES", "Energy", "asic_energy", "counted_toggles", "fpga_energy", "shares", "summed_energy", "toggles",
    "whole_fpga_energy",
]

CAUSES = ("static", "clock", "datapath", "weight memory", "feature memory")
PINS_PER_LUT = Quantity(2.5, 3.4, 4, "pin/LUT", "structure of a LUT4")


@dataclass(frozen=True)
class Energy:
    """Joules per inference by cause. A cause that the model does not cover is None and not part of the total.

    Parameters
    ----------
    static, clock, datapath, weight_memory, feature_memory : Figure or None
    """

    static: Figure | None
    clock: Figure | None
    datapath: Figure
    weight_memory: Figure
    feature_memory: Figure

    @property
    def causes(self) -> dict[str, Figure]:
        """What the total is made of, by name of :data:`CAUSES`."""
        named = zip(CAUSES, (self.static, self.clock, self.datapath, self.weight_memory, self.feature_memory),
                    strict=True)
        return {name: figure for name, figure in named if figure is not None}

    @property
    def total(self) -> Figure:
        return total(self.causes.values(), "J")

    def to_json(self) -> dict[str, Any]:
        return {name: figure.to_json() for name, figure in self.causes.items()} | {"total": self.total.to_json()}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Energy":
        figures = {name: from_json(record[name]) if name in record else None for name in CAUSES}
        return cls(*(figures[name] for name in CAUSES))  # pyright: ignore[reportArgumentType]  # the last three are there


def summed_energy(parts: Iterable[Energy]) -> Energy:
    """Return the sum by cause; a cause that no part has stays None."""
    parts = list(parts)

    def add(name: str) -> Figure | None:
        figures = [getattr(part, name) for part in parts if getattr(part, name) is not None]
        return total(figures, "J") if figures else None

    return Energy(*(add(name) for name in (  # pyright: ignore[reportArgumentType]  # stages have the last three
        "static", "clock", "datapath", "weight_memory", "feature_memory")))


def toggles(stage: Stage, resources: Resources, tech: Technology) -> Figure:
    """LUT input toggles of one stage per inference, glitches included."""
    constants = tech.energy
    cycles = Quantity.exact(stage.ii, "cycle")
    return product("toggle", resources.luts, PINS_PER_LUT, constants.activity.figure(), constants.glitch.figure(),
                   cycles, method="activity assumed")


def counted_toggles(count: float, tech: Technology) -> Figure:
    """LUT input toggles of one stage per inference where ``count`` were seen in its netlist, without delays."""
    return product("toggle", Quantity.exact(count, "toggle"), tech.energy.glitch.figure(), method="netlist activity")


def fpga_energy(stage: Stage, pins: Figure, tech: Technology) -> Energy:
    """Return what one stage adds to the FPGA's energy per inference: all but static power and clock.

    ``pins`` are its LUT input toggles per inference.
    """
    constants, ops = tech.energy, operations(stage)
    datapath = product("J", pins, constants.sink.figure(), method=f"pin toggles, {pins.method}" if isinstance(
        pins, Quantity) else "pin toggles")

    def accesses(which: Iterable[Access]) -> Figure:
        figures = []
        for access in which:
            if access.memory.style == "block":
                blocks = tech.block_memory.blocks(access.memory.width, access.memory.depth,
                                                  written=access.memory.written)
                count = Quantity.exact(blocks * access.per_frame, "access")
                figures.append(product("J", count, constants.block_read.figure(), method="block accesses"))
            elif access.memory.style == "spram":
                count = Quantity.exact(access.per_frame, "access")
                figures.append(product("J", count, constants.large_read.figure(), method="SPRAM accesses"))
            elif access.memory.style == "distributed" and tech.lut_memory is not None:
                primitives = tech.lut_memory.primitives(access.memory.width, access.memory.depth)
                count = Quantity.exact(primitives * access.per_frame, "access")
                figures.append(product("J", count, constants.lut_read.figure(), method="LUT memory accesses"))
        return total(figures, "J")  # memories in logic and in flip-flops are part of the datapath

    return Energy(None, None, datapath, accesses(ops.weight_accesses), accesses(ops.feature_accesses))


def whole_fpga_energy(parts: Iterable[Energy], interval: int, clock_hz: int, tech: Technology) -> Energy:
    """Return the accelerator's energy per inference: its stages', and the chip's static power and clock."""
    inner = summed_energy(parts)
    seconds = Quantity.exact(interval / clock_hz, "s")
    static = product("J", tech.energy.static_power.figure(), seconds, method="static power")
    clock = product("J", tech.energy.clock.figure(), Quantity.exact(interval, "cycle"), method="clock network")
    return Energy(static, clock, inner.datapath, inner.weight_memory, inner.feature_memory)


def asic_energy(stage: Stage) -> Energy:
    """Return the 45 nm reference of one stage: operations and bits moved, per inference."""
    chip, ops = asic(), operations(stage)
    datapath = chip.add(1).scale(ops.bit_operations)

    def accesses(which: Iterable[Access]) -> Figure:
        return total((chip.access(a.memory.bits, a.memory.width).scale(a.per_frame) for a in which), "J")

    return Energy(None, None, datapath, accesses(ops.weight_accesses), accesses(ops.feature_accesses))


def shares(energies: Iterable[Energy]) -> list[float] | None:
    """Each part's nominal share of the sum; None where a part is unknown."""
    totals = [energy.total for energy in energies]
    if any(isinstance(figure, Unknown) for figure in totals):
        return None
    values = [figure.nominal for figure in totals if isinstance(figure, Quantity)]
    whole = sum(values)
    return [value / whole if whole else 0.0 for value in values]
