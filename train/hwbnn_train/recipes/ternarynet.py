"""TernaryNet: ternary weights with a scale per filter, and activations that become ternary by and by."""

from dataclasses import dataclass

from torch import nn

from hwbnn_train.quantizers import Quantizer, TernaryTanh, TernaryWeights
from hwbnn_train.recipes.networks import Network

__all__ = ["TernaryNet"]


@dataclass(frozen=True, kw_only=True)
class TernaryNet(Network):
    """TernaryNet (arXiv:1801.09449): TWN per filter, and hyperbolic tangents whose steepness grows with the steps.

    The paper's network segments computed tomographies, with its first and last convolutions real; here all weights are
    ternary. Validation and test are always of the ternary network, with its own statistics of batch normalization.

    Parameters
    ----------
    beta, beta_end : :class:`float`
        Steepness at the first step, and what it grows to, linearly.
    """

    name: str = "ternarynet-mlp"
    recalibration: int = 5000
    beta: float = 3.0
    beta_end: float = 8.0

    def __post_init__(self):
        super().__post_init__()
        self.check_numbers(positive=("beta", "beta_end"))

    def weight(self, outputs: int) -> Quantizer:
        return TernaryWeights(per_filter=True)

    def activation(self) -> Quantizer:
        return TernaryTanh(self.beta)

    def advance(self, model: nn.Module, progress: float) -> None:
        for module in model.modules():
            if isinstance(module, TernaryTanh):
                module.beta.fill_(self.beta + (self.beta_end - self.beta) * progress)
