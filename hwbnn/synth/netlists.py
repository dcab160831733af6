"""The netlists of a build as Verilog, for ``hwbnn simulate --netlist``: after Yosys, and after nextpnr."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hwbnn.synth.tools import Tools
from hwbnn_boards import Board
from hwbnn_boards.uart import divisor

__all__ = ["FILE", "PLACED", "SYNTHESIZED", "convert", "record", "simulatable"]

FILE = "synth/netlists.json"
"""Says which netlists there are, and of which Verilog."""

SYNTHESIZED = "netlist.v"
PLACED = "placed.v"

FORMAT = 1
_SCRIPT = "read_json placed-cells.json\nwrite_verilog -noattr {verilog}\n"

# What the hardware gives an input that nothing drives. ECP5: a LUT input floats high; iCE40: inputs are pulled low,
# clock enables high. Inputs that are not listed stay as they are, since what they would do is switched off.
_IDLE: Mapping[str, Mapping[str, str]] = MappingProxyType({
    "TRELLIS_COMB": {**dict.fromkeys("ABCDM", "1"), "FCI": "0", "WD": "0"},
    "TRELLIS_RAMW": dict.fromkeys(("A0", "B0", "C0", "D0", "A1", "B1", "C1", "D1"), "1"),
    "TRELLIS_FF": {"DI": "1", "M": "1", "CE": "1"},
    "DCCA": {"CE": "1"},
    "ICESTORM_LC": {**dict.fromkeys(("I0", "I1", "I2", "I3", "CIN", "SR"), "0"), "CEN": "1"},
    "ICESTORM_RAM": {"RE": "0", "WE": "0", "RCLKE": "1", "WCLKE": "1",
                     **{f"{port}_{k}": "0" for port, size in (("RADDR", 11), ("WADDR", 11), ("MASK", 16), ("WDATA", 16))
                        for k in range(size)}},
})
_PADS = {"TRELLIS_IO": ("B", "O", "I"), "SB_IO": ("PACKAGE_PIN", "D_IN_0", "D_OUT_0")}  # pin, from it, to it


def simulatable(design: Mapping[str, Any]) -> dict[str, Any]:
    """Return what nextpnr wrote as JSON, with what only its tables and the hardware know made part of the netlist.

    - An input that nothing drives gets the constant that the hardware gives it; multiplexers at an input
      (``CEAMUX="INV"``) become connections, but for those of clocks, which the models of cells know.
    - A flip-flop that takes its data beside the LUT (``SD="0"``, pin M) takes them at DI.
    - A global buffer of an iCE40 pad is fed from that pad.
    - A pad is a wire in its direction, and so is its port.
    """
    modules = {}
    for name, module in design["modules"].items():
        pads = {cell: record for cell, record in module["cells"].items() if record["type"] in _PADS}
        cells = {cell: _cell(cell, record, pads) for cell, record in module["cells"].items() if cell not in pads}
        wires = {cell: wire for cell, record in pads.items() if (wire := _wire(record))["connections"]["Y"]}
        driven = [bit for wire in wires.values() for bit in wire["connections"]["Y"]]
        ports = {port: {"direction": "output" if set(found["bits"]) <= set(driven) else "input", "bits": found["bits"]}
                 for port, found in module["ports"].items()}
        modules[name] = {"ports": ports, "netnames": module["netnames"], "cells": {**cells, **wires}}
    return {"creator": design.get("creator", ""), "modules": modules}


def _wire(pad: Mapping[str, Any]) -> dict[str, Any]:
    """A pad as a buffer: into the design where its input is used, out of it where its output is."""
    pin, into, out_of = (pad["connections"].get(port, []) for port in _PADS[pad["type"]])
    source, target = (out_of, pin) if out_of else (pin, into)
    return {"type": "$_BUF_", "parameters": {}, "attributes": {}, "port_directions": {"A": "input", "Y": "output"},
            "connections": {"A": source, "Y": target}}


def _cell(name: str, cell: Mapping[str, Any], pads: Mapping[str, Any]) -> dict[str, Any]:
    kind, directions = cell["type"], cell["port_directions"]
    parameters = {key: value.strip() if isinstance(value, str) else value for key, value in cell["parameters"].items()}
    connections = dict(cell["connections"])
    if kind == "TRELLIS_FF":
        if parameters.pop("SD", "1") == "0":
            connections["DI"] = connections.pop("M", [])
        if not connections.get("LSR"):
            connections["LSR"] = ["1" if parameters.get("LSRMUX") == "INV" else "0"]
    if kind == "SB_GB" and not connections["USER_SIGNAL_TO_GLOBAL_BUFFER"]:
        pad = name.removeprefix("$gbuf_").removesuffix("_io")
        if pad in pads:  # of a loop's output there is no model
            connections["USER_SIGNAL_TO_GLOBAL_BUFFER"] = pads[pad]["connections"]["PACKAGE_PIN"]
    idle = _IDLE.get(kind, {})
    wired = {}
    for port, bits in connections.items():
        if kind not in ("TRELLIS_FF", "TRELLIS_COMB") and "CLK" not in port:
            bits = _multiplexed(bits, port, parameters)
        if not bits and port in idle:
            bits = [idle[port]]
        if bits:
            wired[port] = bits
    return {"type": kind, "parameters": {key: _parameter(value) for key, value in parameters.items()},
            "attributes": {}, "port_directions": {port: directions.get(port, "input") for port in wired},
            "connections": wired}


def _multiplexed(bits: list, port: str, parameters: dict[str, Any]) -> list:
    """What the multiplexer before a pin of a block gives it; its parameter is taken off, but for an inverter."""
    choice = parameters.get(f"{port}MUX")
    if choice is None or (choice == "INV" and bits):
        return bits
    del parameters[f"{port}MUX"]
    if choice in ("0", "1"):
        return [choice]
    return bits or ["0" if choice == "INV" else "1"]


def _parameter(value: Any) -> Any:
    """A parameter as Yosys reads it: text of 0 and 1 alone is a number there unless a space follows."""
    return value + " " if isinstance(value, str) and value in ("0", "1") else value


def convert(tools: Tools, routed: Path) -> Path:
    """Write the JSON of a routed design as Verilog whose cells have models, and return that file.

    Raises
    ------
    ToolFailed
        Yosys does not read it.
    """
    design = simulatable(json.loads(routed.read_text()))
    (tools.directory / "placed-cells.json").write_text(json.dumps(design))
    (tools.directory / "placed.ys").write_text(_SCRIPT.format(verilog=PLACED))
    tools.run("yosys", ["-q", "-l", "placed.rpt", "placed.ys"], step="netlist", log="placed.rpt")
    return tools.directory / PLACED


def record(files: Mapping[str, Mapping[str, str]], *, rtl: str, board: Board) -> dict[str, Any]:
    """Return what ``synth/netlists.json`` holds.

    Parameters
    ----------
    files : mapping
        ``synth`` and ``placed`` to ``name`` and ``sha256`` of their Verilog.
    rtl : :class:`str`
        SHA-256 of ``rtl/accelerator.v`` that they were made from.
    board : :class:`Board`
        Whose pins, as Amaranth names them, and serial line the placed design has.
    """
    pins = {"clk": f"{board.platform().default_clk}_0__io",
            **{pin: f"uart_{board.uart}__{pin}__io" for pin in ("rx", "tx")}}
    return {"format": FORMAT, "rtl": rtl, "board": board.name, "family": board.family, "files": dict(files),
            "pins": pins, "divisor": divisor(board.oscillator_hz, board.baud)}
