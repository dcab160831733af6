"""Fault injection: bits of weight and threshold memories flipped, and what becomes of the classes.

The faulty network is run by bit-packed inference, which gives golden's integers. Accumulators count as wide enough for
whatever a faulty weight adds up to.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import NormalDist, fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwbnn import ir, pack
from hwbnn.builddir import write_atomic
from hwbnn.errors import UserError
from hwbnn.infer import load

__all__ = ["TARGETS", "Campaign", "Point", "bits_of", "campaign", "flipped", "interval"]

TARGETS = ("weights", "thresholds")
"""Memories that can be hit."""

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Point:
    """``trials`` networks, each with ``flips`` flipped bits at random places.

    Parameters
    ----------
    layer : :class:`str`
        The node that was hit; empty: all that can be.
    bits : :class:`int`
        Bits among which the places were drawn.
    same : triple of :class:`float`
        Share of images with the class of the faultless network: mean over the trials, and its confidence interval.
    accuracy : triple of :class:`float` or None
        The same for the share of images with the right class; None where the labels are unknown.
    worst : :class:`float`
        The least share of images with the class of the faultless network in any trial.
    """

    layer: str
    bits: int
    flips: int
    trials: int
    same: tuple[float, float, float]
    accuracy: tuple[float, float, float] | None
    worst: float


@dataclass(frozen=True)
class Campaign:
    """Shares of images against flips over the whole network, and for each layer alone with the most flips."""

    target: str
    images: int
    faultless: float | None
    seed: int
    confidence: float
    points: tuple[Point, ...]
    layers: tuple[Point, ...]

    @property
    def most_sensitive(self) -> str:
        """The layer that loses most images to the same number of flips."""
        return min(self.layers, key=lambda point: point.same[0]).layer

    def to_json(self) -> dict[str, Any]:
        """The record, for ``faults/<target>.json``."""
        return asdict(self) | {"most_sensitive": self.most_sensitive}


def bits_of(net: ir.Network, target: str) -> dict[str, int]:
    """Bits that the target holds, by node: codes of the weights; thresholds counted in steps of the accumulator."""
    if target not in TARGETS:
        raise UserError(f"Target must be {' or '.join(TARGETS)}, not {target}")
    found = {node.name: (node.weights.size * node.weight_levels.bits if isinstance(node, ir.MatMul | ir.Conv) else
                         node.thresholds.size * _threshold_bits(net, node))
             for node in net.nodes if isinstance(node, ir.MatMul | ir.Conv if target == "weights" else ir.Threshold)}
    if not found:
        raise UserError(f"Network must have {target} to flip bits of, and {net.name} has none")
    return found


def flipped(net: ir.Network, target: str, places: ArrayLike, *, layer: str = "") -> ir.Network:
    """Return the network with the bits at ``places`` flipped, counted over all nodes of :func:`bits_of` or one."""
    sizes = bits_of(net, target)
    if layer:
        sizes = {layer: sizes[layer]}
    left, changed = np.sort(np.asarray(places, np.int64)), {}
    for name, size in sizes.items():
        here, left = left[left < size], left[left >= size] - size
        if len(here):
            node = net.node(name)
            changed[name] = _weights(node, here) if target == "weights" else _thresholds(net, node, here)
    return replace(net, nodes=tuple(changed.get(node.name, node) for node in net.nodes))


def _weights(node: Any, places: NDArray[np.int64]) -> ir.Node:
    levels = node.weight_levels
    code = pack.codes(node.weights, levels, weight=True).reshape(-1)
    value, bit = np.divmod(places, levels.bits)
    np.bitwise_xor.at(code, value, np.int64(1) << bit)
    weights = pack.levels_of(code, levels).reshape(node.weights.shape)
    if not levels.holds(weights):  # a code that no weight has, such as -8 of -7..7
        levels = ir.Levels.signed(levels.bits) if levels.is_signed else ir.Levels.unsigned(levels.bits)
    return replace(node, weights=weights, weight_levels=levels)


def _threshold_bits(net: ir.Network, node: Any) -> int:
    return len(net.tensors[node.input].levels).bit_length()


def _thresholds(net: ir.Network, node: Any, places: NDArray[np.int64]) -> ir.Node:
    """The number of thresholds that are reached does not depend on their order: they are sorted again."""
    levels, bits = net.tensors[node.input].levels, _threshold_bits(net, node)
    low = levels.low if np.all(node.signs == 1) else min(levels.low, -levels.high)
    code = np.clip(-(-(node.thresholds - low) // levels.step), 0, 2**bits - 1).reshape(-1)
    value, bit = np.divmod(places, bits)
    np.bitwise_xor.at(code, value, np.int64(1) << bit)
    changed = node.thresholds.reshape(-1).copy()
    changed[value] = (low + code * levels.step)[value]
    return replace(node, thresholds=np.sort(changed.reshape(node.thresholds.shape), axis=1))


def interval(values: Sequence[float], *, whole: bool = False) -> tuple[float, float, float]:
    """Mean of the trials and its 95 % interval by Student's t, within 0 and 1; no width where all cases were tried."""
    mean = fmean(values)
    if whole:
        return mean, mean, mean
    if len(values) < 2:
        return mean, 0.0, 1.0
    half = _student(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return mean, max(0.0, mean - half), min(1.0, mean + half)


def _student(freedom: int) -> float:
    """The two-sided 95 % quantile of Student's t: exact for 1 and 2, else by its expansion (Abramowitz, 26.7.5)."""
    if freedom <= 2:
        return (12.7062, 4.3027)[freedom - 1]
    z = NormalDist().inv_cdf(0.5 + _CONFIDENCE / 2)
    terms = (z, (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96,
             (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
             (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160)
    return sum(term / freedom**n for n, term in enumerate(terms))


def campaign(net: ir.Network, x: ArrayLike, labels: ArrayLike | None = None, *, target: str = "weights",
             flips: Sequence[int] = (1, 2, 4, 8, 16, 32), trials: int = 20, seed: int = 1,
             kept: str | os.PathLike | None = None, resume: bool = False,
             progress: Callable[[int, int], object] = lambda done, total: None) -> Campaign:
    """Flip bits at random places, the whole network's and each layer's, and classify the images ``x``.

    Parameters
    ----------
    flips : sequence of :class:`int`
        How many at a time; each layer alone gets the most of them, or all its bits where it has fewer.
    trials : :class:`int`
        Networks for each. Where that many single bits are all there are, each is flipped once.
    seed : :class:`int`
        Of the places; every trial has its own, so that the outcome does not depend on interrupts.
    kept : path, optional
        A file that holds what is done until all is; with ``resume`` it is gone on with.
    """
    sizes = bits_of(net, target)
    total = sum(sizes.values())
    flips = sorted(set(flips))
    if not flips or flips[0] < 1 or flips[-1] > total:
        raise UserError(f"Flips must be numbers of bits from 1 to the {total} that the {target} have, not "
                        f"{', '.join(map(str, flips)) or 'none'}")
    if trials < 1:
        raise UserError(f"Trials must be at least 1, not {trials}")
    if seed < 0:
        raise UserError(f"Seed must be an integer of at least 0, not {seed}")
    x = np.asarray(x)
    right = None if labels is None else np.asarray(labels)
    faultless = load(net, device="cpu").classes(x)
    jobs = [("", total, count) for count in flips]
    jobs += [(name, size, min(flips[-1], size)) for name, size in sizes.items()]
    made_of = hashlib.sha256(json.dumps([ir.digest(net), hashlib.sha256(x.tobytes()).hexdigest(), target, flips, trials,
                                         seed]).encode()).hexdigest()
    done = _read(kept, made_of) if resume else {}
    points = []
    for number, (layer, size, count) in enumerate(jobs):
        whole = count == 1 and size <= trials
        shares = done.setdefault(str(number), [])
        for trial in range(len(shares), size if whole else trials):
            places = [trial] if whole else np.random.default_rng((seed, number, trial)).choice(
                size, count, replace=False, shuffle=False)
            classes = load(flipped(net, target, places, layer=layer), device="cpu").classes(x)
            shares.append([float(np.mean(classes == faultless)),
                           None if right is None else float(np.mean(classes == right))])
            if kept is not None:
                write_atomic(kept, json.dumps({"made_of": made_of, "done": done}))
            progress(number * trials + trial + 1, len(jobs) * trials)
        same = [one for one, _ in shares]
        accuracy = None if right is None else interval([one for _, one in shares], whole=whole)
        points.append(Point(layer, size, count, len(shares), interval(same, whole=whole), accuracy, min(same)))
    if kept is not None:
        Path(kept).unlink(missing_ok=True)
    return Campaign(target, len(x), None if right is None else float(np.mean(faultless == right)), seed, _CONFIDENCE,
                    tuple(points[:len(flips)]), tuple(points[len(flips):]))


def _read(kept: str | os.PathLike | None, made_of: str) -> dict[str, list]:
    try:
        record = json.loads(Path(kept or "").read_text())
    except (OSError, ValueError):
        raise UserError("Campaign must have been interrupted to be resumed, and none was; "
                        "run it without --resume") from None
    if record["made_of"] != made_of:
        raise UserError("Campaign must be resumed as it was begun, with the same build, images and options; "
                        "run it without --resume to begin anew")
    return record["done"]
