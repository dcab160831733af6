"""``hwbnn report``: one page about a build."""

import typer

from hwbnn.build import Build
from hwbnn.cli import console
from hwbnn.cli.group import command_line
from hwbnn.cli.options import BuildPath, single

app = single()


@app.command()
def report(ctx: typer.Context, path: BuildPath):
    """Write one page about a build: report.html, a single file that needs no network.

    It shows whatever results there are, and names the command for those that are missing.
    """
    page = Build(path).report(command=command_line(ctx))
    console.facts([("Report", f"{page} ({page.stat().st_size / 1e6:.1f} MB)")])
