"""Which lane multiplies which levels: the cheapest of those that fit, of the datapath that is asked for."""

import numpy as np
from numpy.typing import NDArray

from hwbnn.ir import BIPOLAR, TERNARY, Levels
from hwbnn.plan.integer_lanes import MaskLane, MultiplierLane, PlanesLane, ProductLane
from hwbnn.plan.lanes import ChoiceLane, ConditionalLane, GatedConditionalLane, GatedLane, Lane, MismatchLane

__all__ = ["datapaths", "lane_for", "weight_levels"]

_DATAPATHS: dict[str, tuple[type[Lane], ...]] = {
    "lanes": (MismatchLane, ConditionalLane, GatedConditionalLane, GatedLane, ChoiceLane, MaskLane,
              ProductLane),
    "planes": (PlanesLane,),
    "multipliers": (MultiplierLane,),
}


def weight_levels(weights: NDArray[np.int64]) -> Levels:
    """The cheapest levels that hold the weights actually present."""
    for levels in (BIPOLAR, TERNARY):
        if levels.holds(weights):
            return levels
    return Levels(int(weights.min()), int(weights.max()))


def datapaths(x: Levels, w: Levels) -> tuple[str, ...]:
    """Which datapaths multiply these levels, ``lanes`` first."""
    return tuple(name for name, kinds in _DATAPATHS.items() if any(kind.fits(x, w) for kind in kinds))


def lane_for(x: Levels, w: Levels, datapath: str = "auto") -> Lane:
    """The cheapest lane of ``datapath`` that multiplies these levels; ``auto`` is ``lanes``.

    Raises ``ValueError`` where it cannot.
    """
    name = "lanes" if datapath == "auto" else datapath
    for kind in _DATAPATHS[name]:
        if kind.fits(x, w):
            return kind(x, w)
    kind = _DATAPATHS[name][0]
    raise ValueError(f"Datapath {name} must have {kind.requirement}, not {x} times {w}")
