"""Where the cycles go: what each stream did in the steady state, which stage limits, and when frames pass."""

from collections.abc import Sequence
from html import escape

from hwbnn.plan import PipelineStage
from hwbnn.sim.design import Design
from hwbnn.sim.result import Profile, StageProfile
from hwbnn.sim.streams import stage_streams
from hwbnn.sim.traffic import Record, Traffic

__all__ = ["profile", "timeline_svg"]

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


def timeline_svg(stages: Sequence[StageProfile], *, width: int = 880) -> str:
    """Draw when the first frames pass each stage: a row per stage, a bar per frame, cycles to the right."""
    left, row, bar, base = 150, 24, 9, 22
    end = max(last for stage in stages for _, last in stage.passes) + 1
    scale = (width - left - 10) / end
    height = base + row * len(stages) + 8
    parts = [(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
              f'height="{height}" font-family="system-ui, sans-serif" font-size="11">')]
    for tick in range(0, end, _tick(end)):
        x = left + tick * scale
        parts.append(f'<path d="M{x:.1f} {base - 4}V{height - 4}" stroke="#8884"/>'
                     f'<text x="{x:.1f}" y="12" text-anchor="middle" fill="currentColor">{tick}</text>')
    for n, stage in enumerate(stages):
        y = base + n * row
        parts.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end" fill="currentColor">'
                     f'{escape(stage.stage)}</text>')
        for frame, (start, last) in enumerate(stage.passes):
            hue = frame * 360 // _TIMELINE_FRAMES
            parts.append(
                f'<rect x="{left + start * scale:.1f}" y="{y + frame % 2 * (bar + 1)}" '
                f'width="{max(1.5, (last + 1 - start) * scale):.1f}" height="{bar}" rx="2" '
                f'fill="hsl({hue} 60% 55%)"><title>{escape(stage.stage)}, frame {frame}: cycles {start} to '
                f'{last}</title></rect>')
    return "".join([*parts, "</svg>"])


def _tick(end: int) -> int:
    """The least of 1, 2, 5, 10, 20, ... that gives at most ten marks."""
    decade = 10 ** max(0, len(str(end)) - 2)
    return next(step * decade for step in (1, 2, 5, 10) if step * decade * 10 >= end)
