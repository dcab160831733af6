"""The walk over a graph that turns it into integers, node by node."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from hwbnn import ir
from hwbnn.errors import UserError
from hwbnn.frontend.execution import Executor
from hwbnn.frontend.graph import Graph
from hwbnn.frontend.problems import refuse
from hwbnn.frontend.stepping import Floats, Integers
from hwbnn.frontend.values import Constant, Live, Operand, Spread, Unusable

__all__ = ["HANDLERS", "InputForm", "Value", "Walk", "attributes", "handles"]

Value = Constant | Live | Unusable | None
Handler = Callable[["Walk", onnx.NodeProto, Sequence[Value]], Sequence[Value]]
HANDLERS: dict[str, Handler] = {}


def handles(*operations: str):
    """Register a function that lowers nodes of these operations with at least one live input."""
    def register(function: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(operations, function))
        return function
    return register


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The node's attributes as Python values, strings decoded."""
    values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


@dataclass(frozen=True)
class InputForm:
    """How the graph's input is laid out in the network; see :class:`hwbnn.ir.Input`."""

    name: str
    graph_shape: tuple[int, ...]
    shape: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def float_root(self) -> str:
        """Name that stands for the input's floats, in front of the first quantizer."""
        return f"{self.name} as floats"


class Walk:
    """What is known while a graph is imported: its tensors so far, and the integer network that is growing.

    Parameters
    ----------
    graph : :class:`~hwbnn.frontend.graph.Graph`
        The model.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self.execute = Executor(graph.opsets)
        self.values: dict[str, Value] = {"": None}
        self.nodes: list[ir.Node] = []
        self.tensors: dict[str, ir.Tensor] = {}
        self.form: InputForm | None = None       # how the graph's input is laid out
        self.input: ir.Input | None = None       # known once the input is integers
        self.folded: dict[str, list[str]] = {}   # node of the network: the graph's nodes that it stands for
        self.quantizers: dict[str, Live] = {}    # quantizer nodes of the graph and what they give
        self.notes: dict[str, Any] = {}          # goes to the network's metadata

    # -- the network that is growing ------------------------------------------------------------------------

    def fresh_node(self, name: str) -> str:
        """Return ``name``, numbered if a node of the network has it already."""
        return _fresh(name, {node.name for node in self.nodes})

    def fresh_tensor(self, name: str) -> str:
        """Return ``name``, numbered if a tensor of the network has it already."""
        return _fresh(name, self.tensors)

    def emit(self, node: ir.Node, covers: Sequence[str] = ()) -> str:
        """Append a node to the network; return the tensor that it writes."""
        try:
            tensor = node.infer(*(self.tensors[name] for name in node.inputs))
        except ValueError as error:
            if "63 bits" not in str(error):
                raise
            shapes = ", ".join("x".join(map(str, self.tensors[name].shape)) for name in node.inputs)
            raise UserError(f"Node {node.name} ({node.op} of {shapes}) must keep its sums within 63 bits, and they "
                            f"could exceed them; give weights or activations fewer bits") from None
        self.nodes.append(node)
        self.tensors[node.output] = tensor
        self.folded.setdefault(node.name, []).extend(covers)
        return node.output

    def constant(self, array: NDArray) -> Constant:
        """A constant of the graph."""
        return Constant(np.asarray(array))

    def channels(self, root: str) -> int:
        """Number of channels of a tensor of the network, or of the graph's float input."""
        if root in self.tensors:
            return self.tensors[root].channels
        assert self.form is not None
        return self.form.shape[-1]

    def domain(self, root: str) -> Integers | Floats:
        """What the elements of a root may be."""
        return Integers(self.tensors[root].levels) if root in self.tensors else Floats()

    def is_float(self, live: Live) -> bool:
        """Whether ``live`` is the graph's own float input, not yet quantized."""
        return live.root not in self.tensors

    # -- constants beside live values -----------------------------------------------------------------------

    def operand(self, node: onnx.NodeProto, inputs, live: Live, array: NDArray) -> Operand:
        """Arrange a constant that is broadcast with ``live`` by the channels of the integers."""
        if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
            refuse(node, inputs, "must have finite constants, and one is NaN or infinite",
                   "train the model again or mend the constant")
        if array.size == 1:
            return Operand(array.reshape(1, 1))
        try:
            full = np.broadcast_to(array, live.shape)
        except ValueError:
            refuse(node, inputs, f"must keep the shape {live.shape}, and its constant of shape {array.shape} widens it",
                   "give the constant one value per channel")
        return Operand(self._by_channel(node, inputs, live, full)[None, :])

    def _by_channel(self, node, inputs, live: Live, full: NDArray) -> NDArray:
        channel = live.index % self.channels(live.root)
        vector = np.empty(self.channels(live.root), full.dtype)
        vector[:] = full.flat[0]
        vector[channel.ravel()] = full.ravel()
        if np.any(vector[channel] != full):
            refuse(node, inputs, "must treat all positions of a channel alike, and its constant differs between them",
                   "give the constant one value per channel")
        return vector

    def axis_operand(self, node, inputs, live: Live, array: NDArray, axis: int, spread: Spread) -> Operand:
        """Arrange rows of parameters, one row per index along ``axis`` of ``live``, by channels."""
        if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
            refuse(node, inputs, "must have finite constants, and one is NaN or infinite",
                   "train the model again or mend the constant")
        shape = [1] * len(live.shape)
        shape[axis] = live.shape[axis]
        if len(array) == 1 and spread is Spread.ROWS:
            return Operand(array, spread)
        if len(array) != live.shape[axis]:
            refuse(node, inputs, f"must have parameters for {live.shape[axis]} channels, and they are for {len(array)}",
                   "export the model again")
        rows = np.broadcast_to(np.arange(live.shape[axis]).reshape(shape), live.shape)
        return Operand(array[self._by_channel(node, inputs, live, rows)], spread)

    # -- the graph's input ----------------------------------------------------------------------------------

    def quantize_input(self, node: onnx.NodeProto, inputs, levels: ir.Levels, boundaries: NDArray[np.float32],
                       covers: Sequence[str]) -> str:
        """Let the network begin at the levels of the first quantizer; return the input tensor."""
        boundaries = boundaries[0] if len(boundaries) == 1 else boundaries
        assert self.form is not None
        wanted = ir.Input(self.form.name, self.form.graph_shape, self.form.shape, levels, boundaries, self.form.axes)
        if self.input is None:
            self.input = wanted
            self.tensors[self.form.name] = ir.Tensor(self.form.shape, levels)
            self.folded.setdefault(self.form.name, []).extend(covers)
        elif self.input != wanted:
            refuse(node, inputs, "must be the only quantizer that reads the graph's input, and there is another",
                   "quantize the input once and use the result twice")
        return self.form.name


def _fresh(name: str, taken) -> str:
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate
