"""Put the page together and write it."""

from importlib import resources
from pathlib import Path

from hwbnn.builddir import BuildDirectory, write_atomic
from hwbnn.report import faults, hardware, limits, text, traffic, view
from hwbnn.report.graph import network_graph
from hwbnn.report.results import Results
from hwbnn.version import __version__

__all__ = ["render", "write"]


def write(directory: BuildDirectory) -> Path:
    """Write ``report.html`` into ``directory`` from whatever results are there, and return its path.

    Raises :class:`hwbnn.UserError` where the build is not complete or a result is damaged.
    """
    return write_atomic(directory / "report.html", render(Results.read(directory)))


def render(results: Results) -> str:
    """Return the page: one file with style, drawing, charts and their library, about 5 MB."""
    import jinja2  # lazily: the extra report; the drawing works without
    import plotly  # lazily: the same
    files = resources.files("hwbnn.report")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
                                     lstrip_blocks=True)
    environment.filters |= {"count": text.count, "percent": text.percent, "figure": text.figure}
    template = environment.from_string((files / "page.html").read_text(encoding="utf-8"))
    return template.render(
        results=results, version=__version__, css=(files / "page.css").read_text(encoding="utf-8"),
        plotly=(resources.files(plotly) / "package_data" / "plotly.min.js").read_text(encoding="utf-8"),
        graph=network_graph(results.network, results.plan), view=view, hardware=hardware,
        traffic=traffic, faults=faults, limits=limits)
