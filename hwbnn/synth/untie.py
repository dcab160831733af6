"""Carry chains of Nexus as nextpnr takes them: the first carry of a chain is not tied to a constant.

Yosys 0.70 leaves it open, and then drives it with a VLO like all that is open; nextpnr-nexus 0.11.1 takes for the start
of a chain only what is open. The first cell of such a chain takes no notice of its carry.
"""

import json
from pathlib import Path
from typing import Any

__all__ = ["untie", "untie_file"]


def untie(netlist: dict[str, Any]) -> int:
    """Open the CIN of every CCU2 that a constant drives, in a netlist of Yosys' JSON; how many there were."""
    opened = 0
    for module in netlist["modules"].values():
        cells = module.get("cells", {}).values()
        constant = {"0", "1", "x"}.union(*(map(str, cell["connections"]["Z"]) for cell in cells
                                           if cell["type"] in ("VLO", "VHI")))
        for cell in cells:
            if cell["type"] == "CCU2" and str(cell["connections"].get("CIN", [""])[0]) in constant:
                del cell["connections"]["CIN"]
                cell.get("port_directions", {}).pop("CIN", None)
                opened += 1
    return opened


def untie_file(path: Path) -> None:
    """The same for a file."""
    netlist = json.loads(path.read_text())
    if untie(netlist):
        path.write_text(json.dumps(netlist))
