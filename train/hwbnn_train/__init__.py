"""Training of binarized, ternary and low-bit networks with PyTorch, exported as QONNX.

>>> import hwbnn_train
>>> hwbnn_train.recipes()
>>> metrics = hwbnn_train.train("digits-mlp", "runs/digits")

A network of your own: build it from :mod:`~hwbnn_train.layers` and :mod:`~hwbnn_train.quantizers`, train it with any
loop and an optimizer from :mod:`~hwbnn_train.optimizers`, and hand it to :func:`export`.
"""

from hwbnn_train.comparison import compare, execute
from hwbnn_train.convert import convert
from hwbnn_train.diagnostics import diagnose
from hwbnn_train.export import export
from hwbnn_train.layers import QuantConv2d, QuantLinear
from hwbnn_train.operations import operations
from hwbnn_train.plots import plot
from hwbnn_train.quantizers import Grid, Quantizer, Sign, Uniform
from hwbnn_train.recipe import Recipe
from hwbnn_train.recipes import recipes
from hwbnn_train.settings import with_settings
from hwbnn_train.settle import settle
from hwbnn_train.summary import summary
from hwbnn_train.training import train

__all__ = [
    "Grid", "QuantConv2d", "QuantLinear", "Quantizer", "Recipe", "Sign", "Uniform", "compare", "convert", "diagnose",
    "execute", "export", "operations", "plot", "recipes", "settle", "summary", "train", "with_settings",
]
