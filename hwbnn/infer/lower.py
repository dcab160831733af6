"""From an integer network to a packed program: what runs on bits, what on integers, and what as golden does."""

from collections.abc import Callable

import numpy as np

from hwbnn import ir
from hwbnn.infer import steps
from hwbnn.infer.code import Code, Layout
from hwbnn.infer.program import Program
from hwbnn.infer.weights import FAR, Weights
from hwbnn.infer.windows import Window

__all__ = ["lower"]

_FEW_CHANNELS = 48  # below this, level numbers are gathered and packed per window rather than per pixel


def lower(net: ir.Network) -> Program:
    """Return the packed program of ``net``, whose result is the first output's tensor, dense."""
    return _Lowering(net).program()


class _Lowering:
    def __init__(self, net: ir.Network):
        self.net = net
        self.steps: list[steps.Step] = []
        self.ready: set[str] = set()
        self.segments: dict[str, int] = {}  # of packed vectors that were maps

    def program(self) -> Program:
        name, levels = self.net.input.name, self.net.input.levels
        entry = f"{name}:{'numbers' if Code.covers(levels) else 'dense'}"
        self.ready.add(entry)
        skip: set[str] = set()
        for node in self.net.nodes:
            if node.name in skip:
                continue
            threshold = self._threshold_after(node)
            covered = self._node(node, threshold)
            if covered is not None:
                skip.add(covered.name)
        output = self._want(self.net.outputs[0].tensor, "dense")
        return Program(self.net, entry, self.steps, output, self._last_uses(output))

    def _last_uses(self, output: str) -> list[tuple[str, ...]]:
        last: dict[str, int] = {}
        for k, step in enumerate(self.steps):
            last.update(dict.fromkeys((*step.reads, step.writes), k))
        return [tuple(slot for slot, at in last.items() if at == k and slot != output)
                for k in range(len(self.steps))]

    def _emit(self, step: steps.Step):
        self.steps.append(step)
        self.ready.add(step.writes)

    def _has(self, tensor: str, form: str) -> bool:
        return f"{tensor}:{form}" in self.ready

    def _want(self, tensor: str, form: str) -> str:
        """The slot of ``tensor`` in ``form``, converted if need be."""
        slot = f"{tensor}:{form}"
        if slot in self.ready:
            return slot
        spec = self.net.tensors[tensor]
        code = Code(spec.levels)
        if form == "dense":
            source = f"{tensor}:{'numbers' if self._has(tensor, 'numbers') else 'packed'}"
            self._emit(steps.Unpack((), (source,), slot, code, self.segments.get(tensor, 1), spec.shape))
        elif form == "numbers":
            self._emit(steps.Number((), (self._want(tensor, "dense"),), slot, code))
        else:
            self._emit(steps.Pack((), (self._want(tensor, "numbers"),), slot, code))
        return slot

    def _threshold_after(self, node: ir.Node) -> ir.Threshold | None:
        """The thresholds that alone read what a product writes."""
        if not isinstance(node, ir.MatMul | ir.Conv):
            return None
        readers = self.net.consumers(node.output)
        if len(readers) != 1 or any(output.tensor == node.output for output in self.net.outputs):
            return None
        reader = readers[0]
        return reader if isinstance(reader, ir.Threshold) and Code.covers(reader.levels) else None

    def _node(self, node: ir.Node, threshold: ir.Threshold | None) -> ir.Node | None:
        """Emit the steps of ``node``; return the other node that they cover."""
        rule: Callable | None = getattr(self, f"_{type(node).__name__.lower()}", None)
        if isinstance(node, ir.MatMul | ir.Conv):
            if self._product(node, threshold):
                return threshold
        elif rule is not None and rule(node):
            return None
        reads = tuple(self._want(name, "dense") for name in node.inputs)
        dtype = steps.dtype_of(self.net.tensors[node.output].levels)
        self._emit(steps.Fallback((node.name,), reads, f"{node.output}:dense", node, dtype))
        return None

    def _product(self, node: ir.MatMul | ir.Conv, threshold: ir.Threshold | None) -> bool:
        x, out = self.net.tensors[node.input], self.net.tensors[node.output]
        if not Code.covers(x.levels) or steps.dtype_of(out.levels) is not np.int32:
            return False
        code = Code(x.levels)
        weights, window = _taps_of(node, x)
        few = (window is not None and not window.is_whole and x.channels < _FEW_CHANNELS
               and self._has(node.input, "numbers"))
        layout = Layout(1, weights.shape[1] * x.channels) if few else Layout(weights.shape[1], x.channels)
        if window is None:
            segments = self.segments.get(node.input, 1)
            layout = Layout(segments, x.channels // segments)
        valid, classes = window.border() if window is not None and any(window.padding) else (None, None)

        signs, thresholds = None, None
        if threshold is not None:
            thresholds = np.broadcast_to(threshold.thresholds, (node.rows, threshold.thresholds.shape[1]))
            signs = np.broadcast_to(threshold.signs, node.rows)
        packed = Weights(weights, code, layout, valid)
        if packed.largest >= FAR or np.abs(packed.bias).max() + packed.scale * packed.largest >= FAR:
            return False
        target = Code(threshold.levels) if threshold is not None else None
        fits_kernel = target is not None and target.thermometer and len(target.levels) > 1 and packed.parts == 1
        if signs is not None and fits_kernel:
            packed = Weights(weights * signs[:, None, None], code, layout, valid)  # falling channels turned
            signs = None
        source = self._want(node.input, "numbers" if few else "packed")
        covered = (node.name,) if threshold is None else (node.name, threshold.name)
        slot = f"{node.output}:dense" if threshold is None else f"{threshold.output}:packed"
        self._emit(steps.Product(covered, (source,), slot, packed, window, thresholds, signs, target, classes, few))
        return True

    def _threshold(self, node: ir.Threshold) -> bool:
        x = self.net.tensors[node.input]
        if not Code.covers(node.levels) or steps.dtype_of(x.levels) is not np.int32:
            return False
        thresholds = np.broadcast_to(node.thresholds, (x.channels, node.thresholds.shape[1]))
        signs = np.broadcast_to(node.signs, x.channels)
        self._emit(steps.Quantize((node.name,), (self._want(node.input, "dense"),), f"{node.output}:numbers",
                                  thresholds, signs))
        return True

    def _maxpool(self, node: ir.MaxPool) -> bool:
        x = self.net.tensors[node.input]
        if not (self._has(node.input, "packed") or self._has(node.input, "numbers")):
            return False
        falling = Layout(1, x.channels).pack((np.broadcast_to(node.signs, x.channels) < 0)[None])[0]
        self._emit(steps.Pool((node.name,), (self._want(node.input, "packed"),), f"{node.output}:packed",
                              Window.of(node, x.shape), falling, Code(x.levels)))
        return True

    def _reshape(self, node: ir.Reshape) -> bool:
        shape = self.net.tensors[node.input].shape
        if not self._has(node.input, "packed"):
            return False
        if len(shape) == 3 and len(node.shape) == 1:
            self.segments[node.output] = shape[0] * shape[1]
            self._emit(steps.Flatten((node.name,), (f"{node.input}:packed",), f"{node.output}:packed"))
            return True
        if len(shape) == 1 and node.shape == (1, 1, *shape) and self.segments.get(node.input, 1) == 1:
            self._emit(steps.Spread((node.name,), (f"{node.input}:packed",), f"{node.output}:packed"))
            return True
        return False

    def _affine(self, node: ir.Affine | ir.Add) -> bool:
        sources = [self.net.tensors[name].levels for name in node.inputs]
        greatest = max(max(abs(levels.low), abs(levels.high)) for levels in sources)
        bound = greatest * 2
        if isinstance(node, ir.Affine):
            bound = greatest * int(np.abs(node.multipliers).max()) + int(np.abs(node.offsets).max())
        if bound >= 2**62:
            return False
        dtype = np.int32 if bound < 2**31 else np.int64
        reads = tuple(self._want(name, "dense") for name in node.inputs)
        self._emit(steps.Elementwise((node.name,), reads, f"{node.output}:dense", node, dtype))
        return True

    _add = _affine

    def _topk(self, node: ir.TopK) -> bool:
        if node.k != 1:
            return False
        self._emit(steps.ArgMax((node.name,), (self._want(node.input, "dense"),), f"{node.output}:dense"))
        return True


def _taps_of(node: ir.MatMul | ir.Conv, x: ir.Tensor) -> tuple[np.ndarray, Window | None]:
    """Weights as (rows, taps, channels), groups spread out with zeros, and the windows."""
    if isinstance(node, ir.MatMul):
        if len(x.shape) == 1:
            return node.weights[:, None, :], None
        return node.weights[:, None, :], Window(x.shape[0], x.shape[1], (1, 1), (1, 1), (1, 1), (0, 0, 0, 0))
    weights = node.weights.reshape(node.rows, -1, node.weights.shape[3])
    if node.groups > 1:
        spread = np.zeros((node.rows, weights.shape[1], x.channels), np.int64)
        per_group, channels = node.rows // node.groups, weights.shape[2]
        for group in range(node.groups):
            rows = slice(group * per_group, (group + 1) * per_group)
            spread[rows, :, group * channels:(group + 1) * channels] = weights[rows]
        weights = spread
    return weights, Window.of(node, x.shape)
