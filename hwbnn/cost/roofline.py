"""How far a folding is from what the chip allows: products per cycle against memory bandwidth and look-up tables.

A layer alone on the chip could do as many products per cycle as its memory accesses let pass, with every block memory
read at its widest in every cycle (products per bit times bits per cycle), and as many as its look-up tables make, with
all of the chip's at its own price per lane. All layers share the chip, so that the whole network's limit is the sum of
the times that each would take alone.
"""

from dataclasses import dataclass
from typing import Any

from hwbnn.cost.operations import operations
from hwbnn.cost.quantity import Figure, Quantity
from hwbnn.cost.resources import of_stage
from hwbnn.cost.technology import Technology
from hwbnn.plan import MatrixVectorStage, ParallelStage, Plan

__all__ = ["Roof", "Roofline", "roofline"]


@dataclass(frozen=True)
class Roof:
    """One layer.

    Parameters
    ----------
    stage : :class:`str`
    products : :class:`int`
        Per frame.
    bits : :class:`int`
        Read from and written to memories per frame, those in logic not counted.
    lanes : :class:`int`
        Products per cycle while it works: PE · SIMD.
    attained : :class:`float`
        Products per cycle over the whole interval between frames.
    memory_limit : :class:`float` or None
        Products per cycle that the chip's memories let pass; None where the layer reads none.
    lut_limit : :class:`float` or None
        Products per cycle that the chip's look-up tables make; None where these are unknown.
    """

    stage: str
    products: int
    bits: int
    lanes: int
    attained: float
    memory_limit: float | None
    lut_limit: float | None

    @property
    def intensity(self) -> float | None:
        """Products per bit of memory traffic."""
        return self.products / self.bits if self.bits else None

    @property
    def limit(self) -> float | None:
        """The lower roof."""
        known = [limit for limit in (self.memory_limit, self.lut_limit) if limit is not None]
        return min(known) if known else None

    @property
    def bound(self) -> str:
        """Which roof that is."""
        if self.limit is None:
            return "unknown"
        return "memory" if self.limit == self.memory_limit else "look-up tables"

    @property
    def share(self) -> float | None:
        """What is attained of the limit."""
        return None if self.limit is None else self.attained / self.limit

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "intensity": self.intensity, "limit": self.limit, "bound": self.bound,
                "share": self.share}


@dataclass(frozen=True)
class Roofline:
    """All layers of an accelerator on a chip.

    Parameters
    ----------
    bits_per_cycle : :class:`int`
        Of all block memories at their widest.
    interval : :class:`int`
        Cycles between frames.
    rows : tuple of :class:`Roof`
    """

    technology: str
    bits_per_cycle: int
    interval: int
    rows: tuple[Roof, ...]

    @property
    def least_interval(self) -> float | None:
        """Cycles between frames, were the whole chip at work in every cycle; None where a limit is unknown."""
        limits = [(row.products, row.lut_limit, row.bits) for row in self.rows]
        if any(lut is None for _, lut, _ in limits):
            return None
        logic = sum(products / lut for products, lut, _ in limits if lut)
        return max(logic, sum(bits for *_, bits in limits) / self.bits_per_cycle, 1.0)

    @property
    def distance(self) -> float | None:
        """How many times the interval is what it could be at least."""
        return None if self.least_interval is None else self.interval / self.least_interval

    def to_json(self) -> dict[str, Any]:
        return {"technology": self.technology, "bits_per_cycle": self.bits_per_cycle, "interval": self.interval,
                "least_interval": self.least_interval, "distance": self.distance,
                "rows": [row.to_json() for row in self.rows]}


def roofline(plan: Plan, tech: Technology) -> Roofline:
    """Return every layer with products, and its limits on ``tech``."""
    widest = max(bits for _, bits in tech.block_memory.shapes.value)
    bandwidth, interval = tech.block_memory.count.value * widest, plan.cycles.interval
    rows = []
    for stage in plan.stages:
        if not isinstance(stage, MatrixVectorStage | ParallelStage):
            continue
        work = operations(stage)
        bits = sum(access.per_frame * access.memory.width for access in (*work.weight_accesses, *work.feature_accesses)
                   if access.memory.style != "logic")
        luts: Figure = of_stage(stage, tech).luts
        lut_limit = None
        if isinstance(luts, Quantity) and luts.nominal:
            lut_limit = tech.luts.value / (luts.nominal / stage.fold.lanes)
        rows.append(Roof(stage.name, work.macs, bits, stage.fold.lanes, work.macs / interval,
                         bandwidth * work.macs / bits if bits else None, lut_limit))
    return Roofline(tech.name, bandwidth, interval, tuple(rows))
