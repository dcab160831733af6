"""What a unit does about zeros, from what was asked for and what its weights and activations allow."""

import numpy as np
from numpy.typing import NDArray

from hwbnn import pack
from hwbnn.ir import TERNARY, Levels
from hwbnn.plan.control import SequenceControl, Skips, kept_words
from hwbnn.plan.datapaths import lane_for, weight_levels
from hwbnn.plan.integer_lanes import ProductLane
from hwbnn.plan.lanes import GatedLane, Lane, StillLane
from hwbnn.plan.options import UnitOptions
from hwbnn.plan.records import Fold

__all__ = ["isolates", "lane_of", "skipped", "still_words"]


def lane_of(x: Levels, weights: NDArray, options: UnitOptions) -> Lane:
    """The cheapest lane for these levels; where zeros are to be skipped or to change nothing, one that they leave idle.

    Raises ``ValueError`` where the datapath that was asked for has none.
    """
    lane = lane_for(x, weight_levels(weights), options.datapath)
    if options.zeros == "isolate" and type(lane) is GatedLane:
        return StillLane(x, lane.w)
    events = options.zeros in ("dynamic", "isolate") and x.holds(0)
    return ProductLane(x, lane.w) if events and lane.idle_activation is None else lane


def isolates(options: UnitOptions, lane: Lane) -> bool:
    """Whether the operands of lanes are kept still: where that is asked for, and there may be zeros that ask for it."""
    return options.zeros == "isolate" and (isinstance(lane, StillLane) or lane.x.holds(0))


def skipped(options: UnitOptions, lane: Lane, weights: NDArray, fold: Fold, nf: int) -> Skips:
    """Return the ``skips`` of a :class:`~hwbnn.plan.MatrixVectorStage` of ``nf`` row groups per vector.

    ``auto`` leaves words of zero weights out where the others and their sequence take fewer bits than all words do.
    """
    sf, zeros = weights.shape[1] // fold.simd, options.zeros
    if sf == 1 or nf == 1 or zeros in ("none", "isolate"):
        return "nothing"
    if zeros == "dynamic":
        return "activations" if lane.x.holds(0) and lane.idle_activation is not None else "nothing"
    if lane.idle_weight is None or options.loadable or weights.all():
        return "nothing"
    kept = kept_words(weights, fold.pe, fold.simd, nf)
    if kept.all():
        return "nothing"
    width = fold.lanes * lane.w.bits
    control = SequenceControl(sf, nf, len(kept) // nf, name="", kept=kept)
    stored = int(kept.sum()) * width + sum(memory.bits for memory in control.memories)
    return "weights" if zeros == "static" or stored < kept.size * width else "nothing"


def still_words(weights: NDArray[np.int64], levels: Levels, pe: int, simd: int) -> list[int]:
    """Return :func:`hwbnn.pack.weight_words` in which a ternary zero has the sign of the last weight of its lane.

    So a sign that is read after another changes only where a weight needs it to. Those before a lane's first weight
    have the sign of its last one, since addresses begin anew.
    """
    if not levels.is_ternary:
        return pack.weight_words(weights, levels, pe, simd)
    rows, columns = weights.shape
    lanes = weights.reshape(rows // pe, pe, columns // simd, simd).transpose(0, 2, 1, 3).reshape(-1, pe * simd)
    places = np.where(lanes != 0, np.arange(len(lanes))[:, None], -1)
    last = np.maximum.accumulate(places, axis=0)
    last = np.where(last < 0, last[-1], last)
    negative = np.take_along_axis(lanes, last, axis=0) < 0
    return pack.lanes((lanes != 0) | negative << 1, TERNARY.bits)
