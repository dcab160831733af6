"""BitPruning: as few bits as each layer's weights and activations need."""

from dataclasses import dataclass

from torch import Tensor, nn

from hwbnn.errors import UserError
from hwbnn_train.bitcost import WEIGHTINGS, BitCost, learned
from hwbnn_train.layers import Quantized, glorot
from hwbnn_train.quantizers import LearnedActivationBits, LearnedBits, LearnedWeightBits, Quantizer
from hwbnn_train.recipes.networks import Network

__all__ = ["BitPruning"]


@dataclass(frozen=True, kw_only=True)
class BitPruning(Network):
    """BitPruning (arXiv:2002.03090), training for minimal bitlength: the loss holds ``gamma`` times the cost of bits.

    Each layer's weights and each hidden activation have a bitlength of their own, which begins at 8. After a share of
    the training they are rounded up, and the rest fine-tunes; only then can an epoch be the best. The paper's
    gamma, rates and epochs are not known to us.

    Parameters
    ----------
    weighting : :class:`str`
        What the bits cost, one of :data:`hwbnn_train.bitcost.WEIGHTINGS`.
    gamma : :class:`float`
        Loss per bit.
    learning : :class:`float`
        Share of the training in which bits are learned.
    bits_lr_scale : :class:`float`
        Factor on the learning rate of the bits.
    technology : :class:`str`
        Where ``weighting`` is ``luts``: of which chip.
    """

    name: str = "bitpruning-mlp"
    lr: float = 1e-3
    lr_end: float = 1e-5
    weighting: str = "bits"
    gamma: float = 0.025
    learning: float = 0.5
    bits_lr_scale: float = 5.0
    technology: str = "ice40-hx8k"

    def __post_init__(self):
        super().__post_init__()
        if self.weighting not in WEIGHTINGS:
            raise ValueError(f"BitPruning weighting must be one of {', '.join(WEIGHTINGS)}, not {self.weighting!r}")
        self.check_numbers(unsigned=("gamma",))
        if not 0 < self.learning < 1:
            raise ValueError(f"BitPruning learning must lie between 0 and 1, not {self.learning!r}")

    def weight(self, outputs: int) -> Quantizer:
        return LearnedWeightBits(lr_scale=self.bits_lr_scale)

    def activation(self) -> Quantizer:
        return LearnedActivationBits(lr_scale=self.bits_lr_scale)

    def layer_options(self, fan_in: int, fan_out: int) -> dict:
        return {"limit": float("inf"), "spread": 2.0 * glorot(fan_in, fan_out), "lr_scale": 1.0}

    def check(self, examples: int, processes: int = 1) -> None:
        super().check(examples, processes)
        steps = examples // self.batch
        last = (self.epochs - 1 + (steps - 1) / steps) / self.epochs  # before the last step
        if self.learning > last:
            raise UserError(f"BitPruning learning must be at most {last:.4g}, which leaves one of "
                            f"{self.epochs * steps} steps to train with whole bits, not {self.learning!r}")

    def model(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        model = super().model(shape, classes)
        object.__setattr__(model, "bit_cost", BitCost(model, shape, self.weighting, self.technology))
        return model

    def advance(self, model: nn.Module, progress: float) -> None:
        if progress >= self.learning:
            for quantizer in learned(model):
                if not quantizer.frozen:
                    quantizer.freeze()

    def penalty(self, model: nn.Module) -> Tensor | float:
        if not self.ready(model):
            return super().penalty(model) + self.gamma * model.bit_cost()
        # frozen bits get a gradient of 0, as several processes want one of every parameter
        return super().penalty(model) + sum(0.0 * quantizer.bits for quantizer in learned(model))

    def ready(self, model: nn.Module) -> bool:
        return all(bool(quantizer.frozen) for quantizer in learned(model))

    def figures(self, model: nn.Module) -> dict[str, float]:
        layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, Quantized)]
        bits = {f"bits/{name} {what}": quantizer.current for name, layer in layers
                for what, quantizer in (("weights", layer.quantize_weight), ("inputs", layer.quantize_input))
                if isinstance(quantizer, LearnedBits)}
        return {**bits, "bits/mean": sum(bits.values()) / len(bits)}
