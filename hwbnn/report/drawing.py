"""Draw a directed graph of labelled boxes in layers, from top to bottom, as SVG.

A box stands one layer below the lowest of those it reads (longest path), as in Sugiyama's method; within a
layer, boxes are ordered by the mean place of their neighbours. An edge over several layers is led through a
free place in each.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

__all__ = ["Box", "Edge", "draw"]

WIDTH, GAP = 250, 26  # of a box and between two of a layer, pixels
LINE, PAD, BETWEEN = 17, 10, 40  # height of a text line, space in a box, space between layers
THROUGH = 24  # width of the place that an edge takes in a layer it passes
_SWEEPS = 4
_ARROWHEAD = ('<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
              'orient="auto"><path d="M0 0 8 4 0 8z" class="head"/></marker></defs>')
_CHARACTERS = 40  # that fit a line of a box


@dataclass(frozen=True)
class Box:
    """A box: a title with a word beside it, and lines of text. ``kind`` becomes its CSS class."""

    key: str
    title: str
    beside: str = ""
    lines: tuple[str, ...] = ()
    kind: str = "layer"

    @property
    def height(self) -> int:
        return 2 * PAD + LINE * (1 + len(self.lines)) - 4


@dataclass(frozen=True)
class Edge:
    """An arrow from one box to another, by their keys, with a label beside it."""

    source: str
    target: str
    label: str = ""


@dataclass(frozen=True)
class _Place:
    """Where a box, or an edge that passes a layer, stands: the middle of its top, and its size."""

    x: float
    y: float
    width: float
    height: float

    @property
    def bottom(self) -> float:
        return self.y + self.height


def draw(boxes: Sequence[Box], edges: Sequence[Edge], *, title: str) -> str:
    """Return the graph as an ``<svg>`` element; its colours come from the CSS classes of the page.

    ``edges`` must have no cycle. The order of ``boxes`` decides between equals.
    """
    ranks = _ranks(boxes, edges)
    chains = {edge: _chain(edge, ranks) for edge in edges}
    places = _places(boxes, ranks, chains)
    width = max(place.x + place.width / 2 for place in places.values()) + 2
    height = max(place.bottom for place in places.values()) + 2
    parts = [(f'<svg class="graph" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(title)}" '
              f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}">'),
             f"<title>{escape(title)}</title>", _ARROWHEAD]
    parts += [_arrow(edge, [places[key] for key in chains[edge]]) for edge in edges]
    parts += [_box(box, places[box.key]) for box in boxes]
    return "\n".join([*parts, "</svg>"])


def _ranks(boxes: Sequence[Box], edges: Sequence[Edge]) -> dict[str, int]:
    before = defaultdict(list)
    for edge in edges:
        before[edge.target].append(edge.source)
    ranks: dict[str, int] = {}
    waiting = [box.key for box in boxes]
    while waiting:
        ready = [key for key in waiting if all(source in ranks for source in before[key])]
        if not ready:
            raise ValueError(f"Graph must have no cycle, and one goes through {waiting[0]}")
        for key in ready:
            ranks[key] = 1 + max((ranks[source] for source in before[key]), default=-1)
        waiting = [key for key in waiting if key not in ranks]
    return ranks


def _chain(edge: Edge, ranks: dict[str, int]) -> list[str]:
    """Keys of the places from one end of an edge to the other."""
    passed = [f"{edge.source}\0{edge.target}\0{rank}" for rank in range(ranks[edge.source] + 1, ranks[edge.target])]
    return [edge.source, *passed, edge.target]


def _places(boxes: Sequence[Box], ranks: dict[str, int], chains: dict[Edge, list[str]]) -> dict[str, _Place]:
    layers: list[list[str]] = [[] for _ in range(max(ranks.values(), default=0) + 1)]
    for box in boxes:
        layers[ranks[box.key]].append(box.key)
    for edge, chain in chains.items():
        for step, key in enumerate(chain[1:-1], 1):
            layers[ranks[edge.source] + step].append(key)
    _untangle(layers, chains)
    size = {box.key: (WIDTH, box.height) for box in boxes}
    widths = [sum(size.get(key, (THROUGH, 0))[0] + GAP for key in layer) - GAP for layer in layers]
    places, y = {}, 1.0
    for layer, total in zip(layers, widths, strict=True):
        height = max(size.get(key, (0, 0))[1] for key in layer)
        x = (max(widths) - total) / 2 + 1
        for key in layer:
            width, own = size.get(key, (THROUGH, height))
            places[key] = _Place(x + width / 2, y, width, own)
            x += width + GAP
        y += height + BETWEEN
    return places


def _untangle(layers: list[list[str]], chains: dict[Edge, list[str]]):
    """Order each layer by the mean place of the neighbours above, then below, a few times."""
    above, below = defaultdict(list), defaultdict(list)
    for chain in chains.values():
        for a, b in pairwise(chain):
            above[b].append(a)
            below[a].append(b)
    for sweep in range(_SWEEPS):
        order = range(1, len(layers)) if sweep % 2 == 0 else range(len(layers) - 2, -1, -1)
        step, neighbours = (-1, above) if sweep % 2 == 0 else (1, below)
        for n in order:
            layers[n] = _beside(layers[n], layers[n + step], neighbours)


def _beside(layer: list[str], other: list[str], neighbours: dict[str, list[str]]) -> list[str]:
    """Order a layer by where its neighbours stand in the other one; who has none keeps to its place."""
    there = {key: (n + 0.5) / len(other) for n, key in enumerate(other)}
    wish = {}
    for n, key in enumerate(layer):
        at = [there[k] for k in neighbours[key] if k in there]
        wish[key] = sum(at) / len(at) if at else (n + 0.5) / len(layer)
    return sorted(layer, key=wish.__getitem__)


def _arrow(edge: Edge, chain: list[_Place]) -> str:
    start, end = chain[0], chain[-1]
    path = [f"M{start.x:.1f} {start.bottom:.1f}"]
    for a, b in pairwise(chain):
        y0, y1 = a.bottom, b.y - (1 if b is end else 0)
        middle = (y0 + y1) / 2
        path.append(f"C{a.x:.1f} {middle:.1f} {b.x:.1f} {middle:.1f} {b.x:.1f} {y1:.1f}")
        if b is not end:
            path.append(f"V{b.bottom:.1f}")
    line = f'<path class="edge" d="{" ".join(path)}" marker-end="url(#arrow)"/>'
    if not edge.label:
        return line
    x, y = (start.x + chain[1].x) / 2 + 8, (start.bottom + chain[1].y) / 2 + 4
    return f'{line}\n<text class="label" x="{x:.1f}" y="{y:.1f}">{escape(edge.label)}</text>'


def _box(box: Box, place: _Place) -> str:
    left, top = place.x - place.width / 2, place.y
    parts = [f'<g class="box {escape(box.kind)}"><title>{escape(box.title)}</title>',
             f'<rect x="{left:.1f}" y="{top:.1f}" width="{place.width}" height="{place.height}" rx="6"/>',
             _text("name", left + PAD, top + PAD + 10, _shortened(box.title, _CHARACTERS - 2 - len(box.beside)))]
    if box.beside:
        parts.append(_text("beside", left + place.width - PAD, top + PAD + 10, box.beside))
    parts += [_text("line", left + PAD, top + PAD + 10 + LINE * n, _shortened(line, _CHARACTERS))
              for n, line in enumerate(box.lines, 1)]
    return "".join([*parts, "</g>"])


def _text(kind: str, x: float, y: float, text: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[:length - 1] + "…"
