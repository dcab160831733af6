"""Toggles of look-up table inputs per stage, from a synthesized netlist and the activity of its nets."""

import re
from collections import Counter
from collections.abc import Iterable

from hwbnn.errors import UserError
from hwbnn.sim.activity import Activity

__all__ = ["lut_pins", "lut_toggles"]

# Inputs of cells that are look-up tables. The inputs of an SB_CARRY are those of the table beside it.
_PINS = {
    "SB_LUT4": ("I0", "I1", "I2", "I3"),
    "LUT4": tuple("ABCD"),
    "CCU2C": ("A0", "B0", "C0", "D0", "A1", "B1", "C1", "D1"),
}
_TABLES = {"SB_LUT4": 1, "LUT4": 1, "CCU2C": 2}
_MODULE = re.compile(r"^module\s+(\\\S+\s|\w+).*?^endmodule", re.MULTILINE | re.DOTALL)
_CELL = re.compile(rf"^\s*({'|'.join(_PINS)})\s+#\(.*?^\s*\)\s+(?:\\\S+\s|\w+)\s*\((.*?)^\s*\);",
                   re.MULTILINE | re.DOTALL)
_PORT = re.compile(r"\.(\w+)\(\s*(\\\S+|[A-Za-z_][\w$]*)\s*(\[\d+\])?\s*\)")


def lut_pins(netlist: str) -> dict[str, tuple[int, Counter[str]]]:
    """Return, by module, the number of look-up tables and how many of their inputs each net drives.

    Parameters
    ----------
    netlist : :class:`str`
        Verilog of Yosys, in which a cell has its parameters and its ports on lines of their own.
    """
    found = {}
    for module in _MODULE.finditer(netlist):
        tables, nets = 0, Counter[str]()
        for cell in _CELL.finditer(module[0]):
            pins = _PINS[cell[1]]
            tables += _TABLES[cell[1]]
            for port, name, bit in _PORT.findall(cell[2]):
                if port in pins:
                    nets[name.removeprefix("\\") + bit] += 1
        if tables:
            found[module[1].strip().removeprefix("\\")] = tables, nets
    return found


def _traced(net: str) -> str:
    """What the compiled engine calls a net of a netlist when it traces it."""
    return re.sub(r"^\$", "_made_", net).replace(".", ":")


def lut_toggles(activity: Activity, netlist: str, instances: Iterable[str], *, core: str) -> tuple[dict[str, int], int]:
    """Return LUT input toggles by instance of ``core``, and the number of look-up tables in them.

    Parameters
    ----------
    activity : of the netlist.
    netlist : :class:`str`
        Verilog as it was simulated; the boundaries of the instances are kept, and modules are called after their place.
    instances : names below ``core``, such as ``fc0``.
    core : hierarchical name of what holds them, such as ``accelerator.core``.

    Raises
    ------
    UserError
        There is no look-up table, or the activity knows less than nine of ten nets at their inputs: it is of something
        else.
    """
    modules, sums, tables, known, missing = lut_pins(netlist), {}, 0, 0, 0
    for instance in instances:
        path = f"{core}.{instance}"
        count, nets = modules.get(path, (0, Counter()))
        tables, total = tables + count, 0
        for net, pins in nets.items():
            toggles = activity.nets.get(f"TOP.{path}.{_traced(net)}")
            known, missing = known + (toggles is not None) * pins, missing + (toggles is None) * pins
            total += (toggles or 0) * pins
        sums[instance] = total
    if not tables or missing * 9 > known:
        raise UserError(f"Activity must be of the netlist, and it knows {known:,} of {known + missing:,} inputs of its "
                        f"{tables:,} look-up tables; make it again with `hwbnn synth` and `--images`")
    return sums, tables
