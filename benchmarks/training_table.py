"""Writing training.md from what finished runs measured."""

import dataclasses
import statistics
import textwrap

from training_chart import chart
from training_rows import FASHION, HERE, LANGUAGE, ROWS, TRUST, Row, finished, ratios

from hwbnn_train.layers import Quantized
from hwbnn_train.recipes import RECIPES

_HEAD = ("Made by `python benchmarks/training.py`. MNIST, 784-3x512-10 in 20 epochs or a convolutional network of "
         "58,608 weights in 32 (28 with real numbers), 8-bit pixels; test accuracy in percent at the epoch that is "
         "best on 5,000 held-out training images, mean and range over the seeds. Processor minutes: of a run that "
         "was not interrupted. Step: median processor time of a training step over that of the same network with "
         "real numbers, in turns, one thread; the median of three processes.")
_TAGS = ("Paper: its own test error on MNIST in percent, of the network named; how far the figure may be trusted ("
         + "; ".join(f"{tag}: {meaning}" for tag, meaning in TRUST.items())
         + "); and by how many points our mean error is above it.")


def table() -> None:
    """Write training.md, and its picture, from the runs that are finished."""
    costs = ratios()
    lines = ["# Accuracy and cost of training", "",
             *textwrap.wrap(_HEAD, 105), "",
             "![Accuracies of all recipes](training.svg)", "", *textwrap.wrap(_TAGS, 105), "",
             ("| recipe | seeds | test accuracy | with real weights | bar | processor minutes | step | paper "
              "| ours above it |"),
             "|---|---|---|---|---|---|---|---|---|"]
    for name, row in ROWS.items():
        found = finished(name)
        ratio = f"{costs[name]['ratio']:.2f}" if name in costs else ""
        if not found and not ratio:
            continue
        real = [m["accuracy_real_weights"]["test"] for m in found if "accuracy_real_weights" in m]
        seconds = [m["processor_seconds"] for m in found if "processor_seconds" in m]
        minutes = f"{statistics.mean(seconds) / 60:.1f}" if seconds else ""
        accuracy = _percent([m["accuracy"]["test"] for m in found])
        lines.append(f"| {name} | {len(found)} | {accuracy} | {_percent(real)} | {_bar(row, found)} | {minutes} | "
                     f"{ratio} | {_paper(row, found)} |")
    lines += _remarks() + _steps(costs) + _fashion() + _language() + _whole()
    (HERE / "training.md").write_text("\n".join(lines) + "\n")
    (HERE / "training.svg").write_text(chart())


def _bar(row: Row, found: list[dict]) -> str:
    """Return the bar in words, and whether it is reached, where it is known."""
    if row.against is None:
        if row.bar is None:
            return ""
        return f"{row.bar}" + _verdict([100 * m["accuracy"]["test"] - row.bar for m in found])
    other = {m["seed"]: m["accuracy"]["test"] for m in finished(row.against)}
    gaps = [100 * (m["accuracy"]["test"] - other[m["seed"]]) for m in found if m["seed"] in other]
    gap = f": {statistics.mean(gaps):+.2f} ({min(gaps):+.2f} to {max(gaps):+.2f})" if gaps else ""
    return f"{row.against} - {row.points}{gap}" + _verdict([gap + row.points for gap in gaps])


def _paper(row: Row, found: list[dict]) -> str:
    """Return the paper's figure with its tag, and by how much our mean error is above it, as two cells."""
    if row.paper is None:
        return " | "
    network = f" ({row.paper.network})" if row.paper.network else ""
    key = "accuracy_real_weights" if "real weights" in row.paper.network else "accuracy"
    errors = [100 * (1 - m[key]["test"]) for m in found]
    above = f"{statistics.mean(errors) - row.paper.error:+.2f}" if errors else ""
    return f"{row.paper.error:.2f} {row.paper.trust}{network} | {above}"


def _verdict(margins: list[float]) -> str:
    return "" if not margins else ", reached" if statistics.mean(margins) >= -1e-9 else ", missed"


def _remarks() -> list[str]:
    """Return what accuracy alone does not say: bits that were learned, and weights that hardware stores."""
    lines = []
    for name in ("bitpruning-mlp", "bitpruning-luts-mlp"):
        if found := finished(name):
            bits = [metrics["figures"]["bits/mean"] for metrics in found]
            lines.append(f"`{name}` learned {_spread(bits)} bits, the mean over weights and hidden activations.")
    if shifted := finished("shift-attention-conv"):
        recipe = RECIPES["shift-attention-conv"]
        plain = dataclasses.replace(RECIPES["mnist-conv"], channels=recipe.channels).model((1, 28, 28), 10)
        whole = sum(layer.weight.numel() for layer in plain.modules() if isinstance(layer, Quantized))
        lines.append(f"`shift-attention-conv` stores {shifted[0]['stored']:,} weights; a network of the same channels "
                     f"with all nine taps of each kernel, {whole:,}.")
    return ["", *lines] if lines else []


def _steps(costs: dict[str, dict]) -> list[str]:
    """Return what the costs of steps come from."""
    if "pass" not in costs or "float-mlp" not in costs:
        return []
    one, whole = costs["pass"]["milliseconds"], costs["float-mlp"]["milliseconds"]
    text = (f"A step of `float-mlp` takes {whole:.1f} ms of processor time, most of it products of matrices; a pass "
            f"over its 930,816 weights (reading them and writing as many numbers) {one:.2f} ms; a fifth of the step is "
            f"{0.2 * whole / one:.0f} passes. Where numba is installed, quantizing the weights, the optimizer's step "
            "with clipping or the transition of states, and each gradient that a method adds are a pass each, in loops "
            "of our own; left to torch, the same steps took up to 1.7 times a float step.")
    return ["", *textwrap.wrap(text, 105)]


def _whole() -> list[str]:
    """Return how long all trainings of the tables take."""
    minutes = 0.0
    for name in (*ROWS, *FASHION, *LANGUAGE):
        found = finished(name)
        seconds = [m["processor_seconds"] for m in found if "processor_seconds" in m]
        if not seconds:
            return []
        minutes += len(found) * statistics.mean(seconds) / 60
    return ["", *textwrap.wrap(f"All trainings of the tables together take {minutes:.0f} processor minutes by what "
                               f"these runs took: {minutes / 2:.0f} minutes on two cores.", 105)]


def _fashion() -> list[str]:
    """Return the table of what was trained on Fashion-MNIST."""
    lines = ["", "Fashion-MNIST, the same networks, recipes and choice of the epoch:", "",
             "| recipe | seeds | test accuracy |", "|---|---|---|"]
    rows = [f"| {recipe} | {len(found)} | {_percent([m['accuracy']['test'] for m in found])} |"
            for name, recipe in FASHION.items() if (found := finished(name))]
    return lines + rows if rows else []


def _language() -> list[str]:
    """Return the table of the language models that are finished."""
    losses = {name: [metrics["loss"]["test"] for metrics in found] for name in LANGUAGE if (found := finished(name))}
    text = ("Character language models, 128 units, tinyshakespeare, 2,000 steps of 50 sequences of 100 characters;\n"
            "cross-entropy in nats a character on the last twentieth of the text, at the epoch that is best on the\n"
            "twentieth before it.")
    lines = ["", text, "", "| recipe | seeds | cross-entropy | against | ratio | bar |", "|---|---|---|---|---|---|"]
    for name, values in losses.items():
        peer, bar = LANGUAGE[name]
        ratio = f"{statistics.mean(values) / statistics.mean(losses[peer]):.3f}" if peer in losses else ""
        lines.append(f"| {name} | {len(values)} | {_spread(values, 3)} | {peer or ''} | {ratio} | {bar or ''} |")
    return lines if losses else []


def _percent(found: list[float]) -> str:
    return _spread([100 * value for value in found])


def _spread(values: list[float], digits: int = 2) -> str:
    """Return the mean, and the range where there are several values."""
    if not values:
        return ""
    spread = f" ({min(values):.{digits}f} to {max(values):.{digits}f})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"
