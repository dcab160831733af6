"""Binary-Weight-Networks and XNOR-Net without its scales of inputs."""

from dataclasses import dataclass

from hwbnn_train.quantizers import MeanScaledSign, Quantizer, Sign, Uniform
from hwbnn_train.recipes.networks import Network

__all__ = ["XnorNet"]


@dataclass(frozen=True, kw_only=True)
class XnorNet(Network):
    """XNOR-Net and BWN (arXiv:1603.05279): weights of one bit times their filter's mean magnitude.

    With activations of one bit it is XNOR-Net without the scale ``K`` of each input patch, which cost the authors less
    than a point and would cost hardware a real multiplication; with more it is a Binary-Weight-Network, whose
    activations the paper leaves real. The paper keeps the first and the last layer real; here they are binary. The
    authors' code subtracts their mean from the real weights in every step, which is not done here, and clips them,
    which is.

    Parameters
    ----------
    activation_bits : :class:`int`
        Bits of the hidden activations; 1 is the sign.
    """

    name: str = "xnor-mlp"
    activation_bits: int = 1

    def weight(self, outputs: int) -> Quantizer:
        return MeanScaledSign()

    def activation(self) -> Quantizer:
        if self.activation_bits == 1:
            return Sign(window=1.0)
        return Uniform(self.activation_bits, scale=4.0 / 2**self.activation_bits)
