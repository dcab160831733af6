"""Where the cycles go: what each stream did in the steady state, which stage limits, and when frames pass."""

from hwbnn.plan import PipelineStage
from hwbnn.sim.design import Design
from hwbnn.sim.result import Profile, StageProfile
from hwbnn.sim.streams import stage_streams
from hwbnn.sim.traffic import Record, Traffic

__all__ = ["profile"]

_TIMELINE_FRAMES = 6


def profile(design: Design, traffic: Traffic, record: Record) -> Profile:
    """Summarize a phase without stalls whose taps are :func:`hwbnn.sim.streams.taps`, and that came to its end."""
    first, last = traffic.counted
    cycles = int(record.ends[last - 1] - record.ends[first - 1])
    streams = stage_streams(design)
    seen = dict(zip((stream.name for stream in streams), record.taps, strict=True))
    into = {stream.reader.name: stream for stream in reversed(streams) if stream.reader is not None}
    rows = []
    for stream in streams:
        stage, o, tapped = stream.stage, stream.stream, seen[stream.name]
        first_in = into.get(stage.name, stream)
        passes = tuple((int(seen[first_in.name].cycles[frame * first_in.stream.beats]),
                        int(tapped.cycles[(frame + 1) * o.beats - 1]))
                       for frame in range(min(_TIMELINE_FRAMES, traffic.frames)))
        rows.append(StageProfile(
            stream.name, stream.layer, tapped.transferred, tapped.stalled, tapped.starved,
            cycles - tapped.transferred - tapped.stalled - tapped.starved,
            round(tapped.transferred * stage.ii / o.beats / cycles, 6), tapped.occupancy,
            stage.fifo_depth if isinstance(stage, PipelineStage) else None, passes))
    busiest = max(range(len(rows)), key=lambda k: rows[k].utilisation)
    return Profile(last - first, cycles, tuple(rows), streams[busiest].stage.name)
