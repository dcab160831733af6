"""Child processes that an interrupt takes down with all they started."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["run", "tail"]

_POLL = 0.1  # seconds between looks at a child's progress
_GRACE = 3.0  # seconds between asking a child to end and making it


def run(command: Sequence[str], *, environment: Mapping[str, str], cwd: Path, log: Path,
        poll: Callable[[], object] = lambda: None) -> int:
    """Run ``command`` with its output in ``log`` and return its exit status; negative: ended by that signal.

    ``poll`` is called about ten times a second meanwhile. Whatever ends the wait early, an interrupt from the
    keyboard for one, ends the child and its children too.
    """
    with log.open("wb") as output:
        child = subprocess.Popen(command, env=environment, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output,
                                 stderr=subprocess.STDOUT, start_new_session=True)
        try:
            while True:
                try:
                    return child.wait(_POLL)
                except subprocess.TimeoutExpired:
                    poll()
        except BaseException:
            _end(child)
            raise


def _end(child: subprocess.Popen):
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
            child.wait(_GRACE)
        except ProcessLookupError:
            child.wait()
        except subprocess.TimeoutExpired:
            continue
        return


def tail(log: Path, *, limit: int = 300) -> str:
    """The line of a log that most likely says what went wrong: its first error, else its last line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    if not lines:
        return "no output"
    blamed = next((line for line in lines if "error" in line.lower()), lines[-1])
    return blamed[:limit]
