"""The check of an export: decisions may differ where float rounding makes them, by that much, and nowhere else."""

import dataclasses
import re

import numpy as np
import pytest
import torch
from onnx import numpy_helper
from torch import nn

import hwbnn_train
from hwbnn import datasets, golden
from hwbnn.frontend import load_onnx
from hwbnn_train import QuantConv2d, QuantLinear, Sign, Uniform, compare, execute, export
from hwbnn_train.recipes import RECIPES

X = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [2, 1, 0, 0], [3, 3, 3, 3]], np.float32)  # sums 3, 2, 3, 12


def network(quantizer, *, mean=3.0, gain=1.0):
    """Two channels, the second of which reaches a decision point at the sum of ``mean``, exactly."""
    model = nn.Sequential(QuantLinear(4, 2, weight=Sign(), input=Uniform(2)), nn.BatchNorm1d(2, eps=0.0),
                          QuantLinear(2, 3, weight=Sign(), input=quantizer))
    nn.init.ones_(model[0].weight)
    model[2].weight.data = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0]])
    model[1].running_mean[:] = torch.tensor([0.5, mean])
    model[1].weight.data = torch.tensor([1.0, gain])
    return model.eval()


def changed(proto, name, index, value):
    (tensor,) = (tensor for tensor in proto.graph.initializer if tensor.name == name)
    array = numpy_helper.to_array(tensor).copy()
    array.reshape(-1)[index] = value
    tensor.CopyFrom(numpy_helper.from_array(array, name))
    return proto


def test_rounding_decides_at_a_point():
    """The least float above 3 as mean: sums of 3 are decided the other way, on two images."""
    model = network(Sign())
    proto = changed(export(model, (4,)), "1_mean", 1, np.nextafter(np.float32(3), np.float32(4)))
    assert not np.array_equal(execute(proto, X), execute(export(model, (4,)), X))
    assert compare(model, proto, X) == (0, 2)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(("quantizer", "name", "value", "image"), [
    (Sign, "1_mean", 3.001, 0),  # farther than rounding
    (Sign, "1_mean", 2.0, 1),  # another integer's side
    (lambda: Uniform(2), "1_bias", 2.0, 0),  # two levels up, from a decision point
])
def test_what_is_not_rounding_is_found(quantizer, name, value, image):
    model = network(quantizer(), mean=2.5 if name == "1_bias" else 3.0)
    proto = changed(export(model, (4,)), name, 1, value)
    message = (f"Exported model must give torch's activations, and on image {image} it does not at 2_input, though no "
               f"decision point is near")
    with pytest.raises(RuntimeError, match=f"^{re.escape(message)}$"):
        compare(model, proto, X)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("scale", [0.7, 0.25])
def test_other_levels_are_found(scale):
    model = network(Uniform(2, scale=0.5))
    proto = changed(export(model, (4,)), "2_input_scale", 0, scale)
    with pytest.raises(RuntimeError, match=r"^Exported model must give .*2_input.*$"):
        compare(model, proto, X)


def test_without_batch_normalization_nothing_is_near():
    model = nn.Sequential(QuantLinear(4, 3, weight=Sign(), input=Uniform(2))).eval()
    proto = changed(export(model, (4,)), "0_input_scale", 0, 1.0001)
    assert compare(model, export(model, (4,)), X) == (0, 0)
    with pytest.raises(RuntimeError, match=r"^Exported model must .* 0_input.*$"):
        compare(model, proto, X)


@pytest.mark.parametrize("mean", [np.nextafter(np.float32(9), np.float32(10)), 9.01])
def test_channels_of_flattened_pictures(mean):
    """Four pixels of each channel stand side by side behind flattening; only the second channel has a point at 9."""
    model = nn.Sequential(QuantConv2d(1, 2, 3, weight=Sign(), input=Uniform(2)), nn.BatchNorm2d(2, eps=0.0),
                          nn.Flatten(), QuantLinear(8, 3, weight=Sign(), input=Sign())).eval()
    nn.init.ones_(model[0].weight)
    model[1].running_mean[:] = torch.tensor([7.5, 9.0])
    x = np.ones((3, 1, 4, 4), np.float32)
    x[2] = 2
    proto = changed(export(model, (1, 4, 4)), "1_mean", 1, mean)
    if mean < 9.001:
        assert compare(model, proto, x) == (0, 2)
    else:
        with pytest.raises(RuntimeError, match=r"^Exported model must give torch's activations, and on image 0 .*$"):
            compare(model, proto, x)


@pytest.mark.parametrize(("name", "changes"), [
    ("bitpruning-mlp", {}), ("qnn-mlp", {"weight_bits": 8, "activation_bits": 8})])
def test_many_levels_are_exported(tmp_path, name, changes):
    recipe = dataclasses.replace(RECIPES[name], data="digits", hidden=(64, 64), epochs=2, **changes)
    metrics = hwbnn_train.train(recipe, tmp_path, progress=False)
    assert metrics["unclear_channels"] > 0 and metrics["export_difference"] < 1e-4
    assert metrics["export_images"] == 100 >= metrics["export_images_differing"]
    x = datasets.load("digits", "test")[0][:100]
    net = load_onnx(tmp_path / "model.onnx")
    assert golden.run(net, x).shape == (100, 10)
