"""The network of a build as a drawing: a box for each stage that computes, and what flows between them."""

from collections.abc import Iterable
from dataclasses import replace
from importlib import resources

from hwbnn import ir
from hwbnn.plan import MatrixVectorStage, ParallelStage, Plan, Stage
from hwbnn.report.drawing import Box, Edge, draw

__all__ = ["network_graph", "shape_of", "standalone"]

_LONGEST = 14  # characters of a set of levels


def shape_of(tensor: ir.Tensor) -> str:
    """Shape and levels of a tensor: ``28×28×1 of 0..255``; a long range is told by its bits."""
    levels = str(tensor.levels).replace("-", "−")
    if len(levels) > _LONGEST:
        levels = f"{tensor.levels.bits} bits"
    return f"{'×'.join(map(str, tensor.shape))} of {levels}"


def network_graph(network: ir.Network, plan: Plan | None = None) -> str:
    """Return the drawing as an ``<svg>`` element: stage by stage where there is a plan, else node by node."""
    stage_of = {} if plan is None else {node: stage for stage in plan.stages for node in stage.nodes}
    tensors = network.tensors
    makers = {network.input.name: "input"}
    boxes = [Box("input", network.input.name, "input",
                 (f"graph takes {'×'.join(map(str, network.input.graph_shape))}",), "end")]
    edges: list[Edge] = []
    drawn: set[str] = set()
    for node in network.nodes:
        stage = stage_of.get(node.name)
        key = f"stage {stage.name}" if stage else f"node {node.name}"
        if key not in drawn:
            drawn.add(key)
            boxes.append(_stage_box(key, stage, network) if stage else _node_box(key, node))
        edges += [Edge(makers[name], key, shape_of(tensors[name])) for name in node.inputs if makers[name] != key]
        makers[node.output] = key
    for output in network.outputs:
        key = f"output {output.name}"
        boxes.append(Box(key, output.name, "output", (f"graph gives {'×'.join(map(str, output.graph_shape))}",), "end"))
        edges.append(Edge(makers[output.tensor], key, shape_of(tensors[output.tensor])))
    return draw(boxes, _labelled_once(dict.fromkeys(edges)), title=f"Layers of {network.name}")


def _labelled_once(edges: Iterable[Edge]) -> list[Edge]:
    """Where several boxes read a tensor, one of its arrows says what it is."""
    seen: set[tuple[str, str]] = set()
    result = []
    for edge in edges:
        known = (edge.source, edge.label) in seen
        seen.add((edge.source, edge.label))
        result.append(replace(edge, label="") if known else edge)
    return result


def standalone(drawing: str) -> str:
    """Return the drawing as a file of its own, with the page's colours."""
    style = (resources.files("hwbnn.report") / "page.css").read_text(encoding="utf-8")
    start = drawing.index(">") + 1
    style += " svg { background: var(--card); font-family: sans-serif; }"
    return f"{drawing[:start]}<style>{style}</style>{drawing[start:]}"


def _node_box(key: str, node: ir.Node) -> Box:
    if isinstance(node, ir.MatMul | ir.Conv):
        shape = " × ".join(map(str, node.weights.shape))
        return Box(key, node.name, node.op, (f"{shape} {node.weight_levels} weights",), "matrix")
    if isinstance(node, ir.Threshold):
        channels, count = node.thresholds.shape
        return Box(key, node.name, node.op, (f"{count} thresholds for each of {channels} channels",))
    return Box(key, node.name, node.op)


def _stage_box(key: str, stage: Stage, network: ir.Network) -> Box:
    operations = " + ".join(network.node(name).op for name in stage.nodes)
    if not isinstance(stage, MatrixVectorStage | ParallelStage):
        return Box(key, stage.name, operations, (_pace(stage),))
    node = network.node(stage.nodes[0])
    levels = node.weight_levels if isinstance(node, ir.MatMul | ir.Conv) else None
    return Box(key, stage.name, operations,
               (f"{stage.rows} × {stage.columns} {levels} weights",
                f"PE {stage.fold.pe}, SIMD {stage.fold.simd}: {_pace(stage)}"), "matrix")


def _pace(stage: Stage) -> str:
    return f"{stage.ii} cycle{'s' if stage.ii != 1 else ''} per frame"
