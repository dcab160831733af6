"""Try a product kernel in a process of its own: ``python -m hwbnn.infer.cuda.trial KERNEL DEVICE``.

A kernel that waits for ever, or that the GPU stops, would take the process that runs it along. So each is first tried
where nothing is lost, and the verdict is kept beside its machine code, for this driver and this GPU.
"""

import hashlib
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from hwbnn.builddir import write_atomic
from hwbnn.errors import UserError

__all__ = ["verdict"]

_SECONDS = 120  # compiling and two small products; a kernel that hangs takes all of it
_GOOD = "exact"


def verdict(kernel: str, device: int, folder: Path, machine: str) -> str:
    """Return ``exact``, or one line that says what came of trying ``kernel``.

    Parameters
    ----------
    kernel : :class:`str`
    device : :class:`int`
        Number of the GPU.
    folder : path
        Where verdicts are kept.
    machine : :class:`str`
        What else a verdict depends on: GPU and driver.
    """
    path = folder / f"{kernel}-{hashlib.sha256(machine.encode()).hexdigest()[:12]}.verdict"
    with suppress(OSError):
        return path.read_text()
    said = _tried(kernel, device)
    if "memory free" not in said:  # that passes
        with suppress(OSError):  # no cache: try again next time
            write_atomic(path, said)
    return said


def _tried(kernel: str, device: int) -> str:
    command = [sys.executable, "-m", "hwbnn.infer.cuda.trial", kernel, str(device)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"no answer within {_SECONDS} s"
    except OSError:  # a program that embeds Python has no interpreter to start
        return _GOOD
    if done.returncode == 0:
        return _GOOD
    lines = done.stderr.strip().splitlines()
    return lines[-1].split(": ", 2)[-1] if lines else f"exit status {done.returncode}"


def main(kernel: str, device: str) -> None:
    """Leave with status 0 where the kernel multiplies exactly, else with one line."""
    driver: Any = import_module("hwbnn.infer.cuda.driver").open_device(int(device))  # only where there is a GPU
    driver.tier = replace(driver.tier, products=(kernel,))
    driver.tries = False
    try:
        import_module("hwbnn.infer.cuda.engine").CudaEngine(driver, import_module("hwbnn.infer.plain").NumpyEngine())
    except UserError:
        sys.exit(1)  # the engine's last line says why the only kernel is not used


if __name__ == "__main__":
    main(*sys.argv[1:])
