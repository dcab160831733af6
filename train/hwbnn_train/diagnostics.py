"""What a trained network looks like inside, layer by layer, measured on images."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hwbnn_train.layers import Quantized
from hwbnn_train.quantizers import States, TrainedTernary

__all__ = ["LayerReport", "Probe", "diagnose", "probes", "weight_values"]

_RANDOM_ANGLES = {2: 37.07, 3: 25.85, None: None}  # degrees: arccos sqrt(2 / pi); at a threshold of 0.612 sigma


@dataclass(frozen=True)
class LayerReport:
    """One layer with quantized weights.

    Parameters
    ----------
    name : :class:`str`
        Of the layer in the model.
    weights : :class:`int`
        How many, in training.
    stored : :class:`int`
        How many of them hardware stores.
    bits : :class:`int`
        That hardware stores for a weight, with its place where it has to be known.
    training_bits : :class:`int`
        That training must keep for a weight between steps, without the optimizer's moments: 32 of a real number, or
        fewer where the weights are states and no real ones stand behind them.
    zeros : :class:`float`
        Share of the weights that are 0.
    angle : :class:`float`
        Degrees between the real and the quantized weights.
    random_angle : :class:`float` or None
        What a random direction has in high dimensions (Anderson and Berg, arXiv:1705.07199): 37.07 with its signs, and
        with the ternary values nearest to it at least 25.85; None where weights have more values or are states.
    proportionality : :class:`float`
        Correlation, over images and outputs, of the products with the real and with the quantized weights (dot product
        proportionality, same paper); 1 where the weights are states.
    input_proportionality : :class:`float`
        The same of the products of the quantized weights with the inputs before and behind their quantizer.
    resting : :class:`float`
        Share of the products of an input and a weight that need no work because one of them is 0 (GXNOR-Net,
        arXiv:1705.09283); padding is not counted.
    dead : :class:`float`
        Share of the layer's inputs that have the same value on all images.
    """

    name: str
    weights: int
    stored: int
    bits: int
    training_bits: int
    zeros: float
    angle: float
    random_angle: float | None
    proportionality: float
    input_proportionality: float
    resting: float
    dead: float


@dataclass(frozen=True, eq=False)
class Probe:
    """The tensors of one layer that a report is made of.

    ``inputs`` are quantized; ``products`` are those of quantized inputs and weights, ``with_real_weights`` and
    ``with_real_inputs`` have one of the two as it was before its quantizer.
    """

    layer: Quantized
    inputs: Tensor
    real: Tensor
    quantized: Tensor
    products: Tensor
    with_real_weights: Tensor
    with_real_inputs: Tensor


@torch.no_grad()
def probes(model: nn.Module, x: Tensor) -> dict[str, Probe]:
    """Return, by layer, the tensors that the images ``x`` (N x ...) give in evaluation mode."""
    received: dict[str, Tensor] = {}
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, Quantized)}

    def keep(name: str):
        def hook(layer: Quantized, inputs: tuple[Tensor, ...]) -> None:
            received[name] = inputs[0]
        return hook

    model.eval()
    handles = [layer.register_forward_pre_hook(keep(name)) for name, layer in layers.items()]
    try:
        model(x.float())
    finally:
        for handle in handles:
            handle.remove()
    return {name: _probe(layer, received[name]) for name, layer in layers.items() if name in received}


def _probe(layer: Quantized, x: Tensor) -> Probe:
    a = x if layer.quantize_input is None else layer.quantize_input(x)
    real, quantized = layer.weight, layer.quantize_weight(layer.weight)
    return Probe(layer, a, real, quantized, layer.product(a, quantized, None), layer.product(a, real, None),
                 layer.product(x, quantized, None))


def diagnose(model: nn.Module, x: Tensor) -> list[LayerReport]:
    """Return a report of each layer of ``model`` that has quantized weights, for the images ``x`` (N x ...).

    Of a recurrent layer the last step is looked at, and not what looks up tokens, which multiplies nothing.
    """
    return [_report(name, probe) for name, probe in probes(model, x).items()]


@torch.no_grad()
def _report(name: str, probe: Probe) -> LayerReport:
    layer, a, quantized = probe.layer, probe.inputs, probe.quantized
    stored, bits = layer.quantize_weight.stored(probe.real)
    live = layer.product((a != 0).float(), (quantized != 0).float(), None).sum(dtype=torch.float64)
    products = layer.product(torch.ones_like(a), torch.ones_like(quantized), None).sum(dtype=torch.float64)
    return LayerReport(
        name=name,
        weights=quantized.numel(),
        stored=stored,
        bits=bits,
        training_bits=layer.quantize_weight.training_bits,
        zeros=float((quantized == 0).float().mean()),
        angle=_angle(probe.real, quantized),
        random_angle=None if isinstance(layer.quantize_weight, States) else _RANDOM_ANGLES[weight_values(layer)],
        proportionality=_correlation(probe.with_real_weights, probe.products),
        input_proportionality=_correlation(probe.with_real_inputs, probe.products),
        resting=float(1.0 - live / products),
        dead=float((a == a[:1]).all(dim=0).float().mean()),
    )


def weight_values(layer: Quantized) -> int | None:
    """Return 2 where weights are -1 and +1 or ternary ones' 3, up to scales; None where they have more values."""
    if isinstance(layer.quantize_weight, TrainedTernary):
        return 3  # whose two magnitudes differ
    levels = layer.quantize_weight.grid(layer.weight).levels
    if levels is None:
        return None
    return 2 if levels.is_bipolar else 3 if levels.is_ternary else None


def _angle(u: Tensor, v: Tensor) -> float:
    cosine = torch.nn.functional.cosine_similarity(u.flatten().double(), v.flatten().double(), dim=0)
    return float(torch.rad2deg(torch.acos(cosine.clamp(-1.0, 1.0))))


def _correlation(u: Tensor, v: Tensor) -> float:
    u, v = (t.flatten().double() - t.double().mean() for t in (u, v))
    return float((u @ v) / (u.norm() * v.norm()).clamp(min=1e-300))
