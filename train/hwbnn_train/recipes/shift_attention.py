"""Shift attention layers: convolutions that end with one tap in each kernel."""

from dataclasses import dataclass

import torch
from torch import nn

from hwbnn_train.layers import QuantConv2d
from hwbnn_train.quantizers import OneTap, Quantizer, Sign, Uniform
from hwbnn_train.recipes.networks import Network

__all__ = ["ShiftAttention"]


@dataclass(frozen=True, kw_only=True)
class ShiftAttention(Network):
    """Shift attention layers (arXiv:1905.12300), in every convolution but the first, as in the paper.

    A ninth of the weights remains, each with the number of its tap. The inverse temperature grows exponentially
    with every step; the factor follows from the number of steps, not from a count for another batch size.
    The authors' CIFAR-10 networks have 20 to 70 and real weights.

    Parameters
    ----------
    weight_bits, activation_bits : :class:`int`
        Of weights (1: the sign) and of hidden activations, rectified.
    cold, hot : :class:`float`
        The inverse temperature at the beginning and at the end.
    attention_lr_scale : :class:`float`
        Factor on the learning rate of the attention.
    """

    name: str = "shift-attention-conv"
    channels: tuple[int, ...] = (32, 48, 64)
    hidden: tuple[int, ...] = ()
    weight_bits: int = 4
    activation_bits: int = 4
    cold: float = 1.0
    hot: float = 50.0
    attention_lr_scale: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        self.check_numbers(positive=("cold", "hot", "attention_lr_scale"))
        if not 0 < self.cold <= self.hot:
            raise ValueError(f"ShiftAttention cold and hot must satisfy 0 < cold <= hot, not cold={self.cold!r} and "
                             f"hot={self.hot!r}")

    def weight(self, outputs: int) -> Quantizer:
        if self.weight_bits == 1:
            return Sign()
        return Uniform(self.weight_bits, scale=2.0**(1 - self.weight_bits), signed=True, window=float("inf"))

    def activation(self) -> Quantizer:
        return Uniform(self.activation_bits, scale=4.0 / 2**self.activation_bits)

    def model(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        model = super().model(shape, classes)
        convolutions = [layer for layer in model.modules() if isinstance(layer, QuantConv2d)]
        for layer in convolutions[1:]:
            layer.quantize_weight = OneTap(tuple(layer.weight.shape), layer.quantize_weight, temperature=self.cold,
                                           lr_scale=self.attention_lr_scale)
        return model

    @torch.no_grad()
    def advance(self, model: nn.Module, progress: float) -> None:
        for module in model.modules():
            if isinstance(module, OneTap):
                module.temperature.fill_(self.cold * (self.hot / self.cold)**progress)
