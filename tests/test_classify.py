import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwbnn import golden, ir
from hwbnn.classify import classifier
from hwbnn.errors import UserError


def tail(acc, gain, bias):
    """A batch norm on the last accumulators, in the graph's float32."""
    return (acc.astype(np.float32) * gain.astype(np.float32)[:, None] + bias.astype(np.float32)[:, None])


def network(levels, channels, values=None, scale=None, bias=None):
    """The accumulators enter as the input: only the output stage is under test."""
    return ir.Network("logits", ir.Input("x", (channels,), (channels,), levels), (
        ir.MatMul("pass", ("x",), ("acc",), np.eye(channels, dtype=int), ir.BINARY),),
        (ir.Output("y", "acc", (channels,), scale, bias, values),))


@given(st.integers(2, 6), st.integers(1, 40), st.sampled_from([1, 2]), st.integers(0, 2**32 - 1))
def test_class_is_the_argmax_of_the_floats_for_every_pair_of_values(channels, reach, step, seed):
    rng = np.random.default_rng(seed)
    levels = ir.Levels(-reach * step, reach * step, step)
    acc = network(levels, channels).tensors["acc"].levels
    gain, bias = rng.normal(0.1, 0.05, channels), rng.normal(size=channels)
    if rng.random() < 0.3:  # provoke exact ties
        gain[1:], bias[1:] = gain[0], bias[0]
    net = network(levels, channels, values=tail(np.tile(acc.values(), (channels, 1)), gain, bias))
    x = rng.choice(levels.values(), (200, channels))
    exact = classifier(net)
    if exact.metadata["classifier"]["pairs_ordered_otherwise"] == 0:
        assert np.array_equal(golden.integers(exact, x)[:, 0], golden.run(net, x).argmax(axis=1))
    assert exact.metadata["classifier"]["pairs_ordered_otherwise"] <= 1e-3 * (len(acc) * channels) ** 2


def test_equal_gains_need_no_affine():
    net = classifier(network(ir.BIPOLAR, 3, scale=np.full(3, 0.5), bias=np.full(3, 7.0)))
    assert [node.op for node in net.nodes] == ["MatMul", "TopK"]
    assert golden.classes(net, [[-1, 1, 1], [-1, -1, -1]]).tolist() == [1, 0]


def test_falling_class():
    values = np.array([[3, 1, -1], [-2, 0, 2]], np.float32)  # class 0 falls as its integer grows
    net = network(ir.TERNARY, 2, values=values)
    x = np.array([[a, b] for a in (-1, 0, 1) for b in (-1, 0, 1)])
    assert golden.classes(classifier(net), x).tolist() == golden.run(net, x).argmax(axis=1).tolist()


def test_class_numbers_pass_through():
    net = classifier(network(ir.BIPOLAR, 3, scale=np.ones(1), bias=np.zeros(1)))
    assert classifier(net) is net


def test_feature_map_has_no_class():
    net = ir.Network("map", ir.Input("x", (2, 2, 3), (2, 2, 3), ir.BIPOLAR), (),
                     (ir.Output("y", "x", (2, 2, 3), np.ones(1), np.zeros(1)),))
    with pytest.raises(UserError, match=r"^Class output must come from a vector of at least 2 logits, not from "
                                        r"shape \(2, 2, 3\); compile with --output logits$"):
        classifier(net)


def test_curved_logits_are_refused():
    values = np.array([[0, 1, 8], [0, 1, 2]], np.float32)
    with pytest.raises(UserError, match=r"^Logits of logits must be an affine function of their integers to be "
                                        r"compared in hardware, and class 0 is not; compile with --output logits$"):
        classifier(network(ir.TERNARY, 2, values=values))
