"""The ASIC-style reference: operations and memory accesses at 45 nm, as the papers of this field count energy.

These figures say what the arithmetic and the bits moved would cost in a 45 nm chip. They are no estimate of an
FPGA, whose routing dominates; they are comparable between networks and with published accelerators.
"""

import tomllib
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from math import log, sqrt

from hwbnn.cost.quantity import Figure, Quantity, product
from hwbnn.cost.technology import Constant, constants

__all__ = ["NAME", "NODES", "Asic", "asic", "nodes", "scaled"]

NAME = "asic-45nm"
NODES = "asic-nodes"
_REFERENCE = "45"  # nanometres of the published figures
_ACCESS_BITS = 64  # width of the published memory accesses
_CAPACITIES = (8 * 1024 * 8, 32 * 1024 * 8, 1024 * 1024 * 8)  # theirs in bits: 8 KB, 32 KB, 1 MB


@dataclass(frozen=True)
class Asic:
    """Energy per operation and per access, joules."""

    title: str
    add8: Constant
    add32: Constant
    multiply8: Constant
    multiply32: Constant
    add_float32: Constant
    multiply_float32: Constant
    dram: Constant
    sram_8kb: Constant
    sram_32kb: Constant
    sram_1mb: Constant

    def add(self, bits: int) -> Quantity:
        """Energy of one addition of ``bits`` bits: linear in the bits.

        Nominal is the 8-bit figure per bit, the low end also covers the 32-bit figure per bit. An XNOR
        counts as an addition of one bit (as qkeras' qenergy prices it), a full adder likewise.
        """
        eight, wide = self.add8.figure(), self.add32.figure()
        assert isinstance(eight, Quantity) and isinstance(wide, Quantity)  # published, tested
        return Quantity(min(eight.low / 8, wide.low / 32) * bits, eight.nominal / 8 * bits, eight.high / 8 * bits,
                        "J", "45 nm operations", (*eight.sources,))

    def access(self, capacity: int, width: int) -> Quantity:
        """Energy of moving ``width`` bits to or from a memory of ``capacity`` bits.

        By bits; between the published capacities along the line through them in logarithms, outside it with
        the square root of the capacity (the slope of the first two). Below 8 KB the high end stays at 8 KB's,
        since small memories are not cheaper without limit.
        """
        points = [c.figure() for c in (self.sram_8kb, self.sram_32kb, self.sram_1mb)]
        share = width / _ACCESS_BITS
        low, nominal, high = (_interpolated([getattr(p, end) for p in points], capacity)
                              for end in ("low", "nominal", "high"))
        if capacity < _CAPACITIES[0]:
            high = points[0].high  # pyright: ignore[reportAttributeAccessIssue]  # published, tested
        sources = tuple(dict.fromkeys(s for p in points for s in p.sources))  # pyright: ignore[reportAttributeAccessIssue]
        return Quantity(low * share, nominal * share, high * share, "J", "45 nm accesses", sources)


def _interpolated(energies: list[float], capacity: int) -> float:
    small, middle, large = _CAPACITIES
    if capacity <= middle:
        if capacity <= small:
            return energies[0] * sqrt(capacity / small)
        return energies[0] * (energies[1] / energies[0]) ** (_log_share(capacity, small, middle))
    if capacity <= large:
        return energies[1] * (energies[2] / energies[1]) ** (_log_share(capacity, middle, large))
    return energies[2] * sqrt(capacity / large)


def _log_share(value: int, low: int, high: int) -> float:
    return log(value / low) / log(high / low)


@cache
def asic() -> Asic:
    """Return the 45 nm constants."""
    text = (resources.files("hwbnn.cost.technologies") / f"{NAME}.toml").read_text(encoding="utf-8")
    record = constants(tomllib.loads(text), NAME)
    return Asic(**{f.name: record[f.name] for f in fields(Asic)})


@cache
def nodes() -> dict[str, float]:
    """Processes by name, in nanometres, with the energy of a gate at the usual supply over that at 45 nm and 0.9 V."""
    text = (resources.files("hwbnn.cost.technologies") / f"{NODES}.toml").read_text(encoding="utf-8")
    energy = {name: _polynomial(record["energy"].value, record["supply"].value)
              for name, record in constants(tomllib.loads(text), NODES).items() if isinstance(record, dict)}
    return {name: value / energy[_REFERENCE] for name, value in energy.items()}


def _polynomial(coefficients: tuple[float, float, float], supply: float) -> float:
    square, linear, constant = coefficients
    return square * supply**2 + linear * supply + constant


def scaled(figure: Figure, node: str) -> Figure:
    """An energy at 45 nm in another process of :func:`nodes`, 30 % less sure; the same at 45 nm.

    Logic scales so; memories and wires scale less, so that what they take is more than this.
    """
    if node == _REFERENCE:
        return figure
    text = (resources.files("hwbnn.cost.technologies") / f"{NODES}.toml").read_text(encoding="utf-8")
    energy = constants(tomllib.loads(text), NODES)[node]["energy"]
    factor = Quantity.about(nodes()[node], "1", relative=energy.uncertainty, method=f"scaled to {node} nm",
                            sources=(energy.source,))
    return product(figure.unit, figure, factor)
