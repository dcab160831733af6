"""What the page shows of a simulation's profile: where the cycles of the steady state go, stage by stage."""

from dataclasses import dataclass

from hwbnn.plan import MatrixVectorStage
from hwbnn.report.results import Results
from hwbnn.report.text import count, percent
from hwbnn.sim.result import Profile
from hwbnn.sim.timeline import timeline_svg

__all__ = ["KINDS", "StreamRow", "caption", "rows", "timeline"]

KINDS = (("moves", "a beat is transferred"), ("stalled", "offered, not taken"), ("starved", "wanted, not offered"),
         ("idle", "neither"))
"""What a stream does in a cycle."""


@dataclass(frozen=True)
class StreamRow:
    """The stream out of a stage: shares of the cycles by kind, the FIFO behind it, and how much the stage works."""

    stage: str
    layer: str
    shares: tuple[float, ...]
    fifo: str
    works: float
    limits: bool


def _profile(results: Results) -> Profile | None:
    found = (results.simulation or {}).get("profile")
    return None if found is None else Profile.from_json(found)


def rows(results: Results) -> list[StreamRow]:
    """One row per stream that leaves a stage; none where there is no profile."""
    found = _profile(results)
    if found is None:
        return []
    return [StreamRow(row.stage, "" if row.layer == row.stage else row.layer,
                      tuple(cycles / found.cycles for cycles in (row.transferred, row.stalled, row.starved, row.idle)),
                      _fifo(row.occupancy, row.fifo_depth), row.utilisation, row.stage == found.bottleneck)
            for row in found.stages]


def _fifo(occupancy: int | None, depth: int | None) -> str:
    if depth is None:
        return "–"
    return f"depth {depth}" if occupancy is None else f"{occupancy} of {depth}"


def caption(results: Results) -> str:
    """What limits, and what would help."""
    found = _profile(results)
    if found is None:
        return ""
    most = max(row.utilisation for row in found.stages)
    stages = [stage for stage in results.plan.stages if any(
        row.utilisation == most and row.stage in (stage.name, *(f"{stage.name}.{port}" for port in stage.outputs))
        for row in found.stages)]
    names = [stage.name for stage in stages]
    told = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    where = "there" if len(names) == 1 else "in all of them"
    helps = (f"more PE or SIMD {where} raises the rate, elsewhere it does not"
             if all(isinstance(stage, MatrixVectorStage) for stage in stages)
             else "more PE or SIMD elsewhere does not raise the rate")
    return (f"Over {found.frames} frames of the steady state without stalls ({count(found.cycles)} cycles), "
            f"{told} work{'s' if len(names) == 1 else ''} {percent(most)} of the time: {helps}.")


def timeline(results: Results) -> str:
    """The drawing of stages against cycles, as an ``<svg>`` element; empty where there is no profile."""
    found = _profile(results)
    return "" if found is None else timeline_svg(found.stages, bottleneck=found.bottleneck)
