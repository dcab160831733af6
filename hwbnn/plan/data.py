"""What streams carry for given images, and a plan that knows it where cycles depend on it."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hwbnn import golden
from hwbnn.plan.lower import Plan
from hwbnn.plan.matrix_vector import MatrixVectorStage

__all__ = ["carried", "depends_on_data", "on_images"]


def carried(plan: Plan, tensors: Mapping[str, NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
    """Return what the outputs of each stage carry, (frames, values) in stream order, by the stage's name.

    Parameters
    ----------
    tensors : mapping
        Of :func:`hwbnn.golden.evaluate`.
    """
    network = plan.network
    sources = {edge.target: edge.source for edge in reversed(plan.edges)}
    values: dict[str, NDArray[np.int64]] = {}
    for stage in plan.stages:
        if stage.nodes:
            tensor = tensors[network.node(stage.nodes[-1]).output]
            values[stage.name] = tensor.reshape(len(tensor), math.prod(tensor.shape[1:]))
        elif stage.name in sources:
            values[stage.name] = stage.rearranged(values[sources[stage.name]])
        else:
            x = tensors[network.input.name]
            values[stage.name] = x.reshape(len(x), math.prod(x.shape[1:]))
    return values


def depends_on_data(plan: Plan) -> bool:
    """Whether the cycles of a plan are those of the worst case, which images with zeros do not take."""
    return any(isinstance(stage, MatrixVectorStage) and stage.skips == "activations" for stage in plan.stages)


def on_images(plan: Plan, q: NDArray[np.int64]) -> Plan:
    """Return the plan with what it must know of a run of images ``q`` to tell its exact cycles.

    ``on_images(plan, q).schedule(len(q))`` is then when each of these frames passes, sent one after another.

    Parameters
    ----------
    q : int64 array (frames, *shape of the network's input)
        The integers that enter the network.
    """
    if not depends_on_data(plan):
        return plan
    values = carried(plan, golden.evaluate(plan.network, q))
    sources = {edge.target: edge.source for edge in plan.edges}
    stages = [replace(stage, live=stage.live_beats(values[sources[stage.name]]))
              if isinstance(stage, MatrixVectorStage) and stage.skips == "activations" else stage
              for stage in plan.stages]
    return replace(plan, stages=tuple(stages))
