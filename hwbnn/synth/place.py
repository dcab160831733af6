"""The whole design for a board through Yosys, nextpnr and the packer, by the board's Amaranth platform."""

import json
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hwbnn.errors import UserError
from hwbnn.plan import Plan
from hwbnn.synth.absorb import absorb_file, absorbs
from hwbnn.synth.critical import CriticalPath, critical_path
from hwbnn.synth.families import FAMILIES
from hwbnn.synth.reports import Cells, Use, cells, exhausted, fmax, use
from hwbnn.synth.tools import ToolFailed, Tools, read_log
from hwbnn_boards import Board
from hwbnn_boards.top import BoardTop

__all__ = ["ROUTED", "Placed", "place", "tools_of"]

ROUTED = "routed.json"
"""What nextpnr leaves of the design, as JSON."""

_NAME = "top"
_REPORT = "report.json"
_STATISTICS = "cells.json"
_NOTES = {
    "yosys": "yosys: synthesizing the whole design with its host link",
    "nextpnr": "nextpnr: placing and routing",
    "pack": "packing the bitstream",
}


@dataclass(frozen=True)
class Placed:
    """A routed design.

    Parameters
    ----------
    cells : :class:`Cells`
        After synthesis, before placement.
    use : mapping
        Resource to :class:`Use` of the device.
    fmax_hz : :class:`float`
        Frequency that the slowest clock reaches.
    bitstream : :class:`~pathlib.Path` or None
        None where the clock is not reached: such a design is not packed.
    critical : :class:`CriticalPath` or None
        Its slowest path.
    """

    cells: Cells
    use: dict[str, Use]
    fmax_hz: float
    bitstream: Path | None
    critical: CriticalPath | None = None


def tools_of(board: Board) -> list[str]:
    """Return the names of the tools that make a bitstream for a board."""
    family = FAMILIES[board.family]
    return ["yosys", family.placer, family.packer]


def place(tools: Tools, plan: Plan, board: Board, platform: Any, *, options: str, luts_per_memory: int, seed: int,
          ready: Callable[[], Future] | None = None) -> Placed:
    """Synthesize, place and route the design of a plan for a board, and pack it where it reaches the clock.

    Parameters
    ----------
    platform : Amaranth platform
        A new one, of that board.
    options : :class:`str`
        For Yosys' ``synth_FAMILY``.
    luts_per_memory : :class:`int`
        LUT places that a LUT memory takes.
    ready : callable
        Called after synthesis; the future it returns is waited for before placement.

    Raises
    ------
    UserError
        Where the design does not fit the device.
    ToolFailed
        Where a tool fails for any other reason.
    """
    family = FAMILIES[board.family]
    recipe = platform.prepare(
        BoardTop(plan, board), _NAME, synth_opts=family.options(plan, options), script_after_read=family.prepared(plan),
        script_after_synth=f"tee -q -o {_STATISTICS} stat -json",
        # Without the permission nextpnr ends without a report where the clock is not reached.
        nextpnr_opts=f"--report {_REPORT} --write {ROUTED} --seed {seed} --timing-allow-fail")
    recipe.extract(tools.directory)
    yosys, nextpnr, pack = json.loads((tools.directory / f"{recipe.script}.json").read_text())["commands"]

    tools.run("yosys", yosys[1:], step="yosys", note=_NOTES["yosys"], log=f"{_NAME}.rpt")
    taken = absorb_file(tools.directory / f"{_NAME}.json") if absorbs(plan, board.family) else 0
    if ready is not None:
        ready().result()
    try:
        log = tools.run(nextpnr[0], nextpnr[1:], step="nextpnr", note=_NOTES["nextpnr"], log=f"{_NAME}.tim")
    except ToolFailed as failure:
        over = exhausted(read_log(failure.log))
        if over:
            raise UserError(f"Design must fit the {board.title}, not need {', '.join(map(str, over))}; compile for a "
                            "lower rate or a larger board") from None
        raise
    statistics = json.loads((tools.directory / _STATISTICS).read_text())
    synthesized = cells(statistics["design"]["num_cells_by_type"], luts_per_memory=luts_per_memory)
    synthesized = replace(synthesized, ff=synthesized.ff - taken)
    report = json.loads((tools.directory / _REPORT).read_text())
    reached = fmax(report)
    if reached is None:
        raise ToolFailed(nextpnr[0], log)
    slowest = critical_path(report, plan)
    if reached < board.clock_hz:
        return Placed(synthesized, use(report), reached, None, slowest)
    tools.run(pack[0], pack[1:], step="pack", note=_NOTES["pack"])
    return Placed(synthesized, use(report), reached, tools.directory / f"{_NAME}{family.bitstream}", slowest)
