"""What is known of a chip: capacities, memory shapes, speed and energy, each number with its source.

One TOML file per technology in :mod:`hwbnn.cost.technologies`. Every number stands in a table of its own::

    [block_memory.count]
    value = 208
    unit = "DP16KD"
    kind = "measured"
    source = "nextpnr-ecp5 0.11.1 --85k, utilization report"

``value = "unknown"`` is allowed, with a source that says where it was looked for; a missing table is not.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from importlib import resources
from typing import Any

from hwbnn.cost.quantity import Figure, Quantity, Unknown
from hwbnn.errors import UserError
from hwbnn.plan.bank import SPRAM_BITS, SPRAM_WORDS

__all__ = [
    "KINDS", "BlockMemory", "Constant", "DelayModel", "EnergyConstants", "LutMemory", "LutModel", "Multiplier",
    "SpeedFact", "Technology", "names", "parse", "technology",
]

KINDS = ("measured", "data sheet", "published simulation", "scaled", "fitted", "assumed", "unknown")


@dataclass(frozen=True)
class Constant:
    """One number with everything that is needed to judge it.

    Parameters
    ----------
    value : number, tuple of numbers, or ``"unknown"``
        In ``unit``.
    unit : :class:`str`
    kind : :class:`str`
        One of :data:`KINDS`.
    source : :class:`str`
        Document and place, or command and tool version. For an unknown: where it was looked for.
    conditions : :class:`str`
        What the value holds for.
    uncertainty : :class:`float`
        Relative, to both sides, 0 to 1.
    low, high : number or None
        The interval where it is not symmetric; then both are given and ``uncertainty`` is 0.
    """

    value: Any
    unit: str
    kind: str
    source: str
    conditions: str = ""
    uncertainty: float = 0.0
    low: float | None = None
    high: float | None = None

    def __post_init__(self):
        if isinstance(self.value, list):
            object.__setattr__(self, "value", _tuples(self.value))
        if self.kind not in KINDS:
            raise ValueError(f"Constant kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        if not isinstance(self.source, str) or not self.source.strip():
            raise ValueError(f"Constant source must be given for the value {self.value!r}")
        if isinstance(self.value, str) and self.value != "unknown":
            raise ValueError(f"Constant value must be a number or 'unknown', not {self.value!r}")
        if (self.kind == "unknown") != (self.value == "unknown"):
            raise ValueError(f"Constant kind must be 'unknown' exactly where the value is, not {self.kind!r}")
        if not 0 <= self.uncertainty <= 1:
            raise ValueError(f"Constant uncertainty must lie in 0..1, not {self.uncertainty!r}")
        if (self.low is None) != (self.high is None) or (self.low is not None and self.uncertainty):
            raise ValueError("Constant must have both low and high and no uncertainty, or neither")

    @property
    def known(self) -> bool:
        return self.value != "unknown"

    def figure(self) -> Figure:
        """The constant as a :class:`Quantity` with its source, or :class:`Unknown`."""
        if not self.known:
            return Unknown(self.unit, f"{self.conditions or self.unit} unknown: {self.source}")
        if self.low is not None and self.high is not None:
            return Quantity(self.low, self.value, self.high, self.unit, self.kind, (self.source,))
        return Quantity.about(self.value, self.unit, relative=self.uncertainty, method=self.kind,
                              sources=(self.source,))


def _tuples(value):
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


@dataclass(frozen=True)
class BlockMemory:
    """The family's block memory: how many there are and which shapes one of them can take."""

    name: str
    count: Constant
    shapes: Constant  # pairs (words, bits)

    def blocks(self, width: int, depth: int, *, written: bool = False) -> int:
        """Blocks for ``depth`` words of ``width`` bits, as Yosys (0.70, ``memory_libmap``) maps them.

        Of one native shape, whichever takes the fewest. Where that is less deep than the memory, a multiplexer chooses
        among rows of blocks; constants of several rows stand side by side in one block, so that only the last is not
        filled in width. What is ``written`` has rows of its own.
        """
        if written:
            return min(-(-depth // words) * -(-width // bits) for words, bits in self.shapes.value)
        return min(-(-width * -(-depth // words) // bits) for words, bits in self.shapes.value)

    @property
    def bits(self) -> int:
        """Bits of one block in its largest shape."""
        return max(words * bits for words, bits in self.shapes.value)


@dataclass(frozen=True)
class LutMemory:
    """Memory made of look-up tables: words and bits of one primitive, and the LUTs it takes away.

    Where that is of more than 16 words, there is one of twice as many and half the bits, too.
    """

    name: str
    words: Constant
    bits: Constant
    luts: Constant

    def primitives(self, width: int, depth: int) -> int:
        """Primitives for ``depth`` words of ``width`` bits."""
        words, bits = self.words.value, self.bits.value
        if depth > words and self.deepest > words:
            words, bits = self.deepest, bits // 2
        return -(-depth // words) * -(-width // bits)

    @property
    def deepest(self) -> int:
        """Words of the deepest memory whose words need no choosing."""
        return 2 * self.words.value if self.words.value > 16 else self.words.value


@dataclass(frozen=True)
class Multiplier:
    """Hard multipliers as synthesis uses them: the widest signed operands, and the narrowest product."""

    operand: Constant
    least_product: Constant


@dataclass(frozen=True)
class SpeedFact:
    """A clock frequency that a design of this project, or its reference, was seen to reach."""

    design: str
    frequency: Constant


@dataclass(frozen=True)
class EnergyConstants:
    """Constants of E = P·t + cycles·E_clock + pin toggles·E_sink + accesses·E_memory.

    ``activity`` is the chance that an input pin of a look-up table toggles in a cycle, without glitches;
    ``glitch`` multiplies it.
    """

    static_power: Constant
    clock: Constant
    sink: Constant
    activity: Constant
    glitch: Constant
    block_read: Constant
    lut_read: Constant
    large_read: Constant


@dataclass(frozen=True)
class LutModel:
    """Calibrated coefficients of the LUT closed forms and the spread of their held-out residuals.

    ``lut_model`` counts cells of the chip after packing, ``mapped_lut_model`` LUTs as synthesis counts them.
    The terms of :class:`hwbnn.cost.terms.Forms` are multiplied by the coefficients of the same names and added;
    ``low`` and ``high`` are what the sum is multiplied by for the interval.
    """

    datapath: Constant
    control: Constant
    rom: Constant
    chains: Constant
    registers: Constant
    low: Constant
    high: Constant

    @property
    def known(self) -> bool:
        """Whether it was calibrated."""
        return self.datapath.known


@dataclass(frozen=True)
class DelayModel:
    """Calibrated coefficients of the clock period: ``base + level · levels + carry · bits + spread · log2(cells)``.

    In seconds, of the slowest :class:`hwbnn.cost.depth.Path` of a stage; ``memory`` is how much later than a
    flip-flop's the output of a block memory comes, for paths that start there, and ``multiplier`` what a hard
    multiplier takes, for paths that pass one. ``low`` and ``high`` are what the
    frequency is multiplied by for the interval.
    """

    base: Constant
    level: Constant
    carry: Constant
    spread: Constant
    memory: Constant
    multiplier: Constant
    low: Constant
    high: Constant

    @property
    def known(self) -> bool:
        """Whether it was calibrated."""
        return self.base.known


@dataclass(frozen=True)
class Technology:
    """One chip.

    ``shared_cells``: a logic cell is a LUT, a flip-flop or both (iCE40), so both share ``luts``.
    ``counts``: the tool by whose counts the forms were calibrated, ``nextpnr`` or ``yosys``; the latter where there is
    no open placer, or its cells are not told apart.
    ``multiplies_in_dsp``: the synthesis command turns general products into hard multipliers; elsewhere it does where
    they are asked for, if there are some.
    """

    name: str
    title: str
    family: str
    lut: str
    synthesis: str
    counts: str
    shared_cells: bool
    multiplies_in_dsp: bool
    luts: Constant
    flip_flops: Constant
    dsp: Constant
    large_memory: Constant
    block_memory: BlockMemory
    lut_memory: LutMemory | None
    multiplier: Multiplier | None
    speed: tuple[SpeedFact, ...]
    energy: EnergyConstants
    lut_model: LutModel
    mapped_lut_model: LutModel
    delay_model: DelayModel

    @property
    def mapped_lut(self) -> str:
        """What synthesis counts: ``LUT4``, or ``LUT6``."""
        return "LUT4" if self.shared_cells else self.lut

    @property
    def spram(self) -> int:
        """Blocks of single-port RAM."""
        return self.large_memory.value // (SPRAM_BITS * SPRAM_WORDS)


def names() -> tuple[str, ...]:
    """Names of all technologies that can be built for, sorted."""
    return tuple(sorted(file.name.removesuffix(".toml") for file in _folder().iterdir()
                        if file.name.endswith(".toml") and not file.name.startswith("asic-")))


@cache
def technology(name: str) -> Technology:
    """Return the technology called ``name``. Raises :class:`UserError` with the nearest name."""
    if name not in names():
        near = get_close_matches(name, names(), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"Technology must be one of {', '.join(names())}, not {name}{hint}")
    return parse((_folder() / f"{name}.toml").read_text(encoding="utf-8"), name)


def _folder():
    return resources.files("hwbnn.cost.technologies")


def constants(record: Mapping[str, Any], where: str) -> Any:
    """Turn every table with a ``value`` into a :class:`Constant`; a bare number is an error."""
    if "value" in record:
        try:
            return Constant(**record)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{where}: {error}") from None
    result = {}
    for key, value in record.items():
        place = f"{where}.{key}"
        if isinstance(value, Mapping):
            result[key] = constants(value, place)
        elif isinstance(value, list):
            result[key] = [constants(v, place) if isinstance(v, Mapping) else _bare(v, place) for v in value]
        else:
            result[key] = _bare(value, place)
    return result


def _bare(value, where: str):
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{where}: a number must stand in a table with value, unit, kind and source, not {value!r}")
    return value


def parse(text: str, name: str) -> Technology:
    """Read a technology from TOML. Raises ``ValueError`` that names the table at fault."""
    record = constants(tomllib.loads(text), name)

    def build(cls, entries, where):
        wanted = {f.name for f in fields(cls)}
        if set(entries) != wanted:
            odd = sorted(set(entries) ^ wanted)[0]
            raise ValueError(f"{where}: must have exactly the entries {', '.join(sorted(wanted))}; see {odd}")
        return cls(**entries)

    record["block_memory"] = build(BlockMemory, record["block_memory"], f"{name}.block_memory")
    lut_memory = record.get("lut_memory")
    record["lut_memory"] = None if lut_memory is None else build(LutMemory, lut_memory, f"{name}.lut_memory")
    multiplier = record.get("multiplier")
    record["multiplier"] = None if multiplier is None else build(Multiplier, multiplier, f"{name}.multiplier")
    record["energy"] = build(EnergyConstants, record["energy"], f"{name}.energy")
    for model in ("lut_model", "mapped_lut_model"):
        record[model] = build(LutModel, record[model], f"{name}.{model}")
    record["delay_model"] = build(DelayModel, record["delay_model"], f"{name}.delay_model")
    record["speed"] = tuple(build(SpeedFact, fact, f"{name}.speed") for fact in record.get("speed", []))
    return build(Technology, {"name": name, **record}, name)
