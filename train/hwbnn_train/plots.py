"""Drawings of what a trained network looks like inside, as one SVG file that needs nothing else."""

from collections.abc import Sequence
from html import escape

import torch
from torch import Tensor, nn

from hwbnn_train.diagnostics import LayerReport, Probe, diagnose, probes

__all__ = ["plot"]

_SIZE, _GAP, _LEFT, _TOP = 220, 60, 130, 90  # pixels: of a chart, between charts, and before the first
_TITLES = ("Products: real weights (across), quantized (up)", "Products: real inputs (across), quantized (up)",
           "Real weights", "Quantized weights")
_POINTS = 400  # of a scatter plot
_STYLE = ("text{font:12px sans-serif;fill:#222}.small{font-size:10px;fill:#666}.name{font-weight:bold}"
          ".axis{stroke:#999;fill:none}.dot{fill:#2563a8;fill-opacity:.35}.bar{fill:#2563a8}.line{stroke:#c2410c}")


@torch.no_grad()
def plot(model: nn.Module, x: Tensor) -> str:
    """Return an SVG drawing with a row of charts for each layer of ``model`` that has quantized weights.

    The first chart of a row shows dot product proportionality (Anderson and Berg, arXiv:1705.07199): the layer's sums
    for the images ``x``, with real and with quantized weights, each centred and divided by its spread; where points
    lie on the line, quantizing changes nothing but the scale. The second shows the same for the inputs, the third and
    fourth the distributions of the weights. Beside the row stand the figures of
    :func:`~hwbnn_train.diagnostics.diagnose`.
    """
    reports = diagnose(model, x)
    found = probes(model, x)
    width = _LEFT + len(_TITLES) * (_SIZE + _GAP)
    height = _TOP + len(reports) * (_SIZE + _GAP)
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
            f'<style>{_STYLE}</style><rect width="100%" height="100%" fill="white"/>')
    parts = [head, *(_text(_LEFT + column * (_SIZE + _GAP), _TOP - 30, title) for column, title in enumerate(_TITLES))]
    for row, report in enumerate(reports):
        top = _TOP + row * (_SIZE + _GAP)
        parts += _figures(report, top)
        for column, chart in enumerate(_charts(found[report.name])):
            parts.append(f'<g transform="translate({_LEFT + column * (_SIZE + _GAP)} {top})">{chart}</g>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _figures(report: LayerReport, top: int) -> list[str]:
    lines = [f"{report.stored:,} weights", f"of {report.bits} bit{'s' * (report.bits > 1)}",
             f"angle {report.angle:.1f}°", *_random(report), f"correlation {report.proportionality:.3f}",
             f"of inputs {report.input_proportionality:.3f}", f"zeros {report.zeros:.1%}",
             f"resting {report.resting:.1%}", f"dead {report.dead:.1%}"]
    return [_text(10, top + 12, report.name, "name"),
            *(_text(10, top + 32 + 16 * n, line, "small") for n, line in enumerate(lines))]


def _random(report: LayerReport) -> list[str]:
    if report.random_angle is None:
        return []
    return [f"(random {'≥ ' * (report.bits > 1)}{report.random_angle:.2f}°)"]


def _charts(probe: Probe) -> list[str]:
    """Return the four charts of a layer."""
    return [_scatter(probe.with_real_weights, probe.products), _scatter(probe.with_real_inputs, probe.products),
            _histogram(probe.real), _histogram(probe.quantized)]


def _scatter(across: Tensor, up: Tensor) -> str:
    """Draw evenly chosen points of two tensors, both standardized, within three spreads, and the line of equality."""
    count = min(_POINTS, across.numel())
    chosen = torch.arange(count) * (across.numel() - 1) // max(1, count - 1)  # floats would round beyond the last
    values = []
    for tensor in (across, up):
        flat = tensor.flatten().double()
        values.append(((flat - flat.mean()) / flat.std().clamp(min=1e-300))[chosen].clamp(-3, 3))
    places = [(v + 3) / 6 * _SIZE for v in values]
    dots = "".join(f'<circle class="dot" cx="{x:.1f}" cy="{_SIZE - y:.1f}" r="2"/>'
                   for x, y in zip(places[0].tolist(), places[1].tolist(), strict=True))
    line = f'<path class="line" d="M0 {_SIZE}L{_SIZE} 0"/>'
    return _frame(("-3", "0", "3")) + line + dots + _upright(("-3", "0", "3"))


def _histogram(values: Tensor) -> str:
    """Draw how many of the values lie in each of 41 equal parts of their symmetric range, against the fullest."""
    reach = float(values.abs().max()) or 1.0
    counts = torch.histc(values.flatten().float(), 41, -reach * 1.025, reach * 1.025)
    heights = (counts / counts.max() * (_SIZE - 10)).tolist()
    step = _SIZE / len(heights)
    bars = "".join(f'<rect class="bar" x="{n * step:.1f}" y="{_SIZE - h:.1f}" width="{step * 0.85:.1f}" '
                   f'height="{h:.1f}"/>' for n, h in enumerate(heights) if h)
    return _frame((f"{-reach:.3g}", "0", f"{reach:.3g}")) + bars


def _frame(marks: Sequence[str]) -> str:
    axis = f'<path class="axis" d="M0 0V{_SIZE}H{_SIZE}"/>'
    return axis + "".join(_text(n * _SIZE // 2, _SIZE + 14, mark, "small", "middle") for n, mark in enumerate(marks))


def _upright(marks: Sequence[str]) -> str:
    return "".join(_text(-6, _SIZE - n * _SIZE // 2 + 4, mark, "small", "end") for n, mark in enumerate(marks))


def _text(x: int, y: int, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'
