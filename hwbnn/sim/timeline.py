"""Draw when frames pass the stages: a row per stage, a bar per frame, cycles to the right."""

from collections.abc import Callable, Sequence
from html import escape

from hwbnn.sim.result import StageProfile

__all__ = ["timeline_svg"]

_WIDTH, _TOP, _RIGHT = 1100, 34, 16
_BAR, _ROW_GAP = 9, 9  # height of a bar, and what is free between rows
_CHARACTER = 7.0  # width of one, about
_COLOURS = ("#1f6feb", "#e08f3c", "#6aa584", "#9a7fc4", "#c9657b", "#9db9e8")

# Colours are the page's where it has them, so that the drawing follows it into the dark.
_STYLE = """<style>
.timeline { color: var(--ink, #1c2430); font-size: 12px;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
.timeline text { fill: currentColor; }
.timeline .soft { fill: var(--soft, #5b6675); font-size: 11.5px; }
.timeline .grid { stroke: var(--line, #dde2e9); }
.timeline .band { fill: var(--shade, #f0f3f7); }
.timeline .limits { font-weight: 650; }
.timeline .measure { stroke: var(--soft, #5b6675); fill: none; }
""" + "".join(f".timeline .f{n} {{ fill: var(--series-{(n + 1) % 6}, {colour}); }}\n"
              for n, colour in enumerate(_COLOURS)) + "</style>"


def timeline_svg(stages: Sequence[StageProfile], *, bottleneck: str = "") -> str:
    """Return the drawing as an ``<svg>`` element; bars that overlap in time stand below each other.

    Under the rows are measured the cycles of the first frame, and those between the last two frames that are drawn.
    """
    end = max(last for stage in stages for _, last in stage.passes) + 1
    left = 12 + _CHARACTER * max(len(stage.stage) for stage in stages)
    scale = (_WIDTH - left - _RIGHT) / end

    def x(cycle: float) -> float:
        return left + cycle * scale

    bands, rows, y = [], [], _TOP
    for number, stage in enumerate(stages):
        lanes = _lanes(stage.passes)
        height = _ROW_GAP + (max(lanes) + 1) * (_BAR + 1)
        if number % 2 == 0:
            bands.append(f'<rect class="band" x="0" y="{y}" width="{_WIDTH}" height="{height}"/>')
        rows += _row(stage, lanes, y, height, x, limits=stage.stage == bottleneck)
        y += height
    grid = [(f'<path class="grid" d="M{x(tick):.1f} {_TOP - 6}V{y}"/>'
             f'<text class="soft" x="{x(tick):.1f}" y="{_TOP - 10}" text-anchor="middle">{tick:,}</text>')
            for tick in range(0, end, _tick(end))]
    into, out = stages[0].passes, stages[-1].passes
    measures = [_measure(x(into[0][0]), x(out[0][1]), y + 14, f"first frame: {out[0][1] - into[0][0]:,} cycles")]
    if len(out) > 1:
        measures.append(_measure(x(out[-2][1]), x(out[-1][1]), y + 34,
                                 f"between frames: {out[-1][1] - out[-2][1]:,} cycles", before=True))
    height = y + 46
    return "".join([
        (f'<svg class="timeline" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="Stages against cycles" '
         f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">'), _STYLE,
        f'<text class="soft" x="{left - 8:.1f}" y="{_TOP - 10}" text-anchor="end">cycle</text>',
        *bands, *grid, *rows, *measures, "</svg>"])


def _row(stage: StageProfile, lanes: Sequence[int], y: float, height: float, x: Callable[[float], float], *,
         limits: bool) -> list[str]:
    name = ' class="limits"' if limits else ""
    parts = [(f'<text{name} x="{x(0) - 8:.1f}" y="{y + height / 2 + 4:.1f}" text-anchor="end">'
              f'{escape(stage.stage)}</text>')]
    for frame, ((start, last), lane) in enumerate(zip(stage.passes, lanes, strict=True)):
        parts.append(
            f'<rect class="f{frame % len(_COLOURS)}" x="{x(start):.1f}" '
            f'y="{y + _ROW_GAP / 2 + lane * (_BAR + 1):.1f}" width="{max(1.5, x(last + 1) - x(start)):.1f}" '
            f'height="{_BAR}" rx="2"><title>{escape(stage.stage)}, frame {frame}: cycles {start:,} to {last:,}'
            "</title></rect>")
    return parts


def _lanes(passes: Sequence[tuple[int, int]]) -> list[int]:
    """The topmost lane that is free for each of the bars, which come in order of their starts."""
    free: list[int] = []
    lanes = []
    for start, last in passes:
        lane = next((n for n, until in enumerate(free) if until < start), len(free))
        free[lane:lane + 1] = [last]
        lanes.append(lane)
    return lanes


def _measure(start: float, end: float, y: float, text: str, *, before: bool = False) -> str:
    """A line between two marks, with its text at the right of it or at the left."""
    at, anchor = (start - 6, "end") if before else (end + 6, "start")
    if not before and end > 0.8 * _WIDTH:
        at, anchor, y0 = end - 6, "end", y - 4
    else:
        y0 = y + 4
    return (f'<path class="measure" d="M{start:.1f} {y - 4}v8M{end:.1f} {y - 4}v8M{start:.1f} {y}H{end:.1f}"/>'
            f'<text class="soft" x="{at:.1f}" y="{y0}" text-anchor="{anchor}">{text}</text>')


def _tick(end: int) -> int:
    """The least of 1, 2, 5, 10, 20, ... that gives at most ten marks."""
    decade = 10 ** max(0, len(str(end)) - 2)
    return next(step * decade for step in (1, 2, 5, 10) if step * decade * 10 >= end)
