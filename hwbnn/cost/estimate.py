"""One call from a plan to everything that is estimated, as records that go to JSON and to tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hwbnn.cost.cycles import Timing, timing
from hwbnn.cost.depth import fmax, slowest
from hwbnn.cost.energy import (
    Energy,
    asic_energy,
    counted_toggles,
    fpga_energy,
    shares,
    summed_energy,
    toggles,
    whole_fpga_energy,
)
from hwbnn.cost.operations import operations
from hwbnn.cost.quantity import Figure, Quantity, Unknown, from_json
from hwbnn.cost.resources import Fit, Resources, Use, fit_of, of_stage, summed, uses
from hwbnn.cost.technology import technology as find_technology
from hwbnn.errors import UserError
from hwbnn.plan import MatrixVectorStage, ParallelStage, Plan

__all__ = ["BESIDE", "FORMAT", "TIERS", "Estimate", "Measured", "StageEstimate", "estimate"]

BESIDE = "host link"  # what a board puts around the accelerator
TIERS = ("model", "synth", "activity")
"""How an estimate is made: closed forms; counts of Yosys and nextpnr; with toggles of the netlist on real images."""

FORMAT = 4  # of the JSON record; raise it when a field is added or changes meaning


@dataclass(frozen=True)
class StageEstimate:
    """What is estimated of one stage.

    Parameters
    ----------
    name, component : :class:`str`
    nodes : tuple of :class:`str`
        The IR nodes it computes.
    pe, simd : :class:`int` or None
        Folding of a matrix-vector unit.
    latency, ii : :class:`int`
        Cycles, exact.
    macs : :class:`int`
        Products per inference.
    resources : :class:`Resources`
    toggles : Figure
        LUT input toggles per inference.
    energy, reference : :class:`Energy`
        In the FPGA without static power and clock, and at 45 nm.
    fmax : Figure
        Frequency that the stage reaches by itself.
    path : :class:`str`
        What decides that.
    energy_share : :class:`float`
        Of the sum over stages, in the FPGA where known, else of the reference; see ``Estimate.share_basis``.
    """

    name: str
    component: str
    nodes: tuple[str, ...]
    pe: int | None
    simd: int | None
    latency: int
    ii: int
    macs: int
    resources: Resources
    toggles: Figure
    energy: Energy
    reference: Energy
    fmax: Figure
    path: str
    energy_share: float


@dataclass(frozen=True)
class Estimate:
    """Cycles (exact), resources and energy of an accelerator on a technology.

    ``energy`` is the FPGA's, per inference at full rate; unknown where a constant has no source. ``reference``
    is the same work priced at 45 nm: no estimate of the FPGA. ``headline`` is the one to print, with its label.
    ``fmax`` is the frequency that the accelerator reaches. ``resources`` are the accelerator's; ``beside``
    are those of the host link, reserved in ``uses`` and ``fits``, or None. ``tier`` is one of :data:`TIERS`.
    """

    network: str
    technology: str
    title: str
    timing: Timing
    resources: Resources
    uses: tuple[Use, ...]
    stages: tuple[StageEstimate, ...]
    energy: Energy
    reference: Energy
    share_basis: str
    fmax: Figure
    beside: Resources | None = None
    tier: str = "model"

    @property
    def reaches(self) -> Fit:
        """Whether the accelerator reaches its clock: ``yes``, ``no``, or ``uncertain`` within the interval."""
        if isinstance(self.fmax, Unknown):
            return "uncertain"
        clock = self.timing.clock_hz
        return "yes" if clock <= self.fmax.low else "no" if clock > self.fmax.high else "uncertain"

    @property
    def slowest(self) -> StageEstimate:
        """The stage whose longest path limits the clock; the first where frequencies are unknown."""
        return min(self.stages, key=lambda s: s.fmax.nominal if isinstance(s.fmax, Quantity) else float("inf"))

    @property
    def fits(self) -> Fit:
        """Whether it fits the chip, with the host link: ``yes``, ``no``, or ``uncertain`` within the intervals."""
        return fit_of(self.uses)

    @property
    def exhausted_first(self) -> Use:
        """The scarcest resource: the one that runs out first."""
        return self.uses[0]

    @property
    def headline(self) -> tuple[str, Figure]:
        """Label and figure of the energy per inference: the FPGA's where it is known, else the 45 nm reference."""
        figure = self.energy.total
        if isinstance(figure, Quantity):
            return f"Energy per inference, {self.title}", figure
        return (f"Energy per inference, 45 nm ASIC reference ({self.title}: unknown)", self.reference.total)

    @property
    def power(self) -> Figure:
        """Power of the FPGA's core at full rate, watts."""
        figure = self.energy.total
        return figure.scale(1 / self.timing.interval.nominal, "W")

    @property
    def sources(self) -> tuple[str, ...]:
        """Every source that a figure of the estimate rests on."""
        figures = [*self.energy.causes.values(), *self.reference.causes.values(), self.resources.luts,
                   self.resources.blocks, self.fmax]
        found = [s for figure in figures if isinstance(figure, Quantity) for s in figure.sources]
        return tuple(dict.fromkeys(found))

    @property
    def unknowns(self) -> tuple[str, ...]:
        """Why figures are unknown, each reason once."""
        reasons = [reason for figure in self.energy.causes.values() if isinstance(figure, Unknown)
                   for reason in figure.reason.split("; ")]
        return tuple(dict.fromkeys(reasons))

    def rows(self) -> list[dict[str, str]]:
        """One row per stage, the host link's where it is known, and the accelerator's total; keys are column titles."""
        lut = f"{self.resources.luts.unit} (interval)"
        rows = [{
            "stage": s.name, "component": s.component, "PE": str(s.pe or ""), "SIMD": str(s.simd or ""),
            "cycles": f"{s.ii:,}", lut: _bare(s.resources.luts), "FF": _bare(s.resources.flip_flops),
            "memory bits": _bare(s.resources.memory_bits), "blocks": _bare(s.resources.blocks),
            "energy share": f"{s.energy_share:.1%}",
        } for s in self.stages]
        rows.append({
            "stage": "total", "component": "", "PE": "", "SIMD": "", "cycles": f"{self.timing.interval_cycles:,}",
            lut: _bare(self.resources.luts), "FF": _bare(self.resources.flip_flops),
            "memory bits": _bare(self.resources.memory_bits), "blocks": _bare(self.resources.blocks),
            "energy share": "100.0%"})
        if self.beside is not None:
            rows.insert(-1, {
                "stage": BESIDE, "component": "", "PE": "", "SIMD": "", "cycles": "", lut: _bare(self.beside.luts),
                "FF": _bare(self.beside.flip_flops), "memory bits": _bare(self.beside.memory_bits),
                "blocks": _bare(self.beside.blocks), "energy share": ""})
        return rows

    def to_json(self) -> dict[str, Any]:
        """Return a record of plain values; :meth:`from_json` reads it. Derived values are for other readers."""
        label, figure = self.headline
        return {
            "format": FORMAT, "tier": self.tier, "network_name": self.network, "technology": self.technology,
            "title": self.title, "clock_hz": self.timing.clock_hz,
            "cycles": {"first": self.timing.first_cycles, "interval": self.timing.interval_cycles},
            "latency": self.timing.latency.to_json(), "rate": self.timing.rate.to_json(),
            "resources": _resources_json(self.resources),
            "uses": [{"resource": u.resource, "used": u.used.to_json(), "available": u.available,
                      "reserved": None if u.reserved is None else u.reserved.to_json(), "fits": u.fits}
                     for u in self.uses],
            "beside": None if self.beside is None else _resources_json(self.beside),
            "fits": self.fits,
            "stages": [{
                "name": s.name, "component": s.component, "nodes": list(s.nodes), "pe": s.pe, "simd": s.simd,
                "latency": s.latency, "ii": s.ii, "macs": s.macs, "resources": _resources_json(s.resources),
                "toggles": s.toggles.to_json(), "energy": s.energy.to_json(), "reference": s.reference.to_json(),
                "fmax": s.fmax.to_json(), "path": s.path, "energy_share": s.energy_share,
            } for s in self.stages],
            "energy": self.energy.to_json(), "reference": self.reference.to_json(),
            "share_basis": self.share_basis, "headline": {"label": label, "figure": figure.to_json()},
            "fmax": self.fmax.to_json(), "reaches": self.reaches,
            "power": self.power.to_json(), "sources": list(self.sources), "unknowns": list(self.unknowns),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Estimate":
        """Read what :meth:`to_json` made; further keys are ignored. Raises :class:`UserError` for another format."""
        if record.get("format") != FORMAT:
            raise UserError(f"Estimate must have format {FORMAT}, not {record.get('format')}; make it again with "
                            "`hwbnn estimate`")
        return cls(
            record["network_name"], record["technology"], record["title"],
            Timing(record["clock_hz"], record["cycles"]["first"], record["cycles"]["interval"]),
            _resources(record["resources"]),
            tuple(Use(u["resource"], from_json(u["used"]), u["available"],
                      u["reserved"] and from_json(u["reserved"]))  # pyright: ignore[reportArgumentType]  # measured
                  for u in record["uses"]),
            tuple(StageEstimate(
                s["name"], s["component"], tuple(s["nodes"]), s["pe"], s["simd"], s["latency"], s["ii"], s["macs"],
                _resources(s["resources"]), from_json(s["toggles"]), Energy.from_json(s["energy"]),
                Energy.from_json(s["reference"]), from_json(s["fmax"]), s["path"], s["energy_share"])
                for s in record["stages"]),
            Energy.from_json(record["energy"]), Energy.from_json(record["reference"]), record["share_basis"],
            from_json(record["fmax"]), record["beside"] and _resources(record["beside"]), record["tier"])


def _bare(figure: Figure) -> str:
    """A figure without its unit."""
    return "unknown" if isinstance(figure, Unknown) else str(figure).removesuffix(f" {figure.unit}")


def _resources_json(resources: Resources) -> dict[str, Any]:
    return {name: figure.to_json() for name, figure in vars(resources).items()}


def _resources(record: Mapping[str, Any]) -> Resources:
    return Resources(**{name: from_json(figure) for name, figure in record.items()})  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class Measured:
    """What tools found of an accelerator, in place of what the closed forms say.

    Parameters
    ----------
    tier : :class:`str`
        Of the estimate that is made from it, one of :data:`TIERS`.
    resources : mapping
        Stage to what it takes; stages that are not there keep their closed forms.
    whole : :class:`Resources` or None
        What all take together, where that is not the sum of the stages.
    uses : tuple of :class:`Use` or None
        Of the placed design, host link included.
    fmax : Figure or None
    toggles : mapping
        Stage to LUT input toggles per inference, counted without delays.
    """

    tier: str
    resources: Mapping[str, Resources] = field(default_factory=dict)
    whole: Resources | None = None
    uses: tuple[Use, ...] | None = None
    fmax: Figure | None = None
    toggles: Mapping[str, float] = field(default_factory=dict)


_NOTHING = Measured("model")


def estimate(plan: Plan, technology: str, clock_hz: int, *, beside: Resources | None = None,
             measured: Measured = _NOTHING) -> Estimate:
    """Estimate ``plan`` on ``technology`` at ``clock_hz``, in milliseconds and without any tool.

    Parameters
    ----------
    plan : :class:`Plan`
    technology : :class:`str`
        Name of a technology, for instance ``ecp5-85``.
    clock_hz : :class:`int`
    beside : :class:`Resources`
        What the host link takes; reserved.
    measured : :class:`Measured`
        What tools found already.

    Raises
    ------
    UserError
        An unknown technology or an impossible clock.
    """
    tech = find_technology(technology)
    clock = timing(plan, clock_hz)
    stages, total = [], measured.whole
    for stage in plan.parts:
        used = measured.resources[stage.name] if stage.name in measured.resources else of_stage(stage, tech)
        pins = counted_toggles(measured.toggles[stage.name], tech) if stage.name in measured.toggles else toggles(
            stage, used, tech)
        stages.append(StageEstimate(
            stage.name, type(stage).__name__.removesuffix("Stage"), stage.nodes,
            stage.fold.pe if isinstance(stage, MatrixVectorStage | ParallelStage) else None,
            stage.fold.simd if isinstance(stage, MatrixVectorStage | ParallelStage) else None,
            stage.latency, stage.ii, operations(stage).macs, used, pins, fpga_energy(stage, pins, tech),
            asic_energy(stage), fmax((stage,), tech), str(slowest(stage, tech)), 0.0))
    energies = [stage.energy for stage in stages]
    known, references = shares(energies), shares([stage.reference for stage in stages])
    parts = known if known is not None else references
    assert parts is not None  # the reference is always known
    whole = summed((stage.resources for stage in stages), tech) if total is None else total
    return Estimate(
        plan.network.name, tech.name, tech.title, clock, whole,
        uses(whole, tech, beside=beside) if measured.uses is None else measured.uses,
        tuple(replace(stage, energy_share=share) for stage, share in zip(stages, parts, strict=True)),
        whole_fpga_energy(energies, clock.interval_cycles, clock_hz, tech),
        summed_energy(stage.reference for stage in stages),
        "FPGA, without static power and clock" if known is not None else "45 nm reference",
        fmax(plan.parts, tech) if measured.fmax is None else measured.fmax,
        beside if measured.uses is None else None, measured.tier)
