"""Rewritings of the imported network that keep every integer that counts."""

from dataclasses import replace

import numpy as np

from hwbnn import ir

__all__ = ["absorb_affine", "absorb_permutation", "drop_unread", "fuse_thresholds", "merge_padding", "tidy",
           "turn_falling"]


def tidy(net: ir.Network) -> ir.Network:
    """Apply every pass."""
    for rewrite in (drop_unread, fuse_thresholds, absorb_affine, absorb_permutation, merge_padding, turn_falling):
        net = rewrite(net)
    return net


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
        joined = replace(node, inputs=first.inputs, thresholds=_joined(first, node, net.tensors[first.input].levels),
                         signs=first.signs)
        rest = tuple(joined if other is node else other for other in net.nodes if other is not first)
        return fuse_thresholds(replace(net, nodes=rest))
    return net


def _joined(first: ir.Threshold, second: ir.Threshold, x: ir.Levels):
    """Thresholds on the input of ``first``, of levels ``x``, at which ``second`` steps."""
    rows = max(len(first.thresholds), len(second.thresholds))
    inner = np.broadcast_to(first.thresholds, (rows, first.thresholds.shape[1]))
    outer = np.broadcast_to(second.thresholds, (rows, second.thresholds.shape[1]))
    level = -((first.levels.low - outer) // first.levels.step)  # levels that must be passed, rounded up
    signs = np.broadcast_to(first.signs, (rows,))[:, None]
    always, never = np.where(signs > 0, x.low, -x.high), np.where(signs > 0, x.high, -x.low) + 1
    padded = np.hstack([always, np.clip(inner, always, never), never])
    return np.take_along_axis(padded, np.clip(level, 0, inner.shape[1] + 1), axis=1)


def absorb_affine(net: ir.Network) -> ir.Network:
    """Let a threshold, or the input, give the integers that a rising affine map makes of its levels.

    Only where they need no more bits, as from binary to bipolar.
    """
    for node in net.nodes:
        if not isinstance(node, ir.Affine) or _readers(net, node.input) != 1:
            continue
        multiplier, offset = int(node.multipliers[0]), int(node.offsets[0])
        if multiplier < 1 or np.any(node.multipliers != multiplier) or np.any(node.offsets != offset):
            continue
        first = net.producer(node.input)
        given = net.tensors[node.input].levels
        if _mapped(given, multiplier, offset).bits > given.bits:
            continue
        rest = tuple(other for other in net.nodes if other is not node)
        if isinstance(first, ir.Threshold):
            joined = replace(first, outputs=node.outputs, levels=_mapped(first.levels, multiplier, offset))
            rest = tuple(joined if other is first else other for other in rest)
            return absorb_affine(replace(net, nodes=rest))
        if first is None and net.input.boundaries is not None:
            given = replace(net.input, levels=_mapped(net.input.levels, multiplier, offset))
            outputs = tuple(replace(output, tensor=given.name) if output.tensor == node.output else output
                            for output in net.outputs)
            rest = tuple(_reading(other, node.output, given.name) for other in rest)
            return absorb_affine(replace(net, input=given, nodes=rest, outputs=outputs))
    return net


def _mapped(levels: ir.Levels, multiplier: int, offset: int) -> ir.Levels:
    return ir.Levels(multiplier * levels.low + offset, multiplier * levels.high + offset, multiplier * levels.step)


def _reading(node: ir.Node, old: str, new: str) -> ir.Node:
    return replace(node, inputs=tuple(new if name == old else name for name in node.inputs))


def absorb_permutation(net: ir.Network) -> ir.Network:
    """Permute the rows of the layer in front of a permutation of channels, instead of its results."""
    for node in net.nodes:
        order = _permutation(node)
        if order is None or _readers(net, node.input) != 1:
            continue
        first = net.producer(node.input)
        if isinstance(first, ir.MatMul) or (isinstance(first, ir.Conv) and first.groups == 1):
            joined = replace(first, outputs=node.outputs, weights=first.weights[order])
            rest = tuple(joined if other is first else other for other in net.nodes if other is not node)
            return absorb_permutation(replace(net, nodes=rest))
        if isinstance(first, ir.Threshold | ir.MaxPool | ir.SumPool | ir.Upsample | ir.Pad | ir.Affine):
            vectors = {name: vector[order] for name in ("thresholds", "signs", "multipliers", "offsets")
                       if len(vector := getattr(first, name, ())) > 1}
            between = (f"{first.output} permuted",)
            swapped = (replace(node, inputs=first.inputs, outputs=between),
                       replace(first, inputs=between, outputs=node.outputs, **vectors))
            rest = [other for other in net.nodes if other is not node]
            place = rest.index(first)
            rest[place:place + 1] = swapped
            return absorb_permutation(replace(net, nodes=tuple(rest)))
    return net


def _permutation(node: ir.Node):
    """Input channel of each output channel, where ``node`` is a product with a permutation matrix."""
    if not isinstance(node, ir.MatMul) or node.rows != node.columns or node.weight_levels != ir.BINARY:
        return None
    if np.any(node.weights.sum(axis=0) != 1) or np.any(node.weights.sum(axis=1) != 1):
        return None
    return node.weights.argmax(axis=1)


def merge_padding(net: ir.Network) -> ir.Network:
    """Let a convolution pad with zeros itself."""
    for node in net.nodes:
        if not isinstance(node, ir.Conv) or _readers(net, node.input) != 1:
            continue
        first = net.producer(node.input)
        if not isinstance(first, ir.Pad) or first.value != 0:
            continue
        top, left, bottom, right = (a + b for a, b in zip(first.padding, node.padding, strict=True))
        joined = replace(node, inputs=first.inputs, padding=(top, left, bottom, right))
        rest = tuple(joined if other is node else other for other in net.nodes if other is not first)
        return merge_padding(replace(net, nodes=rest))
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
