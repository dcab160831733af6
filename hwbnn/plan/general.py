"""What any weights would make of a network: the ranges that hardware with loadable layers is built for.

Accumulators are computed from the weights actually present, never guessed. Of a loadable layer other weights may come,
so its accumulators, and what follows from them, have the range that any weights of the layer's levels can give.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from hwbnn import ir
from hwbnn.ir.matrices import sum_levels
from hwbnn.plan.records import ceil_div, span_bits

__all__ = ["General", "Rooms", "general", "spans"]

Rooms = Mapping[str, tuple[range, range]]  # multipliers and offsets, by affine node
_LEAST, _ROUND = 16, 8  # bits of multipliers and offsets per channel: the next multiple, and no fewer


def spans(node: ir.Affine) -> tuple[range, range]:
    """The multipliers and the offsets that a loadable affine node has room for: of whole bytes, two at least."""
    return _whole(node.multipliers), _whole(node.offsets)


def _whole(values: NDArray[np.int64]) -> range:
    bits = max(_LEAST, _ROUND * ceil_div(span_bits(min(-1, int(values.min())), int(values.max())), _ROUND))
    return range(-(1 << bits - 1), 1 << bits - 1)


def _rows(levels: ir.Levels, columns: int) -> NDArray[np.int64]:
    """Rows of weights that together have every least and greatest sum, and every distance between sums."""
    second = min(levels.low + levels.step, levels.high)
    rows = np.repeat(np.array([[levels.low], [levels.high], [second], [levels.low]], np.int64), columns, axis=1)
    rows[3, 0] = second
    return rows


@dataclass(frozen=True, eq=False)
class General(ir.Network):
    """A network whose tensors hold what any weights of its ``loadable`` nodes can make of them."""

    loadable: frozenset[str] = frozenset()
    rooms: Rooms = field(default_factory=dict)

    def room(self, node: ir.Affine) -> tuple[range, range]:
        """The multipliers and the offsets that a loadable node has room for."""
        return self.rooms.get(node.name) or spans(node)

    def __post_init__(self):
        pass  # the network that it is made of was checked; its tables of values are of narrower tensors

    @cached_property
    def tensors(self) -> Mapping[str, ir.Tensor]:
        known = {self.input.name: ir.Tensor(self.input.shape, self.input.levels)}
        for node in self.nodes:
            inputs = [known[name] for name in node.inputs]
            tensor = node.infer(*inputs)
            if node.name in self.loadable:
                tensor = ir.Tensor(tensor.shape, self._levels(node, tensor.levels, inputs[0]))
            known[node.output] = tensor
        return MappingProxyType(known)

    def _levels(self, node: ir.Node, levels: ir.Levels, x: ir.Tensor) -> ir.Levels:
        if isinstance(node, ir.MatMul | ir.Conv):
            padded = isinstance(node, ir.Conv) and any(node.padding)
            return sum_levels(_rows(node.weight_levels, node.columns), x.levels, zero=padded)
        if isinstance(node, ir.Affine):
            multipliers, offsets = self.room(node)
            most = max(abs(x.levels.low), abs(x.levels.high)) * -multipliers.start - offsets.start
            return ir.Levels(-most, most)
        return levels


def general(network: ir.Network, layers: Iterable[str],
            rooms: Rooms = MappingProxyType({})) -> General:
    """Return ``network`` with room for other weights of ``layers``, and for other constants of what follows them.

    The thresholds, multipliers and offsets of a node are loadable where they stand behind a loadable layer, with no
    other layer between: they follow from its training, too. ``rooms`` are those of affine nodes of hardware
    that exists.
    """
    layers = frozenset(layers)
    behind = {network.input.name: False}  # whether a tensor comes of a loadable layer
    loadable = set(layers)
    for node in network.nodes:
        comes = any(behind[name] for name in node.inputs)
        if isinstance(node, ir.MatMul | ir.Conv):
            comes = node.name in layers
        elif comes and isinstance(node, ir.Threshold | ir.Affine):
            loadable.add(node.name)
        behind[node.output] = comes
    own = {entry.name: getattr(network, entry.name) for entry in fields(ir.Network)}
    result = General(**own, loadable=frozenset(loadable), rooms=rooms)
    if not loadable:  # the ranges are those of the weights, which were looked at before
        object.__setattr__(result, "tensors", network.tensors)
    return result
