"""An accelerator as gates of a Liberty file: Yosys' counts by stage."""

import json
import subprocess
import tempfile
from pathlib import Path

from hwbnn.errors import UserError
from hwbnn.plan import Plan
from hwbnn.rtl import instance_name
from hwbnn.rtl.accelerator import verilog
from hwbnn.synth.tools import find

__all__ = ["MOST_BITS", "gates"]

MOST_BITS = 1 << 16
"""Bits of memory that may become gates."""

_CORE = "accelerator.core"


def gates(plan: Plan, library: Path) -> dict[str, dict[str, int]]:
    """Map each stage to gates, memories included, and return how many of each cell it takes.

    Raises
    ------
    UserError
        The memories are too large for gates, or Yosys is missing or fails.
    """
    bits = sum(memory.bits for memory in plan.memories)
    if bits > MOST_BITS:
        raise UserError(f"Memories must be at most {MOST_BITS:,} bits to be gates, not {bits:,}; a macro of memory is "
                        "not in the library")
    stages = {f"{_CORE}.{instance_name(stage)}": stage.name for stage in plan.parts}
    keep = "\n".join(f"setattr -mod -set keep_hierarchy 1 {module}" for module in (_CORE, *stages))
    with tempfile.TemporaryDirectory(prefix="hwbnn-") as folder:
        path = Path(folder)
        (path / "accelerator.v").write_text(verilog(plan))
        (path / "library.lib").write_text(library.read_text())
        (path / "accelerator.ys").write_text(
            f"read_verilog accelerator.v\nhierarchy -top accelerator\n{keep}\nsynth -flatten -top accelerator\n"
            "dfflibmap -liberty library.lib\nabc -liberty library.lib\nopt_clean\ntee -q -o count.json stat -json\n")
        done = subprocess.run([find("yosys"), "-q", "accelerator.ys"], cwd=path, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:] or [""]
            raise UserError(f"Tool yosys must map the accelerator to {library}, and it failed: {last[0]}")
        modules = json.loads((path / "count.json").read_text())["modules"]
    return {name: {kind: number for kind, number in modules[f"\\{module}"]["num_cells_by_type"].items()
                   if kind != "$scopeinfo"} for module, name in stages.items() if f"\\{module}" in modules}
