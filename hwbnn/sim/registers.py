"""The registers of an emitted design: which there are, and Verilog in which they can be reached."""

import re
from dataclasses import dataclass

__all__ = ["Flip", "Register", "reachable", "registers_of"]

_MODULE = re.compile(r"^module (\\\S+|\w+) ?\(.*?^endmodule", re.MULTILINE | re.DOTALL)
_CLOCKED = re.compile(r"^  always @\(posedge clk\)\n    (\\\S+|\w+) +<= (\\\S+|\w+)? ?", re.MULTILINE)
_DECLARED = re.compile(r"^  reg (?:\[(\d+):0\] )?(\\\S+ |\w+)(?= = [^;]*;)", re.MULTILINE)
_COMBINATIONAL = re.compile(r"^  always @\* begin\n.*?^  end", re.MULTILINE | re.DOTALL)
_ASSIGNED = re.compile(r"^    (\\\S+|\w+) +=", re.MULTILINE)


@dataclass(frozen=True)
class Register:
    """Flip-flops that the design names together.

    Parameters
    ----------
    scope : :class:`tuple` of :class:`str`
        Instance names from below the top module down.
    name : :class:`str`
        Name in the Verilog, without a backslash.
    bits : :class:`int`
        Flip-flops.
    control : :class:`bool`
        Whether the reset sets it: such registers steer; those that it leaves alone hold data.
    """

    scope: tuple[str, ...]
    name: str
    bits: int
    control: bool

    def __str__(self) -> str:
        return ".".join((*self.scope[self.scope[:1] == ("core",):], self.name))

    @property
    def stage(self) -> str:
        """Instance name of the stage that it is part of."""
        return next(iter(self.scope[1:2] or self.scope), "accelerator")

    @property
    def component(self) -> str:
        """The part of the stage, the same for all processing elements."""
        return re.sub(r"_\d+$", "", self.scope[2]) if len(self.scope) > 2 else "unit"

    @property
    def kind(self) -> str:
        """``control`` or ``data``."""
        return "control" if self.control else "data"


@dataclass(frozen=True)
class Flip:
    """A bit of a register that changes by itself after the clock edge that begins a cycle, counted from the reset."""

    scope: tuple[str, ...]
    name: str
    bit: int
    cycle: int


def registers_of(verilog: str) -> tuple[Register, ...]:
    """Every register of Verilog that hwbnn emitted, memories and what they read into left out."""
    found = []
    for module in _MODULE.finditer(verilog):
        text = module[0]
        widths = {name.strip(): int(top or 0) + 1 for top, name in _DECLARED.findall(text)}
        reset = {_ASSIGNED.findall(block)[0] for block in _COMBINATIONAL.findall(text) if "    if (rst) begin" in block}
        scope = tuple(module[1].removeprefix("\\").split(".")[1:])
        found += [Register(scope, name.removeprefix("\\"), widths[name], value in reset)
                  for name, value in _CLOCKED.findall(text)]
    return tuple(found)


def reachable(verilog: str) -> str:
    """The same Verilog with a mark at every register by which Verilator leaves it open to reading and writing."""
    def marked(module: re.Match[str]) -> str:
        clocked = {name for name, _ in _CLOCKED.findall(module[0])}
        return _DECLARED.sub(lambda found: found[0] + "/*verilator public_flat_rw*/" * (found[2].strip() in clocked),
                             module[0])
    return _MODULE.sub(marked, verilog)
