"""From logits to a class in integers: the hardware's argmax decides exactly as the graph's floats would.

A graph ends in floats, for instance a batch norm with its own gain and bias per class. Comparing two of them is
a comparison of two integers' images, so there are integers m, o per class with ``m·acc + o`` in the same
order. They are found by search, from the fewest bits up, and checked on every pair of classes and every pair
of values, ties included (the lower class wins), where the graph's values are tabulated.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hwbnn import ir
from hwbnn.errors import UserError

__all__ = ["MAX_BITS", "classifier"]

MAX_BITS = 40  # fractional bits tried; doubles hold gains and biases to 52
_PAIR_LIMIT = 2**26  # comparisons spent on one check


def classifier(net: ir.Network) -> ir.Network:
    """Return ``net`` with its first output replaced by the class number, decided in integers.

    The new last nodes are :class:`ir.Affine` ``rank`` (left out where it would change nothing) and
    :class:`ir.TopK` ``class``. A network that already ends in class numbers is returned as it is.
    ``metadata["classifier"]`` tells the fractional bits and how many pairs of logits the integers order
    otherwise than the graph's rounded floats; it is 0 unless two logits differ by less than float32 resolves.

    Raises
    ------
    UserError
        Where the output is no vector of at least two logits, or a logit is not an affine function of its integer.
    """
    output = net.outputs[0]
    tensor = net.tensors[output.tensor]
    if isinstance(net.producer(output.tensor), ir.TopK):
        return net
    if tensor.pixels != 1 or tensor.channels < 2:
        raise UserError(f"Class output must come from a vector of at least 2 logits, not from shape {tensor.shape}; "
                        "compile with --output logits")
    gain, bias = _line(net, output, tensor)
    multipliers, offsets, bits, wrong = _integers(output, tensor, gain, bias)

    nodes, last = list(net.nodes), output.tensor
    if np.any(multipliers != 1) or np.any(offsets):
        nodes.append(ir.Affine("rank", (last,), ("rank",), multipliers, offsets))
        last = "rank"
    nodes.append(ir.TopK("class", (last,), ("class",)))
    metadata = {**net.metadata, "classifier": {"bits": bits, "pairs_ordered_otherwise": wrong}}
    return replace(net, nodes=tuple(nodes), outputs=(ir.Output("class", "class", (1,)),), metadata=metadata)


def _line(net: ir.Network, output: ir.Output, tensor: ir.Tensor) -> tuple[NDArray, NDArray]:
    """Gain and bias of each class, in float64."""
    ones = np.ones(tensor.channels)
    if output.values is None:
        if output.scale is None or output.bias is None:
            return ones, 0 * ones
        return output.scale * ones, output.bias * ones
    values = np.broadcast_to(output.values.astype(np.float64), (tensor.channels, len(tensor.levels)))
    if len(tensor.levels) == 1:
        return 0 * ones, values[:, 0].copy()
    gain = (values[:, -1] - values[:, 0]) / (tensor.levels.high - tensor.levels.low)
    bias = values[:, 0] - gain * tensor.levels.low
    line = gain[:, None] * tensor.levels.values() + bias[:, None]
    error = np.abs(line - values).max(axis=1)
    if np.any(error > 1e-5 * np.maximum(np.abs(values).max(axis=1), 1e-30)):
        raise UserError(f"Logits of {net.name} must be an affine function of their integers to be compared in "
                        f"hardware, and class {int(error.argmax())} is not; compile with --output logits")
    return gain, bias


def _integers(output: ir.Output, tensor: ir.Tensor, gain: NDArray, bias: NDArray):
    """Multipliers, offsets, fractional bits, and pairs ordered otherwise than the graph's values."""
    unit = np.abs(gain).max() or max(np.abs(bias).max(), 1.0)
    gain, bias = gain / unit, (bias - bias.mean()) / unit
    table = None if output.values is None else np.broadcast_to(output.values,
                                                              (tensor.channels, len(tensor.levels)))
    cost = tensor.channels**2 * len(tensor.levels)
    room = 61 - max(abs(tensor.levels.low), abs(tensor.levels.high)).bit_length()
    spread = max(1.0, float(np.abs(bias).max()))
    most = min(MAX_BITS, room - int(np.ceil(np.log2(spread))))
    if table is not None and cost <= _PAIR_LIMIT:
        wrong = 0
        for bits in range(most + 1):
            m, o = _rounded(gain, bias, bits)
            wrong = _disagreements(table, m[:, None] * tensor.levels.values() + o[:, None])
            if wrong == 0:
                return m, o, bits, 0
        return *_rounded(gain, bias, most), most, wrong
    if table is None and np.ptp(gain) == 0 and np.ptp(bias) == 0 and gain[0] > 0:
        return *_rounded(gain, bias, 0), 0, 0
    return *_rounded(gain, bias, min(most, 24)), min(most, 24), 0


def _rounded(gain: NDArray, bias: NDArray, bits: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.rint(gain * 2.0**bits).astype(np.int64), np.rint(bias * 2.0**bits).astype(np.int64)


def _disagreements(values: NDArray, ranks: NDArray[np.int64]) -> int:
    """Pairs (class c, value) and (class d > c, value) that the two tables order differently.

    Class c wins where its value is not smaller. Each row is monotone, so the number of d's values that c
    beats tells which they are.
    """
    # a falling or constant row is sorted; the tables then list the same values in the same order
    values, ranks = (np.sort(table, axis=1) for table in (values, ranks))
    wrong = 0
    for c in range(len(values)):
        for d in range(c + 1, len(values)):
            beaten = np.searchsorted(values[d], values[c], side="right")
            wrong += int(np.abs(beaten - np.searchsorted(ranks[d], ranks[c], side="right")).sum())
    return wrong
