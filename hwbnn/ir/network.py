"""A whole integer network: its input, its nodes in order, its outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwbnn.ir.levels import Levels
from hwbnn.ir.node import Node, Tensor

__all__ = ["Input", "Network", "Output"]


def _array(value, dtype) -> NDArray | None:
    if value is None:
        return None
    copy = np.array(value, dtype=dtype, order="C")
    copy.setflags(write=False)
    return copy


class _ByValue:
    """Equality by fields, arrays included."""

    def __eq__(self, other) -> bool:
        return type(self) is type(other) and all(
            np.array_equal(a, getattr(other, name)) if isinstance(a, np.ndarray) else a == getattr(other, name)
            for name, a in vars(self).items())

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # records with arrays are not keys


@dataclass(frozen=True, eq=False)
class Input(_ByValue):
    """What the graph takes, and how its values become integers.

    Parameters
    ----------
    name : :class:`str`
        Name of the first tensor, also of the graph's input.
    graph_shape : :class:`tuple`
        Shape that the graph takes, without batch, for instance (1, 28, 28).
    shape : :class:`tuple`
        Shape of the tensor, channels last: the graph's values with their axes permuted by ``axes``, then
        reshaped.
    levels : :class:`Levels`
        The integers that enter the network.
    boundaries : float32 array of shape (n,) or (channels, n), or None
        A float x becomes ``low + step · #{x >= boundary}``, n + 1 levels. None: the graph itself takes
        integers of ``levels``.
    axes : :class:`tuple`
        Axis k of the permuted value is axis ``axes[k]`` of the graph's.
    """

    name: str
    graph_shape: tuple[int, ...]
    shape: tuple[int, ...]
    levels: Levels
    boundaries: NDArray[np.float32] | None = None
    axes: tuple[int, ...] | None = None

    def __post_init__(self):
        object.__setattr__(self, "boundaries", _array(self.boundaries, np.float32))
        object.__setattr__(self, "graph_shape", tuple(int(n) for n in self.graph_shape))
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        axes = tuple(range(len(self.graph_shape))) if self.axes is None else tuple(self.axes)
        object.__setattr__(self, "axes", axes)
        if sorted(axes) != list(range(len(self.graph_shape))):
            raise ValueError(f"Input axes must permute the {len(self.graph_shape)} axes of {self.graph_shape}, "
                             f"not {axes}")
        if np.prod(self.graph_shape) != np.prod(self.shape):
            raise ValueError(f"Input shape must hold the values of {self.graph_shape}, not {self.shape}")
        if self.boundaries is not None:
            if self.boundaries.shape[-1] != len(self.levels) - 1 or self.boundaries.ndim > 2:
                raise ValueError(f"Input boundaries must have {len(self.levels) - 1} entries for {self.levels}, "
                                 f"not {self.boundaries.shape}")
            if np.any(np.isnan(self.boundaries)) or np.any(
                    self.boundaries[..., 1:] < self.boundaries[..., :-1]):
                raise ValueError("Input boundaries must ascend")


@dataclass(frozen=True, eq=False)
class Output(_ByValue):
    """A tensor that the network returns, and what its integers mean in the graph.

    The graph's value is looked up in ``values`` where it is given (float32, (channels or 1, levels): exactly
    what the graph computes for each level of the tensor), else it is ``scale · integer + bias``
    (float64, channels or 1). None for both: the integers are the graph's own output (class numbers).

    Parameters
    ----------
    name : :class:`str`
        The graph's name of this output.
    tensor : :class:`str`
        The tensor of the network it is read from.
    graph_shape : :class:`tuple`
        Shape in the graph, without batch.
    axes : :class:`tuple` or None
        The tensor's axes, permuted so, then reshaped to ``graph_shape``.
    """

    name: str
    tensor: str
    graph_shape: tuple[int, ...]
    scale: NDArray[np.float64] | None = None
    bias: NDArray[np.float64] | None = None
    values: NDArray[np.float32] | None = None
    axes: tuple[int, ...] | None = None

    def __post_init__(self):
        object.__setattr__(self, "graph_shape", tuple(int(n) for n in self.graph_shape))
        for name, dtype in (("scale", np.float64), ("bias", np.float64), ("values", np.float32)):
            object.__setattr__(self, name, _array(getattr(self, name), dtype))
        if (self.scale is None) != (self.bias is None):
            raise ValueError(f"Output {self.name} must have both scale and bias, or neither")


@dataclass(frozen=True, eq=False)
class Network:
    """An integer network. Nodes stand in an order in which every input is ready; checked on construction.

    ``metadata`` is JSON-like and carries no meaning for the integers (where it came from, what the
    frontend folded into what).
    """

    name: str
    input: Input
    nodes: tuple[Node, ...]
    outputs: tuple[Output, ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        object.__setattr__(self, "nodes", tuple(self.nodes))
        object.__setattr__(self, "outputs", tuple(self.outputs))
        object.__setattr__(self, "metadata", MappingProxyType(dict(self.metadata)))
        seen: set[str] = set()
        for node in self.nodes:
            if node.name in seen:
                raise ValueError(f"Node names must be unique, and {node.name} is not")
            seen.add(node.name)
        for output in self.outputs:
            if output.tensor not in self.tensors:
                raise ValueError(f"Output {output.name} must read a tensor of the network, not {output.tensor}")
            tensor = self.tensors[output.tensor]
            if np.prod(tensor.shape) != np.prod(output.graph_shape):
                raise ValueError(f"Output {output.name} must hold the values of {tensor.shape}, "
                                 f"not {output.graph_shape}")
            if output.values is not None and output.values.shape not in (
                    (1, len(tensor.levels)), (tensor.channels, len(tensor.levels))):
                raise ValueError(f"Output {output.name} values must be given for {tensor.channels} channels and "
                                 f"{len(tensor.levels)} levels, not {output.values.shape}")
        if not self.outputs:
            raise ValueError("Network must have at least one output")

    def __eq__(self, other) -> bool:
        return isinstance(other, Network) and all(
            getattr(self, name) == getattr(other, name)
            for name in ("name", "input", "nodes", "outputs", "metadata"))

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # holds arrays

    @cached_property
    def tensors(self) -> Mapping[str, Tensor]:
        """Shape and levels of every tensor, by name."""
        known = {self.input.name: Tensor(self.input.shape, self.input.levels)}
        for node in self.nodes:
            missing = [name for name in node.inputs if name not in known]
            if missing:
                raise ValueError(f"{node.op} {node.name} must read tensors made before it, not {missing[0]}")
            if node.output in known:
                raise ValueError(f"{node.op} {node.name} must write a new tensor, not {node.output}")
            known[node.output] = node.infer(*(known[name] for name in node.inputs))
        return MappingProxyType(known)

    def node(self, name: str) -> Node:
        """The node called ``name``."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise ValueError(f"Node must be one of {', '.join(n.name for n in self.nodes)}, not {name}")

    def producer(self, tensor: str) -> Node | None:
        """The node that writes ``tensor``; None for the input."""
        return next((node for node in self.nodes if tensor in node.outputs), None)

    def consumers(self, tensor: str) -> Sequence[Node]:
        """The nodes that read ``tensor``."""
        return [node for node in self.nodes if tensor in node.inputs]

    def inferred(self, node: Node) -> tuple[tuple[Tensor, ...], Tensor]:
        """What ``node`` reads and what it writes."""
        return tuple(self.tensors[name] for name in node.inputs), self.tensors[node.output]
