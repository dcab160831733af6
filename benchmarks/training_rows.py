"""What the benchmark of training trains, with bars and papers' figures, and what finished runs measured."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from hwbnn_train.recipe import Recipe
from hwbnn_train.recipes import RECIPES

HERE = Path(__file__).parent
KEPT = HERE / "calibration" / "training.json"
OVERHEAD = HERE / "calibration" / "training-overhead.json"


@dataclass(frozen=True)
class Paper:
    """A paper's own test error on MNIST.

    Parameters
    ----------
    error : :class:`float`
        In percent.
    trust : :class:`str`
        A key of :data:`TRUST`.
    network : :class:`str`
        The paper's, where it is known.
    """

    error: float
    trust: str
    network: str = ""


TRUST = {"S": "stated in the abstract or a review of the paper", "T": "read in the paper's text",
         "C": "read in the authors' code or its README", "N": "second hand",
         "R": "recalled and not read again, not to be cited"}


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
    paper : Paper or None
        None: it has no such figure, or none that is known to us.
    """

    bar: float | None = None
    against: str | None = None
    points: float = 0.0
    paper: Paper | None = None


# those with a bar first, and what they are compared with
ROWS = {
    "mnist-mlp": Row(98.0, paper=Paper(0.96, "C", "3x4096, 1000 epochs")),
    "gxnor-mlp": Row(97.5),
    "bitwise-mlp": Row(96.5, paper=Paper(1.33, "S", "3x1024")),
    "binaryconnect-mlp": Row(98.0, paper=Paper(1.29, "N", "3x1024, 1000 epochs")),
    "lab-mlp": Row(98.0, paper=Paper(1.17, "T", "3x2048, 50 epochs")),
    "twn-mlp": Row(98.0),
    "few-multiplications-mlp": Row(98.0, paper=Paper(1.15, "C", "3x1024, 1000 epochs, real weights")),
    "qnn-mlp": Row(98.0),
    "bnnplus-mlp": Row(against="mnist-mlp", points=0.1),
    "float-mlp": Row(paper=Paper(1.19, "T", "3x2048, 50 epochs, by LAB's authors")),
    "low-precision-float-mlp": Row(),
    "low-precision-mlp": Row(against="low-precision-float-mlp", points=0.3),
    "mnist-conv": Row(98.8),
    "gxnor-conv": Row(98.8, paper=Paper(0.68, "R", "32C5-64C5-512, 4000 epochs")),
    "float-conv": Row(),
    "bitpruning-mlp": Row(against="float-mlp", points=0.5),  # with at most 3 bits
    "shift-attention-conv": Row(98.5),  # with at most a third of the weights
    "ternarynet-mlp": Row(),
    "ttq-mlp": Row(),
    "qnn-log-mlp": Row(),
    "adaption-mlp": Row(),
    "maxout-float-mlp": Row(paper=Paper(1.05, "R", "2x240 maxout, 800 epochs")),
    "maxout-mlp": Row(against="maxout-float-mlp", points=0.3, paper=Paper(1.28, "R", "2x240 maxout, 800 epochs")),
    "bitpruning-luts-mlp": Row(),
    "shift-mlp": Row(paper=Paper(1.40, "N", "3x2048")),
    "binaryconnect-stochastic-mlp": Row(paper=Paper(1.18, "R", "3x1024, 1000 epochs, real weights")),
    "lab2-mlp": Row(paper=Paper(1.38, "T", "3x2048, 50 epochs")),
    "xnor-mlp": Row(paper=Paper(1.45, "T", "3x2048, 50 epochs, by LAB's authors")),
    "bwn-mlp": Row(paper=Paper(1.20, "T", "3x2048, 50 epochs, by LAB's authors")),
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


def recipe_of(name: str) -> Recipe:
    """Return the recipe of a row, with the row's data."""
    recipe = RECIPES[FASHION.get(name, name)]
    return dataclasses.replace(recipe, data="fashion-mnist") if name in FASHION else recipe


def is_judged(name: str) -> bool:
    """Tell whether the row has a bar, or is one that a bar is measured from, or shows images of the other kind."""
    if name in LANGUAGE:
        return any(bar is not None and name in (row, peer) for row, (peer, bar) in LANGUAGE.items())
    return name in FASHION or any((row.bar or row.against) and name in (key, row.against) for key, row in ROWS.items())


def kept() -> dict[str, dict]:
    """Return what the runs measured so far."""
    return json.loads(KEPT.read_text()) if KEPT.exists() else {}


def finished(name: str) -> list[dict]:
    """Return what the recipe's finished runs measured, of the recipe as it is now; choices made since then were off."""
    config = recipe_of(name).config().items()
    return [found for found in kept().values()
            if all(found["config"].get(key, 0) == value for key, value in config)]


def ratios() -> dict[str, dict]:
    return json.loads(OVERHEAD.read_text()) if OVERHEAD.exists() else {}
