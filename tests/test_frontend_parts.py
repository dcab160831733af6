"""The parts of the importer by themselves: steps of functions, grids under floats, rewritings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zoo_onnx import GraphBuilder, check_import

from hwbnn import golden, ir
from hwbnn.frontend import grid, passes, stepping
from hwbnn.frontend.stepping import Floats, Integers, NotMonotoneError, UnknownValueError, crossings

# -- stepping --------------------------------------------------------------------------------------------


def test_floats_are_all_of_them_in_order():
    floats = Floats()
    largest = np.finfo(np.float32).max
    middle = len(floats) // 2
    at = floats.at(np.array([0, middle - 1, middle, middle + 1, len(floats) - 1]))
    tiny = np.nextafter(np.float32(0), np.float32(1))
    assert at.dtype == np.float32 and at.tolist() == [-largest, -tiny, 0, tiny, largest]
    places = np.sort(np.random.default_rng(0).integers(0, len(floats) - 1, 1000))
    x = floats.at(places)
    assert np.array_equal(np.nextafter(x, np.float32(np.inf)), floats.at(places + 1))


@given(st.data())
@pytest.mark.parametrize("exhaustive", [True, False], ids=["everywhere", "bisected"])
def test_crossings_are_where_the_function_steps(exhaustive, data):
    step = data.draw(st.integers(1, 3))
    count = data.draw(st.integers(1, 60))
    low = data.draw(st.integers(-50, 50))
    levels = ir.Levels(low, low + step * (count - 1), step)
    x = levels.values()
    values = np.array([-1.5, 0, 2, 7], np.float32)
    channels = data.draw(st.integers(1, 4))
    rising = np.array(data.draw(st.lists(st.booleans(), min_size=channels, max_size=channels)))
    cuts = np.sort(np.array(data.draw(st.lists(st.lists(st.integers(-60, 200), min_size=3, max_size=3),
                                               min_size=channels, max_size=channels))), axis=1)

    def function(v):
        turned = np.where(rising, v, -v)
        return values[(turned[..., None] >= cuts).sum(axis=-1)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stepping, "EXHAUSTIVE", 2**16 if exhaustive else 0)
        found = crossings(function, Integers(levels), values[None], channels)
    table = function(x[:, None])
    for c in range(channels):
        constant = len(set(table[:, c])) == 1
        assert found.rising[c] == (rising[c] or constant)
        ordered = table[:, c] if found.rising[c] else table[::-1, c]
        assert found.ordinals[c].tolist() == [int(np.sum(ordered < value)) for value in values[1:]]


@pytest.mark.parametrize("size", [1000, 2**20])
def test_a_turn_is_found(size):
    domain = Integers(ir.Levels(0, size - 1))
    with pytest.raises(NotMonotoneError):
        crossings(lambda v: (np.abs(v - size // 3) > size // 8).astype(np.float32), domain, np.array([[0, 1.0]]), 2)


def test_a_value_that_is_no_level_is_found():
    with pytest.raises(UnknownValueError) as error:
        crossings(lambda v: v * np.array([1, 0.5]), Integers(ir.Levels(0, 3)), np.arange(4.0)[None], 2)
    assert (error.value.channel, error.value.value) == (1, 0.5)


def test_a_step_of_the_float_line():
    third = np.float32(1) / 3
    found = crossings(lambda v: (v >= third).astype(np.float32), Floats(), np.array([[0, 1.0]]), 1)
    assert Floats().at(found.ordinals).tolist() == [[third]]


# -- grids -----------------------------------------------------------------------------------------------


@given(st.lists(st.integers(-200, 200), min_size=2, max_size=9), st.floats(2**-20, 2**10, width=32))
def test_grid_of_a_quantizer(integers, scale):
    """The integers come back from what float32 made of them."""
    values = np.array([integers], np.float32) * np.float32(scale)
    m, s = grid.fit(values, np.float64(np.float32(scale)))
    assert m.tolist() == [integers] and s.tolist() == [np.float32(scale)]


def test_grid_without_a_hint_is_exact():
    m, s = grid.fit(np.array([[-0.75, 0.375, 1.5], [3, 6, 0]]), None)
    assert m.tolist() == [[-2, 1, 4], [1, 2, 0]] and s.tolist() == [0.375, 3]
    assert grid.fit(np.array([[0.1, 1.0]], np.float32), None) is None
    assert grid.row_grid(np.zeros(3))[0].tolist() == [0, 0, 0]


def test_common_unit():
    multipliers, unit = grid.common_unit(np.array([0.75, 0.5, 0.75]))
    assert (multipliers.tolist(), unit) == ([3, 2, 3], 0.25)
    assert grid.common_unit(np.array([0.1, 0.1]))[0].tolist() == [1, 1]
    assert grid.common_unit(np.array([2.0**-40, 2.0**40])) is None


# -- rewritings keep every integer that is left ----------------------------------------------------------


def network(*nodes):
    output = ir.Output("o", nodes[-1].output, (4,))
    return ir.Network("net", ir.Input("x", (4,), (4,), ir.Levels(-8, 7)), nodes, (output,))


def equal(before, after):
    q = np.random.default_rng(0).choice(before.input.levels.values(), (50, *before.input.shape))
    a, b = golden.evaluate(before, q), golden.evaluate(after, q)
    return np.array_equal(a[before.outputs[0].tensor], b[after.outputs[0].tensor])


def layer(rng, levels=ir.BIPOLAR, name="fc", source="x", output="a"):
    return ir.MatMul(name, (source,), (output,), rng.choice(levels.values(), (4, 4)), levels)


def test_falling_channels_are_turned_where_that_is_possible():
    rng = np.random.default_rng(0)
    act = ir.Threshold("act", ("a",), ("y",), [[-1, 2]], ir.TERNARY, [1, -1, -1, 1])
    plain = network(layer(rng), act)
    turned = passes.turn_falling(plain)
    assert np.all(turned.node("act").signs == 1) and equal(plain, turned)
    asymmetric = network(layer(rng, ir.Levels.signed(4)), act)
    assert passes.turn_falling(asymmetric) == asymmetric
    shared = network(layer(rng), act, ir.Add("sum", ("a", "y"), ("z",)))
    assert passes.turn_falling(shared) == shared


def test_thresholds_are_fused():
    rng = np.random.default_rng(0)
    for signs in ([1], [1, -1, 1, -1]):
        first = ir.Threshold("first", ("a",), ("m",), np.sort(rng.integers(-40, 40, (4, 7)), axis=1),
                             ir.Levels(-7, 7, 2), signs)
        second = ir.Threshold("second", ("m",), ("y",), [[-20, -4, 1, 99]], ir.Levels(0, 4))
        net = network(layer(rng), first, second)
        fused = passes.fuse_thresholds(net)
        assert [node.op for node in fused.nodes] == ["MatMul", "Threshold"] and equal(net, fused)


def test_affine_maps_become_levels():
    rng = np.random.default_rng(0)
    act = ir.Threshold("act", ("a",), ("m",), [[0]], ir.BINARY)
    net = network(layer(rng), act, ir.Affine("map", ("m",), ("y",), [2], [-1]))
    absorbed = passes.absorb_affine(net)
    assert [node.op for node in absorbed.nodes] == ["MatMul", "Threshold"] and equal(net, absorbed)
    assert absorbed.tensors["y"].levels.is_bipolar
    for wider in ([3], [-1], [1, 2, 1, 1]):
        kept = network(layer(rng), act, ir.Affine("map", ("m",), ("y",), wider, [0]))
        assert passes.absorb_affine(kept) == kept


def test_permutations_move_into_the_layer_in_front():
    rng = np.random.default_rng(0)
    eye = np.eye(4, dtype=int)[[2, 0, 3, 1]]
    thresholds = np.sort(rng.integers(-30, 30, (4, 2)), axis=1)
    act = ir.Threshold("act", ("a",), ("m",), thresholds, ir.TERNARY, [1, -1, 1, 1])
    net = network(layer(rng), act, ir.MatMul("permute", ("m",), ("y",), eye, ir.BINARY))
    moved = passes.absorb_permutation(net)
    assert [node.op for node in moved.nodes] == ["MatMul", "Threshold"] and equal(net, moved)
    permute = ir.MatMul("permute", ("a",), ("p",), eye, ir.BINARY)
    shared = network(layer(rng), permute, ir.Add("sum", ("a", "p"), ("y",)))
    assert passes.absorb_permutation(shared) == shared


def test_unread_nodes_are_dropped():
    rng = np.random.default_rng(0)
    net = network(layer(rng, name="unread", output="u"), layer(rng))
    assert [node.name for node in passes.drop_unread(net).nodes] == ["fc"]


@pytest.mark.parametrize("weights", ["asymmetric", "read-twice"])
def test_signs_stay_where_weights_cannot_be_negated(tmp_path, weights):
    rng = np.random.default_rng(0)
    g = GraphBuilder([1, 6])
    drawn = rng.normal(size=(6, 8)) * 4
    w = g.quant(drawn, 1.0, 0.0, 4.0, signed=1, narrow=0) if weights == "asymmetric" else g.bipolar(drawn)
    accumulator = g.add("MatMul", g.quant("x"), w)
    act = g.bipolar(g.add("Mul", accumulator, np.tile([-1.0, 1.0], 4)))
    outputs = [act] if weights == "asymmetric" else [act, accumulator]
    net = check_import(g.save(tmp_path / "net.onnx", *outputs), rng.integers(0, 16, (50, 6)).astype(np.float32),
                       quantizers=2)
    assert net.nodes[1].signs.tolist() == [-1, 1] * 4
