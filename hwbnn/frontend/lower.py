"""From a file to the integer network."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from hwbnn import ir
from hwbnn.errors import UserError
from hwbnn.frontend import (  # noqa: F401  (they register what they lower)
    elementwise,
    endings,
    joins,
    layout,
    linear,
    quantizers,
    windows,
)
from hwbnn.frontend.execution import ExecutionError
from hwbnn.frontend.graph import Graph, read
from hwbnn.frontend.passes import tidy
from hwbnn.frontend.problems import refuse
from hwbnn.frontend.results import outputs
from hwbnn.frontend.values import Cast, Chain, Constant, Live, Scale, Unusable
from hwbnn.frontend.walk import HANDLERS, InputForm, Value, Walk, attributes

__all__ = ["Import", "import_onnx", "load_onnx"]

_FLATTENING = ("Flatten", "Reshape", "Gemm")
_CHANNELS_FIRST = ("Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "DepthToSpace", "Resize", "Upsample", "Pad",
                   "ReduceMean", "ReduceSum", "Concat", "Split")
_AFTER_FINAL = ("ArgMax", "TopK", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Cast")
_FOLDED = ("Quant", "IntQuant", "BipolarQuant")


@dataclass(frozen=True)
class Import:
    """A network and how it follows from the graph.

    Parameters
    ----------
    network : :class:`hwbnn.ir.Network`
        The integer network.
    quantizers : mapping
        Name of a quantizer's output in the graph to the integers that it became, where they are still a tensor of the
        network: levels that the next layer only renames are gone.
    """

    network: ir.Network
    quantizers: dict[str, Live]


def load_onnx(path: str | os.PathLike) -> ir.Network:
    """Import the ONNX (QONNX) model at ``path`` as an integer network.

    Raises
    ------
    UserError
        Where the file cannot be read or a node cannot be lowered exactly; the message names the node, the shapes that
        it reads, and what would make it importable.
    """
    return import_onnx(path).network


def import_onnx(path: str | os.PathLike) -> Import:
    """Import the model at ``path``; return also where each of its quantizers went."""
    graph = read(path)
    walk = Walk(graph)
    walk.values |= {name: Constant(array) for name, array in graph.constants.items()}
    _begin(walk)
    last = {name: node.name for node in graph.nodes for name in node.input if name and name not in graph.outputs}
    for node in graph.nodes:
        inputs = [walk.values[name] for name in node.input]
        results = _lower(walk, node, inputs)
        walk.values.update(zip(node.output, results, strict=False))
        for name in {name for name in node.input if last.get(name) == node.name}:
            del walk.values[name]  # large weights and maps are not kept
    network = tidy(outputs(walk))
    network = replace(network, metadata={**network.metadata, "folded": _folded(walk, network)})
    kept = {name: live for name, live in walk.quantizers.items() if live.root in network.tensors
            and network.tensors[live.root].levels == walk.tensors[live.root].levels}
    return Import(network, kept)


def _folded(walk: Walk, network: ir.Network) -> dict[str, list[str]]:
    """What each node of the finished network, and its input, stands for in the graph."""
    makers = {node.output: node for node in walk.nodes}
    readers = {name: node for node in walk.nodes for name in node.inputs}
    made = {node.name for node in network.nodes} | {network.input.name}
    folded = {name: [] for name in (network.input.name, *(node.name for node in network.nodes))}
    for node in walk.nodes:
        home = node
        while home is not None and home.name not in made:  # a pass moved it into a neighbour
            home = makers.get(home.input) if isinstance(home, ir.Affine | ir.MatMul) else readers.get(home.output)
        name = network.input.name if home is None else home.name
        folded[name] += [cover for cover in walk.folded[node.name] if cover not in folded[name]]
    first = folded[network.input.name]
    first += [cover for cover in walk.folded.get(network.input.name, []) if cover not in first]
    return {name: covers for name, covers in folded.items() if covers}


def _lower(walk: Walk, node: onnx.NodeProto, inputs: list[Value]) -> list[Value]:
    for value in inputs:
        if isinstance(value, Unusable):
            refuse(node, [v for v in inputs if v is not value], f"must not read {value.what}", "remove the node")
    if not any(isinstance(value, Live) for value in inputs):
        return _constant(walk, node, inputs)
    for value in inputs:
        if isinstance(value, Live) and value.final and node.op_type not in _AFTER_FINAL:
            refuse(node, inputs, f"must not compute with the result of {value.final}",
                   "end the graph there and compute the rest outside")
    if node.op_type not in HANDLERS or (node.domain and not node.domain.startswith(("qonnx.", "onnx.brevitas"))):
        domain = f"{node.domain}." if node.domain else ""
        refuse(node, inputs, f"must be an operation that can be lowered, and {domain}{node.op_type} cannot",
               "rewrite it with the operations that docs/import.md lists")
    _check(walk, node, inputs)
    try:
        return list(HANDLERS[node.op_type](walk, node, inputs))
    except ExecutionError as error:
        refuse(node, inputs, f"must be evaluated, and it fails ({error})", "export it again")


def _constant(walk: Walk, node: onnx.NodeProto, inputs: list[Value]) -> list[Value]:
    _check(walk, node, inputs)
    try:
        covers = tuple(dict.fromkeys([name for value in inputs if isinstance(value, Constant) for name in value.covers]
                                     + [node.name]))
        if node.op_type in _FOLDED:
            return [replace(quantizers.fold(walk, node, inputs), covers=covers)]
        arrays = walk.execute(node, [value.value if isinstance(value, Constant) else None for value in inputs])
    except ExecutionError as error:
        refuse(node, inputs, f"must be evaluated, and it fails ({error})", "export it again")
    return [Constant(array, covers=covers) for array in arrays]


def _check(walk: Walk, node: onnx.NodeProto, inputs: list[Value]) -> None:
    """Hold a node of ONNX's own to its definition: number of inputs, attributes and their types."""
    if node.domain:
        return
    context = onnx.checker.C.CheckerContext()
    context.ir_version, context.opset_imports = onnx.IR_VERSION, {"": walk.graph.opsets[""]}
    try:
        onnx.checker.check_node(node, context)
    except onnx.checker.ValidationError as error:
        reason = " ".join(str(error).split("==> Context")[0].split())
        refuse(node, inputs, f"must be what ONNX opset {walk.graph.opsets['']} defines, and it is not ({reason})",
               "export it again")


def _begin(walk: Walk) -> None:
    graph = walk.graph
    if len(graph.inputs) != 1:
        names = ", ".join(graph.inputs) or "none"
        raise UserError(f"Model {graph.name} must have exactly one input, not {len(graph.inputs)} ({names}); "
                        f"make the others constants")
    ((name, (kind, shape)),) = graph.inputs.items()
    if shape is None or len(shape) < 2:
        raise UserError(f"Input {name} must have a shape with a batch axis first, not {shape}; export it with one")
    if any(size is None for size in shape[1:]) or shape[0] not in (None, 1):
        sizes = " x ".join("?" if size is None else str(size) for size in shape)
        raise UserError(f"Input {name} must have fixed sizes behind a batch axis of 1 or unknown, not {sizes}; "
                        f"export the model with these sizes")
    sizes = tuple(int(size) for size in shape[1:] if size is not None)
    walk.form = form = _form(graph, name, sizes)
    permuted = np.arange(np.prod(sizes), dtype=np.int64).reshape([sizes[axis] for axis in form.axes])
    index = permuted.transpose(np.argsort(form.axes))[None]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    levels = _levels(graph, name, dtype)
    if levels is None:
        first = () if dtype == np.float32 else (Cast(name, np.dtype(dtype)),)
        walk.values[name] = Live(name, form.float_root, index, Chain(first))
        return
    walk.input = ir.Input(name, sizes, form.shape, levels, None, form.axes)
    walk.tensors[name] = ir.Tensor(form.shape, levels)
    first = Scale(name, np.ones(1)) if dtype == np.float32 else Cast(name, np.dtype(dtype))
    walk.values[name] = Live(name, name, index, Chain((first,)))


def _levels(graph: Graph, name: str, dtype) -> ir.Levels | None:
    """The integers that the input takes, where the graph says that it takes integers."""
    annotation = graph.datatypes.get(name)
    if annotation is not None and annotation.is_integer():
        return ir.Levels(int(annotation.min()), int(annotation.max()), 2 if annotation.name == "BIPOLAR" else 1)
    if np.dtype(dtype).kind in "iu" and np.dtype(dtype).itemsize <= 2:
        return ir.Levels(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    if np.dtype(dtype).kind not in "f":
        raise UserError(f"Input {name} must hold floats or integers of 8 or 16 bits, not {np.dtype(dtype).name}; "
                        f"cast it inside of the graph")
    return None


def _form(graph: Graph, name: str, sizes: tuple[int, ...]) -> InputForm:
    """Lay the input out as its first layer reads it: a feature map with channels last, or a vector."""
    rank, tensor = len(sizes), name
    perm = list(range(rank + 1))  # axis of the input that each axis of ``tensor`` is
    while True:
        node = next((n for n in graph.nodes if tensor in n.input and n.op_type != "Shape"), None)
        if node is None or node.op_type in _FLATTENING:
            break
        if node.op_type == "Transpose":
            order = attributes(node).get("perm", list(range(rank, -1, -1)))
            perm = [perm[axis] for axis in order]
        elif node.op_type in _CHANNELS_FIRST and rank > 1:
            return _map_form(name, sizes, [*perm[2:], perm[1]])
        elif node.op_type == "MatMul" and rank > 1:
            return _map_form(name, sizes, perm[1:])
        tensor = node.output[0]
    return InputForm(name, sizes, (int(np.prod(sizes)),), tuple(range(rank)))


def _map_form(name: str, sizes: tuple[int, ...], order: Sequence[int]) -> InputForm:
    axes = tuple(axis - 1 for axis in order)  # without batch
    if len(sizes) > 3 or min(axes) < 0:
        raise UserError(f"Input {name} must have two or three axes behind the batch, not {len(sizes)}; reshape it "
                        f"outside of the graph")
    shape = tuple(sizes[axis] for axis in axes)
    return InputForm(name, sizes, shape if len(shape) == 3 else (shape[0], 1, shape[1]), axes)
