"""Fault injection: bits of weight and threshold memories flipped, and what becomes of the classes.

The faulty network is run by bit-packed inference, which gives golden's integers. Accumulators count as wide enough for
whatever a faulty weight adds up to.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwbnn import ir, pack
from hwbnn.errors import UserError
from hwbnn.infer import load
from hwbnn.sim.trials import CONFIDENCE, Campaign, Group, Point, carry_out, digest, require

__all__ = ["MEMORIES", "bits_of", "campaign", "flipped"]

MEMORIES = ("weights", "thresholds")
"""What is hit in the network: what the memories of its hardware hold."""


def bits_of(net: ir.Network, target: str) -> dict[str, int]:
    """Bits that the target holds, by node: codes of the weights; thresholds counted in steps of the accumulator."""
    if target not in MEMORIES:
        raise UserError(f"Target must be {' or '.join(MEMORIES)}, not {target}")
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
    flips = require(flips, trials, seed, total=sum(sizes.values()), target=target)
    x = np.asarray(x)
    right = None if labels is None else np.asarray(labels)
    faultless = load(net, device="cpu").classes(x)
    groups = [_group("", sum(sizes.values()), count, trials) for count in flips]
    groups += [_group(name, size, min(flips[-1], size), trials) for name, size in sizes.items()]

    def outcome(number: int, trial: int) -> list:
        group = groups[number]
        places = [trial] if group.whole else np.random.default_rng((seed, number, trial)).choice(
            group.bits, group.flips, replace=False, shuffle=False)
        classes = load(flipped(net, target, places, layer=group.layer), device="cpu").classes(x)
        return [float(np.mean(classes == faultless)), None if right is None else float(np.mean(classes == right))]

    found = carry_out(groups, outcome, made_of=digest(ir.digest(net), x.tobytes(), target, flips, trials, seed),
                      kept=kept, resume=resume, progress=progress)
    points = tuple(Point.of(group, outcomes) for group, outcomes in zip(groups, found, strict=True))
    return Campaign(target, len(x), None if right is None else float(np.mean(faultless == right)), seed, CONFIDENCE,
                    points[:len(flips)], points[len(flips):])


def _group(layer: str, bits: int, flips: int, trials: int) -> Group:
    whole = flips == 1 and bits <= trials
    return Group(layer, bits, flips, bits if whole else trials, whole)
