"""Train every method to its bar, and measure what quantization costs a training step.

    python benchmarks/training.py                 # all of it; goes on where it stopped, what has a bar first
    python benchmarks/training.py run --seeds 1 --only mnist-mlp gxnor-mlp   # some of it, into runs/training
    python benchmarks/training.py run --jobs 1    # on one processor core; otherwise one training on each
    python benchmarks/training.py overhead        # interleaved steps, quantized against real
    python benchmarks/training.py table           # training.md from what there is

MNIST, Fashion-MNIST and tinyshakespeare are read from HWBNN_DATA. The epoch is chosen on 5,000 held-out training
images; the test set is looked at once. What has a bar, or is what a bar is measured from, is trained with three seeds,
the rest with one. What a finished run measured is kept in ``calibration/training.json``; a recipe changed since then is
trained anew.
"""

import argparse
import dataclasses
import json
import os
import statistics
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import torch

import hwbnn_train
from hwbnn.errors import UserError
from hwbnn_train.averaging import Average
from hwbnn_train.layers import Quantized
from hwbnn_train.losses import LOSSES
from hwbnn_train.optimizers import set_learning_rate
from hwbnn_train.recipe import Recipe
from hwbnn_train.recipes import RECIPES

HERE = Path(__file__).parent
RUNS = HERE.parent / "runs" / "training"
KEPT = HERE / "calibration" / "training.json"
OVERHEAD = HERE / "calibration" / "training-overhead.json"
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Row:
    """What a recipe is held to.

    Parameters
    ----------
    bar : :class:`float` or None
        On the mean test accuracy, in percent.
    against : :class:`str` or None
        The recipe of the same network whose mean it may miss by at most ``points``; same seeds.
    points : :class:`float`
        In percent.
    paper : :class:`str`
        The paper's test error on MNIST, with its network.
    """

    bar: float | None = None
    against: str | None = None
    points: float = 0.0
    paper: str = ""


# those with a bar first, and what they are compared with
ROWS = {
    "mnist-mlp": Row(98.0, paper="0.96 % (3 x 4096, 1000 epochs)"),
    "gxnor-mlp": Row(97.5),
    "bitwise-mlp": Row(96.5, paper="1.33 % (3 x 1024)"),
    "binaryconnect-mlp": Row(98.0, paper="1.29 +- 0.08 % (3 x 1024, 1000 epochs)"),
    "lab-mlp": Row(98.0, paper="1.17 % (3 x 2048, 50 epochs)"),
    "twn-mlp": Row(98.0),
    "few-multiplications-mlp": Row(98.0, paper="1.15 % with real weights (3 x 1024, 1000 epochs)"),
    "qnn-mlp": Row(98.0),
    "bnnplus-mlp": Row(against="mnist-mlp", points=0.1),
    "float-mlp": Row(),
    "low-precision-float-mlp": Row(paper="1.05 % (2 x 240 maxout)"),
    "low-precision-mlp": Row(against="low-precision-float-mlp", points=0.3, paper="1.28 % (2 x 240 maxout)"),
    "mnist-conv": Row(98.8),
    "gxnor-conv": Row(98.8),
    "float-conv": Row(),
    "bitpruning-mlp": Row(against="float-mlp", points=0.5),  # with at most 3 bits
    "shift-attention-conv": Row(98.5),  # with at most a third of the weights
    "ternarynet-mlp": Row(),
    "ttq-mlp": Row(),
    "qnn-log-mlp": Row(),
    "adaption-mlp": Row(),
    "maxout-float-mlp": Row(paper="1.05 %"),
    "maxout-mlp": Row(against="maxout-float-mlp", points=0.3, paper="1.28 %"),
    "bitpruning-luts-mlp": Row(),
    "shift-mlp": Row(paper="1.40 % (3 x 2048)"),
    "binaryconnect-stochastic-mlp": Row(paper="1.18 +- 0.04 % with real weights"),
    "lab2-mlp": Row(paper="1.38 % (3 x 2048, 50 epochs)"),
    "xnor-mlp": Row(),
    "bwn-mlp": Row(),
}
# three methods, and what they are compared with, on images that are harder to tell apart
FASHION = {f"{name} on fashion-mnist": name for name in ("mnist-mlp", "twn-mlp", "gxnor-mlp", "float-mlp")}
# recipe: what its cross-entropy is held against, and the bar on their ratio
LANGUAGE = {
    "float-lstm": (None, None),
    "qnn-lstm": ("float-lstm", 1.1),
    "binaryconnect-lstm": ("float-lstm", None),
    "lab-lstm": ("binaryconnect-lstm", 0.9),
    "float-rnn": (None, None),
    "qnn-rnn": ("float-rnn", None),
}


def run(names: list[str], seeds: tuple[int, ...], jobs: int) -> None:
    """Train what is not yet trained, going on with what was interrupted; every recipe once before any twice."""
    missing = [(name, seed) for seed in seeds for name in names
               if (_judged(name) or seed == seeds[0]) and seed not in {m["seed"] for m in _finished(name)}]
    with ProcessPoolExecutor(jobs) as pool:
        futures = {pool.submit(_train, name, seed): (name, seed) for name, seed in missing}
        for done, future in enumerate(as_completed(futures), 1):
            name, seed = futures[future]
            found = future.result()
            KEPT.write_text(json.dumps(dict(sorted({**_kept(), f"{name}-{seed}": found}.items())), indent=1) + "\n")
            table()
            print(f"{done} of {len(missing)}: {name}, seed {seed}: {found['accuracy']['test']:.2%}, loss "
                  f"{found['loss']['test']:.3f}, in {found['seconds']:.0f} s", flush=True)


def _judged(name: str) -> bool:
    """Tell whether the row has a bar, or is one that a bar is measured from, or shows images of the other kind."""
    if name in LANGUAGE:
        return any(bar is not None and name in (row, peer) for row, (peer, bar) in LANGUAGE.items())
    return name in FASHION or any((row.bar or row.against) and name in (key, row.against) for key, row in ROWS.items())


def _train(name: str, seed: int) -> dict:
    """Return what the run measured, without what is not in the table."""
    folder, recipe = RUNS / f"{name.replace(' ', '-')}-{seed}", _recipe(name)
    resume, started = (folder / "checkpoint.pt").exists(), time.process_time()
    try:
        found = hwbnn_train.train(recipe, folder, seed=seed, resume=resume, progress=False)
    except UserError as error:
        if "configuration" not in str(error):
            raise
        resume = False
        found = hwbnn_train.train(recipe, folder, seed=seed, progress=False)
    processor = {} if resume else {"processor_seconds": round(time.process_time() - started, 1)}
    kept = ("recipe", "seed", "accuracy", "loss", "accuracy_real_weights", "best_epoch", "seconds", "parameters",
            "figures", "config", "versions")
    return {**{key: found[key] for key in kept if key in found}, **processor,
            "stored": sum(layer["stored"] for layer in found["layers"])}


def _recipe(name: str) -> Recipe:
    """Return the recipe of a row, with the row's data."""
    recipe = RECIPES[FASHION.get(name, name)]
    return dataclasses.replace(recipe, data="fashion-mnist") if name in FASHION else recipe


def _kept() -> dict[str, dict]:
    """Return what the runs measured so far."""
    return json.loads(KEPT.read_text()) if KEPT.exists() else {}


def stepper(name: str) -> Callable[[], float]:
    """Return a function that takes a training step on random images and returns its processor seconds."""
    recipe = RECIPES[name]
    model = recipe.model((1, 28, 28), 10)
    optimizer, loss_of = recipe.optimizer(model), LOSSES[recipe.loss]
    average = Average(model, recipe.averaging) if recipe.averaging else None
    set_learning_rate(optimizer, recipe.lr)
    x, y = torch.randint(0, 256, (recipe.batch, 1, 28, 28)).float(), torch.randint(10, (recipe.batch,))

    def step() -> float:
        started = time.process_time()
        recipe.advance(model, 0.9)
        loss = loss_of(model(x), y) + recipe.penalty(model)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if average is not None:
            average.follow(model, 10_000)
        return time.process_time() - started

    for _ in range(3):
        step()
    return step


def overhead(chosen: list[str], count: int = 60) -> None:
    """Measure a step of each recipe against one of the same network with real numbers, in turns."""
    torch.set_num_threads(1)
    results = _ratios()
    for kind in ("mlp", "conv"):
        names = [name for name in chosen if name.endswith(kind)]
        names = list(dict.fromkeys([f"float-{kind}", *(_real(name) for name in names), *names]))
        functions = {name: stepper(name) for name in names}
        seconds = {name: [] for name in names}
        for _ in range(count // 3):
            for name, function in functions.items():
                function()  # the weights of the others are in the caches: not so in a training
                seconds[name].extend(function() for _ in range(3))
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        for name in names:
            ratio = medians[name] / medians[_real(name)]
            results[name] = {"milliseconds": medians[name] * 1e3, "ratio": ratio}
            print(f"{name:30} {results[name]['milliseconds']:6.1f} ms  {results[name]['ratio']:.2f}")
        if kind == "mlp":
            results["pass"] = {"milliseconds": _pass(functions[_real("float-mlp")]) * 1e3}
    OVERHEAD.write_text(json.dumps(results, indent=1) + "\n")


def _pass(step: Callable[[], float], count: int = 60) -> float:
    """Return the processor seconds of multiplying the weights of the 784-3x512-10 network by a number.

    A training step is taken before each, so that the weights are where a step finds them.
    """
    weights = [torch.rand(*shape) for shape in ((512, 784), (512, 512), (512, 512), (10, 512))]
    seconds = []
    for _ in range(count):
        step()
        started = time.process_time()
        for weight in weights:
            torch.mul(weight, 0.5)
        seconds.append(time.process_time() - started)
    return statistics.median(seconds)


def _ratios() -> dict[str, dict]:
    return json.loads(OVERHEAD.read_text()) if OVERHEAD.exists() else {}


def _real(name: str) -> str:
    """Return the recipe of the same network with real numbers."""
    kind = name.rsplit("-", 1)[1]
    return next((f"{prefix}-float-mlp" for prefix in ("low-precision", "maxout") if name.startswith(prefix)),
                f"float-{kind}")


def table() -> None:
    """Write training.md from the runs that are finished."""
    ratios = _ratios()
    lines = ["# Accuracy and cost of training", "",
             "Made by `python benchmarks/training.py`. MNIST, 784-3x512-10 in 20 epochs or a convolutional network of",
             "58,608 weights in 32, 8-bit pixels; test accuracy in percent at the epoch that is best on 5,000 held-out",
             "training images, mean and range over the seeds. Processor minutes: of a run that was not interrupted.",
             "Step: median processor time of a training step over that of the same network with real numbers, in",
             "turns, one thread. Papers' figures are test errors of their own, larger networks.", "",
             "| recipe | seeds | test accuracy | with real weights | bar | processor minutes | step | paper |",
             "|---|---|---|---|---|---|---|---|"]
    for name, row in ROWS.items():
        found = _finished(name)
        ratio = f"{ratios[name]['ratio']:.2f}" if name in ratios else ""
        if not found and not ratio:
            continue
        real = [m["accuracy_real_weights"]["test"] for m in found if "accuracy_real_weights" in m]
        seconds = [m["processor_seconds"] for m in found if "processor_seconds" in m]
        minutes = f"{statistics.mean(seconds) / 60:.1f}" if seconds else ""
        lines.append(f"| {name} | {len(found)} | {_spread([m['accuracy']['test'] for m in found])} | {_spread(real)} | "
                     f"{_bar(row, found)} | {minutes} | {ratio} | {row.paper} |")
    lines += _remarks() + _steps(ratios) + _fashion() + _language()
    (HERE / "training.md").write_text("\n".join(lines) + "\n")


def _bar(row: Row, found: list[dict]) -> str:
    """Return the bar in words, and whether it is reached, where it is known."""
    if row.against is None:
        if row.bar is None:
            return ""
        return f"{row.bar}" + _verdict([100 * m["accuracy"]["test"] - row.bar for m in found])
    other = {m["seed"]: m["accuracy"]["test"] for m in _finished(row.against)}
    gaps = [100 * (m["accuracy"]["test"] - other[m["seed"]]) for m in found if m["seed"] in other]
    gap = f": {statistics.mean(gaps):+.2f} ({min(gaps):+.2f} to {max(gaps):+.2f})" if gaps else ""
    return f"{row.against} - {row.points}{gap}" + _verdict([gap + row.points for gap in gaps])


def _verdict(margins: list[float]) -> str:
    return "" if not margins else ", reached" if statistics.mean(margins) >= -1e-9 else ", missed"


def _finished(name: str) -> list[dict]:
    """Return what the recipe's finished runs measured, of the recipe as it is now; choices made since then were off."""
    config = _recipe(name).config().items()
    return [found for found in _kept().values()
            if all(found["config"].get(key, 0) == value for key, value in config)]


def _remarks() -> list[str]:
    """Return what accuracy alone does not say: bits that were learned, and weights that hardware stores."""
    lines = []
    for name in ("bitpruning-mlp", "bitpruning-luts-mlp"):
        if found := _finished(name):
            bits = [metrics["figures"]["bits/mean"] for metrics in found]
            lines.append(f"`{name}` learned {statistics.mean(bits):.2f} bits ({min(bits):.2f} to {max(bits):.2f}), the "
                         f"mean over weights and hidden activations.")
    if shifted := _finished("shift-attention-conv"):
        recipe = RECIPES["shift-attention-conv"]
        plain = dataclasses.replace(RECIPES["mnist-conv"], channels=recipe.channels).model((1, 28, 28), 10)
        whole = sum(layer.weight.numel() for layer in plain.modules() if isinstance(layer, Quantized))
        lines.append(f"`shift-attention-conv` stores {shifted[0]['stored']:,} weights; a network of the same channels "
                     f"with all nine taps of each kernel, {whole:,}.")
    return ["", *lines] if lines else []


def _steps(ratios: dict[str, dict]) -> list[str]:
    """Return what the costs of steps come from."""
    if "pass" not in ratios or "float-mlp" not in ratios:
        return []
    one, whole = ratios["pass"]["milliseconds"], ratios["float-mlp"]["milliseconds"]
    text = (f"A step of `float-mlp` takes {whole:.1f} ms of processor time, most of it products of matrices; a pass "
            f"over its 930,816 weights (reading them and writing as many numbers) {one:.2f} ms; a fifth of the step is "
            f"{0.2 * whole / one:.0f} passes. Where numba is installed, quantizing the weights, the optimizer's step "
            "with clipping or the transition of states, and each gradient that a method adds are a pass each, in loops "
            "of our own; left to torch, the same steps took up to 1.7 times a float step. BNN+ needs more than the "
            "others: the distances of all weights from their scales, with a gradient, and a steep slope for each "
            "activation.")
    return ["", *textwrap.wrap(text, 105)]


def _fashion() -> list[str]:
    """Return the table of what was trained on Fashion-MNIST."""
    lines = ["", "Fashion-MNIST, the same networks, recipes and choice of the epoch:", "",
             "| recipe | seeds | test accuracy |", "|---|---|---|"]
    rows = [f"| {recipe} | {len(found)} | {_spread([m['accuracy']['test'] for m in found])} |"
            for name, recipe in FASHION.items() if (found := _finished(name))]
    return lines + rows if rows else []


def _language() -> list[str]:
    """Return the table of the language models that are finished."""
    losses = {name: [metrics["loss"]["test"] for metrics in found] for name in LANGUAGE if (found := _finished(name))}
    text = ("Character language models, 128 units, tinyshakespeare, 2,000 steps of 50 sequences of 100 characters;\n"
            "cross-entropy in nats a character on the last twentieth of the text, at the epoch that is best on the\n"
            "twentieth before it.")
    lines = ["", text, "", "| recipe | seeds | cross-entropy | against | ratio | bar |", "|---|---|---|---|---|---|"]
    for name, values in losses.items():
        peer, bar = LANGUAGE[name]
        ratio = f"{statistics.mean(values) / statistics.mean(losses[peer]):.3f}" if peer in losses else ""
        spread = f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"
        lines.append(f"| {name} | {len(values)} | {spread} | {peer or ''} | {ratio} | {bar or ''} |")
    return lines if losses else []


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    return f"{100 * statistics.mean(values):.2f} ({100 * min(values):.2f} to {100 * max(values):.2f})"


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [*ROWS, *FASHION, *LANGUAGE]
    parser.add_argument("command", choices=["run", "overhead", "table", "all"], nargs="?", default="all")
    parser.add_argument("--only", nargs="+", choices=known, metavar="RECIPE", default=known, help="these recipes")
    parser.add_argument("--seeds", type=int, choices=range(1, len(SEEDS) + 1), default=len(SEEDS), help="how many")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trainings at a time")
    arguments = parser.parse_args()
    if arguments.command in ("overhead", "all"):
        overhead(arguments.only)
    if arguments.command in ("run", "all"):
        run(arguments.only, SEEDS[:arguments.seeds], arguments.jobs)
    table()


if __name__ == "__main__":
    main()
