"""BNN+: BinaryNet with trained scales, a regularizer towards them, and a smooth slope of the sign."""

from dataclasses import dataclass

from hwbnn_train.quantizers import Quantizer, ScaledSign, SwishSign
from hwbnn_train.recipes.networks import Network

__all__ = ["BnnPlus"]


@dataclass(frozen=True, kw_only=True)
class BnnPlus(Network):
    """BNN+ (arXiv:1812.11800).

    The weight of the regularizer and the steepness were chosen on MNIST's validation split. The paper learns the
    steepness, but for ImageNet, and larq fixes it at 5; the regularizer's weight is said to be 1e-6, which under Adam
    overrules the loss in a network as easy as this, whose gradients by single weights are no larger: the signs then
    stop changing after three epochs.

    Parameters
    ----------
    regularizer : :class:`str`
        ``manhattan`` (R1) or ``euclidean`` (R2).
    rate : :class:`float`
        Its weight in the loss.
    beta : :class:`float`
        Steepness of the slope of the sign.
    learned_beta : :class:`bool`
        Whether each layer learns its own, which ``beta`` is the first value of.
    averaging : :class:`float`
        As in BinaryNet's recipe, with which this one is compared.
    """

    name: str = "bnnplus-mlp"
    regularizer: str = "manhattan"
    rate: float = 1e-8
    beta: float = 2.0
    learned_beta: bool = False
    recalibration: int = 5000
    averaging: float = 0.9995

    def __post_init__(self):
        super().__post_init__()
        self.check_numbers(unsigned=("rate",), positive=("beta",))

    def weight(self, outputs: int) -> Quantizer:
        return ScaledSign(outputs, kind=self.regularizer, rate=self.rate)

    def activation(self) -> Quantizer:
        return SwishSign(self.beta, learned=self.learned_beta)
