"""Rewritings of the imported network that keep every integer that counts."""

from dataclasses import replace

import numpy as np

from hwbnn import ir

__all__ = ["absorb_affine", "drop_unread", "fuse_thresholds", "tidy", "turn_falling"]


def tidy(net: ir.Network) -> ir.Network:
    """Apply every pass."""
    return drop_unread(turn_falling(drop_unread(absorb_affine(fuse_thresholds(net)))))


def _rebuilt(net: ir.Network, changed: dict[str, ir.Node]) -> ir.Network:
    return replace(net, nodes=tuple(changed.get(node.name, node) for node in net.nodes))


def _readers(net: ir.Network, tensor: str) -> int:
    return len(net.consumers(tensor)) + sum(output.tensor == tensor for output in net.outputs)


def turn_falling(net: ir.Network) -> ir.Network:
    """Negate the weights of channels whose threshold falls, so that it rises.

    Only where the set of weights is symmetric and nothing but the threshold reads the accumulator.
    """
    changed: dict[str, ir.Node] = {}
    for node in net.nodes:
        if not isinstance(node, ir.Threshold) or np.all(node.signs == 1):
            continue
        layer = net.producer(node.input)
        if not isinstance(layer, ir.MatMul | ir.Conv) or _readers(net, node.input) != 1:
            continue
        if layer.weight_levels.low != -layer.weight_levels.high:
            continue
        signs = np.broadcast_to(node.signs, (layer.rows,)).reshape(-1, *[1] * (layer.weights.ndim - 1))
        changed[layer.name] = replace(layer, weights=layer.weights * signs)
        changed[node.name] = replace(node, signs=np.ones(1, np.int64))
    return _rebuilt(net, changed) if changed else net


def fuse_thresholds(net: ir.Network) -> ir.Network:
    """Join a threshold with the one that alone reads it."""
    for node in net.nodes:
        if not isinstance(node, ir.Threshold) or np.any(node.signs != 1):
            continue
        first = net.producer(node.input)
        if not isinstance(first, ir.Threshold) or _readers(net, node.input) != 1:
            continue
        joined = replace(node, inputs=first.inputs, thresholds=_joined(first, node), signs=first.signs)
        rest = tuple(joined if other is node else other for other in net.nodes if other is not first)
        return fuse_thresholds(replace(net, nodes=rest))
    return net


def _joined(first: ir.Threshold, second: ir.Threshold):
    """Thresholds on the input of ``first`` at which ``second`` steps."""
    rows = max(len(first.thresholds), len(second.thresholds))
    inner = np.broadcast_to(first.thresholds, (rows, first.thresholds.shape[1]))
    outer = np.broadcast_to(second.thresholds, (rows, second.thresholds.shape[1]))
    level = -((first.levels.low - outer) // first.levels.step)  # levels that must be passed, rounded up
    big = np.iinfo(np.int64)
    padded = np.pad(inner, ((0, 0), (1, 1)), constant_values=((0, 0), (big.min, big.max)))
    return np.take_along_axis(padded, np.clip(level, 0, inner.shape[1] + 1), axis=1)


def absorb_affine(net: ir.Network) -> ir.Network:
    """Let a threshold give the integers that a rising affine map makes of its levels."""
    for node in net.nodes:
        if not isinstance(node, ir.Affine):
            continue
        first = net.producer(node.input)
        if not isinstance(first, ir.Threshold) or _readers(net, node.input) != 1:
            continue
        multiplier, offset = int(node.multipliers[0]), int(node.offsets[0])
        if multiplier < 1 or np.any(node.multipliers != multiplier) or np.any(node.offsets != offset):
            continue
        levels = ir.Levels(multiplier * first.levels.low + offset, multiplier * first.levels.high + offset,
                           multiplier * first.levels.step)
        joined = replace(first, outputs=node.outputs, levels=levels)
        rest = tuple(joined if other is first else other for other in net.nodes if other is not node)
        return absorb_affine(replace(net, nodes=rest))
    return net


def drop_unread(net: ir.Network) -> ir.Network:
    """Remove nodes whose results nobody reads."""
    wanted = {output.tensor for output in net.outputs}
    kept = []
    for node in reversed(net.nodes):
        if node.output in wanted:
            kept.append(node)
            wanted.update(node.inputs)
    return net if len(kept) == len(net.nodes) else replace(net, nodes=tuple(reversed(kept)))
