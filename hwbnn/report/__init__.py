"""One self-contained HTML page about a build."""

from hwbnn.report.page import write

__all__ = ["write"]
