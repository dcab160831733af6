"""All operations of integer networks, by name."""

from hwbnn.ir.elementwise import Add, Affine, Threshold, TopK
from hwbnn.ir.matrices import Conv, MatMul
from hwbnn.ir.moves import Concat, DepthToSpace, Pad, Reshape, Slice, Transpose, Upsample
from hwbnn.ir.node import Node
from hwbnn.ir.pools import MaxPool, SumPool

__all__ = ["OPERATIONS"]

OPERATIONS: dict[str, type[Node]] = {
    cls.__name__: cls
    for cls in (Add, Affine, Concat, Conv, DepthToSpace, MatMul, MaxPool, Pad, Reshape, Slice, SumPool,
                Threshold, TopK, Transpose, Upsample)
}
