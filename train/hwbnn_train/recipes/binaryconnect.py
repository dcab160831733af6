"""BinaryConnect: binary weights, rectified activations of a few bits."""

from dataclasses import dataclass

from hwbnn_train.quantizers import Quantizer, Sign, StochasticSign, Uniform
from hwbnn_train.recipes.networks import Network

__all__ = ["BinaryConnect"]


@dataclass(frozen=True, kw_only=True)
class BinaryConnect(Network):
    """BinaryConnect (arXiv:1511.00363), deterministic or stochastic.

    The paper's activations are real rectifiers. Hardware wants a few bits, so the rectified values 0 .. 3.75 are
    rounded to ``activation_bits`` (methods of QNN). Stochastic binarization trains an ensemble around the real
    weights; the paper evaluates those, hardware their signs, so the statistics of batch normalization are taken
    anew with the signs, and ``accuracy_real_weights`` is reported apart.

    Parameters
    ----------
    mode : :class:`str`
        ``deterministic`` or ``stochastic``.
    activation_bits : :class:`int`
        Bits of the hidden activations, unsigned.
    """

    name: str = "binaryconnect-mlp"
    mode: str = "deterministic"
    activation_bits: int = 4
    recalibration: int = 5000
    real_weights: bool = True

    def __post_init__(self):
        super().__post_init__()
        if self.mode not in ("deterministic", "stochastic"):
            raise ValueError(f"BinaryConnect mode must be deterministic or stochastic, not {self.mode!r}")

    def weight(self, outputs: int) -> Quantizer:
        return Sign() if self.mode == "deterministic" else StochasticSign()

    def activation(self) -> Quantizer:
        return Uniform(self.activation_bits, scale=4.0 / 2**self.activation_bits)
