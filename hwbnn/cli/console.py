"""What the commands print: tables on standard output, progress on standard error."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from os import get_terminal_size
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

__all__ = ["bar", "count", "cycles", "facts", "percent", "print_json", "say", "seconds", "spinner", "table"]

WIDTH = 110  # of tables, where the terminal is wider or is a file


def _width(stream) -> int:
    try:
        return min(WIDTH, get_terminal_size(stream.fileno()).columns)
    except (OSError, ValueError):
        return WIDTH


def _console(stream) -> Console:
    return Console(file=stream, width=_width(stream), highlight=False)


def say(text: str = "") -> None:
    """Print a line of rich markup; long words such as paths are never broken."""
    _console(sys.stdout).print(text, soft_wrap=True)


def print_json(content: Any) -> None:
    """Print a record for another program."""
    print(json.dumps(content, indent=2))


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, footer: Sequence[Any] = ()) -> None:
    """Print rows under a title.

    A column whose name starts with ``>`` is aligned to the right, and its name takes a line for each word.
    """
    if title:
        say(f"\n [bold]{title}[/bold]")
    grid = Table(box=SIMPLE_HEAD, show_footer=bool(footer), pad_edge=False, collapse_padding=True, footer_style="bold")
    ends = [_cell(value) for value in footer] or [""] * len(columns)
    for name, end in zip(columns, ends, strict=True):
        right = name.startswith(">")
        title = name.removeprefix(">").replace(" ", "\n") if right else name
        grid.add_column(title, end, header_style="dim", justify="right" if right else "left", no_wrap=True,
                        overflow="ellipsis")
    for row in rows:
        grid.add_row(*(_cell(value) for value in row))
    _console(sys.stdout).print(grid)


def facts(rows: Iterable[tuple[str, Any]]) -> None:
    """Print names with their values, one pair per line."""
    grid = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, _cell(value))
    _console(sys.stdout).print(grid)


def _cell(value: Any) -> str:
    if value is None:
        return "[dim]–[/dim]"
    if isinstance(value, int) and not isinstance(value, bool):
        return count(value)
    return str(value)


def count(value: float) -> str:
    """A whole number with thousands apart."""
    return f"{value:,.0f}"


def cycles(number: int) -> str:
    """So many cycles."""
    return f"{count(number)} cycle{'s' if number != 1 else ''}"


def percent(share: float | None, digits: int = 2) -> str | None:
    """A share of one as per cent."""
    return None if share is None else f"{100 * share:.{digits}f} %"


def seconds(value: float) -> str:
    """A duration for reading."""
    return f"{value:.1f} s" if value < 100 else f"{value / 60:.1f} min"


@contextmanager
def bar(text: str, unit: str = "images") -> Iterator[Callable[[int, int], None]]:
    """A progress bar; call what it yields with what is done and what there is in all."""
    with _progress(BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn()) as progress:
        task = progress.add_task(text, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def spinner(text: str) -> Iterator[Callable[[str], None]]:
    """A sign of life for a step whose length is unknown; call what it yields with what is done now."""
    with _progress() as progress:
        task = progress.add_task(text, total=None)
        yield lambda now: progress.update(task, description=now)


def _progress(*columns: Any) -> Progress:
    console = _console(sys.stderr)
    return Progress(SpinnerColumn(), TextColumn("{task.description}"), *columns, console=console, transient=True,
                    disable=not console.is_terminal)
