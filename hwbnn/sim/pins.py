"""Toggles of look-up table inputs per stage, from the activity of a synthesized netlist."""

import re
from collections import Counter
from collections.abc import Iterable

from hwbnn.errors import UserError
from hwbnn.sim.activity import Activity

__all__ = ["lut_toggles"]

# Inputs of LUT cells in their models: SB_LUT4, and LUT4, of which a CCU2C holds two. The inputs of an SB_CARRY are
# those of the LUT beside it.
_PINS = (frozenset(("I0", "I1", "I2", "I3")), frozenset("ABCD"))
_NAMES = frozenset().union(*_PINS)


def lut_toggles(activity: Activity, instances: Iterable[str], *, core: str) -> tuple[dict[str, int], int]:
    """Return LUT input toggles by instance of ``core``, and the number of LUTs that were found.

    Parameters
    ----------
    activity : of a netlist whose cells are instances.
    instances : names below ``core``, such as ``fc0``.
    core : hierarchical name of what holds them, such as ``TOP.accelerator.core``.

    Raises
    ------
    UserError
        There is not one LUT: the activity is not of a netlist.
    """
    pins: dict[str, dict[str, int]] = {}
    for net, toggles in activity.nets.items():
        cell, _, name = net.rpartition(".")
        if name in _NAMES:
            pins.setdefault(cell, {})[name] = toggles
    wanted = sorted(set(instances), key=len, reverse=True)
    stage = re.compile(rf"{re.escape(core)}\.({'|'.join(map(re.escape, wanted))})\.")
    sums: Counter[str] = Counter(dict.fromkeys(wanted, 0))
    luts = 0
    for cell, found in pins.items():
        if frozenset(found) not in _PINS:
            continue
        luts += 1
        inside = stage.match(cell)
        if inside:
            sums[inside[1]] += sum(found.values())
    if not luts:
        raise UserError("Activity must be of a netlist with look-up tables, and it has none; make a netlist with "
                        "`hwbnn synth` and simulate that")
    return dict(sums), luts
