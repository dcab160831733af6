"""An ONNX file, read and checked: nodes in order, constants, datatype annotations."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import numpy_helper
from qonnx.core.datatype import BaseDataType, DataType

from hwbnn.errors import UserError

__all__ = ["OLDEST_OPSET", "Graph", "read"]

OLDEST_OPSET = 9
_QUANTIZERS = {"Quant", "IntQuant", "BipolarQuant", "Trunc", "MultiThreshold"}
_STANDARD = ("", "ai.onnx")


@dataclass(frozen=True)
class Graph:
    """What the importer needs of a model.

    Parameters
    ----------
    name : :class:`str`
        Name of the graph, else of the file.
    nodes : sequence of ``NodeProto``
        In topological order; every node has a unique name.
    constants : mapping
        Initializers by name.
    inputs : mapping
        Graph inputs that are not initializers: name to (element type, shape); None where a size is symbolic.
    outputs : sequence of :class:`str`
        Names of the graph's outputs, in order.
    datatypes : mapping
        FINN datatype annotations by tensor name.
    opsets : mapping
        Version by domain.
    """

    name: str
    nodes: Sequence[onnx.NodeProto]
    constants: Mapping[str, NDArray]
    inputs: Mapping[str, tuple[int, tuple[int | None, ...] | None]]
    outputs: Sequence[str]
    datatypes: Mapping[str, BaseDataType]
    opsets: Mapping[str, int]


def read(path: str | os.PathLike) -> Graph:
    """Read the model at ``path``. Raises :class:`UserError` where it is not a model that can be used."""
    model = _load(Path(path))
    graph = model.graph
    opsets = {entry.domain if entry.domain not in _STANDARD else "": entry.version for entry in model.opset_import}
    newest = onnx.defs.onnx_opset_version()
    opset = opsets.get("", newest)
    if not OLDEST_OPSET <= opset <= newest:
        raise UserError(f"Model {path} must use ONNX opset {OLDEST_OPSET} to {newest}, not {opset}; convert it with "
                        f"onnx.version_converter or export it again")
    try:
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    except (ValueError, TypeError) as error:
        raise UserError(f"Model {path} must hold whole tensors, and one is damaged ({error}); export it again"
                        ) from None
    inputs = {value.name: _type(value) for value in graph.input if value.name not in constants}
    return Graph(
        name=graph.name or Path(path).stem,
        nodes=_ordered(_named(graph.node), {*constants, *inputs}, path),
        constants=constants,
        inputs=inputs,
        outputs=[value.name for value in graph.output],
        datatypes=_datatypes(graph, path),
        opsets={"": opset, **opsets},
    )


def _load(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path)
    except FileNotFoundError as error:
        if not path.exists():
            raise UserError(f"Model file must exist, and {path} does not") from None
        raise UserError(_external(path, error)) from None
    except onnx.checker.ValidationError as error:
        raise UserError(_external(path, error)) from None
    except DecodeError:
        raise UserError(f"Model file must be ONNX, and {path} is not or is truncated; export it again") from None
    except OSError as error:
        raise UserError(f"Model file {path} must be readable, and it is not ({error.strerror})") from None
    if not model.ir_version or not model.graph.node or not model.graph.output:
        raise UserError(f"Model file must be ONNX, and {path} is not or is truncated; export it again")
    return model


def _external(path: Path, error: Exception) -> str:
    reason = " ".join(str(error).split())
    return (f"Model {path} must come with its external data, and a file is missing ({reason}); put it beside the "
            f"model or save the model as one file")


def _type(value: onnx.ValueInfoProto) -> tuple[int, tuple[int | None, ...] | None]:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return tensor.elem_type, None
    return tensor.elem_type, tuple(d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None
                                   for d in tensor.shape.dim)


def _named(nodes) -> list[onnx.NodeProto]:
    """Give quantizers the domain whose meaning qonnx defines, and every node a unique name."""
    taken: set[str] = set()
    named = []
    for number, original in enumerate(nodes):
        node = onnx.NodeProto()
        node.CopyFrom(original)
        if node.op_type in _QUANTIZERS:
            node.domain = "qonnx.custom_op.general"
        elif node.domain in _STANDARD:
            node.domain = ""
        name = node.name or f"{node.op_type}_{number}"
        while name in taken:
            name = f"{name}_{number}"
        node.name = name
        taken.add(name)
        named.append(node)
    return named


def _ordered(nodes: Sequence[onnx.NodeProto], ready: set[str], path) -> list[onnx.NodeProto]:
    """Sort nodes so that inputs come first, keeping the file's order where it allows."""
    waiting, order = list(nodes), []
    ready = set(ready)
    while waiting:
        later = []
        for node in waiting:
            if all(name in ready or not name for name in node.input):
                order.append(node)
                ready.update(node.output)
            else:
                later.append(node)
        if len(later) == len(waiting):
            node = later[0]
            missing = next(name for name in node.input if name and name not in ready)
            raise UserError(f"Node {node.name} ({node.op_type}) of {path} must read tensors that are made, and "
                            f"nothing makes {missing}; export the model again")
        waiting = later
    return order


def _datatypes(graph: onnx.GraphProto, path) -> dict[str, BaseDataType]:
    found = {}
    for annotation in graph.quantization_annotation:
        for entry in annotation.quant_parameter_tensor_names:
            if entry.key == "finn_datatype":
                try:
                    found[annotation.tensor_name] = DataType[entry.value]
                except (KeyError, ValueError):
                    raise UserError(f"Datatype of tensor {annotation.tensor_name} of {path} must be one that qonnx "
                                    f"knows, not {entry.value}") from None
    return found
