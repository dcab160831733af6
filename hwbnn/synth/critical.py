"""The slowest path of a routed design, in terms of layers and what they are made of."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hwbnn.plan import Plan
from hwbnn.synth.stages import instance_name

__all__ = ["CriticalPath", "critical_path"]

# What synthesis and packing append to the name of a signal when they make cells of it.
_CELL = re.compile(r"(_(TRELLIS_|LUT4|CCU2C|PFUMX|L6MUX21|MULT18X18D|DP16KD|SB_|DFFLC|LC$|D[IO][AB]\d|[RW]DATA)|\$).*")
_PARTS = tuple((re.compile(pattern), words) for pattern, words in (
    (r"pe_(\d+)\.sum(?:_\d+)?_(\d+)_\d+", r"adder tree level \2 of PE \1"),
    (r"pe_(\d+)\.planes_(\d+)_\d+", r"planes level \2 of PE \1"),
    (r"pe_(\d+)\b.*", r"products of PE \1"),
    (r"totals.*", "accumulator"),
    (r"(weights|thresholds|offsets|constants)\b.*", r"\1"),
    (r"(number|reached|level|limit|found|passed|step)_.*", "threshold compare"),
    (r"control\b.*", "control"),
    (r"fifo\b.*", "output FIFO"),
    (r"inputs\b.*|stored_\d+|bypass_\d+", "input buffer"),
    (r"x(_\d+)?|x_value", "input word"),
    (r"(ends|valid|starts|left_out)\b.*", "flags beside the pipeline"),
    (r"product_\d+(?:_(\d+)_\d+)?", "product"),
    (r"(value|second|lane|a|b|a_lane|b_lane)_(\d+)_\d+.*", r"comparison level \2"),
    (r"(best|above|below|equal|base).*", "best so far"),
    (r"(lead|there|held|room|loop_\d+|end_\d+|step|jump|past|free|freed|address|[rw]_address|given|issue)\b.*",
     "control"),
    (r"(buffer|beat)\b.*", "buffer"),
    (r"[io]__(ready|valid)", "control"),
))


@dataclass(frozen=True)
class CriticalPath:
    """What the slowest path passes, from register to register.

    Parameters
    ----------
    steps : tuple of pairs of :class:`str`
        Stage of the plan and part of it, in order, each once in a row; what is no stage, such as the host link, by
        its name in the hierarchy.
    seconds, routing : :class:`float`
        Delay, and the part of it that wires take.
    """

    steps: tuple[tuple[str, str], ...]
    seconds: float
    routing: float

    def __str__(self) -> str:
        told, before = [], ""
        for stage, part in self.steps:
            told.append(part if stage == before else f"{stage}: {part}" if part else stage)
            before = stage
        return (f"{' -> '.join(told)} ({1e9 * self.seconds:.1f} ns, {self.routing / self.seconds:.0%} of it wires)")

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "CriticalPath":
        """The inverse of ``asdict``, also after JSON."""
        return cls(tuple((stage, part) for stage, part in record["steps"]), record["seconds"], record["routing"])


def critical_path(report: Mapping[str, Any], plan: Plan) -> CriticalPath | None:
    """Read the slowest path between registers of one clock from nextpnr's JSON report; None where there is none.

    Of several clocks that with the least room for what it was asked for.
    """
    paths = [entry for entry in report.get("critical_paths", ())
             if entry["from"] == entry["to"] and entry["from"].startswith("posedge")]
    if not paths:
        return None
    clocks = report.get("fmax", {})

    def share(entry: Mapping[str, Any]) -> float:
        """Of the period that the path's clock was asked for."""
        clock = clocks.get(entry["from"].removeprefix("posedge "), {})
        return _seconds(entry["path"]) * clock.get("constraint", 1.0)

    slowest = max(paths, key=share)["path"]
    names = {instance_name(stage.name): stage.name for stage in plan.parts}
    cells = [slowest[0]["from"]["cell"], *(step["to"]["cell"] for step in slowest)]
    steps: list[tuple[str, str]] = []
    for cell in cells:
        step = _step(cell, names)
        if step is not None and step not in steps[-1:]:
            steps.append(step)
    return CriticalPath(tuple(steps), _seconds(slowest), _seconds(s for s in slowest if s["type"] == "routing"))


def _seconds(steps: Iterable[Mapping[str, Any]]) -> float:
    return sum(step["delay"] for step in steps) * 1e-9


def _step(cell: str, names: Mapping[str, str]) -> tuple[str, str] | None:
    """The stage of a cell and its part there; None for cells that tools made without a name of the design's."""
    if cell.startswith("$"):
        return None
    path = cell.split(".")
    for place, name in enumerate(path[:-1]):
        if name in names:
            part = _part(".".join(path[place + 1:]))
            return (names[name], part) if part else None
    inside = path[:-1]
    if "link" in inside:
        return "host link", ".".join(inside[inside.index("link") + 1:])
    return ".".join(inside) or _CELL.sub("", cell), ""


def _part(name: str) -> str:
    *modules, last = name.split(".")
    plain = ".".join((*modules, _CELL.sub("", last)))
    for pattern, words in _PARTS:
        found = pattern.match(plain)
        if found is not None:
            return found.expand(words)
    return plain
