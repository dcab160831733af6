"""Closed forms for look-up tables: what each component of the generator needs on a family's fabric, before calibration.

Terms are kept apart by what they scale with (:class:`~hwbnn.cost.terms.Forms`), so that at most four coefficients per
target calibrate them all. The laws stand beside what they are about: small parts of the fabric in
:mod:`hwbnn.cost.fabric`, sums in :mod:`hwbnn.cost.datapath`, constants and thresholds in :mod:`hwbnn.cost.constants`.
"""

from hwbnn.cost.elementwise import (
    add_forms,
    affine_forms,
    argmax_forms,
    pool_forms,
    threshold_stage_forms,
    top_k_forms,
)
from hwbnn.cost.fabric import fabric
from hwbnn.cost.matrix import matrix_forms, parallel_forms
from hwbnn.cost.movement import (
    concat_forms,
    fifo_forms,
    frame_input_forms,
    join_forms,
    loader_forms,
    pad_forms,
    part_forms,
    slice_forms,
    window_forms,
)
from hwbnn.cost.terms import Forms
from hwbnn.plan import (
    AddStage,
    AffineStage,
    ArgMaxStage,
    ConcatStage,
    FifoStage,
    ForkStage,
    FrameInputStage,
    FrameOutputStage,
    JoinStage,
    LoaderStage,
    MatrixVectorStage,
    PadStage,
    ParallelStage,
    PartStage,
    PoolStage,
    SliceStage,
    Stage,
    ThresholdStage,
    TopKStage,
    WindowStage,
)

__all__ = ["forms"]


def forms(stage: Stage, family: str = "") -> Forms:
    """Return the uncalibrated closed form of one stage on a family, by Yosys' name; on any of LUT4 without one.

    Raises ``TypeError`` for a stage it does not know.
    """
    match stage:
        case MatrixVectorStage():
            return matrix_forms(stage, family)
        case ParallelStage():
            return parallel_forms(stage, family)
        case ThresholdStage():
            return threshold_stage_forms(stage, family)
        case AffineStage():
            return affine_forms(stage, family)
        case ArgMaxStage():
            return argmax_forms(stage, family)
        case TopKStage():
            return top_k_forms(stage, family)
        case WindowStage():
            return window_forms(stage, family)
        case PadStage():
            return pad_forms(stage, family)
        case PoolStage():
            return pool_forms(stage, family)
        case JoinStage():
            return join_forms(stage, family)
        case PartStage():
            return part_forms(stage, family)
        case ForkStage():
            return Forms(control=4.0 * stage.count)
        case FifoStage():
            return fifo_forms(stage, family)
        case AddStage():
            return add_forms(stage, family)
        case ConcatStage():
            return concat_forms(stage, family)
        case SliceStage():
            return slice_forms(stage, family)
        case LoaderStage():
            return loader_forms(stage)
        case FrameInputStage():
            return frame_input_forms(stage, family)
        case FrameOutputStage():
            return fabric(family).counter(stage.o.beats)
    raise TypeError(f"Cost must know the stage, not {type(stage).__name__}")
