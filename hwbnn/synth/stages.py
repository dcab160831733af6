"""The emitted Verilog alone through Yosys: what each stage of a plan costs."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from hwbnn.plan import Plan
from hwbnn.synth.absorb import absorb_file, absorbs
from hwbnn.synth.families import FAMILIES
from hwbnn.synth.netlists import SYNTHESIZED
from hwbnn.synth.reports import Cells, cells_by_module
from hwbnn.synth.tools import Tools

__all__ = ["TOP", "Counted", "count"]

TOP = "accelerator"
_CORE = f"{TOP}.core"
_SCRIPT = """\
read_verilog {verilog}
hierarchy -top {top}
{before}
{keep}
synth_{family} {options} -top {top}
{finish}
"""
_FINISH = """\
tee -q -o {statistics} stat -json
write_verilog -noattr {netlist}
"""
_MAPPED = "accelerator-cells.json"


class Counted(dict[str, Cells]):
    """Stage name to its cells; what lies between the stages is under :attr:`GLUE` where there is any."""

    GLUE = "(between stages)"

    @property
    def total(self) -> Cells:
        """All cells."""
        return sum(self.values(), Cells())


def count(tools: Tools, verilog: Path, plan: Plan, *, family: str, options: str, luts_per_memory: int) -> Counted:
    """Synthesize the accelerator with the boundary of each stage kept, and count by stage.

    Within a stage everything is flattened and optimized as usual. Nothing is optimized across stages, which in
    streams with registers between them hardly matters, so the total is an upper bound of the flat one. The netlist
    itself is left as :data:`SYNTHESIZED`, with the Verilog's ports and the names of its stages.

    Parameters
    ----------
    verilog : path
        The emitted file.
    family, options : :class:`str`
        Which ``synth_FAMILY``, with which options.
    luts_per_memory : :class:`int`
        LUT places that a LUT memory takes.
    """
    modules = {f"{_CORE}.{instance_name(stage.name)}": stage.name for stage in plan.parts}
    kept = (_CORE, *modules)  # with the core, instances are called as in the Verilog
    (tools.directory / "accelerator.v").write_text(verilog.read_text())
    finish = _FINISH.format(statistics="accelerator.json", netlist=SYNTHESIZED)
    (tools.directory / "accelerator.ys").write_text(_SCRIPT.format(
        verilog="accelerator.v", top=TOP, family=family, options=FAMILIES[family].options(plan, options),
        finish=f"write_json {_MAPPED}" if absorbs(plan, family) else finish, before=FAMILIES[family].prepared(plan),
        keep="\n".join(f"setattr -mod -set keep_hierarchy 1 {module}" for module in kept)))
    tools.run("yosys", ["-q", "-l", "accelerator.rpt", "accelerator.ys"], step="accelerator", log="accelerator.rpt",
              note="yosys: synthesizing the accelerator alone, by stage")
    if absorbs(plan, family):
        absorb_file(tools.directory / _MAPPED)
        (tools.directory / "absorbed.ys").write_text(f"read_json {_MAPPED}\n{finish}")
        tools.run("yosys", ["-q", "-l", "absorbed.rpt", "absorbed.ys"], step="absorbed", log="absorbed.rpt")
    statistics = json.loads((tools.directory / "accelerator.json").read_text())
    return _by_stage(cells_by_module(statistics, luts_per_memory=luts_per_memory), modules)


def instance_name(stage: str) -> str:
    """Return the name of a stage's instance in the Verilog."""
    return re.sub(r"\W", "_", stage)


def _by_stage(found: Mapping[str, Cells], modules: Mapping[str, str]) -> Counted:
    counted = Counted({stage: found.get(module, Cells()) for module, stage in modules.items()})
    rest = sum((cells for module, cells in found.items() if module not in modules), Cells())
    if rest != Cells():
        counted[Counted.GLUE] = rest
    return counted
