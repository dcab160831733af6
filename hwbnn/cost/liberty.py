"""Energy of gates from a Liberty file: leakage, clock, and toggles of cells and of the pins that they drive.

Energy per toggle of a cell is the middle of its tables of internal power, over loads and slopes; that of a pin is half
its capacitance times the supply squared. Wires are not counted. How often nets toggle is the assumption of the
iCE40UP5K's file, 0.1 to 0.5 a cycle, and glitches multiply it. The file is read here, as PyPI's parser, liberty-parser,
may not be used under our licence.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from hwbnn.cost.energy import Energy
from hwbnn.cost.quantity import Figure, Quantity, product
from hwbnn.cost.technology import technology
from hwbnn.errors import UserError

__all__ = ["OSU018", "Gate", "Library", "priced", "read"]

OSU018 = Path("/usr/share/qflow/tech/osu018/osu018_stdcells.lib")
_PACKAGE = "qflow-tech-osu018"
_ASSUMED = "ice40-up5k"  # whose file holds the assumption
_TOKEN = re.compile(r'"[^"]*"|[{}();:,]|[^\s{}();:,"\\]+')
_SCALE = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3}


@dataclass(frozen=True)
class Gate:
    """One cell: area in the library's unit, watts of leakage, joules.

    Parameters
    ----------
    toggle : per change of an output, inside of the cell.
    pins : per change of all data inputs, for what drives them.
    clock : per cycle, of the clock pin and inside; 0 without a clock.
    """

    area: float
    leakage: float
    toggle: float
    pins: float
    clock: float = 0.0


@dataclass(frozen=True)
class Library:
    """The gates of a Liberty file, with its name and its supply in volts."""

    name: str
    volts: float
    gates: Mapping[str, Gate]


@dataclass
class _Group:
    kind: str
    names: list[str]
    values: dict[str, list[str]]
    groups: list["_Group"]

    def all(self, kind: str) -> Iterator["_Group"]:
        return (group for group in self.groups if group.kind == kind)

    def number(self, name: str, default: float | None = None) -> float:
        found = self.values.get(name)
        if found is None:
            if default is None:
                raise ValueError(f"{self.kind} has no {name}")
            return default
        return float(found[0])


def read(path: Path = OSU018) -> Library:
    """Read a Liberty file. Raises :class:`UserError` where there is none, or it is not one."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        ours = path.name == OSU018.name
        mend = f"install it with `apt-get install {_PACKAGE}`" if ours else "name another with --asic"
        raise UserError(f"Library {path} must exist, and it does not; {mend}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Library {path} must be readable, and it is not: {error}") from None
    try:
        top = _parse(re.sub(r"(?s)/\*.*?\*/", "", text))
        if top.kind != "library":
            raise ValueError(f"it begins with {top.kind}")
        volts = top.number("nom_voltage")
        size, unit = top.values["capacitive_load_unit"]
        farads = float(size) * _SCALE[unit[0].lower()]
        (watts,) = top.values["leakage_power_unit"]
        scale = float(re.sub(r"[^\d.]", "", watts)) * _SCALE[re.sub(r"[\d.]", "", watts)[0]]
        gates = {cell.names[0]: _gate(cell, volts, farads, scale) for cell in top.all("cell")}
        if not gates:
            raise ValueError("it holds no cell")
    except (ValueError, KeyError, IndexError, StopIteration) as error:
        raise UserError(f"Library {path} must be a Liberty file with internal power, and it is not: {error}") from None
    return Library(top.names[0], volts, gates)


def _parse(text: str) -> _Group:
    tokens = _TOKEN.findall(text)
    root, place = _Group("", [], {}, []), 0
    stack = [root]
    while place < len(tokens):
        token = tokens[place]
        if token == "}":
            stack.pop()
            place += 1
        elif token in ";,":
            place += 1
        elif tokens[place + 1] == ":":
            end = place + 2
            while tokens[end] not in (";", "}") and "\n" not in tokens[end]:
                end += 1
            stack[-1].values[token] = [part.strip('"') for part in tokens[place + 2:end]]
            place = end
        else:
            end = tokens.index(")", place)
            names = [part.strip('"') for part in tokens[place + 2:end] if part != ","]
            place = end + 1
            if place < len(tokens) and tokens[place] == "{":
                group = _Group(token, names, {}, [])
                stack[-1].groups.append(group)
                stack.append(group)
                place += 1
            else:
                stack[-1].values[token] = names
    return root.groups[0]


def _gate(cell: _Group, volts: float, farads: float, watts: float) -> Gate:
    pins = list(cell.all("pin"))
    joules = farads * volts**2  # the unit of internal power, by which pins are counted, too
    clocks = [pin for pin in pins if pin.values.get("clock") == ["true"]]
    inputs = [pin for pin in pins if pin.values.get("direction") == ["input"] and pin not in clocks]
    outputs = [pin for pin in pins if pin.values.get("direction") == ["output"]]
    return Gate(
        cell.number("area", 0.0), watts * cell.number("cell_leakage_power", 0.0),
        farads * sum(_internal(pin) for pin in outputs), joules / 2 * sum(pin.number("capacitance") for pin in inputs),
        sum(joules * pin.number("capacitance") + 2 * farads * _internal(pin) for pin in clocks))


def _internal(pin: _Group) -> float:
    """The middle of what a change takes inside, in the library's unit."""
    found = [float(number) for power in pin.all("internal_power") for kind in ("rise_power", "fall_power")
             for table in power.all(kind) for row in table.values.get("values", []) for number in row.split(",")]
    return max(0.0, median(found)) if found else 0.0


def priced(library: Library, cells: Mapping[str, int], cycles: int) -> tuple[float, Figure, Energy]:
    """Area, leakage in watts, and the energy of ``cycles`` cycles without leakage, of so many cells by type.

    Raises :class:`UserError` where the library lacks a cell.
    """
    missing = sorted(set(cells) - set(library.gates))
    if missing:
        raise UserError(f"Library {library.name} must hold every cell of the netlist, and it has no {missing[0]}")
    source = f"Liberty file of {library.name}, {library.volts:g} V"

    def exact(name: str, unit: str) -> Quantity:
        value = sum(number * getattr(library.gates[kind], name) for kind, number in cells.items())
        return Quantity.exact(value, unit, method="cells of the library", sources=(source,))

    assumed = technology(_ASSUMED).energy
    toggled = Quantity.exact(exact("toggle", "J").nominal + exact("pins", "J").nominal, "J", sources=(source,))
    datapath = product("J", toggled, assumed.activity.figure(), assumed.glitch.figure(),
                       Quantity.exact(cycles, "cycle"), method="activity assumed")
    nothing = Quantity.exact(0, "J")
    return exact("area", "um2").nominal, exact("leakage", "W"), Energy(
        None, exact("clock", "J").scale(cycles), datapath, nothing, nothing)
