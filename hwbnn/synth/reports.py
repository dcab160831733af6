"""What the tools report, as numbers: Yosys' cell counts, nextpnr's utilization and frequencies, and its complaints."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Cells", "Exhausted", "Use", "cells", "cells_by_module", "exhausted", "fmax", "use", "use_in_log"]

#: Primitive to the field of :class:`Cells` that counts it.
_PRIMITIVES = {
    "LUT4": "lut4", "CCU2C": "carry", "TRELLIS_FF": "ff", "DP16KD": "block_memory", "PDPW16KD": "block_memory",
    "TRELLIS_DPR16X4": "lut_memory", "MULT18X18D": "dsp", "ALU54B": "dsp", "PFUMX": "mux", "L6MUX21": "mux",
    "SB_LUT4": "lut4", "SB_CARRY": "carry", "SB_SPRAM256KA": "large_memory", "SB_MAC16": "dsp",
    "CCU2": "carry", "DPR16X4": "lut_memory", "CARRY4": "carry", "CARRY8": "carry", "ALU": "carry",
    "RAM16SDP4": "lut_memory", "WIDEFN9": "mux",
}
_PREFIXES = {
    "SB_DFF": "ff", "SB_RAM40_4K": "block_memory", "FD1P3": "ff", "DFF": "ff", "FDRE": "ff", "FDSE": "ff", "FDCE": "ff",
    "FDPE": "ff", "LUT": "lut4", "MUX": "mux", "RAMB": "block_memory", "DSP48": "dsp", "MULT": "dsp",
    "PDP": "block_memory", "DP16K": "block_memory", "SDPB": "block_memory", "SDPX9B": "block_memory",
    "pROM": "block_memory", "DPB": "block_memory", "DPX9B": "block_memory", "SP": "block_memory", "RAM": "lut_memory",
}
#: Places for look-up tables that a primitive takes; LUT memories not listed take ``luts_per_memory``.
_PLACES = {"CCU2C": 2, "CCU2": 2, "ALU": 1, "RAM32X1D": 2, "RAM64X1D": 2, "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8,
           "RAM64M8": 8}
_DOUBLE = ("RAMB36",)  # two blocks of 18 kbit

#: What nextpnr calls a resource, to what a user calls it and to the field of a result.
_RESOURCES = {
    "TRELLIS_COMB": ("LUT4s", "lut"), "TRELLIS_FF": ("flip-flops", "ff"), "DP16KD": ("block RAMs", "block_memory"),
    "MULT18X18D": ("multipliers", "dsp"), "TRELLIS_RAMW": ("LUT RAM write ports", "lut_memory"),
    "TRELLIS_IO": ("pins", "pins"),
    "ICESTORM_LC": ("logic cells", "lut"), "ICESTORM_RAM": ("block RAMs", "block_memory"),
    "ICESTORM_DSP": ("multipliers", "dsp"), "ICESTORM_SPRAM": ("SPRAM blocks", "large_memory"),
    "SB_IO": ("pins", "pins"),
}


@dataclass(frozen=True)
class Cells:
    """Primitives after synthesis.

    Parameters
    ----------
    lut4, carry, ff : :class:`int`
        Look-up tables of any size; carry cells (CCU2C of two bits, SB_CARRY and ALU of one, CARRY4); flip-flops.
    lut_memory, block_memory, large_memory, dsp : :class:`int`
        TRELLIS_DPR16X4 and its like; blocks of memory (a RAMB36 is two); SB_SPRAM256KA; multipliers.
    mux : :class:`int`
        Multiplexers behind look-up tables, which come from wide-LUT mapping.
    lut : :class:`int`
        Places for LUTs taken: look-up tables, two for a CCU2C, one for an ALU, and those of LUT memories.
    """

    lut4: int = 0
    carry: int = 0
    ff: int = 0
    lut_memory: int = 0
    block_memory: int = 0
    large_memory: int = 0
    dsp: int = 0
    mux: int = 0
    lut: int = 0

    def __add__(self, other: "Cells") -> "Cells":
        return Cells(**{name: value + getattr(other, name) for name, value in asdict(self).items()})


def cells(by_type: Mapping[str, int], *, luts_per_memory: int) -> Cells:
    """Sort counts by primitive into :class:`Cells`.

    Parameters
    ----------
    luts_per_memory : :class:`int`
        LUT places that a LUT memory takes, its write port included.
    """
    count = dict.fromkeys(Cells.__dataclass_fields__, 0)
    for kind, number in by_type.items():
        name = _PRIMITIVES.get(kind) or next((field for prefix, field in _PREFIXES.items()
                                              if kind.startswith(prefix)), None)
        if name is None:
            continue
        count[name] += number * (1 + kind.startswith(_DOUBLE))
        places = {"lut4": 1, "lut_memory": luts_per_memory}.get(name, 0)
        count["lut"] += number * _PLACES.get(kind, places)
    return Cells(**count)


def cells_by_module(statistics: Mapping[str, Any], *, luts_per_memory: int) -> dict[str, Cells]:
    """Read Yosys' ``stat -json``: module name (without the backslash) to its own cells, submodules not counted."""
    return {name.removeprefix("\\"): cells(module["num_cells_by_type"], luts_per_memory=luts_per_memory)
            for name, module in statistics["modules"].items()}


@dataclass(frozen=True)
class Use:
    """How much of a resource a placed design takes."""

    used: int
    available: int


def use(report: Mapping[str, Any]) -> dict[str, Use]:
    """Read the utilization of nextpnr's JSON report, by the field names of :class:`Cells`; ``pins`` beside them."""
    return _by_field({name: Use(entry["used"], entry["available"]) for name, entry in report["utilization"].items()})


def use_in_log(log: str) -> dict[str, Use]:
    """Read the utilization that nextpnr logs before it places, by its own names."""
    return {name: Use(int(used), int(available)) for name, used, available in
            re.findall(r"^Info:\s+([A-Z0-9_]+):\s+(\d+)/\s*(\d+)\s+\d+%\s*$", log, re.MULTILINE)}


def _by_field(uses: Mapping[str, Use]) -> dict[str, Use]:
    return {_RESOURCES[name][1]: amount for name, amount in uses.items() if name in _RESOURCES}


@dataclass(frozen=True)
class Exhausted:
    """A resource of which a design needs more than there is."""

    resource: str
    needed: int
    available: int

    def __str__(self) -> str:
        return f"{self.needed} {self.resource} of {self.available}"


def exhausted(log: str) -> list[Exhausted]:
    """Return what a design that nextpnr refused has too much of, worst first."""
    over = [Exhausted(_RESOURCES.get(name, (name, name))[0], amount.used, amount.available)
            for name, amount in use_in_log(log).items() if amount.used > amount.available]
    return sorted(over, key=lambda entry: entry.needed / max(entry.available, 1), reverse=True)


def fmax(report: Mapping[str, Any]) -> float | None:
    """Return the frequency in Hz that the fastest clock of the design reaches; None where there is no clock.

    Of several clocks the one of least room for what it was asked for decides, scaled to the fastest: where only that
    one is asked for much, the figure is its own.
    """
    clocks = list(report["fmax"].values())
    if len(clocks) < 2:
        return 1e6 * clocks[0]["achieved"] if clocks else None
    room = min(clocks, key=lambda clock: clock["achieved"] / clock["constraint"])
    return 1e6 * room["achieved"] * max(clock["constraint"] for clock in clocks) / room["constraint"]
