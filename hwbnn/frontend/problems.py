"""Errors of the import, in one form: the node, the shapes it reads, what it must be, what would mend it."""

from typing import NoReturn

import onnx

from hwbnn.errors import UserError
from hwbnn.frontend.values import Constant, Live

__all__ = ["describe", "refuse"]


def describe(node: onnx.NodeProto, inputs) -> str:
    """The node's name, operation and the shapes of its inputs."""
    shapes = ", ".join(_shape(value) for value in inputs if value is not None)
    return f"Node {node.name} ({node.op_type} of {shapes})" if shapes else f"Node {node.name} ({node.op_type})"


def refuse(node: onnx.NodeProto, inputs, problem: str, mend: str) -> NoReturn:
    """Raise the :class:`UserError` "<node> <problem>; <mend>"."""
    raise UserError(f"{describe(node, inputs)} {problem}; {mend}") from None


def _shape(value: Constant | Live) -> str:
    shape = value.value.shape if isinstance(value, Constant) else value.shape
    return "x".join(map(str, shape)) or "scalar"
