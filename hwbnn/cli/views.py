"""What ``hwbnn estimate`` prints beside the estimate itself: how it was made, precisions, zeros, roofs."""

from collections.abc import Sequence

from rich.markup import escape

from hwbnn.build.asic import Asic
from hwbnn.cli import console
from hwbnn.cost import Estimate, Figure, Quantity, Unknown, technology
from hwbnn.cost.asic import scaled
from hwbnn.cost.comparison import Precision
from hwbnn.cost.energy import Energy
from hwbnn.cost.gating import LayerRest, operations_table
from hwbnn.cost.roofline import Roofline
from hwbnn.report.text import nominal

__all__ = ["asic", "breakdown", "clock", "comparison", "roofline", "tier", "zeros"]

_NODES = ("130", "90", "65", "45", "32", "16", "7")


def tier(result: Estimate) -> str:
    """How the figures were made."""
    if result.tier == "model":
        counts = technology(result.technology).counts
        by = "Yosys and nextpnr" if counts == "nextpnr" else "Yosys' counts only: nothing was placed"
        return f"model: closed forms, calibrated on {by}"
    return {"synth": "synth: counts of the tools",
            "activity": "activity: counts of the tools, toggles of the netlist on images"}[result.tier]


def clock(result: Estimate, slower: str = "") -> str:
    """What the accelerator reaches, and whether that is enough; ``slower`` is the command that asks for no more."""
    if isinstance(result.fmax, Unknown):
        return f"unknown, {result.fmax.reason}"
    asked = f"{result.timing.clock_hz / 1e6:g} MHz"
    mended = f"ask for less with `{slower}`" if slower else "fold less with `hwbnn compile`"
    verdict = {"yes": f"{asked} is reached", "uncertain": f"[yellow]{asked} may not be reached[/yellow]",
               "no": f"[red]{asked} is not reached; {mended}[/red]"}[result.reaches]
    where = f"; slowest in {result.slowest.name} ({result.slowest.path})" if result.tier == "model" else ""
    return f"{result.fmax}: {verdict}{where}"


def comparison(rows: Sequence[Precision], title: str) -> None:
    """The network in four precisions."""
    console.table(f"The same network in other precisions; energy of a 45 nm ASIC, logic of the {title}",
                  ["precision", ">products", ">live", ">weight bits", ">bits moved", ">arith- metic", ">move- ment",
                   ">energy", ">LUTs"],
                  [(row.name, row.products, console.percent(row.live / row.products, 0), row.weight_bits,
                    row.moved_bits, nominal(row.arithmetic), nominal(row.movement), nominal(row.energy),
                    console.count(row.luts.nominal) if isinstance(row.luts, Quantity) else "unknown") for row in rows])
    console.facts([(row.name, row.what) for row in rows])
    console.table("Its energy per inference in other processes, each at its usual supply: scaled, +-30 %",
                  ["precision", *(f">{node} nm" for node in _NODES)],
                  [(row.name, *(nominal(scaled(row.energy, node)) for node in _NODES)) for row in rows])


def asic(found: Asic) -> None:
    """Stages as gates of a library."""
    energy = found.energy
    console.table(f"Gates of {found.library}, memories included, without wires; energy per inference",
                  ["stage", ">gates", ">area", ">leakage", ">clock", ">toggles", ">energy"],
                  [(stage.name, stage.gates, console.count(stage.area), *map(nominal, _causes(stage.energy)))
                   for stage in found.stages],
                  footer=["total", str(found.gates), console.count(found.area), *map(nominal, _causes(energy))])
    console.facts([("Energy", f"[bold]{energy.total}[/bold]; toggles are assumed, 0.1 to 0.5 a net and cycle")])


def _causes(energy: Energy) -> tuple[Figure, ...]:
    assert energy.static is not None and energy.clock is not None  # a library gives both
    return energy.static, energy.clock, energy.datapath, energy.total


def zeros(rows: Sequence[LayerRest], images: str | None, command: str) -> None:
    """Zeros of each layer, and the table for uniform states; ``command`` made them."""
    where = f"on {images}" if images else "of the weights alone"
    console.table(f"Products that rest because an operand is 0, {where}",
                  ["layer", ">products", ">zero weights", ">zero activations", ">rest", ">rest if uniform"],
                  [(row.layer, row.products, console.percent(row.weight_zero, 1),
                    console.percent(row.activation_zero, 1), console.percent(row.resting, 1),
                    console.percent(row.uniform, 1)) for row in rows])

    if not images:
        console.facts([("Zeros of activations", f"`{escape(command)} --images SET:SPLIT` counts them, too")])

    def times(span: tuple[int, int], unit: str) -> str:
        low, high = (f"{n or 0}{unit if n else ''}".replace(f"1{unit}", unit or "1") for n in span)
        return low if low == high else f"{low} to {high}"

    console.table("A neuron of M inputs with uniform states (Deng et al., GXNOR-Net)",
                  ["network", ">multiplications", ">accumulations", ">XNOR", ">bitcounts", ">rest"],
                  [(row.network, times(row.multiplications, "M"), times(row.accumulations, "M"), times(row.xnors, "M"),
                    times(row.bitcounts, ""), console.percent(float(row.resting), 1)) for row in operations_table()])


def roofline(found: Roofline, title: str) -> None:
    """Each layer against the chip's limits."""
    console.table(f"Products per cycle against the limits of the {title}, were the layer alone on it",
                  ["layer", ">lanes", ">attained", ">products per bit", ">memory limit", ">LUT limit", "bound by",
                   ">of the limit"],
                  [(row.stage, row.lanes, f"{row.attained:.3g}", _number(row.intensity), _number(row.memory_limit),
                    _number(row.lut_limit), row.bound, console.percent(row.share, 2)) for row in found.rows])
    if found.least_interval is not None:
        told = (f"{console.cycles(found.interval)} a frame; {found.least_interval:,.0f} with all of the chip at work "
                f"in every cycle, {found.distance:,.1f} times fewer")
        console.facts([("Folding", told)])


def breakdown(result: Estimate) -> None:
    """Energy by layer and cause, in the FPGA where that is known, else of the reference; toggles where they count."""
    on_chip = isinstance(result.energy.total, Quantity)
    energies = [stage.energy if on_chip else stage.reference for stage in result.stages]
    causes = list(energies[0].causes)
    rows = [(stage.name, *(nominal(energy.causes[cause]) for cause in causes), nominal(energy.total),
             console.percent(stage.energy_share, 1), _toggles(stage.toggles))
            for stage, energy in zip(result.stages, energies, strict=True)]
    whole = result.energy if on_chip else result.reference
    rest = sum(figure.nominal for cause, figure in whole.causes.items()
               if cause not in causes and isinstance(figure, Quantity))
    where = f"{result.title}, without its static power and clock" if on_chip else "45 nm ASIC reference"
    console.table(f"Energy per inference by layer: {where}",
                  ["layer", *(f">{cause}" for cause in causes), ">all", ">share", ">LUT input toggles"], rows)
    if rest:
        console.facts([("Beside the layers", f"{Quantity.exact(rest, 'J')} of static power and clock")])


def _toggles(figure: Figure) -> str:
    return "unknown" if isinstance(figure, Unknown) else console.count(figure.nominal)


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:,.3g}"
