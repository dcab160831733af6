"""Each recipe in a line, made from the recipe itself."""

import dataclasses
import re
from dataclasses import dataclass

import torch

from hwbnn_train.quantizers import LearnedBits, LogActivation, LogWeights, Quantizer, TrainedTernary
from hwbnn_train.recipe import Recipe

__all__ = ["Summary", "summary"]


@dataclass(frozen=True)
class Summary:
    """What a list says of a recipe.

    Parameters
    ----------
    name, data : :class:`str`
        The recipe's.
    weights, activations : :class:`str`
        The values of a hidden layer, up to scales.
    method : :class:`str`
        The beginning of the docstring of the recipe's class, and words by which this recipe differs from the class.
    paper : :class:`str`
        Its number at arXiv; empty where the docstring's first line has none.
    """

    name: str
    data: str
    weights: str
    activations: str
    method: str
    paper: str


def summary(recipe: Recipe) -> Summary:
    """Return what a list says of ``recipe``."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():  # layers draw their weights
        weights, activations = (_values(quantizer) for quantizer in recipe.quantizers())
    line = (type(recipe).__doc__ or "").partition("\n")[0]
    paper = re.search(r" \(arXiv:([\d.]+).*?\)", line)
    method = re.split(r"[:;,.](?: |$)", line.replace(paper[0], "") if paper else line)[0]
    words = [getattr(recipe, field.name) for field in dataclasses.fields(recipe)
             if field.type is str and field.name not in ("name", "data") and field.default is not dataclasses.MISSING
             and getattr(recipe, field.name) != field.default]
    return Summary(recipe.name, recipe.data, weights, activations, ", ".join([method, *words]),
                   paper[1] if paper else "")


def _values(quantizer: Quantizer) -> str:
    if isinstance(quantizer, LearnedBits):
        return "learned"
    if isinstance(quantizer, LogWeights | LogActivation):
        return "2^k"
    if isinstance(quantizer, TrainedTernary):
        return "−Wn, 0, Wp"
    levels = quantizer.grid(torch.zeros(1)).levels
    if levels is None:
        return "real"
    if levels.is_bipolar or levels.is_ternary:
        return "±1" if levels.is_bipolar else "−1, 0, 1"
    return f"{(len(levels) - 1).bit_length()} bits"
