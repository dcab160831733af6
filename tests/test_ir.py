"""The records of an integer network: levels, what each node produces and refuses, files."""

import io
import json
import re
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from zoo import MLPS

from hwbnn import golden, ir
from hwbnn.errors import UserError
from hwbnn.ir import Levels, Tensor


def raises(message):
    return pytest.raises(ValueError, match=f"^{re.escape(message)}$")


# -- levels ---------------------------------------------------------------------------------------------------------

level_sets = st.builds(lambda low, count, step: Levels(low, low + step * (count - 1), step),
                       st.integers(-300, 300), st.integers(1, 40), st.integers(1, 9))


@given(level_sets)
def test_levels_are_their_values(levels):
    values = levels.values()
    assert len(values) == len(levels) and levels.holds(values) and Levels.of(values) == levels
    assert [v for v in range(levels.low - 3, levels.high + 4) if v in levels] == values.tolist()
    assert levels.is_signed == (values.min() < 0)
    assert levels.holds([]) and not levels.holds([levels.high + 1])


@given(level_sets)
def test_bits_hold_every_value(levels):
    low, high = (-(1 << (levels.bits - 1)), (1 << (levels.bits - 1)) - 1) if levels.is_signed else \
        (0, (1 << levels.bits) - 1)
    assert levels.is_bipolar or (low <= levels.low and levels.high <= high)
    assert levels.bits == 1 or levels.low < low // 2 or levels.high > high // 2


@given(st.lists(level_sets, min_size=1, max_size=4))
def test_hull_is_the_smallest_set(sets):
    everything = np.concatenate([one.values() for one in sets])
    assert sets[0].hull(*sets[1:]) == Levels.of(everything)


@pytest.mark.parametrize("levels,text,bits", [
    (ir.BIPOLAR, "bipolar", 1), (ir.TERNARY, "ternary", 2), (ir.BINARY, "binary", 1), (Levels.unsigned(4), "0..15", 4),
    (Levels.signed(4), "-8..7", 4), (Levels.signed(4, narrow=True), "-7..7", 4), (Levels(-6, 6, 3), "-6..6 by 3", 4),
    (Levels(5, 5), "5..5", 3), (Levels(0, 0), "0..0", 1)])
def test_levels_in_words(levels, text, bits):
    assert (str(levels), levels.bits) == (text, bits)


def test_bad_levels():
    with pytest.raises(TypeError, match=r"^Levels low must be an integer, not 0\.5$"):
        Levels(0.5, 1)
    with raises("Levels step must be at least 1, not 0"):
        Levels(0, 1, 0)
    with raises("Levels high must be low plus a multiple of step, not Levels(low=0, high=3, step=2)"):
        Levels(0, 3, 2)
    with raises(f"Levels must lie within 63 bits and sign, not 0..{2**63}"):
        Levels(0, 2**63)


# -- what nodes produce: never less than what occurs -----------------------------------------------------------------

UINT2 = Levels.unsigned(2)


def weights(rng, *shape, levels=ir.TERNARY):
    return rng.choice(levels.values(), shape)


NODES = {
    "matmul": lambda rng: (ir.MatMul("n", ("a",), ("y",), weights(rng, 3, 4), ir.TERNARY), [(4,)]),
    "matmul-at-pixels": lambda rng: (ir.MatMul("n", ("a",), ("y",), weights(rng, 3, 4), ir.TERNARY), [(2, 3, 4)]),
    "conv": lambda rng: (ir.Conv("n", ("a",), ("y",), weights(rng, 4, 2, 3, 2), ir.TERNARY, (2, 1), (1, 0, 1, 2),
                                 (1, 2), 2), [(5, 6, 4)]),
    "threshold": lambda rng: (ir.Threshold("n", ("a",), ("y",), np.sort(rng.integers(-3, 5, (4, 3))), UINT2,
                                           rng.choice([-1, 1], 4)), [(2, 2, 4)]),
    "maxpool": lambda rng: (ir.MaxPool("n", ("a",), ("y",), (2, 3), (1, 2), (1, 1, 0, 2), rng.choice([-1, 1], 4)),
                            [(4, 5, 4)]),
    "sumpool": lambda rng: (ir.SumPool("n", ("a",), ("y",), (2, 3), (1, 2), (1, 1, 0, 2)), [(4, 5, 4)]),
    "affine": lambda rng: (ir.Affine("n", ("a",), ("y",), rng.integers(-3, 4, 4), rng.integers(-9, 9, 4)), [(2, 1, 4)]),
    "add": lambda rng: (ir.Add("n", ("a", "b"), ("y",)), [(2, 1, 4), (2, 1, 4)]),
    "concat": lambda rng: (ir.Concat("n", ("a", "b"), ("y",)), [(2, 1, 4), (2, 1, 3)]),
    "slice": lambda rng: (ir.Slice("n", ("a",), ("y",), 1, 3), [(2, 1, 4)]),
    "pad": lambda rng: (ir.Pad("n", ("a",), ("y",), (1, 0, 2, 1), -5), [(2, 1, 4)]),
    "reshape": lambda rng: (ir.Reshape("n", ("a",), ("y",), (2, 2, 2)), [(8,)]),
    "transpose": lambda rng: (ir.Transpose("n", ("a",), ("y",), (2, 0, 1)), [(2, 3, 4)]),
    "depth-to-space": lambda rng: (ir.DepthToSpace("n", ("a",), ("y",), 2), [(2, 3, 8)]),
    "upsample": lambda rng: (ir.Upsample("n", ("a",), ("y",), (2, 3)), [(2, 3, 2)]),
    "topk": lambda rng: (ir.TopK("n", ("a",), ("y",), 3), [(2, 1, 5)]),
}


@pytest.mark.parametrize("make", NODES.values(), ids=NODES)
@given(data=st.data())
def test_node_gives_what_it_infers(make, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    node, shapes = make(rng)
    levels = [data.draw(level_sets) for _ in shapes]
    inputs = [Tensor(shape, one) for shape, one in zip(shapes, levels, strict=True)]
    result = node.infer(*inputs)
    arrays = [rng.choice(one.values(), (6, *shape)) for shape, one in zip(shapes, levels, strict=True)]
    y = golden.apply(node, *arrays)
    assert y.shape == (6, *result.shape) and result.levels.holds(y)


def test_accumulators_are_as_narrow_as_the_weights_allow():
    bipolar = ir.MatMul("fc", ("x",), ("y",), [[1, 1, -1], [-1, 1, 1]], ir.BIPOLAR)
    assert bipolar.infer(Tensor((3,), ir.BIPOLAR)).levels == Levels(-3, 3, 2)
    assert bipolar.infer(Tensor((3,), UINT2)).levels == Levels(-3, 6)
    padded = ir.Conv("conv", ("x",), ("y",), np.ones((1, 2, 2, 1), int), ir.BIPOLAR, padding=(1, 0, 0, 0))
    assert padded.infer(Tensor((3, 3, 1), ir.BIPOLAR)).levels == Levels(-4, 4)  # a padded pixel is a third value
    wide = ir.MatMul("fc", ("x",), ("y",), [[2**40] * 4], Levels(0, 2**40))
    assert wide.infer(Tensor((4,), Levels(0, 2**20))).levels == Levels(0, 2**62, 2**40)
    with raises(f"Levels must lie within 63 bits and sign, not 0..{2**63}"):
        wide.infer(Tensor((4,), Levels(0, 2**21)))


# -- what nodes refuse ------------------------------------------------------------------------------------------------

BAD = {
    "MatMul n must have 1 inputs, not 2": lambda: ir.MatMul("n", ("a", "b"), ("y",), [[1]], ir.BIPOLAR),
    "Concat n must have at least one input and exactly one output": lambda: ir.Concat("n", (), ("y",)),
    "MatMul n weights must have shape (rows, columns), not (1,)":
        lambda: ir.MatMul("n", ("a",), ("y",), [1], ir.BIPOLAR),
    "MatMul n weights must be bipolar, not 2..2": lambda: ir.MatMul("n", ("a",), ("y",), [[2]], ir.BIPOLAR),
    "MatMul n must read 2 channels, not 3": lambda: ir.MatMul("n", ("a",), ("y",), [[1, 1]], ir.BIPOLAR).infer(
        Tensor((3,), UINT2)),
    "Conv n weights must have shape (rows, ky, kx, channels), not (1, 1)": lambda: ir.Conv("n", ("a",), ("y",), [[1]],
                                                                                         ir.BIPOLAR),
    "Conv n weights must be bipolar, not 0..0":
        lambda: ir.Conv("n", ("a",), ("y",), np.zeros((1, 1, 1, 1)), ir.BIPOLAR),
    "Conv n must have stride, dilation and groups of at least 1 and padding of at least 0": lambda: ir.Conv(
        "n", ("a",), ("y",), np.ones((1, 1, 1, 1)), ir.BIPOLAR, (0, 1)),
    "Conv n rows must be a multiple of the 2 groups, not 3": lambda: ir.Conv(
        "n", ("a",), ("y",), np.ones((3, 1, 1, 1)), ir.BIPOLAR, groups=2),
    "Conv n must read 4 channels, not 3": lambda: ir.Conv("n", ("a",), ("y",), np.ones((2, 1, 1, 2)), ir.BIPOLAR,
                                                         groups=2).infer(Tensor((2, 2, 3), UINT2)),
    "Conv n must read a feature map (height, width, channels), not shape (4,)": lambda: ir.Conv(
        "n", ("a",), ("y",), np.ones((1, 1, 1, 4)), ir.BIPOLAR).infer(Tensor((4,), UINT2)),
    "Conv n kernel (3, 3) must fit the padded 2 x 2 feature map": lambda: ir.Conv(
        "n", ("a",), ("y",), np.ones((1, 3, 3, 1)), ir.BIPOLAR).infer(Tensor((2, 2, 1), UINT2)),
    "Threshold n thresholds must have shape (channels, n), not (3,)":
        lambda: ir.Threshold("n", ("a",), ("y",), [1, 2, 3],
                                                                                          UINT2),
    "Threshold n thresholds of channel 1 must ascend": lambda: ir.Threshold("n", ("a",), ("y",), [[1, 2, 3], [2, 1, 3]],
                                                                           UINT2),
    "Threshold n must have 3 thresholds for 4 levels, not 2":
        lambda: ir.Threshold("n", ("a",), ("y",), [[1, 2]], UINT2),
    "Threshold n signs must be a vector of -1 and +1":
        lambda: ir.Threshold("n", ("a",), ("y",), [[1]], ir.BIPOLAR, [0]),
    "Threshold n thresholds must be given for 1 or 3 channels, not 2": lambda: ir.Threshold(
        "n", ("a",), ("y",), [[1], [2]], ir.BIPOLAR).infer(Tensor((3,), UINT2)),
    "Threshold n signs must be given for 1 or 3 channels, not 2": lambda: ir.Threshold(
        "n", ("a",), ("y",), [[1]], ir.BIPOLAR, [1, -1]).infer(Tensor((3,), UINT2)),
    "MaxPool n padding must be smaller than the kernel (2, 2), not (2, 0, 0, 0)": lambda: ir.MaxPool(
        "n", ("a",), ("y",), (2, 2), (1, 1), (2, 0, 0, 0)),
    "Affine n offsets must be a vector, not of shape ()": lambda: ir.Affine("n", ("a",), ("y",), [1], 2),
    "Affine n multipliers must be given for 1 or 3 channels, not 2":
        lambda: ir.Affine("n", ("a",), ("y",), [1, 2], [0]).
        infer(Tensor((3,), UINT2)),
    "Add n must add equal shapes, not (3,) and (4,)": lambda: ir.Add("n", ("a", "b"), ("y",)).infer(
        Tensor((3,), UINT2), Tensor((4,), UINT2)),
    "Concat n must join equal heights and widths, not [(1, 2, 3), (2, 1, 3)]": lambda: ir.Concat(
        "n", ("a", "b"), ("y",)).infer(Tensor((1, 2, 3), UINT2), Tensor((2, 1, 3), UINT2)),
    "Slice n must lie within 3 channels, not 1:4": lambda: ir.Slice("n", ("a",), ("y",), 1, 4).infer(
        Tensor((3,), UINT2)),
    "Reshape n must keep the 3 values of (3,), not make (2, 2)": lambda: ir.Reshape("n", ("a",), ("y",), (2, 2)).infer(
        Tensor((3,), UINT2)),
    "Transpose n axes must be a permutation of 3 axes, not (0, 1)":
        lambda: ir.Transpose("n", ("a",), ("y",), (0, 1)).infer(
        Tensor((1, 2, 3), UINT2)),
    "DepthToSpace n channels must be a multiple of 2 squared, not 6":
        lambda: ir.DepthToSpace("n", ("a",), ("y",), 2).infer(
        Tensor((1, 2, 6), UINT2)),
    "Upsample n factors must be at least 1, not (0, 1)": lambda: ir.Upsample("n", ("a",), ("y",), (0, 1)).infer(
        Tensor((1, 2, 6), UINT2)),
    "TopK n k must lie in 1..3, not 4": lambda: ir.TopK("n", ("a",), ("y",), 4).infer(Tensor((3,), UINT2)),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_node(message):
    with raises(message):
        BAD[message]()


# -- networks ---------------------------------------------------------------------------------------------------------


def network(*nodes, outputs=None, **options):
    given_input = options.get("input", ir.Input("x", (2, 3), (3, 2), UINT2, axes=(1, 0)))
    return ir.Network("net", given_input, nodes, outputs or (ir.Output("y", "x", (2, 3)),))


def flat(name="flat", source="x"):
    return ir.Reshape(name, (source,), (name,), (6,))


BAD_NETWORKS = {
    "Node names must be unique, and flat is not": lambda: network(flat(), flat()),
    "Reshape flat must read tensors made before it, not ghost": lambda: network(flat(source="ghost")),
    "Reshape other must write a new tensor, not flat":
        lambda: network(flat(), replace(flat("other"), outputs=("flat",))),
    "Network must have at least one output": lambda: ir.Network("net", ir.Input("x", (6,), (6,), UINT2), (), ()),
    "Output y must read a tensor of the network, not ghost": lambda: network(outputs=(ir.Output("y", "ghost", (6,)),)),
    "Output y must hold the values of (3, 2), not (5,)": lambda: network(outputs=(ir.Output("y", "x", (5,)),)),
    "Output y must have both scale and bias, or neither": lambda: ir.Output("y", "x", (6,), scale=[1.0]),
    "Output y values must be given for 2 channels and 4 levels, not (1, 3)": lambda: network(
        outputs=(ir.Output("y", "x", (6,), values=np.ones((1, 3))),)),
    "Input axes must permute the 2 axes of (2, 3), not (0, 0)": lambda: ir.Input("x", (2, 3), (6,), UINT2, axes=(0, 0)),
    "Input shape must hold the values of (2, 3), not (5,)": lambda: ir.Input("x", (2, 3), (5,), UINT2),
    "Input boundaries must have 3 entries for 0..3, not (2,)": lambda: ir.Input("x", (6,), (6,), UINT2, [1, 2]),
    "Input boundaries must ascend": lambda: ir.Input("x", (6,), (6,), UINT2, [1, 3, 2]),
    "Node must be one of flat, not ghost": lambda: network(flat()).node("ghost"),
}


@pytest.mark.parametrize("message", BAD_NETWORKS)
def test_bad_network(message):
    with raises(message):
        BAD_NETWORKS[message]()


def test_a_level_may_be_out_of_reach():
    assert ir.Input("x", (6,), (6,), UINT2, [1, np.inf, np.inf]).boundaries.tolist() == [1, np.inf, np.inf]


def test_neighbours():
    net = network(flat(), ir.Slice("part", ("flat",), ("part",), 0, 2))
    assert net.producer("x") is None and net.producer("part").name == "part"
    assert [node.name for node in net.consumers("flat")] == ["part"]
    assert net.inferred(net.node("part")) == ((Tensor((6,), UINT2),), Tensor((2,), UINT2))


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MLPS)
def test_round_trip(name, tmp_path):
    net = MLPS[name]()
    ir.save(net, tmp_path / "net.npz")
    again = ir.load(tmp_path / "net.npz")
    assert again == net and ir.digest(again) == ir.digest(net)
    assert again.tensors == net.tensors
    assert [p.name for p in tmp_path.iterdir()] == ["net.npz"]


def test_digest_tells_networks_apart():
    net = MLPS["tiny"]()
    node = next(node for node in net.nodes if node.op == "MatMul")
    changed = node.weights.copy()
    changed[0, 0] *= -1
    other = replace(net, nodes=tuple(replace(n, weights=changed) if n is node else n for n in net.nodes))
    assert other != net and ir.digest(other) != ir.digest(net)
    assert ir.digest(replace(net, metadata={"from": "elsewhere"})) != ir.digest(net)


def rewritten(path, change):
    with np.load(path) as archive:
        arrays = dict(archive)
    header = json.loads(str(arrays.pop("header")))
    change(header)
    np.savez(path, header=np.array(json.dumps(header)), **arrays)


@pytest.mark.parametrize("version,mend", [(ir.VERSION + 1, "update hwbnn to read it"), (0, "compile it again"),
                                          (None, "compile it again")])
def test_version(tmp_path, version, mend):
    path = tmp_path / "net.npz"
    ir.save(MLPS["tiny"](), path)
    rewritten(path, lambda header: header.update(version=version))
    with pytest.raises(UserError, match=rf"^Network file {re.escape(str(path))} must have version {ir.VERSION}, not "
                                        rf"{version}; {mend}$"):
        ir.load(path)


def test_damaged_files(tmp_path):
    path = tmp_path / "net.npz"
    with pytest.raises(UserError, match=rf"^Network file must exist, and {re.escape(str(path))} does not$"):
        ir.load(path)
    ir.save(MLPS["tiny"](), path)
    whole = path.read_bytes()
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme", "not a network")
    for content in (b"", b"text", whole[:len(whole) // 2], other.getvalue()):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"^Network file must be one that hwbnn wrote, and "
                                            rf"{re.escape(str(path))} is not or is truncated$"):
            ir.load(path)


def test_interrupted_save_leaves_the_last_file(tmp_path, monkeypatch):
    path = tmp_path / "net.npz"
    ir.save(MLPS["tiny"](), path)
    before = path.read_bytes()

    def fail(*arguments, **arrays):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="No space left"):
        ir.save(MLPS["ternary"](), path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1
