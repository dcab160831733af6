"""ADaPTION: a network of real numbers, rounded to fixed point of its own ranges and tuned on."""

from dataclasses import dataclass

from torch import nn

from hwbnn_train.layers import glorot
from hwbnn_train.quantizers import QFormat, Quantizer
from hwbnn_train.recipes.networks import Network

__all__ = ["Adaption"]


@dataclass(frozen=True, kw_only=True)
class Adaption(Network):
    """ADaPTION (arXiv:1711.04713): Qm.f for each layer's weights and activations.

    The first epochs train real numbers and note their ranges; the last ones, with the ranges kept, train through the
    rounding. The paper's numbers have 16 bits; each level of an activation is a threshold in hardware, so that here
    they have 8. Validation and test are of the rounded network all along; the best epoch is one with rounding.

    Parameters
    ----------
    tuning : :class:`int`
        Epochs with rounding; the paper has 1 to 5. Half of them all where that would leave none to find ranges in.
    weight_bits, activation_bits : :class:`int`
        With the sign, which rectified activations do not use.
    stochastic : :class:`bool`
        Round at random in training.
    """

    name: str = "adaption-mlp"
    lr: float = 1e-3
    lr_end: float = 1e-5
    tuning: int = 5
    weight_bits: int = 8
    activation_bits: int = 8
    stochastic: bool = False

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.tuning, int) or self.tuning < 1:
            raise ValueError(f"Adaption tuning must be a positive integer, not {self.tuning!r}")

    def weight(self, outputs: int) -> Quantizer:
        return QFormat(self.weight_bits, stochastic=self.stochastic)

    def activation(self) -> Quantizer:
        return QFormat(self.activation_bits, rectified=True, stochastic=self.stochastic)

    def layer_options(self, fan_in: int, fan_out: int) -> dict:
        return {"limit": float("inf"), "spread": 2.0 * glorot(fan_in, fan_out), "lr_scale": 1.0}

    def ready(self, model: nn.Module) -> bool:
        return not any(module.measuring for module in model.modules() if isinstance(module, QFormat))

    def advance(self, model: nn.Module, progress: float) -> None:
        measured = self.epochs - self.phase(self.tuning)
        for module in model.modules():
            if isinstance(module, QFormat):
                module.measuring = progress < measured / self.epochs
