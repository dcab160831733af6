"""What a unit does about zeros, from what was asked for and what its weights and activations allow."""

from numpy.typing import NDArray

from hwbnn.ir import Levels
from hwbnn.plan.control import SequenceControl, Skips, kept_words
from hwbnn.plan.lanes import Lane, ProductLane, lane_for, weight_levels
from hwbnn.plan.options import UnitOptions
from hwbnn.plan.records import Fold

__all__ = ["lane_of", "skipped"]


def lane_of(x: Levels, weights: NDArray, options: UnitOptions) -> Lane:
    """The cheapest lane for these levels; where zero activations are to be skipped, one that they leave idle.

    Raises ``ValueError`` where the datapath that was asked for has none.
    """
    lane = lane_for(x, weight_levels(weights), options.datapath)
    events = options.zeros == "dynamic" and x.holds(0)
    return ProductLane(x, lane.w) if events and lane.idle_activation is None else lane


def skipped(options: UnitOptions, lane: Lane, weights: NDArray, fold: Fold, nf: int) -> Skips:
    """Return the ``skips`` of a :class:`~hwbnn.plan.MatrixVectorStage` of ``nf`` row groups per vector.

    ``auto`` leaves words of zero weights out where the others and their sequence take fewer bits than all words do.
    """
    sf, zeros = weights.shape[1] // fold.simd, options.zeros
    if sf == 1 or nf == 1 or zeros == "none":
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
