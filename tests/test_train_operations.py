"""Operations against counts made by hand, and weights that are states in their bits."""

import dataclasses
import math

import pytest
import torch
from torch import nn

import hwbnn_train
from hwbnn.cost.gating import KINDS
from hwbnn_train import QuantConv2d, QuantLinear, Sign, Uniform
from hwbnn_train import checkpoint as checkpoints
from hwbnn_train.layers import Quantized
from hwbnn_train.operations import Counts, operations
from hwbnn_train.packing import memory, pack, pack_states, spaces, unpack, unpack_states
from hwbnn_train.quantizers import MeanScaledSign, Real, States, Steps, TernaryWeights, TrainedTernary
from hwbnn_train.quantizers.discrete import bits, snap
from hwbnn_train.recipes import recipe

BITS = {0: 1, 1: 2, 2: 3, 3: 4, 4: 5, 7: 8, 8: 9}


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


# operations

def test_gated_xnors_by_hand():
    layer = QuantLinear(3, 2, weight=States(1), input=Steps(1))
    layer.weight.data = torch.tensor([[1.0, 0.0, -1.0], [0.0, 0.0, 1.0]])
    found = operations(nn.Sequential(layer), torch.tensor([[1.0, 2.0, 0.0], [1.0, 0.0, -3.0]]))
    (row,) = found.layers
    # live: image 0: input 0 with row 0, none with row 1; image 1: inputs 0 and 2 with row 0, input 2 with row 1
    assert (row.name, row.kind, row.products, row.sums) == ("0", "ternary (gated XNOR)", 6, 2)
    assert row.counts == found.total == found.kinds["ternary (gated XNOR)"] == Counts(0, 0, 2.0, 1.5, 1 - 2 / 6)
    assert found.kinds == {
        "full precision": Counts(6, 6, 0, 0, 0), "binary weights": Counts(0, 6, 0, 0, 0),
        "ternary weights": Counts(0, 3, 0, 0, 0.5), "binary (XNOR)": Counts(0, 0, 6, 2, 0),
        "ternary (gated XNOR)": Counts(0, 0, 2.0, 1.5, 1 - 2 / 6)}


def test_convolution_without_its_padding():
    layer = QuantConv2d(1, 2, 3, padding=1, weight=Sign(), input=Sign())
    (row,) = operations(nn.Sequential(layer), torch.randn(3, 1, 4, 4)).layers
    products = 2 * (4 * 9 + 8 * 6 + 4 * 4)  # inner pixels, edges, corners
    assert (row.products, row.sums) == (products, 32) and row.counts == Counts(0, 0, products, 32, 0)


@pytest.mark.parametrize(("weight", "input", "kind"), [
    (Sign(), Sign(), "binary (XNOR)"), (MeanScaledSign(), Uniform(4), "binary weights"),
    (Sign(), Steps(), "ternary (gated XNOR)"), (Sign(), None, "binary weights"),
    (TernaryWeights(per_filter=True), Uniform(4), "ternary weights"),
    (TrainedTernary(bits=4), Uniform(4), "ternary weights"), (States(1), Sign(), "ternary (gated XNOR)"),
    (States(0), Sign(), "binary (XNOR)"), (States(2), Steps(), "full precision"),
    (Uniform(4, signed=True, scale=0.125), Sign(), "full precision"), (Real(), Real(), "full precision"),
])
def test_kind_follows_from_the_quantizers(weight, input, kind):
    (row,) = operations(nn.Sequential(QuantLinear(5, 4, weight=weight, input=input)), torch.randn(3, 5)).layers
    assert row.kind == kind and kind in KINDS


def test_uniform_states_rest_as_in_the_table():
    layer = QuantLinear(300, 300, weight=States(1), input=Steps())
    layer.weight.data = torch.randint(-1, 2, (300, 300)).float()
    found = operations(nn.Sequential(layer), torch.randint(-1, 2, (200, 300)).float())
    assert found.kinds["ternary weights"].resting == pytest.approx(1 / 3, abs=0.01)
    assert found.total.resting == pytest.approx(5 / 9, abs=0.01)


def test_total_is_the_sum_of_layers():
    model = nn.Sequential(QuantLinear(8, 6, weight=States(1), input=Uniform(4)), nn.BatchNorm1d(6),
                          QuantLinear(6, 4, weight=States(1), input=Steps()))
    found = operations(model, torch.rand(20, 8) * 9)
    first, second = found.layers
    assert (first.kind, second.kind) == ("ternary weights", "ternary (gated XNOR)")
    for field in ("multiplications", "accumulations", "xnors", "bitcounts"):
        assert getattr(found.total, field) == getattr(first.counts, field) + getattr(second.counts, field)
    assert found.total.resting == pytest.approx(1 - (first.counts.accumulations + second.counts.xnors) / 72)


def test_operations_of_a_token():
    model = dataclasses.replace(recipe("qnn-lstm"), units=8).model((5,), 9)
    found = operations(model, torch.randint(9, (4, 5)))
    assert [(row.name, row.products) for row in found.layers] == [("recurrent.hidden", 8 * 32), ("output", 8 * 9)]


# weights that are states

@pytest.mark.parametrize("n", sorted(BITS))
def test_every_state_comes_back(n):
    w = snap(torch.linspace(-1, 1, 1029).reshape(3, 7, 49), n)
    packed = pack(w, n)
    assert bits(n) == States(n).training_bits == BITS[n]
    assert packed.dtype == torch.uint8 and packed.shape == (BITS[n], math.ceil(1029 / 8))
    assert torch.equal(unpack(packed, n, tuple(w.shape)), w)


def test_what_are_no_states_stays():
    w = torch.tensor([[1.0, -1.0], [0.0, 0.25]])
    tensors = {"mean": w, "states": w.round(), "zero": torch.tensor([-0.0, 1.0]), "other": w}
    packed = pack_states(tensors, {"mean": 1, "states": 1, "zero": 1})
    assert packed["mean"] is w and packed["other"] is w and isinstance(packed["zero"], torch.Tensor)
    assert packed["states"]["packed"].nbytes == 2
    assert torch.equal(unpack_states(packed, {"mean": 1, "states": 1})["states"], w.round())


def test_memory():
    model = nn.Sequential(QuantLinear(7, 3, weight=States(1)), nn.BatchNorm1d(3), QuantLinear(3, 2, weight=Sign()))
    moments = {0: {"step": torch.zeros(()), "exp_avg": torch.zeros(3, 7), "exp_avg_sq": torch.zeros(3, 7)}}
    assert spaces(model) == {"0.weight": 1}
    assert memory(model, moments) == {"weights": 27, "bytes": 6 + 4 * 6, "real_bytes": 4 * 27, "optimizer_bytes": 168}


def test_low_precision_keeps_its_storage_format():
    model = recipe("low-precision-mlp").model((4,), 3)
    assert {layer.quantize_weight.training_bits for layer in model.modules() if isinstance(layer, Quantized)} == {12}


GXNOR = dataclasses.replace(recipe("gxnor-mlp"), data="digits", hidden=(48, 48), epochs=2)


def stored(file):
    return checkpoints.load(file, torch.load(file, weights_only=True)["config"])


@pytest.mark.parametrize("n", [0, 1, 8])
def test_resumed_from_packed_weights(tmp_path, n):
    """An interrupted training ends, bit for bit, in the network of one that was not, and its file is smaller."""
    chosen = dataclasses.replace(GXNOR, weight_states=n, exported=False)
    whole = hwbnn_train.train(chosen, tmp_path / "whole", progress=False)

    class Interrupted(type(chosen)):
        def learning_rate(self, epoch):
            if epoch == 1:
                raise KeyboardInterrupt
            return super().learning_rate(epoch)

    with pytest.raises(KeyboardInterrupt):
        hwbnn_train.train(Interrupted(**dataclasses.asdict(chosen)), tmp_path / "part", progress=False)
    again = hwbnn_train.train(chosen, tmp_path / "part", resume=True, progress=False)
    assert (again["accuracy"], again["loss"]) == (whole["accuracy"], whole["loss"])
    one, other = (stored(tmp_path / name / "checkpoint.pt") for name in ("whole", "part"))
    assert one.model.keys() == other.model.keys()
    assert all(torch.equal(one.model[name], other.model[name]) for name in one.model)
    raw = torch.load(tmp_path / "whole" / "checkpoint.pt", weights_only=True)
    assert raw["model"]["fc2.weight"]["packed"].shape == (bits(n), 48 * 48 // 8)
    assert raw["best"]["model"]["fc1.weight"]["shape"] == (48, 64)
    assert whole["training_memory"]["bytes"] == (64 * 48 + 48 * 48 + 48 * 10) * bits(n) // 8


def test_checkpoint_of_before_is_resumed(tmp_path):
    whole = hwbnn_train.train(dataclasses.replace(GXNOR, exported=False), tmp_path, progress=False)
    file = tmp_path / "checkpoint.pt"
    content = {**vars(stored(file)), "format": 2}
    del content["spaces"]
    torch.save(content, file)
    again = hwbnn_train.train(dataclasses.replace(GXNOR, exported=False), tmp_path, resume=True, progress=False)
    assert again["loss"] == whole["loss"]
