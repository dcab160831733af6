"""Converting networks of real numbers."""

import re
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from hwbnn.errors import UserError
from hwbnn_train import QuantConv2d, QuantLinear, compare, convert, export
from hwbnn_train.quantizers import Real, Rectified, ScaledSign, Sign, TernaryWeights, Uniform


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def float_network():
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, stride=2), nn.BatchNorm2d(4), nn.ReLU()), nn.Flatten(),
        nn.Linear(64, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 3))
    model(torch.randn(50, 1, 8, 8))
    return model.eval()


def test_real_quantizers_change_nothing():
    model = float_network()
    same = convert(model, weights=lambda outputs: Real(), activations=Rectified, input=Real())
    x = torch.randn(5, 1, 8, 8)
    assert torch.allclose(same(x), model(x), atol=1e-6)


def test_converted_network_trains_and_exports():
    model = float_network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    quantized = convert(model.train(), weights=lambda outputs: TernaryWeights(per_filter=True),
                        activations=lambda: Uniform(3, scale=0.5), input=Uniform(4))
    assert quantized.training and isinstance(quantized[0][0], QuantConv2d) and isinstance(quantized[2], QuantLinear)
    assert quantized[0][0].quantize_input.bits == 4 and quantized[2].quantize_input is None
    assert quantized[2].limit == model[2].weight.abs().max().item()
    x = torch.randint(0, 16, (20, 1, 8, 8)).float()
    quantized(x).sum().backward()
    assert all(p.grad is not None for p in quantized.parameters())
    proto = export(quantized.eval(), (1, 8, 8))
    assert compare(quantized, proto, x.numpy()).difference <= 1e-4
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_quantizers_see_the_weights_they_start_from():
    model = nn.Sequential(nn.Linear(4, 2))
    converted = convert(model, weights=ScaledSign, activations=Sign, input=Sign())
    assert np.allclose(converted[0].quantize_weight.alpha.detach(), model[0].weight.detach().abs().mean(dim=1))


def test_quantizers_are_copied_for_each_layer_and_the_input_has_a_default():
    model = float_network()
    ternary = TernaryWeights()
    converted = convert(model, weights=ternary, activations=Uniform(4))
    first, second, last = converted[0][0], converted[2], converted[6]
    assert first.quantize_input.bits == 8 and not first.quantize_input.signed and second.quantize_input is None
    assert len({ternary, first.quantize_weight, second.quantize_weight, last.quantize_weight}) == 4
    assert isinstance(converted[0][2], Uniform) and converted[0][2] is not converted[4]
    assert export(converted, (1, 8, 8)).graph.output[0].name == "logits"


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 2)

    def forward(self, x):
        return x + self.inner(x)


class Backwards(nn.Sequential):
    def forward(self, input):
        for layer in reversed(self):
            input = layer(input)
        return input


PLAIN = "ReLU, ReLU6, Hardtanh, Tanh, Sigmoid, LeakyReLU, ELU, GELU, SiLU"


@pytest.mark.parametrize(("model", "message"), [
    (nn.Linear(2, 2), "Model to convert must be a Sequential, not Linear"),
    (Backwards(nn.Linear(2, 2)), "Model to convert must be a Sequential, not Backwards"),
    (nn.Sequential(nn.ReLU()), "Model to convert must have a linear layer or a convolution, and it has none"),
    *((nn.Sequential(nn.Sequential(nn.Linear(2, 2), kind())),
       (f"Layer 0.1 must be an activation function that quantizers replace, not {kind.__name__}: replace it by one "
        f"of {PLAIN}, or by a quantizer"))
      for kind in (nn.Softplus, nn.PReLU, nn.Hardswish, nn.SELU, nn.Mish, nn.GLU)),
    (nn.Sequential(nn.Linear(2, 2), nn.Softmax(1)),
     "Layer 1 must be left to the loss, not be Softmax: it mixes channels, and the largest logit is the class"),
    (nn.Sequential(nn.Linear(2, 2), Residual()),
     ("Layer 1 must be a Sequential or a single layer, not Residual: the order of the layers inside it stands in its "
      "code")),
])
def test_what_cannot_be_converted(model, message):
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        convert(model, weights=ScaledSign, activations=Sign)


@pytest.mark.parametrize(("changes", "message"), [
    ({"weights": 2}, "Weights must have a quantizer, or a callable that makes them, not int"),
    ({"activations": nn.ReLU()}, "Activations must have a quantizer, or a callable that makes them, not ReLU"),
    ({"activations": nn.Tanh}, "Activations must have a quantizer, not Tanh"),
    ({"weights": lambda outputs: None}, "Weights must have a quantizer, not NoneType"),
    ({"input": 8}, "Input must have a quantizer, not int"),
])
def test_what_is_no_quantizer(changes, message):
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        convert(float_network(), **{"weights": Sign(), "activations": Sign(), **changes})


def test_type_and_frozen_parameters_stay():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2)).double()
    model[0].weight.requires_grad_(False)
    model[3].bias.requires_grad_(False)
    converted = convert(model, weights=ScaledSign, activations=Sign)
    assert {p.dtype for p in converted.parameters()} == {torch.float64}
    frozen = {name for name, parameter in converted.named_parameters() if not parameter.requires_grad}
    assert frozen == {"0.weight", "3.bias"}
    assert converted(torch.randn(5, 4).double()).dtype == torch.float64


def test_other_padding_is_refused():
    model = nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular")))
    with pytest.raises(UserError, match=r"^Layer conv padding_mode must be zeros, not circular$"):
        convert(model, weights=ScaledSign, activations=Sign)


@pytest.mark.parametrize("make", [Sign, lambda: Sign()])
def test_classes_that_need_no_size_are_called_without(make):
    model = nn.Sequential(nn.Linear(64, 3), nn.ReLU(), nn.Linear(3, 2))
    converted = convert(model, weights=make if isinstance(make, type) else lambda outputs: make(), activations=make)
    assert repr(converted[0].quantize_weight) == repr(converted[1]) == repr(Sign())


@pytest.mark.parametrize(("layer", "kind"), [
    (nn.Conv1d(1, 2, 3), "Conv1d"), (nn.ConvTranspose2d(1, 2, 3), "ConvTranspose2d"), (nn.LSTM(4, 2), "LSTM"),
    (nn.Embedding(4, 2), "Embedding"), (nn.LayerNorm(2), "LayerNorm")])
def test_layers_that_would_stay_real(layer, kind):
    model = nn.Sequential(layer, nn.Linear(2, 2))
    message = (f"Layer 0 must be linear, a 2-D convolution or batch normalization, not {kind}: its parameters would "
               f"stay real")
    with pytest.raises(UserError, match=f"^{message}$"):
        convert(model, weights=Sign(), activations=Sign())


@pytest.mark.parametrize("layer", [nn.Linear(4, 3), nn.LazyLinear(3)])
def test_weights_that_are_no_numbers(layer):
    if isinstance(layer, nn.Linear) and not isinstance(layer, nn.LazyLinear):
        nn.init.constant_(layer.weight, float("nan"))
    with pytest.raises(UserError, match=r"^Layer 0 weights must be finite numbers to be quantized, and they are not$"):
        convert(nn.Sequential(layer), weights=Sign(), activations=Sign())
