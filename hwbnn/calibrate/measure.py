"""One row of the calibration: a component through Yosys, and through nextpnr with three seeds."""

import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from amaranth.lib.wiring import Component

from hwbnn.calibrate.harness import TOP, bare, serial
from hwbnn.cost.technology import Technology
from hwbnn.errors import UserError
from hwbnn.synth.devices import DEVICES, Device
from hwbnn.synth.families import FAMILIES
from hwbnn.synth.tools import find
from hwbnn.synth.untie import untie_file

__all__ = ["SEEDS", "Measured", "digest", "measure", "versions"]

SEEDS = (1, 2, 3)
_PADS = ("TRELLIS_IO", "SB_IO", "IOB", "SEIO33_CORE", "SEIO18_CORE")


@dataclass(frozen=True)
class Measured:
    """What the tools make of one component.

    Parameters
    ----------
    cells : mapping
        Primitive to their number, after Yosys.
    packed : mapping
        What of the chip is in use after nextpnr's packing, by nextpnr's names; empty where there is no placer.
    fmax : tuple of :class:`float` or None
        MHz between flip-flops by placement seed; None for a placement that failed, empty without a placer.
    """

    cells: Mapping[str, int]
    packed: Mapping[str, int]
    fmax: tuple[float | None, ...]


def digest(unit: Component, family: str) -> str:
    """Digest of the hardware of a component: a row with another one is out of date."""
    return sha256(bare(unit, family).encode()).hexdigest()[:16]


def measure(make: Callable[[], Component], tech: Technology, *, place: bool = True) -> Measured:
    """Synthesize what ``make`` returns alone, pack it, and place it between registers with each of :data:`SEEDS`.

    Parameters
    ----------
    place : :class:`bool`
        Whether to place and route; the frequency is not known otherwise.

    Raises
    ------
    UserError
        A tool is missing or fails; the message has its last words.
    """
    device = DEVICES.get(tech.name)
    with tempfile.TemporaryDirectory(prefix="hwbnn-") as folder:
        path = Path(folder)
        cells = _yosys(path, bare(make(), tech.family), tech)
        if device is None:
            return Measured(cells, {}, ())
        if not place and not device.pins:
            return Measured(cells, _packed(path, device, "--pack-only"), ())
        packed = {} if device.pins else _packed(path, device, "--pack-only")
        _yosys(path, serial(make(), tech.family), tech, pads=bool(device.pins))
        fmax = []
        for seed in SEEDS if place else SEEDS[:0]:
            report = _report(path, device, "--seed", str(seed), "--timing-allow-fail")
            fmax.append(None if report is None or not report["fmax"] else
                        round(min(clock["achieved"] for clock in report["fmax"].values()), 2))
            if report is not None and not packed:
                packed = _used(report)
        return Measured(cells, packed or _packed(path, device, "--pack-only"), tuple(fmax))


def _yosys(path: Path, rtlil: str, tech: Technology, *, pads: bool = False) -> dict[str, int]:
    (path / "top.il").write_text(rtlil)
    synthesis = tech.synthesis
    if pads:
        synthesis = re.sub(r" -noiopads?\b", "", synthesis)
    script = (f"read_rtlil top.il; {FAMILIES[tech.family].before_synthesis}; {synthesis} -top {TOP}; "
              "write_json top.json; tee -o stat.json stat -json")
    _run(["yosys", "-q", "-p", script], path)
    if tech.family == "nexus":
        untie_file(path / "top.json")
    design = json.loads((path / "stat.json").read_text())["design"]["num_cells_by_type"]
    return {name: number for name, number in design.items() if name != "$scopeinfo"}


def _packed(path: Path, device: Device, *options: str) -> dict[str, int]:
    report = _report(path, device, *options)
    return {} if report is None else _used(report)


def _used(report: Mapping[str, Any]) -> dict[str, int]:
    return {name: entry["used"] for name, entry in report["utilization"].items()
            if entry["used"] and name not in _PADS}


def _report(path: Path, device: Device, *options: str) -> dict[str, Any] | None:
    """nextpnr's report; None where the design does not fit or cannot be routed."""
    (path / "pins").write_text(device.pins)
    (path / "report.json").unlink(missing_ok=True)
    done = _run([device.placer, *device.options, *device.pins_option, "--json", "top.json", "--report", "report.json",
                 "-q", *options], path, fails=True)
    return None if done.returncode else json.loads((path / "report.json").read_text())


def _run(command: list[str], path: Path, *, fails: bool = False) -> subprocess.CompletedProcess:
    done = subprocess.run([find(command[0]), *command[1:]], cwd=path, capture_output=True, text=True)
    if done.returncode and not fails:
        last = next((line for line in reversed((done.stdout + done.stderr).splitlines()) if "ERROR" in line), "")
        raise UserError(f"Tool {command[0]} must succeed on the corpus, and it failed: {last.strip()}")
    return done


def versions(tech: Technology) -> dict[str, str]:
    """Version of each tool that measures on ``tech``."""
    tools = ["yosys", *([DEVICES[tech.name].placer] if tech.name in DEVICES else [])]
    found = {}
    for tool in tools:
        done = subprocess.run([find(tool), "--version"], capture_output=True, text=True)
        number = re.search(r"\d+\.\d+[^\s,)\"]*", done.stdout + done.stderr)
        found[tool] = number.group() if number else "unknown"
    return found
