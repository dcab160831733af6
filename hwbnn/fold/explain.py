"""Why each layer has the folding that it has, as rows of a table."""

from collections.abc import Mapping
from dataclasses import dataclass

from hwbnn import ir
from hwbnn.fold.goal import budget
from hwbnn.fold.layers import cycles, foldings, layers, parallel, rate
from hwbnn.plan import Fold

__all__ = ["Choice", "explain"]


@dataclass(frozen=True)
class Choice:
    """One row of :func:`explain`: ``cycles`` per frame of a layer with ``fold``, and why it was chosen."""

    layer: str
    rows: int
    columns: int
    fold: Fold
    cycles: int
    reason: str


def explain(network: ir.Network, folds: Mapping[str, Fold], *, clock_hz: int, target_fps: float | None = None,
            within: tuple[int, str] | None = None, because: str | None = None) -> tuple[Choice, ...]:
    """Return one row per layer: its fold, its cycles per frame, and why.

    Parameters
    ----------
    target_fps : :class:`float`
        The rate that the folding was chosen for.
    within : pair of :class:`int` and :class:`str`
        Instead: cycles that no layer may exceed, and a remark on them.
    because : :class:`str`
        Instead: the reason for all layers.
    """
    if target_fps is not None:
        within = budget(clock_hz, target_fps), ""
    rows = []
    for node in layers(network):
        fold = folds[node.name]
        taken = cycles(network, node, fold)
        if within is not None:
            able = sum(cycles(network, node, one) <= within[0] for one in foldings(node))
            reason = f"cheapest of {able} foldings that take at most {within[0]:,} cycles{within[1]}"
        else:
            reason = because or f"given; at most {rate(clock_hz, taken)} frames/s at {clock_hz / 1e6:g} MHz"
        most = parallel(node)
        rows.append(Choice(node.name, most.pe, most.simd, fold, taken, reason))
    return tuple(rows)
