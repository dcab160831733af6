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
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed

import torch
from training_rows import FASHION, HERE, KEPT, LANGUAGE, OVERHEAD, ROWS, finished, is_judged, kept, ratios, recipe_of
from training_table import table

import hwbnn_train
from hwbnn.errors import UserError
from hwbnn_train.adam import Adam
from hwbnn_train.allocation import keep_freed_memory
from hwbnn_train.averaging import Average
from hwbnn_train.losses import LOSSES
from hwbnn_train.optimizers import set_learning_rate
from hwbnn_train.recipes import RECIPES

RUNS = HERE.parent / "runs" / "training"
SEEDS = (0, 1, 2)


def run(names: list[str], seeds: tuple[int, ...], jobs: int) -> None:
    """Train what is not yet trained, going on with what was interrupted; every recipe once before any twice."""
    missing = [(name, seed) for seed in seeds for name in names
               if (is_judged(name) or seed == seeds[0]) and seed not in {m["seed"] for m in finished(name)}]
    with ProcessPoolExecutor(jobs) as pool:
        futures = {pool.submit(_train, name, seed): (name, seed) for name, seed in missing}
        for done, future in enumerate(as_completed(futures), 1):
            name, seed = futures[future]
            found = future.result()
            KEPT.write_text(json.dumps(dict(sorted({**kept(), f"{name}-{seed}": found}.items())), indent=1) + "\n")
            table()
            print(f"{done} of {len(missing)}: {name}, seed {seed}: {found['accuracy']['test']:.2%}, loss "
                  f"{found['loss']['test']:.3f}, in {found['seconds']:.0f} s", flush=True)


def _train(name: str, seed: int) -> dict:
    """Return what the run measured, without what is not in the table."""
    folder, recipe = RUNS / f"{name.replace(' ', '-')}-{seed}", recipe_of(name)
    resume, started = (folder / "checkpoint.pt").exists(), time.process_time()
    try:
        found = hwbnn_train.train(recipe, folder, seed=seed, resume=resume, progress=False)
    except UserError as error:
        if "configuration" not in str(error):
            raise
        resume = False
        found = hwbnn_train.train(recipe, folder, seed=seed, progress=False)
    processor = {} if resume else {"processor_seconds": round(time.process_time() - started, 1)}
    columns = ("recipe", "seed", "accuracy", "loss", "accuracy_real_weights", "best_epoch", "seconds", "parameters",
            "figures", "config", "versions")
    return {**{key: found[key] for key in columns if key in found}, **processor,
            "stored": sum(layer["stored"] for layer in found["layers"])}


def stepper(name: str) -> Callable[[], float]:
    """Return a function that takes a training step on random images and returns its processor seconds."""
    recipe = RECIPES[name]
    model = recipe.model((1, 28, 28), 10)
    optimizer, loss_of = recipe.optimizer(model), LOSSES[recipe.loss]
    average = Average(model, recipe.averaging, 10_000) if recipe.averaging else None
    if isinstance(optimizer, Adam):
        optimizer.average = average
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
            average.follow()
        return time.process_time() - started

    for _ in range(3):
        step()
    return step


def overhead(chosen: list[str], processes: int = 3) -> None:
    """Measure a step of each recipe against one of the same network with real numbers.

    Where memory happens to lie in a process counts for some percent: the median of several processes.
    """
    results = ratios()
    for kind in ("mlp", "conv"):
        names = [name for name in chosen if name.endswith(kind)]
        names = list(dict.fromkeys([f"float-{kind}", *(_real(name) for name in names), *names]))
        found = []
        for _ in range(processes):
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                found.append(pool.submit(steps, names).result())
        for name in names:
            ratio = statistics.median(seconds[name] / seconds[_real(name)] for seconds in found)
            milliseconds = 1e3 * statistics.median(seconds[name] for seconds in found)
            results[name] = {"milliseconds": milliseconds, "ratio": ratio}
            print(f"{name:30} {milliseconds:6.1f} ms  {ratio:.2f}", flush=True)
        if kind == "mlp":
            results["pass"] = {"milliseconds": 1e3 * statistics.median(seconds["pass"] for seconds in found)}
    OVERHEAD.write_text(json.dumps(results, indent=1) + "\n")


def steps(names: list[str], count: int = 60) -> dict[str, float]:
    """Return the median seconds of each recipe's steps, taken in turns, and of a pass over the weights."""
    keep_freed_memory()  # as trainings do
    torch.set_num_threads(1)
    functions = {name: stepper(name) for name in names}
    seconds = {name: [] for name in names}
    for _ in range(count // 3):
        for name, function in functions.items():
            function()  # the weights of the others are in the caches: not so in a training
            seconds[name].extend(function() for _ in range(3))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {**medians, "pass": _pass(functions[names[0]])}


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


def _real(name: str) -> str:
    """Return the recipe of the same network with real numbers."""
    kind = name.rsplit("-", 1)[1]
    return next((f"{prefix}-float-mlp" for prefix in ("low-precision", "maxout") if name.startswith(prefix)),
                f"float-{kind}")


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
