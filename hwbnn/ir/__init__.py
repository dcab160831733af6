"""The integer network: levels, nodes, network, and its file format."""

from hwbnn.ir.levels import BINARY, BIPOLAR, TERNARY, Levels
from hwbnn.ir.network import Input, Network, Output
from hwbnn.ir.nodes import (
    OPERATIONS,
    Add,
    Affine,
    Concat,
    Conv,
    DepthToSpace,
    MatMul,
    MaxPool,
    Node,
    Pad,
    Reshape,
    Slice,
    SumPool,
    Tensor,
    Threshold,
    TopK,
    Transpose,
    Upsample,
)
from hwbnn.ir.storage import VERSION, digest, load, save

__all__ = [
    "BINARY", "BIPOLAR", "OPERATIONS", "TERNARY", "VERSION",
    "Add", "Affine", "Concat", "Conv", "DepthToSpace", "Input", "Levels", "MatMul", "MaxPool", "Network",
    "Node", "Output", "Pad", "Reshape", "Slice", "SumPool", "Tensor", "Threshold", "TopK", "Transpose",
    "Upsample", "digest", "load", "save",
]
