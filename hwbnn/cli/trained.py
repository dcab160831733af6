"""What ``hwbnn train`` prints: the recipes, and of a finished training its figures layer by layer."""

import math
from collections.abc import Iterable
from typing import Any

from rich.markup import escape

from hwbnn import datasets
from hwbnn.cli import console

__all__ = ["recipes", "results"]

_COUNTS = ("multiplications", "accumulations", "xnors", "bitcounts")
_NAMES = (">multipli- cations", ">accumu- lations", ">XNORs", ">bit counts", ">rest")


def recipes(found: Iterable[Any]) -> None:
    """All recipes, a line each (:class:`hwbnn_train.summary.Summary`)."""
    console.table("", ["recipe", "data", "weights", "inputs", "method"],
                  [(row.name, row.data, row.weights, row.activations, row.method) for row in found])


def results(metrics: dict[str, Any], model: str, log: str) -> None:
    """A finished training, from its ``metrics.json``; ``model`` is the exported file, ``log`` the folder of logs."""
    console.facts([
        ("Recipe", (f"{metrics['recipe']}: {console.count(metrics['parameters'])} parameters, {metrics['epochs']} "
                    f"epoch{'s' * (metrics['epochs'] > 1)} of {metrics['data']} in "
                    f"{console.seconds(metrics['seconds'])}, the best was {metrics['best_epoch']}")),
        *_quality(metrics),
        *[(escape(name), f"{value:.4g}") for name, value in metrics["figures"].items() if "/" not in name],
        ("Training keeps", _memory(metrics["training_memory"])),
        ("Model", model if "model_sha256" in metrics else f"none: {metrics['not_exported']}"),
        ("Log", f"tensorboard --logdir {log}"),
    ])
    _bits(metrics["figures"])
    _layers(metrics["layers"])
    _operations(metrics["operations"], "token" if datasets.is_text(metrics["data"]) else "image")


def _quality(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """How good the network is, on each split."""
    if datasets.is_text(metrics["data"]) and metrics["config"]["loss"] == "cross-entropy":
        loss = metrics["loss"]
        return [("Cross-entropy", _splits({split: f"{value:.4f}" for split, value in loss.items()}) + ", in nats"),
                ("Perplexity", _splits({split: f"{math.exp(min(value, 700.0)):.3f}" for split, value in loss.items()}))]
    rows = [("Accuracy", _shares(metrics["accuracy"]))]
    if "accuracy_real_weights" in metrics:
        rows.append(("With real weights", _shares(metrics["accuracy_real_weights"]) + ", which hardware does not have"))
    return rows


def _shares(accuracy: dict[str, float]) -> str:
    return _splits({split: f"{100 * share:.2f} %" for split, share in accuracy.items()})


def _splits(texts: dict[str, str]) -> str:
    return f"[bold]{texts['test']}[/bold] test, {texts['validation']} validation, {texts['train']} train"


def _bits(figures: dict[str, float]) -> None:
    """Learned bits by layer, where a recipe learns them (:class:`hwbnn_train.recipes.bitpruning.BitPruning`)."""
    bits = {tuple(name.removeprefix("bits/").rsplit(" ", 1)): f"{value:.4g}" for name, value in figures.items()
            if name.startswith("bits/")}
    layers = dict.fromkeys(name[0] for name in bits if len(name) == 2)
    if layers:
        console.table("Learned bits", ["layer", ">weights", ">inputs"],
                      [(escape(layer), bits.get((layer, "weights")), bits.get((layer, "inputs"))) for layer in layers],
                      footer=["mean of all", bits.get(("mean",), ""), ""])


def _memory(memory: dict[str, int]) -> str:
    moments = f"; {console.count(memory['optimizer_bytes'])} more of the optimizer's"
    if memory["bytes"] == memory["real_bytes"]:
        return f"{console.count(memory['bytes'])} bytes of weights, real numbers{moments}"
    times = memory["real_bytes"] / memory["bytes"]
    return (f"[bold]{console.count(memory['bytes'])} bytes[/bold] of weights, {times:.3g} times less than the "
            f"{console.count(memory['real_bytes'])} of real numbers{moments}")


def _layers(layers: list[dict[str, Any]]) -> None:
    console.table("Layers, measured on validation data", [
        "layer", ">weights stored", ">bits", ">bits in training", ">zeros", ">angle", ">random angle",
        ">correlation of weights", ">of inputs", ">products at rest", ">dead inputs"],
        [(escape(row["name"]), row["stored"], row["bits"], row["training_bits"], console.percent(row["zeros"], 1),
          f"{row['angle']:.1f}°", _random(row),
          f"{row['proportionality']:.3f}", f"{row['input_proportionality']:.3f}",
          console.percent(row["resting"], 1), console.percent(row["dead"], 1)) for row in layers])


def _random(row: dict[str, Any]) -> str | None:
    if row["random_angle"] is None:
        return None
    return f"{'≥ ' * (row['bits'] > 1)}{row['random_angle']:.1f}°"


def _operations(found: dict[str, Any], unit: str) -> None:
    console.table(f"Operations of one {unit}, by the table of GXNOR-Net",
                  ["layer", "counts as", ">products", *_NAMES],
                  [(escape(row["name"]), row["kind"], row["products"], *_counts(row["counts"]))
                   for row in found["layers"]],
                  footer=["total", "", console.count(sum(row["products"] for row in found["layers"])),
                          *map(str, _counts(found["total"]))])
    if any(row["kind"].startswith("ternary") for row in found["layers"]):
        console.table("The same, were all layers of one kind with the zeros they have", ["network", *_NAMES],
                      [(kind, *_counts(counts)) for kind, counts in found["kinds"].items()])


def _counts(counts: dict[str, float]) -> list[str]:
    return [*(console.count(counts[name]) for name in _COUNTS), f"{100 * counts['resting']:.1f} %"]
