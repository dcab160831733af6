"""Language models: recurrent networks whose weights and activations are quantized by one of four methods."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from hwbnn_train.adam import Adam
from hwbnn_train.layers import QuantLinear
from hwbnn_train.optimizers import clip_gradients, loss_aware, parameter_groups
from hwbnn_train.quantizers import LossAware, Quantizer, Real, Sign, Uniform
from hwbnn_train.recipe import Recipe
from hwbnn_train.recurrent import LSTM, RNN, LanguageModel

__all__ = ["Language"]

_LAYERS = {"lstm": LSTM, "rnn": RNN}
_METHODS = ("float", "qnn", "binaryconnect", "lab")


@dataclass(frozen=True, kw_only=True)
class Language(Recipe):
    """Language model: a recurrent layer and a linear one that guess the next character (or word) of a text.

    Batches of sequences of 100 tokens, each from a state of zeros; Adam with gradients clipped to -clip .. clip; the
    best epoch has the lowest loss. That is the experiment of "Loss-aware Binarization" (arXiv:1611.01600)
    with fewer steps and units; QNN's (arXiv:1609.07061) rates, clipping and steps are not known to us.

    What a recurrent network remembers from step to step has no place in hardware here, so nothing is exported.

    Parameters
    ----------
    layer : :class:`str`
        ``lstm`` or ``rnn``.
    method : :class:`str`
        ``float``; ``qnn``, weights of ``weight_bits``; ``binaryconnect``, weights -1 and +1; ``lab``, those times a
        scale. The last two leave the output layer's weights real: unscaled ones would make logits too large for any
        comparison.
    units : :class:`int`
        Of the recurrent layer.
    weight_bits, activation_bits : :class:`int`
        Of the weights where the method is ``qnn``, and of activations with any method but ``float``; 32 activation bits
        are real numbers.
    clip : :class:`float`
        Bound of each gradient.
    """

    text: ClassVar[bool] = True

    name: str
    data: str = "tinyshakespeare"
    epochs: int = 10
    batch: int = 50
    lr: float = 4e-3
    lr_end: float = 4e-4
    loss: str = "cross-entropy"
    exported: bool = False
    layer: str = "lstm"
    method: str = "qnn"
    units: int = 128
    weight_bits: int = 4
    activation_bits: int = 4
    clip: float = 5.0

    def __post_init__(self):
        super().__post_init__()
        if self.layer not in _LAYERS:
            raise ValueError(f"Language layer must be one of {', '.join(_LAYERS)}, not {self.layer!r}")
        if self.method not in _METHODS:
            raise ValueError(f"Language method must be one of {', '.join(_METHODS)}, not {self.method!r}")

    def weight(self) -> Quantizer:
        """Return the quantizer of a layer's weights."""
        makers: dict[str, Callable[[], Quantizer]] = {
            "float": Real, "binaryconnect": Sign, "lab": LossAware,
            "qnn": lambda: Uniform(self.weight_bits, scale=2.0**(1 - self.weight_bits), signed=True,
                                   window=float("inf"))}
        return makers[self.method]()

    def activation(self, signed: bool) -> Quantizer:
        """Return the quantizer of activations in -1..1, or in 0..1."""
        if self.method == "float" or self.activation_bits == 32:
            return Real()
        top = 2**(self.activation_bits - signed) - 1  # the highest level, which is 1
        return Uniform(self.activation_bits, scale=1.0 / top, signed=signed, narrow=signed, window=float("inf"))

    def quantizers(self) -> tuple[Quantizer, Quantizer]:
        return self.weight(), self.activation(True)

    def model(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        spread = self.units**-0.5
        options = {"limit": float("inf") if self.method == "float" else 1.0, "spread": spread, "lr_scale": 1.0}
        recurrent = _LAYERS[self.layer](classes, self.units, weight=self.weight, activation=self.activation, **options)
        weight = self.weight() if self.method == "qnn" else Real()
        return LanguageModel(recurrent, QuantLinear(self.units, classes, weight=weight, bias=True, **options))

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        optimizer = Adam(parameter_groups(model), lr=self.lr)
        return loss_aware(clip_gradients(optimizer, self.clip), model)

    def score(self, accuracy: float, loss: float) -> tuple[float, ...]:
        return (-loss,)
