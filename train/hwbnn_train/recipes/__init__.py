"""The registry of recipes: one file per recipe, one record each."""

import difflib

from hwbnn.errors import UserError
from hwbnn_train.recipe import Recipe
from hwbnn_train.recipes.binaryconnect_mlp import BinaryConnectMLP
from hwbnn_train.recipes.bnnplus_mlp import BnnPlusMLP
from hwbnn_train.recipes.digits_mlp import DigitsMLP
from hwbnn_train.recipes.gxnor_mlp import GxnorMLP
from hwbnn_train.recipes.lab_mlp import LabMLP
from hwbnn_train.recipes.mnist_mlp import MnistMLP
from hwbnn_train.recipes.qnn_mlp import QnnMLP
from hwbnn_train.recipes.twn_mlp import TwnMLP

__all__ = ["RECIPES", "recipe", "recipes"]

RECIPES: dict[str, Recipe] = {r.name: r for r in (
    DigitsMLP(),
    MnistMLP(),
    BinaryConnectMLP(),
    BinaryConnectMLP(name="binaryconnect-stochastic-mlp", mode="stochastic"),
    QnnMLP(),
    TwnMLP(),
    GxnorMLP(),
    BnnPlusMLP(),
    LabMLP(),
    LabMLP(name="lab2-mlp", activation_bits=1),
)}


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
