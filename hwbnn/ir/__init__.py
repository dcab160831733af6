"""The integer network: levels, nodes, network, and its file format."""

from hwbnn.ir.elementwise import Add, Affine, Threshold, TopK
from hwbnn.ir.levels import BINARY, BIPOLAR, TERNARY, Levels
from hwbnn.ir.matrices import Conv, MatMul
from hwbnn.ir.moves import Concat, DepthToSpace, Pad, Reshape, Slice, Transpose, Upsample
from hwbnn.ir.network import Input, Network, Output
from hwbnn.ir.node import Node, Tensor
from hwbnn.ir.nodes import OPERATIONS
from hwbnn.ir.pools import MaxPool, SumPool
from hwbnn.ir.storage import VERSION, digest, load, save

__all__ = [
    "BINARY", "BIPOLAR", "OPERATIONS", "TERNARY", "VERSION",
    "Add", "Affine", "Concat", "Conv", "DepthToSpace", "Input", "Levels", "MatMul", "MaxPool", "Network",
    "Node", "Output", "Pad", "Reshape", "Slice", "SumPool", "Tensor", "Threshold", "TopK", "Transpose",
    "Upsample", "digest", "load", "save",
]
