"""Choose PE and SIMD of every layer: the cheapest folding that meets a rate, or the fastest that fits a chip.

At a clock of f and a target of r frames per second a layer may take ``floor(f / r)`` cycles per frame. Given that
budget, layers are independent of each other but for the width converters between them. All divisors of each layer
are tried and the best sequence is found by dynamic programming, so the result is the minimum of the cost model.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from hwbnn import ir
from hwbnn.cost.resources import fit_of, of_stages, stage_cost, uses
from hwbnn.cost.technology import Technology
from hwbnn.cost.technology import technology as find_technology
from hwbnn.errors import UserError
from hwbnn.plan import Fold, Stage, Stream, lower
from hwbnn.plan.lower import converters, unsized

__all__ = ["Choice", "budget", "choose", "divisors", "explain", "fit", "parse", "read"]


@dataclass(frozen=True)
class Choice:
    """One row of :func:`explain`: ``cycles`` per frame of a layer with ``fold``, and why it was chosen."""

    layer: str
    rows: int
    columns: int
    fold: Fold
    cycles: int
    reason: str


@dataclass(frozen=True)
class _Candidate:
    """A layer with one fold, and the nodes after it up to the next layer."""

    fold: Fold
    stages: tuple[Stage, ...]
    cost: float

    @cached_property
    def ii(self) -> int:
        return max(stage.ii for stage in self.stages)

    @property
    def output(self) -> Stream:
        return self.stages[-1].o


def divisors(value: int) -> list[int]:
    """Return the divisors of ``value``, ascending."""
    small = [n for n in range(1, math.isqrt(value) + 1) if value % n == 0]
    return small + [value // n for n in reversed(small) if n * n != value]


def budget(clock_hz: int, target_fps: float) -> int:
    """Cycles that a frame may take at most: exactly ``floor(clock_hz / target_fps)``."""
    if isinstance(clock_hz, bool) or not isinstance(clock_hz, int) or clock_hz < 1:
        raise UserError(f"Clock must be a whole number of hertz, at least 1, not {clock_hz!r}")
    if isinstance(target_fps, bool) or not isinstance(target_fps, int | float) \
            or not math.isfinite(target_fps) or target_fps <= 0:
        raise UserError(f"Target rate must be a positive number of frames per second, not {target_fps!r}")
    return math.floor(clock_hz / Fraction(target_fps))


def choose(network: ir.Network, *, clock_hz: int, target_fps: float, technology: str | None = None
           ) -> dict[str, Fold]:
    """Return the cheapest folding that reaches ``target_fps`` frames per second.

    Parameters
    ----------
    network : :class:`ir.Network`
    clock_hz : :class:`int`
    target_fps : :class:`float`
        Frames per second in the steady state.
    technology : :class:`str` or None
        Cost is the sum of the shares that look-up tables and block memories take of this chip. None: LUT4 by
        the uncalibrated closed forms, and 1/16 LUT4 per bit of block memory.

    Raises
    ------
    UserError
        The rate cannot be reached; the message states the best that can.
    """
    allowed = budget(clock_hz, target_fps)
    search = _Search(network, _known(technology))
    least = search.least_interval
    if allowed < least:
        raise UserError(f"Target rate must be at most {_rate(clock_hz, least)} frames/s at {clock_hz / 1e6:g} MHz, "
                        f"where {search.limit}, not {target_fps:,.12g}")
    tightened = allowed
    while tightened >= least:
        folds = search.cheapest(tightened)
        interval = lower(network, folds).cycles.interval
        if interval <= allowed:
            return folds
        tightened -= interval - allowed
    raise UserError(f"Target rate must leave room for the width converters, which make it miss {target_fps:,.12g} "
                    f"frames/s at {clock_hz / 1e6:g} MHz; ask for less")


def fit(network: ir.Network, *, technology: str, reserve_luts: float = 0, reserve_blocks: int = 0) -> dict[str, Fold]:
    """Return the fastest folding whose estimate fits ``technology`` with certainty.

    ``reserve_luts`` and ``reserve_blocks`` are kept for what stands around the accelerator. Raises
    :class:`UserError` where even the cheapest folding does not fit.
    """
    tech = find_technology(technology)
    search = _Search(network, tech)

    def attempt(interval: int) -> tuple[bool, dict[str, Fold], str]:
        folds = search.cheapest(interval)
        rows = uses(of_stages(unsized(network, folds), tech), tech,
                    reserve_luts=reserve_luts, reserve_blocks=reserve_blocks)
        return fit_of(rows) == "yes", folds, f"{rows[0].used} of {rows[0].available:,.0f}"

    intervals = search.intervals
    fits, folds, scarcest = attempt(intervals[-1])
    if not fits:
        raise UserError(f"Network {network.name} must fit {tech.title}, and its cheapest folding takes {scarcest}")
    low, high = 0, len(intervals) - 1  # the one at `high` fits
    while low < high:
        middle = (low + high) // 2
        fits, tried, _ = attempt(intervals[middle])
        if fits:
            high, folds = middle, tried
        else:
            low = middle + 1
    return folds


def explain(network: ir.Network, folds: Mapping[str, Fold], *, clock_hz: int, target_fps: float | None = None
            ) -> tuple[Choice, ...]:
    """Return one row per layer: its fold, its cycles per frame, and why."""
    allowed = None if target_fps is None else budget(clock_hz, target_fps)
    rows = []
    for node in _matrices(network):
        fold = folds[node.name]
        cycles = _cycles(network, node, fold)
        if allowed is None:
            reason = f"given; at most {_rate(clock_hz, cycles)} frames/s at {clock_hz / 1e6:g} MHz"
        else:
            able = sum(_cycles(network, node, Fold(pe, simd)) <= allowed
                       for pe in divisors(node.rows) for simd in divisors(node.columns))
            reason = f"cheapest of {able} foldings that take at most {allowed:,} cycles"
        rows.append(Choice(node.name, node.rows, node.columns, fold, cycles, reason))
    return tuple(rows)


def parse(network: ir.Network, record: Any, *, where: str = "Folding") -> dict[str, Fold]:
    """Check a folding as users write it, ``{"fc0": {"pe": 8, "simd": 16}, ...}``, against ``network``.

    Raises :class:`UserError` that names the layer, with the divisors it could take.
    """
    nodes = {node.name: node for node in _matrices(network)}
    if not isinstance(record, Mapping):
        raise UserError(f'{where} must be an object such as {{"{next(iter(nodes), "fc0")}": {{"pe": 1, "simd": 1}}}}, '
                        f"not {type(record).__name__}")
    for name in record:
        if name not in nodes:
            near = get_close_matches(str(name), nodes, n=1)
            raise UserError(f"{where} must name layers among {', '.join(nodes)}, not {name}"
                            + (f"; did you mean {near[0]}?" if near else ""))
    missing = [name for name in nodes if name not in record]
    if missing:
        raise UserError(f"{where} must be given for every layer, and {missing[0]} has none")
    return {name: _fold(node, record[name], where) for name, node in nodes.items()}


def read(network: ir.Network, path: str | os.PathLike) -> dict[str, Fold]:
    """Read a folding from a JSON file (``fold.json``, or a ``build.json`` with its ``folds``)."""
    try:
        record = json.loads(Path(path).read_text())
    except OSError as error:
        raise UserError(f"Folding file {path} must be readable: {error.strerror}") from None
    except ValueError:
        raise UserError(f"Folding file {path} must be JSON, and it is not") from None
    if isinstance(record, dict) and isinstance(record.get("folds"), dict):
        record = record["folds"]
    return parse(network, record, where=f"Folding file {path}")


def _fold(node: ir.MatMul, entry: Any, where: str) -> Fold:
    if not isinstance(entry, Mapping) or set(entry) != {"pe", "simd"}:
        raise UserError(f"{where} of {node.name} must have exactly pe and simd, not {entry!r}")
    for key, size, what in (("pe", node.rows, "rows"), ("simd", node.columns, "columns")):
        value = entry[key]
        if not isinstance(value, int) or isinstance(value, bool) or value < 1 or size % value:
            raise UserError(f"{where} of {node.name}: {key} must divide its {size} {what} "
                            f"({', '.join(map(str, divisors(size)))}), not {value!r}")
    return Fold(entry["pe"], entry["simd"])


def _known(name: str | None) -> Technology | None:
    return None if name is None else find_technology(name)


def _rate(clock_hz: int, interval: int) -> str:
    """Frames per second, rounded down so that asking for it succeeds."""
    rate = Fraction(clock_hz, interval)
    return f"{math.floor(rate):,}" if rate >= 100 else f"{math.floor(rate * 1000) / 1000:g}"


def _matrices(network: ir.Network) -> list[ir.MatMul]:
    return [node for node in network.nodes if isinstance(node, ir.MatMul)]


def _cycles(network: ir.Network, node: ir.MatMul, fold: Fold) -> int:
    """Cycles per frame of the matrix-vector unit alone."""
    return network.tensors[node.input].pixels * (node.rows // fold.pe) * (node.columns // fold.simd)


class _Search:
    """All candidates of each layer of a network, and the cheapest sequence within a budget."""

    def __init__(self, network: ir.Network, tech: Technology | None):
        self.network, self.tech = network, tech
        self.layers = _matrices(network)
        if not self.layers:
            raise UserError(f"Network {network.name} must have a matrix product to fold, and it has none")
        self.parts = _parts(network)
        self._made: dict[tuple[int, Fold], _Candidate] = {}

    def candidate(self, layer: int, fold: Fold) -> _Candidate:
        if (layer, fold) not in self._made:
            stages = unsized(self.parts[layer], {self.layers[layer].name: fold})
            inner = tuple(stages[layer > 0:len(stages) - (layer < len(self.layers) - 1)])  # without inner ends
            cost = sum(stage_cost(stage, self.tech) for stage in inner)
            self._made[layer, fold] = _Candidate(fold, inner, cost)
        return self._made[layer, fold]

    def parallel(self, layer: int) -> _Candidate:
        node = self.layers[layer]
        return self.candidate(layer, Fold(node.rows, node.columns))

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
        """Every interval that some folding of some layer takes, ascending, from the least that is possible."""
        taken = {_cycles(self.network, node, Fold(pe, simd)) for node in self.layers
                 for pe in divisors(node.rows) for simd in divisors(node.columns)}
        slowest = max(self.least_interval, *(node.rows * node.columns * self.network.tensors[node.input].pixels
                                             for node in self.layers))
        return sorted({n for n in taken if n >= self.least_interval} | {self.least_interval, slowest})

    def within(self, layer: int, allowed: int) -> list[_Candidate]:
        """The candidates of a layer that take at most ``allowed`` cycles."""
        node = self.layers[layer]
        folds = [Fold(pe, simd) for pe in divisors(node.rows) for simd in divisors(node.columns)]
        made = [self.candidate(layer, fold) for fold in folds if _cycles(self.network, node, fold) <= allowed]
        return [candidate for candidate in made if candidate.ii <= allowed]

    def cheapest(self, allowed: int) -> dict[str, Fold]:
        """The sequence of least cost whose stages all take at most ``allowed`` cycles; ties go to fewer PEs."""
        columns = [self.within(layer, allowed) for layer in range(len(self.layers))]
        best: list[tuple[float, tuple[_Candidate, ...]]] = [(c.cost, (c,)) for c in columns[0]]
        for layer, column in enumerate(columns[1:], 1):
            following = []
            joined = {}  # the best way to arrive with each number of lanes: all that the next layer sees
            for cost, path in best:
                lanes = path[-1].output
                if lanes.lanes not in joined or cost < joined[lanes.lanes][0]:
                    joined[lanes.lanes] = (cost, path)
            for c in column:
                arrivals = [(cost + self._conversion(path[-1].output, c.fold.simd, layer), path)
                            for cost, path in joined.values()]
                cost, path = min(arrivals, key=lambda arrival: arrival[0])
                following.append((cost + c.cost, (*path, c)))
            best = following
        _, path = min(best, key=lambda one: one[0])
        return {node.name: c.fold for node, c in zip(self.layers, path, strict=True)}

    def _conversion(self, stream: Stream, lanes: int, layer: int) -> float:
        return sum(stage_cost(stage, self.tech) for stage in converters(stream, lanes, self.layers[layer].name))


def _parts(network: ir.Network) -> list[ir.Network]:
    """Cut the chain before each layer but the first: a network of one layer each."""
    names: Sequence[int] = [n for n, node in enumerate(network.nodes) if isinstance(node, ir.MatMul)]
    cuts = [0, *names[1:], len(network.nodes)]
    parts = []
    for start, stop in pairwise(cuts):
        nodes = network.nodes[start:stop]
        tensor = network.tensors[nodes[0].input]
        entry = ir.Input(nodes[0].input, tensor.shape, tensor.shape, tensor.levels)
        out = network.tensors[nodes[-1].output]
        parts.append(ir.Network(network.name, entry, nodes, (ir.Output("y", nodes[-1].output, out.shape),)))
    return parts
