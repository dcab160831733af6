"""The registry of recipes: one file per recipe, one record each."""

import difflib

from hwbnn.errors import UserError
from hwbnn_train.recipe import Recipe
from hwbnn_train.recipes.digits_mlp import DigitsMLP
from hwbnn_train.recipes.mnist_mlp import MnistMLP

__all__ = ["RECIPES", "recipe", "recipes"]

RECIPES: dict[str, Recipe] = {r.name: r for r in (DigitsMLP(), MnistMLP())}


def recipes() -> list[str]:
    """Return the names of the recipes."""
    return list(RECIPES)


def recipe(name: str) -> Recipe:
    """Return the recipe ``name``, or say which is nearest."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1)
        raise UserError(f"Recipe must be one of {', '.join(RECIPES)}, not {name!r}"
                        + (f"; did you mean {near[0]!r}?" if near else ""))
    return RECIPES[name]
