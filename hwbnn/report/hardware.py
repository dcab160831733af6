"""What the page shows of estimate and synthesis: resources, frequency, energy, and the sources of figures."""

from dataclasses import dataclass
from typing import Any

from hwbnn.cost import Figure, Quantity, Unknown, technology
from hwbnn.cost.energy import Energy
from hwbnn.report.charts import Bar, bars
from hwbnn.report.results import Results
from hwbnn.report.text import count, figure, nominal, parts, reasons
from hwbnn.report.view import Card

__all__ = ["cards", "device", "energy_chart", "energy_note", "energy_rows", "energy_share", "glue", "layer_note",
           "lut", "lut_synthesized", "resource_chart", "resource_note", "resource_rows", "sources"]


def cards(results: Results) -> list[Card]:
    """The headline figures of logic, frequency and energy."""
    return [_logic(results), _frequency(results), _energy(results)]


def _logic(results: Results) -> Card:
    estimated, synthesis = lut(results), results.synthesis
    told = "" if estimated is None else f"estimated {figure(estimated)}"
    if synthesis is not None:
        inside = isinstance(estimated, Quantity) and estimated.contains(synthesis.accelerator.lut)
        return Card("Logic", count(synthesis.accelerator.lut), "LUT", told, "good" if inside else "")
    if isinstance(estimated, Quantity):
        return Card("Logic", count(estimated.nominal), estimated.unit, told)
    return Card("Logic", "not estimated", more=f"hwbnn estimate {results.path}", absent=True)


def _frequency(results: Results) -> Card:
    synthesis = results.synthesis
    if synthesis is None:
        return Card("Clock reached", "not placed", more=f"hwbnn synth {results.path}", absent=True)
    verdict = "reached" if synthesis.met else "missed"
    return Card("Clock reached", f"{synthesis.fmax_hz / 1e6:.1f}", "MHz", f"{synthesis.clock_hz / 1e6:g} MHz {verdict}",
                "good" if synthesis.met else "bad")


def _energy(results: Results) -> Card:
    if results.estimate is None:
        return Card("Energy per inference", "not estimated", more=f"hwbnn estimate {results.path}", absent=True)
    _, value = results.estimate.headline
    basis = "in the FPGA" if isinstance(results.estimate.energy.total, Quantity) else "45 nm reference"
    return Card("Energy per inference", nominal(value), more=f"{basis}, {parts(value)[1]}")


def device(results: Results) -> str:
    """The chip, by name."""
    return technology(results.board.technology).title


def lut(results: Results, stage: str | None = None) -> Figure | None:
    """Estimated LUTs of a stage, or of the accelerator, as synthesis counts them."""
    if results.estimate is None:
        return None
    if stage is None:
        return results.estimate.resources.mapped_luts
    return next((s.resources.mapped_luts for s in results.estimate.stages if s.name == stage), None)


def lut_synthesized(results: Results, stage: str | None = None) -> int | None:
    """Synthesized LUTs of a stage, or of the accelerator."""
    if results.synthesis is None:
        return None
    cells = results.synthesis.accelerator if stage is None else results.synthesis.stages.get(stage)
    return None if cells is None else cells.lut


def glue(results: Results) -> int | None:
    """Synthesized LUTs that belong to no stage; None where nothing lies between them."""
    if results.synthesis is None:
        return None
    whole = results.synthesis.accelerator.lut
    return whole - sum(results.synthesis.stages[s.name].lut for s in results.plan.stages
                       if s.name in results.synthesis.stages) or None


def resource_note(results: Results) -> str:
    """Which of the columns counts what."""
    told = []
    if results.estimate is not None:
        told.append("Estimated and synthesized are of the accelerator alone, both as Yosys counts.")
    if results.synthesis is not None:
        told.append("Placed is what nextpnr occupies for the whole design: with the host link, and with the cells "
                    "that carry chains and LUT memories need. "
                    "Synthesis merges and absorbs some of the Verilog's flip-flops.")
    return " ".join(told)


def energy_share(results: Results, stage: str) -> float | None:
    """Share of the energy of all stages."""
    if results.estimate is None:
        return None
    return next((s.energy_share for s in results.estimate.stages if s.name == stage), None)


def layer_note(results: Results) -> str:
    """How the columns of the layer table were made."""
    parts = []
    if results.synthesis is not None:
        parts.append("Synthesized LUTs are those of the accelerator alone, stage by stage, after Yosys.")
    if results.estimate is not None:
        parts.append(f"Energy is shared out by: {results.estimate.share_basis}.")
    return " ".join(parts)


@dataclass(frozen=True)
class ResourceRow:
    """One resource of the chip: of the accelerator estimated and synthesized, of the whole design placed."""

    name: str
    estimated: Figure | None
    synthesized: int | None
    placed: int | None
    capacity: float

    @property
    def share(self) -> float | None:
        """Part of the chip, by placement where there is one."""
        if not self.capacity:
            return None
        if self.placed is not None:
            return self.placed / self.capacity
        return self.estimated.nominal / self.capacity if isinstance(self.estimated, Quantity) else None


def resource_rows(results: Results) -> list[ResourceRow]:
    """Estimated and placed use of everything that the chip has a limited number of; LUTs as synthesis counts them."""
    tech = technology(results.board.technology)
    names = {tech.lut: "lut", tech.block_memory.name: "block_memory", "FF": "ff", tech.dsp.unit: "dsp",
             "pins": "pins", "LUT memory": "lut_memory", "large memory": "large_memory"}
    synthesis = results.synthesis
    rows = {}
    for use in results.estimate.uses if results.estimate is not None else ():
        field = names.get(use.resource, use.resource)
        rows[field] = ResourceRow(use.resource, lut(results) if field == "lut" else use.used,
                                  None if synthesis is None else getattr(synthesis.accelerator, field, None), None,
                                  use.available)
    for field, use in (synthesis.placed if synthesis is not None else {}).items():
        known = rows.get(field)
        name = known.name if known else next((n for n, f in names.items() if f == field), field)
        if known or use.used:
            rows[field] = ResourceRow(name, known.estimated if known else None,
                                      getattr(synthesis.accelerator, field, None) if synthesis else None, use.used,
                                      use.available)
    return sorted(rows.values(), key=lambda row: -(row.share or 0))


def resource_chart(results: Results) -> dict[str, Any]:
    """Per cent of the chip, estimated and placed."""
    rows = [row for row in resource_rows(results) if row.capacity]
    estimated = [Bar(row.name, 100 * row.estimated.nominal / row.capacity, 100 * row.estimated.low / row.capacity,
                     100 * row.estimated.high / row.capacity)
                 for row in rows if isinstance(row.estimated, Quantity)]
    placed = [Bar(row.name, 100 * row.placed / row.capacity) for row in rows if row.placed is not None]
    series = {"accelerator, estimated": estimated, "with host link, placed": placed}
    return bars({name: group for name, group in series.items() if group}, unit="% of the chip")


@dataclass(frozen=True)
class EnergyRow:
    """One cause of energy; ``sources`` are numbers of :func:`sources`."""

    name: str
    nominal: str
    interval: str
    method: str
    sources: tuple[int, ...]
    heading: bool = False


def energy_rows(results: Results) -> list[EnergyRow]:
    """Energy by cause, of the chip and of the 45 nm reference."""
    if results.estimate is None:
        return []
    return [*_by_cause(f"On the {device(results)}", results.estimate.energy, results),
            *_by_cause("Reference: the same work in a 45 nm ASIC", results.estimate.reference, results)]


def _by_cause(title: str, energy: Energy, results: Results) -> list[EnergyRow]:
    known = sources(results)

    def row(name: str, value: Figure, heading: bool = False) -> EnergyRow:
        cited = () if heading or isinstance(value, Unknown) else value.sources
        method = "" if heading else "no published constant" if isinstance(value, Unknown) else value.method
        return EnergyRow(name, *parts(value), method,
                         tuple(known.index(source) + 1 for source in cited if source in known), heading)

    causes = energy.causes.items()
    if all(isinstance(value, Unknown) for _, value in causes):
        return [row(title, energy.total, True)]
    return [row(title, energy.total, True), *(row(name, value) for name, value in causes)]


def energy_chart(results: Results) -> dict[str, Any] | None:
    """Causes with their intervals: of the chip where all are known, else of the reference."""
    if results.estimate is None:
        return None
    on_chip = isinstance(results.estimate.energy.total, Quantity)
    energy = results.estimate.energy if on_chip else results.estimate.reference
    values = {name: value for name, value in energy.causes.items() if isinstance(value, Quantity)}
    top = max((value.nominal for value in values.values()), default=0)
    unit, scale = next(((u, s) for u, s in (("mJ", 1e-3), ("µJ", 1e-6), ("nJ", 1e-9)) if top >= s), ("pJ", 1e-12))
    where = device(results) if on_chip else "45 nm reference"
    return bars({where: [Bar(name, v.nominal / scale, v.low / scale, v.high / scale) for name, v in values.items()]},
                unit=f"{unit} per inference, {where}")


def energy_note(results: Results) -> str:
    """What is unknown, and why."""
    if results.estimate is None or not results.estimate.unknowns:
        return ""
    return (f"Unknown: {reasons(results.estimate.unknowns)}. The reference compares networks; it is no estimate of "
            "the chip.")


def sources(results: Results) -> list[str]:
    """Where figures come from, numbered from 1 by their place."""
    return [] if results.estimate is None else list(results.estimate.sources)
