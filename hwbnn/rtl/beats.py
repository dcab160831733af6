"""Integers to beats of the accelerator's streams and back."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwbnn import pack
from hwbnn.plan import Plan

__all__ = ["result_values", "stream_words"]


def stream_words(plan: Plan, q: ArrayLike) -> list[int]:
    """Return the s_axis_tdata of every beat of the images ``q``, integers of shape (N, *input shape).

    A frame is ``plan.input.beats`` beats, the last of which carries tlast; values in row-major order,
    channels fastest, lane c at bits ``c · bits`` and up, the bits above 0.
    """
    q = np.asarray(q, np.int64)
    shape = plan.network.input.shape
    if q.ndim != len(shape) + 1 or q.shape[1:] != shape:
        raise ValueError(f"Images must have shape N x {' x '.join(map(str, shape))}, not "
                         f"{' x '.join(map(str, q.shape))}")
    codes = pack.codes(q, plan.input.levels) if q.size else q
    return pack.lanes(codes.reshape(-1, plan.input.lanes), plan.input.levels.bits)


def result_values(plan: Plan, beats: Sequence[int]) -> NDArray[np.int64]:
    """Return the integers in the m_axis_tdata of every beat, (N, *output shape); bits above are ignored."""
    stream = plan.output
    if len(beats) % stream.beats:
        raise ValueError(f"Beats must come in frames of {stream.beats}, not {len(beats)} in all")
    tensor = plan.network.tensors[plan.network.outputs[0].tensor]
    codes = pack.unlanes(list(beats), stream.levels.bits, stream.lanes)
    return pack.levels_of(codes, stream.levels).reshape(-1, *tensor.shape)
