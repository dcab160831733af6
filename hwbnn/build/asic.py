"""An accelerator as an ASIC of a Liberty library: area, leakage, and energy by layer and cause."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hwbnn.cost.energy import Energy, summed_energy
from hwbnn.cost.liberty import OSU018, priced, read
from hwbnn.cost.quantity import Figure, product
from hwbnn.errors import UserError
from hwbnn.plan import Plan
from hwbnn.synth.gates import gates

__all__ = ["Asic", "AsicStage", "of_library"]

_KNOWN = {"osu018": OSU018}


@dataclass(frozen=True)
class AsicStage:
    """One stage as gates: how many, their area, and its energy per inference, leakage included."""

    name: str
    gates: int
    area: float
    energy: Energy


@dataclass(frozen=True)
class Asic:
    """The stages of an accelerator as gates of a library, and what they take together."""

    library: str
    stages: tuple[AsicStage, ...]

    @property
    def gates(self) -> int:
        return sum(stage.gates for stage in self.stages)

    @property
    def area(self) -> float:
        """In the library's unit, which is a square micrometre in the usual ones."""
        return sum(stage.area for stage in self.stages)

    @property
    def energy(self) -> Energy:
        return summed_energy(stage.energy for stage in self.stages)

    def to_json(self) -> dict[str, Any]:
        """Return a record of plain values."""
        return {"library": self.library, "gates": self.gates, "area": self.area, "energy": self.energy.to_json(),
                "stages": [{"name": stage.name, "gates": stage.gates, "area": stage.area,
                            "energy": stage.energy.to_json()} for stage in self.stages]}


def of_library(plan: Plan, name: str, seconds: Figure) -> Asic:
    """Map ``plan`` to the gates of a library, ``osu018`` or a Liberty file, and price an inference of so many seconds.

    Memories are gates, too, and part of the datapath.

    Raises
    ------
    UserError
        There is no such library, or the accelerator cannot be made of it.
    """
    if name not in _KNOWN and not name.endswith(".lib"):
        raise UserError(f"Library must be {' or '.join(_KNOWN)} or a Liberty file NAME.lib, not {name}")
    path = _KNOWN.get(name) or Path(name)
    library, stages = read(path), []
    for stage, cells in gates(plan, path).items():
        area, leakage, energy = priced(library, cells, plan.cycles.interval)
        static = product("J", leakage, seconds, method="leakage")
        stages.append(AsicStage(stage, sum(cells.values()), area, replace(energy, static=static)))
    return Asic(library.name, tuple(stages))
