"""``hwbnn inspect``: the layers of a model, and what became of the graph's nodes."""

from typing import Annotated

import typer

from hwbnn import ir
from hwbnn.build import load
from hwbnn.builddir import write_atomic
from hwbnn.cli import console
from hwbnn.cli.options import Json, single
from hwbnn.report.graph import network_graph, shape_of, standalone

app = single()


@app.command()
def inspect(
    model: Annotated[str, typer.Argument(metavar="MODEL", show_default=False,
                                         help="A QONNX file, a network.npz, or a build directory.")],
    svg: Annotated[str | None, typer.Option("--svg", metavar="FILE.svg", show_default=False,
                                            help="Draw the network there.")] = None,
    as_json: Json = False,
):
    """Show the layers of a model: what they take and give, weights, thresholds, operations, bits.

    The last table tells which nodes of the graph each layer was made from.
    """
    net = load(model)
    if svg is not None:
        write_atomic(svg, standalone(network_graph(net)))
    rows = [_row(net, node) for node in net.nodes]
    folded = net.metadata.get("folded", {})
    if as_json:
        names = ("name", "operation", "gives", "weights", "weight_levels", "thresholds", "operations", "bits")
        console.print_json({"name": net.name, "input": shape_of(net.tensors[net.input.name]),
                            "layers": [dict(zip(names, row, strict=True)) for row in rows], "folded": folded})
        return
    console.table(f"{net.name}: takes {shape_of(net.tensors[net.input.name])}",
                  ["layer", "operation", "gives", ">weights", "of", ">thresholds", ">operations", ">bits"], rows,
                  footer=("all", "", "", sum(row[3] or 0 for row in rows), "", sum(row[5] or 0 for row in rows),
                          sum(row[6] or 0 for row in rows), sum(row[7] or 0 for row in rows)))
    if folded:
        console.table("Made from the graph's nodes", ["layer", "nodes"],
                      [(name, " ".join(nodes)) for name, nodes in folded.items()])
    console.facts([(f"Output {output.name}", _meaning(output)) for output in net.outputs]
                  + ([("Drawing", svg)] if svg is not None else []))


def _row(net: ir.Network, node: ir.Node) -> tuple:
    """Name, operation, what it gives, weights and their levels, thresholds, multiplications, stored bits."""
    (x, *_), y = net.inferred(node)
    gives = shape_of(y)
    if isinstance(node, ir.MatMul | ir.Conv):
        bits = node.weights.size * node.weight_levels.bits
        return (node.name, node.op, gives, node.weights.size, str(node.weight_levels), None,
                node.columns * node.rows * y.pixels, bits)
    if isinstance(node, ir.Threshold):
        return (node.name, node.op, gives, None, "", node.thresholds.size, None, node.thresholds.size * x.levels.bits)
    return (node.name, node.op, gives, None, "", None, None, None)


def _meaning(output: ir.Output) -> str:
    shape = "×".join(map(str, output.graph_shape))
    if output.values is not None:
        return f"{shape} floats, looked up by the integers of {output.tensor}"
    if output.scale is not None:
        return f"{shape} floats, scale · {output.tensor} + bias"
    return f"{shape} integers of {output.tensor}"
