"""All candidates of each layer of a network, and the best sequence of them within limits.

What a candidate takes is a row of :mod:`hwbnn.fold.rows`. Rows add up along a sequence, so dynamic programming over the
layers finds the sequence of the least sum of one column among those whose other sums stay within limits; beside the
column that is minimized, only those whose limit can bind are carried along, as fronts of rows none of which another
is at most in every column.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from hwbnn import ir
from hwbnn.cost.resources import Resources
from hwbnn.cost.technology import Technology
from hwbnn.errors import UserError
from hwbnn.fold.adders import may_pay
from hwbnn.fold.datapaths import variants
from hwbnn.fold.layers import DEFAULT, cycles, foldings, is_chain, layers, matrix, parallel, parts
from hwbnn.fold.rows import COLUMNS, COST, LATENCY, Minimize, Rows, front, no_limits, of_one_stage, of_resources
from hwbnn.plan import (
    RELAXED,
    Fold,
    JoinStage,
    MatrixVectorStage,
    Pace,
    ParallelStage,
    PartStage,
    Plan,
    Stage,
    Stream,
    UnitOptions,
    lower,
    schedule,
)
from hwbnn.plan.lower import converters, unsized

__all__ = ["Beside", "Candidate", "Search"]

Beside = Callable[[Stream, Stream], Resources]  # what stands beside an accelerator, by what that takes and gives
_NARROW = Stream(ir.BINARY, 1, 1)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A layer with one fold, and the nodes after it up to the next layer.

    Parameters
    ----------
    row : float array
        What it takes; the latency from its last input to its last output, or of the first layer from its first.
    spacing, spread : :class:`int`
        Cycles between two outputs, and between the first and the last of a frame. Where latencies are modelled.
    """

    fold: Fold
    stages: tuple[Stage, ...]
    row: Rows
    spacing: int
    spread: int

    @cached_property
    def ii(self) -> int:
        return max(stage.ii for stage in self.stages)

    @property
    def takes(self) -> Stream:
        return self.stages[0].i

    @property
    def gives(self) -> Stream:
        return self.stages[-1].o

    @cached_property
    def first_pass(self) -> int:
        """Beats of the matrix-vector unit's first pass, in which all inputs of a vector are taken."""
        return next(stage.sf for stage in self.stages if isinstance(stage, MatrixVectorStage | ParallelStage))


@dataclass(frozen=True, eq=False)
class _Front:
    """The best ways to arrive at one kind of output: their rows, and for each its last candidate and where from."""

    gives: Candidate
    rows: Rows
    last: list[tuple[Candidate, int, int]]  # candidate, number of the front before, row there


class Search:
    """The candidates of ``network`` on a chip, or without one (cost by the uncalibrated closed forms).

    Parameters
    ----------
    beside : callable
        What is reserved for others.
    timed : :class:`bool`
        Whether to model latencies, where they add up (:attr:`is_timed`); otherwise they are 0.
    options : mapping
        What a user asked of layers, by name.
    pace : :class:`Pace`
        Where registers stand.
    minimize : :class:`str`
        What a candidate costs: ``share`` of the chip, or ``luts`` alone, memories but to decide between equals.
    """

    def __init__(self, network: ir.Network, tech: Technology | None, *, beside: Beside | None = None,
                 timed: bool = False, options: Mapping[str, UnitOptions] = MappingProxyType({}),
                 pace: Pace = RELAXED, minimize: Minimize = "share"):
        self.network, self.tech, self.beside, self.timed = network, tech, beside, timed
        self.options, self.pace = options, pace
        self.minimize: Minimize = minimize
        self.layers = layers(network)
        if not self.layers:
            raise UserError(f"Network {network.name} must have a matrix product to fold, and it has none")
        self.parts = parts(network)
        self.is_chain = is_chain(network)
        self._folds: dict[int, list[tuple[int, Fold]]] = {}
        self._made: dict[tuple[int, Fold], Candidate] = {}
        self._converted: dict[tuple[int, int, int], tuple[Rows, int, int, int]] = {}

    def plan(self, folds: Mapping[str, Fold]) -> Plan:
        """The whole hardware with ``folds``."""
        return lower(self.network, folds, pace=self.pace)

    # candidates ----------------------------------------------------------------------------------------------

    def used(self, stages: Sequence[Stage]) -> Rows:
        """What ``stages`` take, and what stands beside an accelerator that starts with them, but for latency."""
        row = sum((of_one_stage(stage, self.tech, self.minimize) for stage in stages), np.zeros(len(COLUMNS)))
        if self.beside is not None:
            row += of_resources(self.beside(stages[0].i, stages[-1].o))
        return row

    def candidate(self, layer: int, fold: Fold) -> Candidate:
        """Layer number ``layer`` with ``fold``."""
        if (layer, fold) not in self._made:
            stages = unsized(self.parts[layer], {self.layers[layer].name: fold}, pace=self.pace)
            inner = tuple(stages[layer > 0:len(stages) - (layer < len(self.layers) - 1)])  # without inner ends
            row = sum((of_one_stage(stage, self.tech, self.minimize) for stage in inner), np.zeros(len(COLUMNS)))
            if self.beside is not None:  # what follows from the two streams adds up
                least = of_resources(self.beside(_NARROW, _NARROW))
                if layer == 0:
                    row += of_resources(self.beside(inner[0].i, _NARROW))
                if layer == len(self.layers) - 1:
                    row += of_resources(self.beside(_NARROW, inner[-1].o)) - least
            spacing = spread = 0
            if self.is_timed:
                run = schedule(stages, 1, unlimited=True)
                row[LATENCY] = run.finished[0] - run.started[0] - (inner[0].i.beats - 1 if layer else 0)
                unit = next(stage for stage in inner if isinstance(stage, MatrixVectorStage | ParallelStage))
                if inner[-1].o.beats > 1:  # evenly spread, but for beats that are left out
                    spread = unit.ii - unit.sf
                    spacing = spread // (unit.nf - 1)
            self._made[layer, fold] = Candidate(fold, inner, row, spacing, spread)
        return self._made[layer, fold]

    def parallel(self, layer: int) -> Candidate:
        """A layer without any folding."""
        return self.candidate(layer, parallel(self.layers[layer], self._variants[layer][0]))

    def within(self, layer: int, allowed: float) -> list[Candidate]:
        """The candidates of a layer that take at most ``allowed`` cycles per frame."""
        if layer not in self._folds:
            node = self.layers[layer]
            self._folds[layer] = [(cycles(self.network, node, fold), fold) for options in self._variants[layer]
                                  for fold in foldings(node, options)]
        folds = [fold for taken, fold in self._folds[layer] if taken <= allowed]
        made = [self.candidate(layer, fold) for fold in folds if fold.options.datapath != "parallel"]
        made = [candidate for candidate in made if candidate.ii <= allowed]
        for fold in folds:  # of what takes a search, that which may be worth it
            if fold.options.datapath == "parallel" and (not made or self._promises(layer, fold, made)):
                candidate = self.candidate(layer, fold)
                made += [candidate] if candidate.ii <= allowed else []
        return made

    def _promises(self, layer: int, fold: Fold, others: Sequence[Candidate]) -> bool:
        """Whether a layer of adders may cost less than all others, or is already known."""
        least = min(candidate.row[COST] for candidate in others)
        return (layer, fold) in self._made or may_pay(matrix(self.layers[layer]).weights, self.tech, least)

    @cached_property
    def is_timed(self) -> bool:
        """Whether latencies add up: every layer takes a whole vector in its first pass."""
        kept = all(options.storage == "auto" for options in self.options.values())  # none replays its inputs
        return self.timed and self.is_chain and kept and all(
            isinstance(node, ir.MatMul) and self.network.tensors[node.output].pixels == 1 for node in self.layers)

    @cached_property
    def _variants(self) -> list[tuple[UnitOptions, ...]]:
        """What each layer may be built with."""
        return [variants(self.network, node, self.tech, self.options.get(node.name, DEFAULT)) for node in self.layers]

    # intervals -----------------------------------------------------------------------------------------------

    @cached_property
    def least_interval(self) -> int:
        """Cycles per frame with every layer fully parallel."""
        return max(self.parallel(layer).ii for layer in range(len(self.layers)))

    @property
    def limit(self) -> str:
        """What :attr:`least_interval` is due to."""
        if self.least_interval == 1:
            return "every layer is fully parallel"
        slowest = next(stage for layer in range(len(self.layers)) for stage in self.parallel(layer).stages
                       if stage.ii == self.least_interval)
        return f"every layer is fully parallel and {slowest.name} takes {slowest.ii} cycles"

    @cached_property
    def intervals(self) -> list[int]:
        """Every interval that some folding of some layer takes, ascending, from the least that all can keep."""
        taken = {candidate.ii for layer in range(len(self.layers)) for candidate in self.within(layer, np.inf)}
        return sorted(n for n in taken if n >= self.least_interval)

    # sequences -----------------------------------------------------------------------------------------------

    def best(self, allowed: float = np.inf, *, limits: Rows | None = None, column: int = COST
             ) -> tuple[dict[str, Fold], Rows] | None:
        """The sequence with the least sum in ``column``, and its sums; None where no sequence is possible.

        Parameters
        ----------
        allowed : :class:`int`
            Cycles per frame that no stage may exceed.
        limits : float array
            What the sums of each column may be at most.
        column : :class:`int`
        """
        limits = no_limits() if limits is None else limits
        choices = [self.within(layer, allowed) for layer in range(len(self.layers))]
        if not all(choices):
            return None
        active = [column, *(k for k in {LATENCY} - {column} if limits[k] < np.inf)]
        while True:  # a limit that the best sequence keeps by itself need not be carried along
            found = self._best(choices, limits, active)
            if found is None:
                return None
            over = np.flatnonzero(found[1] > limits)
            if not len(over):
                return found
            active.append(int(over[0]))

    def _best(self, choices: Sequence[Sequence[Candidate]], limits: Rows, active: Sequence[int]
              ) -> tuple[dict[str, Fold], Rows] | None:
        """The best sequence by the first of the ``active`` columns, within the limits of these alone."""
        timed = LATENCY in active
        choices = [self._undominated(candidates, active, timed) for candidates in choices]
        remaining = np.cumsum([np.min([c.row for c in column], axis=0) for column in choices[::-1]], axis=0)[::-1]
        remaining = np.vstack([remaining[1:], np.zeros(len(COLUMNS))])
        if timed:
            remaining[:, LATENCY] = 0  # an increment may be less than what a candidate takes alone
        fronts, trail = [], []
        for layer, candidates in enumerate(choices):
            fronts = self._advance(layer, candidates, fronts, (limits - remaining[layer])[active], active, timed)
            if not fronts:
                return None
            trail.append(fronts)
        return self._trace(trail, active)

    @staticmethod
    def _undominated(candidates: Sequence[Candidate], active: Sequence[int], timed: bool) -> list[Candidate]:
        """The candidates without those that another with the same streams and times is at most in every column."""
        alike: dict[tuple[int, ...], list[Candidate]] = {}
        for c in candidates:
            key = c.takes.lanes, c.gives.lanes, *((c.first_pass, c.spacing, c.spread) if timed else ())
            alike.setdefault(key, []).append(c)
        return [group[n] for group in alike.values() for n in front(np.array([c.row[active] for c in group]))]

    def _advance(self, layer: int, candidates: Sequence[Candidate], before: Sequence[_Front], limits: Rows,
                 active: Sequence[int], timed: bool) -> list[_Front]:
        """The fronts after one more layer."""
        groups: dict[tuple[int, ...], list[tuple[Candidate, Rows, NDArray, NDArray]]] = {}
        if before:
            arrived = np.concatenate([front.rows for front in before])
            whence = np.concatenate([np.full(len(front.rows), n) for n, front in enumerate(before)])
            which = np.concatenate([np.arange(len(front.rows)) for front in before])
        else:
            arrived, whence, which = np.zeros((1, len(active))), np.zeros(1, int), np.zeros(1, int)
        steps: dict[tuple[int, int], Rows] = {}
        for c in candidates:
            rows = arrived + c.row[active]
            if before:
                key = c.takes.lanes, c.first_pass if timed else 0
                if key not in steps:
                    steps[key] = np.array([self._step(layer, front.gives, c, timed)[active] for front in before])
                rows = rows + steps[key][whence]
            able = np.all(rows <= limits, axis=1)
            if able.any():
                key = (c.gives.lanes, c.spacing, c.spread) if timed else (c.gives.lanes,)
                groups.setdefault(key, []).append((c, rows[able], whence[able], which[able]))
        fronts = []
        for group in groups.values():
            rows = np.concatenate([rows for _, rows, _, _ in group])
            last = [(c, int(a), int(b)) for c, _, froms, places in group for a, b in zip(froms, places, strict=True)]
            kept = front(rows)
            fronts.append(_Front(group[0][0], rows[kept], [last[k] for k in kept]))
        return fronts

    def _step(self, layer: int, p: Candidate, c: Candidate, timed: bool) -> Rows:
        """What lies between candidate ``p`` and ``c`` after it."""
        row, joined, parted, delay = self._conversion(layer, p.gives, c.takes.lanes)
        if timed:
            # The first pass ends one beat per cycle after its first input, or with the parts of its last one.
            row = row.copy()
            row[LATENCY] = delay + max((joined - 1) * p.spacing - p.spread + c.first_pass - 1, parted - 1)
        return row

    def _conversion(self, layer: int, stream: Stream, lanes: int) -> tuple[Rows, int, int, int]:
        """The row of the converters, by how much they join and part, and their delay."""
        if not self.is_chain:  # what lies between layers of a graph is left to the check of the whole plan
            return np.zeros(len(COLUMNS)), 1, 1, 0
        key = layer, stream.lanes, lanes
        if key not in self._converted:
            stages = converters(stream, lanes, self.layers[layer].name)
            joins = [stage for stage in stages if isinstance(stage, JoinStage)]
            parted = [stage.ratio for stage in stages if isinstance(stage, PartStage)]
            row = sum((of_one_stage(stage, self.tech, self.minimize) for stage in stages), np.zeros(len(COLUMNS)))
            self._converted[key] = (row, joins[0].ratio if joins else 1, parted[0] if parted else 1,
                                    sum(stage.delay for stage in joins))
        return self._converted[key]

    def _trace(self, trail: Sequence[Sequence[_Front]], active: Sequence[int]) -> tuple[dict[str, Fold], Rows]:
        """Follow the best row back to the first layer."""
        number, place = min(((n, int(np.argmin(front.rows[:, 0]))) for n, front in enumerate(trail[-1])),
                            key=lambda at: trail[-1][at[0]].rows[at[1], 0])
        path: list[Candidate] = []
        for fronts in reversed(trail):
            candidate, number, place = fronts[number].last[place]
            path.append(candidate)
        path.reverse()
        total = path[0].row.copy()
        for layer, (p, c) in enumerate(pairwise(path), 1):
            total += c.row + self._step(layer, p, c, self.is_timed)
        return {node.name: c.fold for node, c in zip(self.layers, path, strict=True)}, total
