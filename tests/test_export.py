"""Export: qonnx's executor computes what torch computes, and what has no meaning in hardware is refused by name."""

import re

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from torch import nn

from hwbnn.errors import UserError
from hwbnn.ir import Levels
from hwbnn_train import Grid, QuantConv2d, Quantizer, QuantLinear, Sign, Uniform, compare, execute, export
from hwbnn_train.models import mlp


def binary(fan_in, fan_out, input):
    return QuantLinear(fan_in, fan_out, weight=Sign(), input=input)


def network(seed=0, pixels=(12,), hidden=(8, 6), classes=4, input=None):
    """Return a network with batch norms as after training: some gains negative, statistics not 0 and 1."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = mlp(int(np.prod(pixels)), hidden, classes, input=input or Uniform(4), layer=binary,
                    activation=lambda: Sign(window=1.0), flatten=len(pixels) > 1)
        for layer in model:
            if isinstance(layer, nn.BatchNorm1d):
                layer.weight.data.normal_()
                layer.bias.data.normal_()
                layer.running_mean.normal_(0, 3)
                layer.running_var.uniform_(0.5, 40)
    return model.eval()


def pictures(count, shape, seed=0):
    return np.random.default_rng(seed).integers(0, 17, (count, *shape)).astype(np.float32)


@given(seed=st.integers(0, 10**6), pixels=st.sampled_from([(12,), (1, 3, 4)]), depth=st.integers(1, 3),
       classes=st.integers(2, 5))
@settings(max_examples=8)  # qonnx makes a session of onnxruntime per node
def test_qonnx_computes_what_torch_computes(seed, pixels, depth, classes):
    model = network(seed, pixels, (8, 6, 7)[:depth], classes)
    x = pictures(40, pixels, seed)
    proto = export(model, pixels)
    with torch.no_grad():
        expected = model(torch.tensor(x)).numpy()
    got = execute(proto, x)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    assert np.array_equal(got.argmax(axis=1), expected.argmax(axis=1))
    assert compare(model, proto, x).difference == np.abs(got - expected).max()


def test_model_is_valid_and_runs_as_it_is():
    proto = export(network(), (12,), properties={"recipe": "x", "seed": 3})
    onnx.checker.check_model(proto)
    x = pictures(1, (12,))
    assert np.array_equal(execute_onnx(ModelWrapper(proto), {"images": x})["logits"], execute(proto, x))
    assert {p.key: p.value for p in proto.metadata_props} == {"recipe": "x", "seed": "3"}


def test_names_are_those_of_the_layers():
    proto = export(network(hidden=(8,)), (12,))
    assert [(node.op_type, node.name) for node in proto.graph.node] == [
        ("Quant", "fc1_input"), ("BipolarQuant", "fc1_weight_quant"), ("MatMul", "fc1"), ("BatchNormalization", "bn1"),
        ("BipolarQuant", "fc2_input"), ("BipolarQuant", "fc2_weight_quant"), ("MatMul", "fc2"),
        ("BatchNormalization", "bn2")]
    assert [i.name for i in proto.graph.input] == ["images"] and [o.name for o in proto.graph.output] == ["logits"]


def test_stored_weights_are_the_quantized_ones():
    model = network()
    proto = export(model, (12,))
    stored = {i.name: onnx.numpy_helper.to_array(i) for i in proto.graph.initializer}
    assert np.array_equal(stored["fc1_weight"], np.where(model.fc1.weight.detach().numpy() >= 0, 1, -1).T)


def test_sequences_nest_and_dropout_vanishes():
    inner = network(hidden=(8,))
    nested = nn.Sequential(nn.Sequential(inner.fc1, inner.bn1), nn.Dropout(0.5), nn.Identity(), inner.fc2, inner.bn2)
    proto = export(nested.eval(), (12,))
    assert "0_0" in [node.name for node in proto.graph.node]
    x = pictures(5, (12,))
    assert np.array_equal(execute(proto, x), execute(export(inner, (12,)), x))


def test_layer_that_comes_twice():
    act = Sign()
    model = nn.Sequential(act, QuantLinear(4, 4, weight=Sign()), act, QuantLinear(4, 2, weight=Sign())).eval()
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    assert compare(model, export(model, (4,)), x) == (0, 0)


def test_model_without_layers():
    with pytest.raises(UserError, match=r"^Model must have at least one layer that does something, and it has none$"):
        export(nn.Sequential(nn.Identity()), (4,))


def test_layer_bias_standalone_quantizer_and_plain_batch_norm():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(Uniform(3, signed=True, narrow=True, scale=0.5),
                              QuantLinear(6, 4, weight=Uniform(2, signed=True, narrow=True, scale=0.25), bias=True),
                              nn.BatchNorm1d(4, affine=False), Sign(window=1.0)).eval()
        model[1].bias.data.normal_()
    x = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32)
    proto = export(model, (6,))
    assert [n.op_type for n in proto.graph.node] == ["Quant", "Quant", "MatMul", "Mul", "Add", "BatchNormalization",
                                                     "BipolarQuant"]
    assert compare(model, proto, x).difference <= 1e-5


def test_convolutions_of_every_kind():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            QuantConv2d(2, 4, (3, 2), padding=(1, 0), stride=(2, 1), dilation=(1, 2), weight=Sign(), input=Uniform(2),
                        bias=True),
            nn.MaxPool2d(3, stride=1, padding=1), nn.BatchNorm2d(4),
            QuantConv2d(4, 6, 1, groups=2, weight=Sign(), input=Sign()), nn.Flatten(),
            QuantLinear(6 * 4 * 5, 3, weight=Sign(), input=Sign())).eval()
        model[0].bias.data.normal_()
    x = np.random.default_rng(0).integers(0, 4, (10, 2, 7, 7)).astype(np.float32)
    proto = export(model, (2, 7, 7))
    onnx.checker.check_model(proto, full_check=True)
    assert compare(model, proto, x).difference <= 1e-5


@pytest.mark.parametrize(("levels", "bits", "signed", "narrow"), [
    (Levels(0, 1), 1, 0, 0), (Levels(0, 15), 4, 0, 0), (Levels(-1, 1), 2, 1, 1), (Levels(-4, 3), 3, 1, 0),
    (Levels(-127, 127), 8, 1, 1)])
def test_levels_as_attributes(levels, bits, signed, narrow):
    proto = export(nn.Sequential(Fixed(levels)), (3,))
    node = proto.graph.node[0]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    stored = {i.name: onnx.numpy_helper.to_array(i) for i in proto.graph.initializer}
    assert stored[node.input[3]] == bits
    assert attributes == {"signed": signed, "narrow": narrow, "rounding_mode": b"ROUND"}


class Fixed(Quantizer):
    def __init__(self, levels):
        super().__init__()
        self.levels = levels

    def grid(self, x):
        return Grid(self.levels, torch.tensor(1.0))


# refusals

NOT = "Layer bad must be one that can become hardware, not"


@pytest.mark.parametrize(("layer", "shape", "message"), [
    (nn.Linear(3, 2), (3,), f"{NOT} Linear: its weights are real numbers; use a layer with a weight quantizer"),
    (nn.LayerNorm(3), (3,), f"{NOT} LayerNorm: it normalizes by statistics of each image; use batch normalization"),
    (nn.Softmax(1), (3,), f"{NOT} Softmax: it mixes channels; leave it to the loss, the largest logit is the class"),
    (nn.GELU(), (3,), f"{NOT} GELU: the exporter knows no integer form of it"),
    (nn.Flatten(2), (3, 4, 5), "Layer bad must flatten all axes but the batch, not 2 to -1"),
    (nn.BatchNorm1d(3, track_running_stats=False), (3,),
     "Layer bad must keep running statistics to become hardware, and it does not"),
    (QuantLinear(4, 2, weight=Sign()), (3,), "Layer bad must get 4 values per image, not shape (3,)"),
    (QuantConv2d(4, 2, 3, weight=Sign()), (3, 8, 8), "Layer bad must get 4 channels of pixels, not shape (3, 8, 8)"),
    (QuantConv2d(3, 2, 3, padding="same", weight=Sign()), (3, 8, 8),
     "Layer bad must be padded with a number of zeros, not zeros 'same'"),
    (nn.MaxPool2d(2, ceil_mode=True), (3, 8, 8), "Layer bad must pool without ceil_mode, dilation and indices"),
    (nn.MaxPool2d(2), (3,), "Layer bad must get channels of pixels, not shape (3,)"),
    (Fixed(Levels(0, 5)), (3,), "Quantizer bad must have levels that a Quant node can give, not 0..5"),
])
def test_layers_that_cannot_become_hardware(layer, shape, message):
    model = nn.Sequential()
    model.add_module("bad", layer)
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        export(model, shape)


def test_model_that_is_no_sequence():
    with pytest.raises(UserError, match=r"^Layer at the top must be one that can become hardware, not Transformer: "
                                        r"the exporter knows no integer form of it$"):
        export(nn.Transformer(8, 2, 1, 1, 8, batch_first=True), (3,))


@pytest.mark.parametrize(("tensor", "named"), [("fc1.weight", "fc1.weight"), ("bn1.weight", "bn1.scale"),
                                               ("bn2.running_var", "bn2.var")])
def test_tensor_that_is_not_finite(tensor, named):
    model = network()
    model.state_dict()[tensor].view(-1)[0] = float("nan")
    with pytest.raises(UserError, match=f"^Tensor {named} must be finite to become hardware, and it is not$"):
        export(model, (12,))


def test_difference_is_found():
    model = network()
    proto = export(model, (12,))
    model.bn3.bias.data[0] += 1e-3
    with pytest.raises(RuntimeError, match=r"^Exported model must give torch's logits, and on image \d+ they differ by "
                                           r"0\.00\d+$"):
        compare(model, proto, pictures(5, (12,)))
