"""Drawing the accuracies of finished runs as one SVG file."""

from training_rows import ROWS, Row, finished

_LABEL, _PLOT, _ROW, _TOP = 210, 560, 18, 50  # pixels: names, the axis, a recipe, and what is above the first
_LOW, _HIGH, _TICKS = 96.4, 99.5, (96.5, 97.0, 97.5, 98.0, 98.5, 99.0)  # percent
_STYLE = ("text{font:12px sans-serif;fill:#222}.small{font-size:10px;fill:#666}.axis{stroke:#ddd}"
          ".range{stroke:#2563a8;stroke-width:2}.seed{fill:#2563a8;fill-opacity:.6}.bar{stroke:#c2410c;stroke-width:2}")


def chart() -> str:
    """Return a row for each recipe with its seeds' test accuracies on MNIST and its bar; the best mean comes first."""
    found = {name: [100 * m["accuracy"]["test"] for m in runs] for name in ROWS if (runs := finished(name))}
    names = sorted(found, key=lambda name: -sum(found[name]) / len(found[name]))
    width, bottom = _LABEL + _PLOT + 20, _TOP + _ROW * len(names)
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{bottom + 30}" '
            f'viewBox="0 0 {width} {bottom + 30}"><style>{_STYLE}</style>'
            '<rect width="100%" height="100%" fill="white"/>'
            '<text x="10" y="20">Test accuracy on MNIST in percent: each seed, their range, and the bar '
            '<tspan fill="#c2410c">|</tspan></text>')
    axis = [f'<path class="axis" d="M{_x(tick)} {_TOP - 10}V{bottom}"/>'
            f'<text class="small" x="{_x(tick)}" y="{bottom + 15}" text-anchor="middle">{tick}</text>'
            for tick in _TICKS]
    rows = [_drawn(name, found[name], _bar(ROWS[name], found), _TOP + row * _ROW) for row, name in enumerate(names)]
    return "\n".join([head, *axis, *rows, "</svg>"]) + "\n"


def _drawn(name: str, values: list[float], bar: float | None, y: int) -> str:
    seeds = "".join(f'<circle class="seed" cx="{_x(value)}" cy="{y}" r="4"/>' for value in values)
    mark = "" if bar is None else f'<path class="bar" d="M{_x(bar)} {y - 7}v14"/>'
    return (f'<text x="10" y="{y + 4}">{name}</text>{mark}'
            f'<path class="range" d="M{_x(min(values))} {y}H{_x(max(values))}"/>{seeds}')


def _bar(row: Row, found: dict[str, list[float]]) -> float | None:
    """Return the accuracy that the mean must reach; None where there is no bar."""
    if row.against is None:
        return row.bar
    other = found.get(row.against)
    return sum(other) / len(other) - row.points if other else None


def _x(accuracy: float) -> float:
    return round(_LABEL + _PLOT * (accuracy - _LOW) / (_HIGH - _LOW), 1)
