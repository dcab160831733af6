"""What each stage takes of a chip: look-up tables, flip-flops, memory bits, block memories; and whether it fits.

Flip-flops and memory bits are the plan's own closed forms and exact against the emitted RTL. Look-up tables are
the closed forms of :mod:`hwbnn.cost.forms` with the technology's calibrated coefficients; their interval holds
nine of ten networks that were left out of the fit, and what fits is said at twice that.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from hwbnn.cost.constants import live_widths
from hwbnn.cost.datapath import MULTIPLIER_LUTS
from hwbnn.cost.fabric import fabric, still_bits, storage_luts
from hwbnn.cost.forms import forms
from hwbnn.cost.quantity import Figure, Quantity, Unknown, total
from hwbnn.cost.technology import LutModel, Technology
from hwbnn.cost.terms import Forms
from hwbnn.errors import UserError
from hwbnn.plan import AddStage, MatrixVectorStage, PipelineStage, Stage
from hwbnn.plan.records import Memory, ceil_div

__all__ = [
    "CERTAIN", "Fit", "Resources", "Use", "certain", "chip_share", "fit_of", "fixed_cells", "multiplications",
    "of_stage", "of_stages", "stage_cost", "summed", "terms", "uses",
]

Fit = Literal["yes", "no", "uncertain"]
MAPPED_SPREAD = (0.92, 1.02)  # whole accelerators of the calibration's corpus; synthesis finds more to merge
CERTAIN = 2.0
"""What is said to fit, or not to, holds at so many times the interval, of which one row in ten lies outside."""
CALIBRATION = "benchmarks/accuracy.md: flip-flops after synthesis"


SUMS = (MatrixVectorStage, AddStage)  # whose output has a register that holds bits that never change
_SPRAM = "SB_SPRAM256KA"
_NO_SPRAM = Quantity.exact(0, _SPRAM)


@dataclass(frozen=True)
class Resources:
    """What a stage or an accelerator takes.

    Parameters
    ----------
    luts : look-up tables of the chip in use after packing, or logic cells where LUT and flip-flop share one.
    mapped_luts : look-up tables as synthesis counts them: LUT cells, two per CCU2C, LUT memory; no lone
        flip-flops, no cells at the ends of carry chains.
    flip_flops : bits of flip-flops of the emitted RTL, without those that stand in for LUT memory.
    mapped_flip_flops : what synthesis leaves of them, constant and identical bits merged, and with those that
        stand in for LUT memory.
    memory_bits : bits of all memories of the emitted RTL.
    blocks : block memories.
    dsp : hard multipliers.
    spram : blocks of single-port RAM.
    """

    luts: Figure
    mapped_luts: Figure
    flip_flops: Quantity
    mapped_flip_flops: Quantity
    memory_bits: Quantity
    blocks: Quantity
    dsp: Quantity
    spram: Quantity = _NO_SPRAM


@dataclass(frozen=True)
class Use:
    """One resource of the chip: how much the accelerator uses, how much there is, and what is reserved of it.

    ``reserved`` is for what a board puts around the accelerator, such as the host link; None where nothing is.
    """

    resource: str
    used: Figure
    available: float
    reserved: Quantity | None = None

    @property
    def whole(self) -> Figure:
        """The accelerator's use and what is reserved."""
        return self.used if self.reserved is None else total((self.used, self.reserved), self.used.unit)

    @property
    def fits(self) -> Fit:
        """``uncertain`` where the limit lies within :func:`certain` of the figure, or that is unknown."""
        whole = self.whole
        if isinstance(whole, Unknown):
            return "uncertain"
        least, most = certain(whole)
        if most <= self.available:
            return "yes"
        return "no" if least > self.available else "uncertain"

    @property
    def share(self) -> float:
        """Nominal use, the reserve included, over what there is; infinite where there is none."""
        whole = self.whole
        if isinstance(whole, Unknown):
            return float("nan")
        if not self.available:
            return float("inf") if whole.nominal else 0.0
        return whole.nominal / self.available


def certain(figure: Quantity) -> tuple[float, float]:
    """The least and the most that a figure may come to: :data:`CERTAIN` times as far off as its interval's ends."""
    return (figure.nominal - CERTAIN * (figure.nominal - figure.low),
            figure.nominal + CERTAIN * (figure.high - figure.nominal))


def fixed_cells(stage: Stage, tech: Technology) -> tuple[float, int]:
    """LUTs and lone flip-flops that need no calibration: LUT memory, and multipliers where they are LUTs.

    Where the family has no LUT memory, a memory is flip-flops, with what chooses the word that is read or written.
    """
    luts, registers, memory = 0.0, 0, tech.lut_memory
    for part in stage.memories:
        if part.style != "distributed":
            continue
        width = _width(part, stage)
        if memory is None:
            luts += storage_luts(width, part.depth, tech.family)
            registers += width * part.depth
        else:
            rows = ceil_div(part.depth, memory.deepest)
            luts += memory.primitives(part.width, part.depth) * memory.luts.value
            luts += storage_luts(part.width, rows, tech.family)
    form = forms(stage, tech.family)
    _, soft = multiplications(form, tech)
    return luts + _joining_luts(form, tech) + sum(MULTIPLIER_LUTS * a * b for a, b in soft), registers


def _width(part: Memory, stage: Stage) -> int:
    """Bits of a word that flip-flops hold: synthesis leaves out those of the output that never change."""
    own = isinstance(stage, PipelineStage) and part == stage.fifo
    return part.width - stage.o.lanes * still_bits(stage.o.levels) if own else part.width


def terms(stage: Stage, tech: Technology) -> tuple[float, dict[str, float]]:
    """Cells of a stage that need no calibration, and by the name of its coefficient the amount of each term."""
    form = forms(stage, tech.family)
    luts, registers = fixed_cells(stage, tech)
    return luts, {"datapath": form.datapath, "control": form.control, "rom": form.rom, "chains": form.chains,
                  "registers": form.registers + form.carries + registers}


def multiplications(form: Forms, tech: Technology) -> tuple[int, list[tuple[int, int]]]:
    """The hard multipliers that multiplications take, and the operands of those that become look-up tables."""
    hard, soft = 0, []
    for a, b, wanted in _multiplications(form, tech):
        if wanted:
            hard += _parts(a, b, tech)
        else:
            soft.append((a, b))
    return hard, soft


def _multiplications(form: Forms, tech: Technology) -> Iterator[tuple[int, int, bool]]:
    """Operands of each multiplication, and whether hard multipliers make it."""
    inferred = [(a, b, a + b, tech.multiplies_in_dsp) for a, b in form.multipliers]
    asked = [(a, b, bits, True) for a, b, bits in form.asked]
    for a, b, bits, wanted in (*inferred, *asked):
        yield a, b, wanted and tech.multiplier is not None and bits >= tech.multiplier.least_product.value and \
            min(a, b) >= 2


def _parts(a: int, b: int, tech: Technology) -> int:
    """Hard multipliers of a product of two widths."""
    size = tech.multiplier.operand.value if tech.multiplier else 1
    return ceil_div(a, size) * ceil_div(b, size)


def _joining_luts(form: Forms, tech: Technology) -> int:
    """Look-up tables that add up what several hard multipliers make of one product."""
    if fabric(tech.family).cascades:
        return 0
    size = tech.multiplier.operand.value if tech.multiplier else 0
    return sum((_parts(a, b, tech) - 1) * max(0, a + b - size)
               for a, b, wanted in _multiplications(form, tech) if wanted)


def of_stage(stage: Stage, tech: Technology) -> Resources:
    """Return what one stage takes."""
    form, (luts, amounts) = forms(stage, tech.family), terms(stage, tech)

    def modelled(model: LutModel, unit: str) -> Figure:
        if not model.known:
            return model.datapath.figure().scale(1, unit)
        cells = luts + sum(getattr(model, name).value * amount for name, amount in amounts.items())
        return Quantity(math.floor(cells * model.low.value), round(cells), math.ceil(cells * model.high.value), unit,
                        "calibrated closed form", (model.datapath.source,))

    mapped = stage.flip_flops - form.merged - isinstance(stage, SUMS) * stage.o.lanes * still_bits(stage.o.levels)
    if tech.lut_memory is None:
        mapped += sum(_width(part, stage) * part.depth for part in stage.memories if part.style == "distributed")
    live = live_widths(stage)
    blocks = sum(tech.block_memory.blocks(live.get(m.name, m.width), m.depth, written=m.written)
                 for m in stage.memories if m.style == "block")
    dsp, _ = multiplications(form, tech)
    return Resources(
        modelled(tech.lut_model, tech.lut), modelled(tech.mapped_lut_model, tech.mapped_lut),
        Quantity.exact(stage.flip_flops, "FF"),
        Quantity(math.floor(mapped * MAPPED_SPREAD[0]), mapped, math.ceil(mapped * MAPPED_SPREAD[1]), "FF",
                 "constant and identical bits merged", (CALIBRATION,)),
        Quantity.exact(sum(memory.bits for memory in stage.memories), "bit"),
        Quantity.exact(blocks, tech.block_memory.name, method="native shapes",
                       sources=(tech.block_memory.shapes.source,)),
        Quantity.exact(dsp, tech.dsp.unit, method="by the widths that synthesis maps"),
        Quantity.exact(sum(memory.style == "spram" for memory in stage.memories), _SPRAM))


def of_stages(stages: Iterable[Stage], tech: Technology) -> Resources:
    """Return what all of ``stages`` take together."""
    return summed((of_stage(stage, tech) for stage in stages), tech)


def stage_cost(stage: Stage, tech: Technology | None) -> float:
    """Return one number to compare foldings by.

    With a technology the share of its look-up tables plus the share of its block memories; without, LUT4 by the
    uncalibrated forms with 1/16 LUT4 per bit of memory that is not made of logic.
    """
    if tech is None:
        form = forms(stage)
        memory = sum(memory.bits for memory in stage.memories if memory.style not in ("logic", "spram"))
        products = sum(MULTIPLIER_LUTS * a * b for a, b, *_ in (*form.multipliers, *form.asked))
        return form.datapath + form.control + form.rom + products + memory / 16
    return chip_share(of_stage(stage, tech), tech)


def chip_share(resources: Resources, tech: Technology, *, memories: float = 1.0) -> float:
    """The share that ``resources`` take of a chip's look-up tables plus ``memories`` times those of its memories.
    """
    if isinstance(resources.luts, Unknown):
        raise UserError(f"Look-up tables of {tech.title} must be calibrated to choose a folding, and they are not; run "
                        f"`hwbnn calibrate --target {tech.name}`")
    return (resources.luts.nominal / tech.luts.value
            + memories * (resources.blocks.nominal / tech.block_memory.count.value
                          + (resources.spram.nominal / tech.spram if tech.spram else 0.0)))


def summed(parts: Iterable[Resources], tech: Technology) -> Resources:
    """Return the sum of ``parts``."""
    parts = list(parts)

    def add(name: str, unit: str) -> Figure:
        return total((getattr(part, name) for part in parts), unit)

    return Resources(add("luts", tech.lut), *(  # pyright: ignore[reportArgumentType]  # exact figures add up exactly
        add(name, unit) for name, unit in (
            ("mapped_luts", tech.mapped_lut), ("flip_flops", "FF"), ("mapped_flip_flops", "FF"), ("memory_bits", "bit"),
            ("blocks", tech.block_memory.name), ("dsp", tech.dsp.unit), ("spram", _SPRAM))))


def uses(resources: Resources, tech: Technology, *, beside: Resources | None = None) -> tuple[Use, ...]:
    """Return the use of each limited resource, the scarcest first; ``beside`` is reserved for others."""
    rows = [Use(tech.lut, resources.luts, tech.luts.value, None if beside is None else _known(beside.luts)),
            Use(tech.block_memory.name, resources.blocks, tech.block_memory.count.value, beside and beside.blocks)]
    if tech.dsp.value:
        rows.append(Use(tech.dsp.unit, resources.dsp, tech.dsp.value, beside and beside.dsp))
    if tech.spram or resources.spram.high:
        rows.append(Use(_SPRAM, resources.spram, tech.spram))
    if not tech.shared_cells:
        rows.append(Use("FF", resources.mapped_flip_flops, tech.flip_flops.value,
                        beside and beside.mapped_flip_flops))
    return tuple(sorted(rows, key=lambda row: -row.share))


def _known(figure: Figure) -> Quantity:
    assert isinstance(figure, Quantity)  # what is reserved was measured
    return figure


def fit_of(rows: Iterable[Use]) -> Fit:
    """Tell whether all of ``rows`` fit."""
    verdicts = {row.fits for row in rows}
    return "no" if "no" in verdicts else "uncertain" if "uncertain" in verdicts else "yes"
