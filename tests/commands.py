"""Running commands in this process, and what they leave."""

import os
from pathlib import Path

from typer.testing import CliRunner

from hwbnn.cli import app

__all__ = ["ENVIRONMENT", "FOLDS", "ROOT", "call", "contents", "refused"]

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("", "train", "boards"))}
FOLDS = ("--fold", "fc0=2x4", "--fold", "fc1=3x2")


def call(*words, status: int = 0) -> str:
    """Run a command; return what it printed, or the line it failed with."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exit_code not in (status,):
        raise AssertionError(f"status {result.exit_code}: {result.output}") from result.exception
    return result.stderr if status else result.stdout


def refused(*words, status: int = 2) -> str:
    """Run a command that must fail with one line; return the line without the program's name."""
    text = call(*words, status=status)
    assert text.startswith("hwbnn: ") and text.endswith("\n") and text.count("\n") == 1, text
    return text.removeprefix("hwbnn: ").removesuffix("\n")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
