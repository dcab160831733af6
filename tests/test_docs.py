"""The documentation is executed: Python blocks run, `hwbnn` commands are ones that the command line accepts.

Blocks of one file run in order in one namespace and one folder. A console block's lines are parsed, not run:
`make demo` runs them for real.
"""

import re
import shlex
from pathlib import Path

import pytest

from hwbnn.cli import check

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page, *languages):
    return [text for language, text in BLOCK.findall(page.read_text()) if language in languages]


def commands():
    for page in PAGES:
        for text in blocks(page, "console", "sh", "bash"):
            for line in text.replace("\\\n", " ").splitlines():
                words = shlex.split(line.removeprefix("$ "), comments=True)
                if words[:1] == ["hwbnn"]:
                    yield pytest.param(words[1:], id=f"{page.name}: {' '.join(words)[:70]}")


@pytest.mark.parametrize("words", list(commands()))
def test_commands_are_accepted(words):
    check(words)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.name)
@pytest.mark.slow
def test_python_blocks_run(page, digits_model, tmp_path, monkeypatch):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/digits").symlink_to(digits_model.parent)
    monkeypatch.chdir(tmp_path)
    namespace = {}
    for number, text in enumerate(blocks(page, "python")):
        exec(compile(text, f"{page.name} block {number}", "exec"), namespace)  # the point of the test


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_within_the_project_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
