"""Registers behind ECP5's block memories, taken into them: Yosys leaves DP16KD's output registers off.

Without its output register a DP16KD gives out a word 5.6 ns after the clock, with it 1.0 ns.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwbnn.plan import Plan

__all__ = ["absorb", "absorb_file", "absorbs"]

_PORTS = 18  # data outputs of each port
_PLAIN = {"CEMUX": "1", "CLKMUX": "CLK", "REGSET": "RESET", "LSRMUX": "LSR"}  # of a flip-flop: no enable, starts at 0


@dataclass(frozen=True)
class _Port:
    """What a port of a memory gives out: the names of its outputs, its clock, and the register that it has."""

    outputs: tuple[str, ...]
    clock: str
    modes: tuple[str, ...]
    enables: tuple[str, ...]


def _ports(cell: Mapping[str, Any]) -> Iterator[_Port]:
    names = {port: tuple(f"DO{port}{n}" for n in range(_PORTS)) for port in "AB"}
    if "36" in (_text(cell, "DATA_WIDTH_A"), _text(cell, "DATA_WIDTH_B")):  # port B reads all 36
        yield _Port(names["A"] + names["B"], "CLKB", ("REGMODE_A", "REGMODE_B"), ("OCEA", "OCEB"))
    else:
        for port in "AB":
            yield _Port(names[port], f"CLK{port}", (f"REGMODE_{port}",), (f"OCE{port}",))


def _text(cell: Mapping[str, Any], parameter: str) -> str:
    """A parameter as text; Yosys writes numbers as 32 digits of 0 and 1."""
    value = str(cell["parameters"].get(parameter, "")).strip()
    return str(int(value, 2)) if len(value) == 32 and set(value) <= {"0", "1"} else value


def absorb(design: dict[str, Any]) -> int:
    """Set the output register of each port of a DP16KD all of whose outputs go to plain registers, and to nothing else.

    Those registers have no enable and no reset, start at 0 and have the port's clock, so that the memory's own
    register, always enabled, does what they do. They are taken out.

    Parameters
    ----------
    design : dictionary
        What Yosys wrote as JSON, mapped to ECP5; it is changed.

    Returns
    -------
    Flip-flops that were taken out.
    """
    return sum(_module(module) for module in design["modules"].values())


def absorbs(plan: Plan, family: str) -> bool:
    """Whether the memories of a plan have registers behind them that the family's can take."""
    return family == "ecp5" and plan.pace.output > 0


def absorb_file(path: Path) -> int:
    """The same for a file, which is replaced."""
    design = json.loads(path.read_text())
    taken = absorb(design)
    path.write_text(json.dumps(design))
    return taken


def _module(module: dict[str, Any]) -> int:
    cells = module["cells"]
    memories = [cell for cell in cells.values() if cell["type"] == "DP16KD"]
    if not memories:
        return 0
    reads: Counter[int] = Counter(bit for port in module["ports"].values() for bit in port["bits"])
    registers: dict[int, str] = {}
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] != "output":
                reads.update(bits)
        if cell["type"] == "TRELLIS_FF" and _is_plain(cell):
            registers[cell["connections"]["DI"][0]] = name
    taken = 0
    for memory in memories:
        for port in _ports(memory):
            wires = memory["connections"]
            used = [(name, bit) for name in port.outputs for bit in wires.get(name, ()) if reads[bit]]
            clock = wires.get(port.clock)
            if not used or not all(reads[bit] == 1 and bit in registers
                                   and cells[registers[bit]]["connections"]["CLK"] == clock for _, bit in used):
                continue
            for name, bit in used:
                wires[name] = cells.pop(registers[bit])["connections"]["Q"]
            memory["parameters"].update(dict.fromkeys(port.modes, "OUTREG"))
            wires.update({enable: ["1"] for enable in port.enables})
            memory["port_directions"].update(dict.fromkeys(port.enables, "input"))
            taken += len(used)
    return taken


def _is_plain(cell: Mapping[str, Any]) -> bool:
    parameters, wires = cell["parameters"], cell["connections"]
    return (all(_text(cell, name) == value for name, value in _PLAIN.items() if name in parameters)
            and wires.get("LSR", []) in ([], ["0"]) and wires.get("CE", []) in ([], ["1"]))
