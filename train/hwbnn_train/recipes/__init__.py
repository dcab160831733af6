"""The registry of recipes: one file per method, one record per recipe."""

import difflib

from hwbnn.errors import UserError
from hwbnn_train.recipe import Recipe
from hwbnn_train.recipes.adaption import Adaption
from hwbnn_train.recipes.binaryconnect import BinaryConnect
from hwbnn_train.recipes.binarynet import BinaryNet, ShiftBinaryNet
from hwbnn_train.recipes.bitpruning import BitPruning
from hwbnn_train.recipes.bitwise import Bitwise
from hwbnn_train.recipes.bnnplus import BnnPlus
from hwbnn_train.recipes.digits import Digits
from hwbnn_train.recipes.few_multiplications import FewMultiplications
from hwbnn_train.recipes.gxnor import Gxnor
from hwbnn_train.recipes.lab import LossAwareBinarization
from hwbnn_train.recipes.language import Language
from hwbnn_train.recipes.low_precision import LowPrecision
from hwbnn_train.recipes.published import PUBLISHED
from hwbnn_train.recipes.qnn import QuantizedNeuralNetwork
from hwbnn_train.recipes.real import RealNetwork
from hwbnn_train.recipes.shift_attention import ShiftAttention
from hwbnn_train.recipes.ternarynet import TernaryNet
from hwbnn_train.recipes.ttq import TrainedTernaryQuantization
from hwbnn_train.recipes.twn import TernaryWeightNetwork
from hwbnn_train.recipes.xnor import XnorNet

__all__ = ["RECIPES", "recipe", "recipes"]

_SMALL_CONVNET = {"channels": (48, 52, 64), "hidden": (), "epochs": 32}  # 59 thousand weights for 28 x 28 pixels

RECIPES: dict[str, Recipe] = {r.name: r for r in (
    Digits(),
    BinaryNet(),
    BinaryNet(name="mnist-conv", lr_end=3e-4, averaging=0.9997, **_SMALL_CONVNET),
    ShiftBinaryNet(),
    BinaryConnect(),
    BinaryConnect(name="binaryconnect-stochastic-mlp", mode="stochastic"),
    FewMultiplications(),
    QuantizedNeuralNetwork(),
    QuantizedNeuralNetwork(name="qnn-log-mlp", weight_bits=3, activation_bits=3, scale="logarithmic", gradient_bits=6),
    TernaryWeightNetwork(),
    TernaryNet(),
    TrainedTernaryQuantization(),
    Gxnor(),
    Gxnor(name="gxnor-conv", momentum=0.995, recalibration=5000, **_SMALL_CONVNET),
    BnnPlus(),
    ShiftAttention(),
    BitPruning(),
    BitPruning(name="bitpruning-luts-mlp", weighting="luts"),
    Bitwise(),
    LossAwareBinarization(),
    LossAwareBinarization(name="lab2-mlp", activation_bits=1),
    Adaption(),
    LowPrecision(),
    LowPrecision(name="low-precision-float-mlp", format="float", exported=False),
    LowPrecision(name="maxout-mlp", hidden=(240, 240), pieces=5, exported=False),
    LowPrecision(name="maxout-float-mlp", hidden=(240, 240), pieces=5, format="float", exported=False),
    XnorNet(),
    XnorNet(name="bwn-mlp", activation_bits=4),
    Language(name="float-lstm", method="float"),
    Language(name="qnn-lstm"),
    Language(name="lab-lstm", method="lab", activation_bits=32),
    Language(name="binaryconnect-lstm", method="binaryconnect", activation_bits=32),
    Language(name="float-rnn", method="float", layer="rnn"),
    Language(name="qnn-rnn", layer="rnn"),
    RealNetwork(),
    RealNetwork(name="float-conv", **{**_SMALL_CONVNET, "epochs": 28}),  # steps of real numbers take longer
    *PUBLISHED,
)}


def recipes() -> list[str]:
    """Return the names of the recipes."""
    return list(RECIPES)


def recipe(name: str) -> Recipe:
    """Return the recipe ``name``, or say which is nearest."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1)
        raise UserError(f"Recipe must be one that hwbnn has, not {name!r}"
                        + (f"; did you mean {near[0]!r}? " if near else "; ") + "`hwbnn train --list` names all")
    return RECIPES[name]
