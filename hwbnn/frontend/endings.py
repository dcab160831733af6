"""What stands at the end of a classifier: Softmax, ArgMax, TopK."""

from dataclasses import replace

import numpy as np
import onnx

from hwbnn import ir
from hwbnn.classify import classifier
from hwbnn.errors import UserError
from hwbnn.frontend.layout import as_map, as_vector
from hwbnn.frontend.problems import refuse
from hwbnn.frontend.results import output_of
from hwbnn.frontend.thresholds import settle
from hwbnn.frontend.values import Cast, Chain, Live, Scale, Unusable
from hwbnn.frontend.walk import Value, Walk, attributes, handles

__all__ = []


@handles("Softmax", "LogSoftmax")
def _softmax(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    """Keep a trailing softmax as a note: the order of the classes is that of the logits."""
    walk.notes[node.op_type.lower()] = {"node": node.name, "axis": attributes(node).get("axis", -1)}
    return [replace(inputs[0], name=node.output[0], final=node.name)]


@handles("ArgMax", "TopK")
def _top(walk: Walk, node: onnx.NodeProto, inputs) -> list[Value]:
    """Decide between channels in integers: as they are where one scale serves all, else by a rank."""
    live, attrs = settle(walk, node, inputs, inputs[0]), attributes(node)
    rank = len(live.shape)
    axis = attrs.get("axis", 0 if node.op_type == "ArgMax" else -1) % rank
    count = 1
    if node.op_type == "TopK":
        k = inputs[1].value if len(inputs) > 1 else np.array(attrs["k"])
        count = int(np.asarray(k).reshape(()))
    if attrs.get("select_last_index", 0) or not attrs.get("largest", 1):
        refuse(node, inputs, "must choose the greatest value, the first among equals",
               "use largest = 1 and select_last_index = 0")
    if walk.is_float(live):
        refuse(node, inputs, "must read quantized values, and it reads the graph's float input", "quantize the input")
    live = as_vector(walk, node, inputs, live) if rank == 2 else as_map(walk, node, inputs, live)
    channels = walk.tensors[live.root].channels
    order = np.moveaxis(live.index, axis, -1).reshape(-1, live.shape[axis])
    if axis == 0 or np.any(order % channels != np.arange(channels)):
        refuse(node, inputs, "must choose among all channels in order, and it does not", "reduce the channel axis")
    live = _comparable(walk, node, inputs, live)
    root = walk.emit(ir.TopK(walk.fresh_node(node.name), (live.root,), (walk.fresh_tensor(node.output[-1]),), count),
                     [node.name])
    pixels = order[:, :1] // channels * count + np.arange(count)
    shape = tuple(n for k, n in enumerate(live.shape) if k != axis)
    index = np.moveaxis(pixels.reshape(*shape, count), -1, axis)
    if node.op_type == "ArgMax" and not attrs.get("keepdims", 1):
        index = index.reshape(shape)
    numbers = Live(node.output[-1], root, index, Chain((Cast(node.name, np.dtype(np.int64)),)), final=node.name)
    return [Unusable(f"the values that {node.name} chose"), numbers][-len(node.output):]


def _comparable(walk: Walk, node, inputs, live: Live) -> Live:
    """``live`` on integers whose order between channels is the order of the graph's values, ties included."""
    steps = live.chain.steps
    if len(steps) == 1 and isinstance(steps[0], Scale) and steps[0].width == 1 and steps[0].scale[0] > 0:
        return live
    tensor = walk.tensors[live.root]
    logits = output_of(walk, node.input[0], live)
    if walk.input is None:
        raise AssertionError("integers come from an input")
    sketch = ir.Network("logits", ir.Input("in", tensor.shape, tensor.shape, tensor.levels), (),
                        (replace(logits, tensor="in"),))
    try:
        ranked = classifier(sketch)
    except UserError as error:
        refuse(node, inputs, f"must choose among values that integers can order ({error})",
               "choose among the logits of one layer")
    if ranked.metadata["classifier"]["pairs_ordered_otherwise"]:
        refuse(node, inputs, "must choose among values that integers can order, and some differ by less than float32 "
               "resolves", "remove the ArgMax and compare the logits outside")
    affine = next((made for made in ranked.nodes if isinstance(made, ir.Affine)), None)
    if affine is None:
        return live
    root = walk.emit(replace(affine, name=walk.fresh_node(f"{node.name}_rank"), inputs=(live.root,),
                             outputs=(walk.fresh_tensor(f"{node.name}_rank"),)))
    return replace(live, root=root)
