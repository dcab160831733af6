"""Checking an export: qonnx's own executor computes what torch computes, decision by decision."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hwbnn_train.parallel import on_cpu
from hwbnn_train.quantizers import Quantizer
from hwbnn_train.settle import Sums, activations, decisions

__all__ = ["Comparison", "compare", "execute"]


class Comparison(NamedTuple):
    """What :func:`compare` found.

    Parameters
    ----------
    difference : :class:`float`
        The largest one between logits, from equal activations.
    images : :class:`int`
        On how many images float rounding decided differently on an activation.
    """

    difference: float
    images: int


def execute(proto: onnx.ModelProto, x: NDArray) -> NDArray[np.float32]:
    """Return the logits that qonnx's executor gives for the images ``x`` (N x ...), all in one batch."""
    return _tensors(proto, x)["logits"]


def compare(model: nn.Sequential, proto: onnx.ModelProto, x: NDArray, *, tolerance: float = 1e-5) -> Comparison:
    """Hold qonnx's executor to torch on ``x``: each quantized activation, and the logits.

    Activations must be the same, and the logits within rounding. But two programs may round differently, and where a
    decision point lies as near to an integer as that (:func:`hwbnn_train.settle.settle` counts the channels in which
    it could not be helped), the image that reaches this integer may be decided either way. So an activation may
    differ where what both programs cut is that near to all decision points between the two results. Torch goes on
    from the executor's activation then, so that every layer is compared on equal inputs.

    Parameters
    ----------
    model : Sequential
        What was exported; is put into evaluation mode.
    proto : ModelProto
        The export.
    x : array
        Images, N x ...
    tolerance : :class:`float`
        Of the logits, absolute and relative to their size, and of activations, relative to their step.

    Raises
    ------
    RuntimeError
        If anything else differs, or the class: a defect of the exporter, or float rounding that decides at a point
        that :func:`~hwbnn_train.settle.settle` can clear and nobody had it cleared.
    """
    model.eval()
    tensors = _tensors(proto, x)
    differing = np.zeros(len(x), bool)
    with torch.no_grad(), on_cpu(model), _following(model, _activations(proto, tensors), differing, tolerance):
        expected = model(torch.as_tensor(np.asarray(x, np.float32))).numpy()
    got = tensors["logits"]
    difference = np.abs(got - expected)
    if not np.all(difference <= tolerance * (1 + np.abs(expected))) \
            or np.any(got.argmax(axis=1) != expected.argmax(axis=1)):
        image = int(difference.max(axis=1).argmax())
        raise RuntimeError(f"Exported model must give torch's logits, and on image {image} they differ by "
                           f"{difference.max()}")
    return Comparison(float(difference.max()), int(differing.sum()))


def _tensors(proto: onnx.ModelProto, x: NDArray) -> dict[str, NDArray]:
    """Return every tensor of the graph, by name."""
    from qonnx.core.modelwrapper import ModelWrapper  # lazy: slow to import, and only needed to check
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.change_batchsize import ChangeBatchSize
    from qonnx.transformation.infer_shapes import InferShapes

    model = ModelWrapper(proto, make_deepcopy=True).transform(ChangeBatchSize(len(x))).transform(InferShapes())
    model.check_all_tensor_shapes_specified(fix_missing_init_shape=True)
    return execute_onnx(model, {"images": np.asarray(x, np.float32)}, return_full_exec_context=True)


def _activations(proto: onnx.ModelProto, tensors: dict[str, NDArray]) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield name, input and output of each quantizer that reads no constant."""
    constants = {tensor.name for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type in ("BipolarQuant", "Quant", "MultiThreshold") and node.input[0] not in constants:
            yield node.name, torch.tensor(tensors[node.input[0]]), torch.tensor(tensors[node.output[0]])


@contextmanager
def _following(model: nn.Sequential, exported: Iterator[tuple[str, Tensor, Tensor]], differing: NDArray[np.bool_],
               tolerance: float) -> Iterator[None]:
    """Within the block ``model``'s quantizers of activations are held to ``exported``, and give it."""
    called = iter(list(activations(model)))

    def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        quantizer, sums = next(called)
        return _followed(quantizer, sums, inputs[0], output, *next(exported), differing, tolerance)

    handles = [quantizer.register_forward_hook(hook) for quantizer in {found for found, _ in activations(model)}]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _followed(quantizer: Quantizer, sums: Sums | None, x: Tensor, output: Tensor, name: str, other_x: Tensor,
              other: Tensor, differing: NDArray[np.bool_], tolerance: float) -> Tensor:
    """Return torch's ``output``, or the ``other`` one where that is as good; note on which images it is."""
    grid = quantizer.grid(torch.zeros(()))
    assert grid.levels is not None  # what has none is not exported
    low, step = grid.levels.low, grid.levels.step
    ours, theirs = ((values.double() / grid.scale - low) / step for values in (output, other))
    if bool(((theirs - theirs.round()).abs() > tolerance * (1 + theirs.abs())).any()) \
            or not 0 <= theirs.min().round() <= theirs.max().round() < len(grid.levels):
        raise RuntimeError(f"Exported model must give the levels of torch's quantizer at {name}, and does not")
    ours, theirs = ours.round().long(), theirs.round().long()
    where = (ours != theirs).nonzero(as_tuple=True)
    if not len(where[0]):
        return output
    cuts = decisions(quantizer)
    allowed = torch.zeros(1, len(cuts)) if sums is None else sums.rounding(cuts)
    # flattened or not, what belongs to one channel of an image lies together
    channel = torch.arange(len(allowed)).repeat_interleave(x[0].numel() // len(allowed)).reshape(x.shape[1:])[where[1:]]
    for cut in (torch.minimum(ours, theirs)[where], torch.maximum(ours, theirs)[where] - 1):
        near = allowed[channel, cut]
        far = ((x[where] - cuts[cut]).abs() > near) | ((other_x[where] - cuts[cut]).abs() > near)
        if bool(far.any()):
            raise RuntimeError(f"Exported model must give torch's activations, and on image {int(where[0][far][0])} it "
                               f"does not at {name}, though no decision point is near")
    differing[where[0].numpy()] = True
    return torch.where(ours == theirs, output, other)
