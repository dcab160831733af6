"""The charts of the report as Plotly figures: plain records, coloured by the page for light and dark."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Bar", "bars", "confusion_matrix", "decay", "roofs"]

_ROW = 30  # height of a bar's row in pixels
_LONGEST = 26  # characters of a name beside a bar


@dataclass(frozen=True)
class Bar:
    """One bar: its name, its value, and the interval it is said to lie in."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


def bars(series: dict[str, Sequence[Bar]], *, unit: str, log: bool = False, stacked: bool = False) -> dict[str, Any]:
    """Horizontal bars, one colour per series, the first name on top.

    Values are shown at the bars' ends, intervals as whiskers. The page replaces the colours ``series-0``,
    ``series-1`` and so on.
    """
    names = list(dict.fromkeys(bar.name for group in series.values() for bar in group))
    traces = []
    for n, (label, group) in enumerate(series.items(), 1 if len(series) == 1 else 0):
        trace: dict[str, Any] = {
            "type": "bar", "orientation": "h", "name": label, "x": [bar.value for bar in group],
            "y": [_short(bar.name) for bar in group], "marker": {"color": f"series-{n}"},
            "text": [_number(bar.value) for bar in group], "textposition": "auto", "cliponaxis": False,
            "hovertemplate": f"%{{y}}: %{{x:,.4~g}} {unit}<extra>{label}</extra>",
        }
        if any(bar.low is not None and bar.low != bar.high for bar in group):
            trace["error_x"] = {
                "type": "data", "symmetric": False, "thickness": 1.5, "width": 4,
                "array": [None if bar.high in (None, bar.value) else bar.high - bar.value for bar in group],
                "arrayminus": [None if bar.low in (None, bar.value) else bar.value - bar.low for bar in group],
            }
            trace["textposition"] = "none"
        traces.append(trace)
    rows = len(names) * (1 if stacked else len(series))
    layout = {
        "barmode": "stack" if stacked else "group", "bargap": 0.3, "height": max(150, _ROW * rows + 80),
        "xaxis": {"title": {"text": unit}, "type": "log" if log else "linear", "rangemode": "tozero"},
        "yaxis": {"autorange": "reversed", "automargin": True, "type": "category", "showgrid": False},
        "showlegend": len(series) > 1, "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        "margin": {"l": 10, "r": 30, "t": 30 if len(series) > 1 else 8, "b": 45},
    }
    return {"data": traces, "layout": layout}


def confusion_matrix(counts: Sequence[Sequence[int]], names: Sequence[str]) -> dict[str, Any]:
    """Rows are what an image is, columns what it was taken for.

    The colour is the share of the row; that of a confusion is strengthened fivefold, to be seen at all.
    """
    shares = [[count / (sum(row) or 1) for count in row] for row in counts]
    shades = [[share if n == m else -min(1.0, 5 * share) for m, share in enumerate(row)]
              for n, row in enumerate(shares)]
    told = [[[count, share] for count, share in zip(*rows, strict=True)] for rows in zip(counts, shares, strict=True)]
    size = min(460, 120 + 34 * len(names))
    trace = {
        "type": "heatmap", "z": shades, "x": list(names), "y": list(names), "zmin": -1, "zmax": 1,
        "colorscale": "series", "showscale": False, "xgap": 1, "ygap": 1, "customdata": told,
        "hovertemplate": "%{y} taken for %{x}: %{customdata[0]} images (%{customdata[1]:.1%})<extra></extra>",
    }
    if len(names) <= 20:  # more would not be legible
        trace["text"] = [[str(count) if count else "" for count in row] for row in counts]
        trace["texttemplate"] = "%{text}"
    layout = {
        "height": size, "width": size, "margin": {"l": 50, "r": 10, "t": 10, "b": 50},
        "xaxis": {"title": {"text": "taken for"}, "type": "category", "constrain": "domain"},
        "yaxis": {"title": {"text": "is"}, "type": "category", "autorange": "reversed", "scaleanchor": "x"},
    }
    return {"data": [trace], "layout": layout}


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else name[:_LONGEST - 1] + "…"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.3g}"


def decay(points: Sequence[tuple[float, float, float, float]], *, x: str, y: str) -> dict[str, Any]:
    """A line through (x, mean, low, high) with whiskers, x in powers of ten, y in per cent."""
    trace = {
        "type": "scatter", "mode": "lines+markers", "line": {"color": "series-1"}, "x": [point[0] for point in points],
        "y": [100 * mean for _, mean, _, _ in points],
        "error_y": {"type": "data", "symmetric": False, "thickness": 1.5, "width": 4, "color": "series-1",
                    "array": [100 * (high - mean) for _, mean, _, high in points],
                    "arrayminus": [100 * (mean - low) for _, mean, low, _ in points]},
        "hovertemplate": f"%{{x:,}} {x}: %{{y:.2f}} %<extra></extra>",
    }
    layout = {
        "height": 300, "showlegend": False, "margin": {"l": 55, "r": 20, "t": 10, "b": 45},
        "xaxis": {"title": {"text": x}, "type": "log"}, "yaxis": {"title": {"text": y}},
    }
    return {"data": [trace], "layout": layout}


def roofs(points: Sequence[tuple[str, float | None, float, float, float | None]], *, bandwidth: float
          ) -> dict[str, Any]:
    """A roofline, both axes in powers of ten.

    Parameters
    ----------
    points : (name, products per bit, products per cycle, those while it works, limit by look-up tables)
        Points without memory traffic stand at the right end.
    bandwidth : :class:`float`
        Bits per cycle: the slope of the memories' roof.
    """
    known = [intensity for _, intensity, *_ in points if intensity]
    left, right = 0.3 * min(known, default=1.0), 10 * max(known, default=1.0)
    at = [intensity or right / 2 for _, intensity, *_ in points]
    names = [_short(name) for name, *_ in points]
    roof = {"type": "scatter", "mode": "lines", "name": "memories", "x": [left, right],
            "y": [bandwidth * left, bandwidth * right], "line": {"color": "series-1"}, "hoverinfo": "name"}
    limits = [(x, limit, name) for x, (*_, limit), name in zip(at, points, names, strict=True) if limit is not None]
    logic = {"type": "scatter", "mode": "markers", "name": "limit by look-up tables", "x": [x for x, *_ in limits],
             "y": [y for _, y, _ in limits], "marker": {"color": "series-1", "symbol": "line-ew-open", "size": 22,
                                                         "line": {"width": 2, "color": "series-1"}},
             "text": [name for *_, name in limits],
             "hovertemplate": "%{text}: %{y:,.4~g} products per cycle<extra>limit by look-up tables</extra>"}
    lifts = {"type": "scatter", "mode": "lines", "showlegend": False, "hoverinfo": "skip",
             "line": {"color": "series-0", "width": 1, "dash": "dot"},
             "x": [x for place, *_ in limits for x in (place, place, None)],
             "y": [y for (*_, works, limit) in points if limit is not None for y in (works, limit, None)]}
    attained = {"type": "scatter", "mode": "markers+text", "name": "layer, over the whole interval", "x": at,
                "y": [y for _, _, y, *_ in points], "text": names, "textposition": "bottom right",
                "marker": {"color": "series-0", "size": 10}, "cliponaxis": False,
                "hovertemplate": "%{text}: %{y:,.4~g} products per cycle<extra></extra>"}
    works = {"type": "scatter", "mode": "markers", "name": "while it works (PE × SIMD)", "x": at,
             "y": [works for *_, works, _ in points], "text": names,
             "marker": {"color": "series-0", "size": 10, "symbol": "circle-open"},
             "hovertemplate": "%{text}: %{y:,.4~g} products per cycle<extra>while it works</extra>"}
    layout = {
        "height": 400, "margin": {"l": 60, "r": 30, "t": 60, "b": 45},
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        "xaxis": {"title": {"text": "products per bit of memory traffic"}, "type": "log", "dtick": 1},
        "yaxis": {"title": {"text": "products per cycle"}, "type": "log", "dtick": 1},
    }
    return {"data": [roof, logic, lifts, works, attained], "layout": layout}
