"""What goes around a component for synthesis: plain ports to count its cells, three pins to place it."""

from typing import Any

from amaranth import ClockDomain, ClockSignal, Module, ResetSignal, Signal
from amaranth.back import rtlil  # pyright: ignore[reportAttributeAccessIssue]  # the stubs lack it
from amaranth.hdl import Elaboratable, Value
from amaranth.lib.wiring import In

from hwbnn.rtl.cells import Family

__all__ = ["TOP", "bare", "serial"]

TOP = "top"


def bare(unit: Any, family: str) -> str:
    """RTLIL of a component, of a family's cells, with plain signals as ports: array ports confuse ABC at the top."""
    m = Module()
    m.submodules.unit = unit
    ports = []
    for path, member, port in unit.signature.flatten(unit):
        inner = Value.cast(port)
        outer = Signal(len(inner), name="_".join(map(str, path)))
        ports.append(outer)
        m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)
    return _rtlil(m, ports, family)


def serial(unit: Any, family: str) -> str:
    """RTLIL of a component between registers: inputs from a shift register, outputs to registers that stay.

    Its ports are ``clk`` and the wires ``si`` and ``so``, so that it fits any package, and every path of the
    component lies between two flip-flops; its reset comes from one as well.
    """
    m = Module()
    clk, si, so = (Signal(name=name) for name in ("clk", "si", "so"))
    m.domains.sync = ClockDomain(local=True)
    m.submodules.unit = unit
    reset = Signal(attrs={"keep": True}, reset_less=True)
    m.d.comb += [ClockSignal().eq(clk), ResetSignal().eq(reset)]
    m.d.sync += reset.eq(si)
    last = reset
    for path, member, port in unit.signature.flatten(unit):
        inner = Value.cast(port)
        name = "_".join(map(str, path))
        if member.flow == In:
            shifted = Signal(len(inner), name=f"in_{name}", attrs={"keep": True}, reset_less=True)
            m.d.sync += shifted.eq((shifted << 1) | last)
            m.d.comb += inner.eq(shifted)
            last = shifted[-1]
        else:
            held = Signal(len(inner), name=f"out_{name}", attrs={"keep": True}, reset_less=True)
            m.d.sync += held.eq(inner)
    m.d.comb += so.eq(last)
    return _rtlil(m, [clk, si, so], family)


def _rtlil(m: Elaboratable, ports: list[Signal], family: str) -> str:
    return rtlil.convert(m, name=TOP, ports=ports, platform=Family(family), emit_src=False)
