"""The network of real numbers that quantized ones are compared with."""

from dataclasses import dataclass

from hwbnn_train.layers import glorot
from hwbnn_train.quantizers import Quantizer, Real, Rectified
from hwbnn_train.recipes.networks import Network

__all__ = ["RealNetwork"]


@dataclass(frozen=True, kw_only=True)
class RealNetwork(Network):
    """Real weights, rectified activations, Adam; trained and measured like the others, and not exported."""

    name: str = "float-mlp"
    lr: float = 1e-3
    lr_end: float = 1e-5
    exported: bool = False

    def weight(self, outputs: int) -> Quantizer:
        return Real()

    def activation(self) -> Quantizer:
        return Rectified()

    def layer_options(self, fan_in: int, fan_out: int) -> dict:
        return {"limit": float("inf"), "spread": 2.0 * glorot(fan_in, fan_out), "lr_scale": 1.0}
