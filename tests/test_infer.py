"""Packed inference equals the golden model, for every operation, on random shapes, on both processor engines."""

import numpy as np
import pytest
import zoo
from hypothesis import given
from hypothesis import strategies as st
from infer_cases import (
    ACTIVATIONS,
    HIDDEN,
    WEIGHTS,
    convolutions,
    images,
    network,
    pooled,
    residual,
    seeded,
    thresholds_within,
)

from hwbnn import golden, infer, ir
from hwbnn.errors import UserError
from hwbnn.infer.loading import engine_for
from hwbnn.infer.plain import NumpyEngine
from hwbnn.infer.session import Session

pytest.importorskip("numba", reason="the compiled engine needs the extra cpu")
from hwbnn.infer import cpu  # only where numba is there
from hwbnn.infer.cpu.host import byte_unit

UNITS = {"amx": ("amx", "vnni", ""), "vnni": ("vnni", ""), "": ("",)}[byte_unit()]
ENGINES = (*(cpu.NumbaEngine(unit) for unit in UNITS), NumpyEngine())


@pytest.fixture(autouse=True, scope="module")
def bytes_for_small_products_too():
    """Let the byte kernels, where there are any, run on products that are too small to gain by them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu, "_ROWS_FOR_BYTES", 1)
        patch.setattr(cpu, "_EXPANSION", -1e9)
        patch.setattr(cpu, "_PLANES_FOR_DOT", 1)
        yield


def assert_exact(net: ir.Network, x: np.ndarray, **options):
    """Every engine returns what golden returns, type and shape included."""
    want = golden.run(net, x)
    for engine in ENGINES:
        session = Session(net, engine, **options)
        got = session.run(x)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want, err_msg=f"{engine.name} {net.nodes}")
        np.testing.assert_array_equal(session.integers(x), golden.integers(net, x))


@given(seeded(), st.sampled_from(ACTIVATIONS), st.sampled_from(WEIGHTS), st.integers(1, 200), st.integers(1, 150),
       st.integers(1, 11))
def test_dense_layers(rng, levels, weights, columns, rows, count):
    source = ir.Input("x", (columns,), (columns,), levels)
    net = network([ir.MatMul("fc", ("x",), ("y",), rng.choice(weights.values(), (rows, columns)), weights)], source)
    assert_exact(net, images(net, count, rng))


@given(seeded(), st.sampled_from(ACTIVATIONS), st.sampled_from(WEIGHTS), st.sampled_from(HIDDEN), st.integers(1, 140),
       st.integers(1, 140), st.booleans())
def test_dense_layers_with_thresholds(rng, levels, weights, hidden, columns, rows, shared):
    source = ir.Input("x", (columns,), (columns,), levels)
    first = ir.MatMul("fc", ("x",), ("acc",), rng.choice(weights.values(), (rows, columns)), weights)
    acc = first.infer(ir.Tensor((columns,), levels)).levels
    limits = thresholds_within(rng, acc, 1 if shared else rows, len(hidden) - 1)
    net = network([first, ir.Threshold("act", ("acc",), ("h",), limits, hidden, rng.choice([-1, 1], rows)),
                   ir.MatMul("last", ("h",), ("y",), rng.choice([-1, 1], (3, rows)), ir.BIPOLAR)], source)
    assert_exact(net, images(net, 7, rng))


@given(convolutions(), st.sampled_from(ACTIVATIONS), st.integers(1, 3))
def test_convolutions(case, levels, count):
    rng, node, shape = case
    net = network([node], ir.Input("x", shape, shape, levels))
    assert_exact(net, images(net, count, rng))


@given(convolutions(), st.sampled_from(ACTIVATIONS), st.sampled_from(HIDDEN), st.integers(1, 3))
def test_convolutions_with_thresholds_and_pooling(case, levels, hidden, count):
    rng, node, shape = case
    net = pooled(rng, node, shape, levels, hidden)
    assert_exact(net, images(net, count, rng))


@given(seeded(), st.sampled_from(HIDDEN), st.integers(1, 70), st.integers(1, 4), st.integers(1, 4))
def test_a_flattened_map_keeps_its_order(rng, hidden, channels, height, width):
    shape = (height, width, channels)
    first = ir.Conv("conv", ("x",), ("acc",), rng.choice([-1, 1], (channels, 1, 1, channels)), ir.BIPOLAR)
    acc = first.infer(ir.Tensor(shape, ir.BIPOLAR)).levels
    size = height * width * channels
    limits = thresholds_within(rng, acc, channels, len(hidden) - 1)
    nodes = [first, ir.Threshold("act", ("acc",), ("h",), limits, hidden),
             ir.Reshape("flat", ("h",), ("flat",), (size,)),
             ir.MatMul("fc", ("flat",), ("y",), rng.choice([-1, 1], (9, size)), ir.BIPOLAR)]
    net = network(nodes, ir.Input("x", shape, shape, ir.BIPOLAR))
    assert_exact(net, images(net, 3, rng))
    assert_exact(network(nodes[:3], net.input), images(net, 3, rng))


@pytest.mark.parametrize("seed", range(3))
def test_residual_blocks(seed):
    rng = np.random.default_rng(seed)
    net = residual(rng)
    assert_exact(net, images(net, 9, rng), batch=4)


@pytest.mark.parametrize("node", [
    ir.Concat("n", ("x", "x"), ("y",)), ir.Slice("n", ("x",), ("y",), 1, 3),
    ir.Pad("n", ("x",), ("y",), (1, 0, 2, 1), 1),
    ir.Transpose("n", ("x",), ("y",), (1, 2, 0)), ir.DepthToSpace("n", ("x",), ("y",), 2),
    ir.Upsample("n", ("x",), ("y",), (2, 3)), ir.SumPool("n", ("x",), ("y",), (2, 2), (1, 1), (1, 0, 0, 1)),
    ir.MaxPool("n", ("x",), ("y",), (2, 2), (2, 2)), ir.TopK("n", ("x",), ("y",), 2), ir.TopK("n", ("x",), ("y",)),
    ir.Reshape("n", ("x",), ("y",), (4, 4, 4)), ir.Reshape("n", ("x",), ("y",), (64,)),
    ir.Affine("n", ("x",), ("y",), [2**40], [7]), ir.Add("n", ("x", "x"), ("y",)),
    ir.Threshold("n", ("x",), ("y",), np.arange(-7, 8)[None], ir.Levels.unsigned(4), [-1]),
], ids=lambda node: node.op)
def test_rare_operations_run(node):
    shape = (4, 4, 4)
    for levels in (ir.Levels(-8, 7), ir.TERNARY, ir.Levels(-70000, 70000)):
        net = network([node], ir.Input("x", shape, shape, levels))
        assert_exact(net, images(net, 5, np.random.default_rng(0)))


def test_wide_values_fall_back_and_say_so():
    levels = ir.Levels(-(2**40), 2**40)
    rng = np.random.default_rng(0)
    net = network([ir.MatMul("fc", ("x",), ("acc",), rng.choice([-1, 1], (6, 9)), ir.BIPOLAR),
                   ir.Threshold("act", ("acc",), ("y",), rng.integers(-9, 9, (6, 1)) * 2**40, ir.BIPOLAR)],
                  ir.Input("x", (9,), (9,), levels))
    assert_exact(net, rng.integers(-(2**40), 2**40, (20, 9)))
    rows = {row["node"]: row["how"] for row in Session(net, NumpyEngine()).explain()}
    assert rows["fc"] == rows["act"] == "golden model, not packed"


@pytest.mark.parametrize("name", zoo.MLPS)
def test_zoo(name):
    net = zoo.MLPS[name]()
    assert_exact(net, images(net, 100, np.random.default_rng(0)), batch=32)


@given(seeded(), st.sampled_from([np.uint8, np.int8, np.bool_, np.float32, np.float64, np.int64, np.uint16]),
       st.sampled_from([1, 2, 3, 15, 200]), st.booleans())
def test_inputs_of_every_type_meet_boundaries_exactly(rng, dtype, count, per_channel):
    levels = ir.Levels(-3, -3 + 2 * count, 2)
    boundaries = np.sort(rng.integers(-130, 260, (4, count) if per_channel else count).astype(np.float32), axis=-1)
    if dtype in (np.float32, np.float64):
        boundaries = boundaries + np.float32(0.25)
    source = ir.Input("x", (4, 2, 3), (2, 3, 4), levels, boundaries, axes=(1, 2, 0))
    net = network([ir.Conv("c", ("x",), ("y",), rng.choice([-1, 1], (3, 2, 2, 4)), ir.BIPOLAR)], source)
    info = (0, 2) if dtype == np.bool_ else (-128, 128) if dtype == np.int8 else (0, 256)
    x = rng.integers(*info, (6, 4, 2, 3)).astype(dtype)
    assert_exact(net, x)


def test_float_inputs_that_are_integers():
    net = zoo.MLPS["tiny"]()
    x = images(net, 9, np.random.default_rng(0))
    for dtype in (np.float32, np.float64, np.int16, np.uint8):
        assert_exact(net, x.astype(dtype))


@pytest.mark.parametrize("x, message", [
    (np.full((2, 8), 16, np.uint8), r"^Images must hold integers 0\.\.15, not 16\.\.16 of uint8$"),
    (np.full((2, 8), 0.5, np.float32), r"^Images must hold integers 0\.\.15, not 0\.5\.\.0\.5 of float32$"),
    (np.zeros((2, 7), np.uint8), r"^Images must have shape N x 8, not 2 x 7$"),
    (np.zeros((), np.uint8), r"^Images must have shape N x 8, not $"),
])
def test_unfit_images(x, message):
    session = infer.load(zoo.tiny(), "cpu")
    with pytest.raises(UserError, match=message):
        session.run(x)


def test_infinite_images_with_boundaries():
    net = network([ir.MatMul("fc", ("x",), ("y",), np.ones((1, 3), int), ir.BIPOLAR)],
                  ir.Input("x", (3,), (3,), ir.BIPOLAR, np.float32([0])))
    with pytest.raises(UserError, match=r"^Images must hold finite numbers, and some are not$"):
        infer.load(net, "cpu").run(np.float32([[0, np.nan, 1]]))


def test_no_images_give_no_results():
    net = zoo.tiny()
    assert infer.load(net, "cpu").classes(np.zeros((0, 8), np.uint8)).shape == (0,)


def test_threads_and_batches_change_nothing(monkeypatch):
    monkeypatch.setattr("hwbnn.infer.session._THREAD_OPS", 0)
    net = zoo.MLPS["ternary"]()
    x = images(net, 103, np.random.default_rng(3))
    want = golden.run(net, x)
    for threads, batch in ((1, 1), (2, 7), (3, 512), (5, 3)):
        assert np.array_equal(infer.load(net, "cpu", threads=threads, batch=batch).run(x), want)


@pytest.mark.parametrize("option", ["threads", "batch"])
def test_bad_options(option):
    with pytest.raises(ValueError, match=f"^Session {option} must be at least 1, not 0$"):
        infer.load(zoo.tiny(), "cpu", **{option: 0})


def test_unknown_device():
    with pytest.raises(UserError, match=r"^Device must be one of auto, cpu, cuda, not tpu$"):
        infer.load(zoo.tiny(), "tpu")


def test_files_larger_than_a_batch(tmp_path):
    net = zoo.MLPS["logits"]()
    x = images(net, 100, np.random.default_rng(0)).astype(np.uint8)
    np.save(tmp_path / "x.npy", x)
    session = infer.load(net, "cpu", batch=16)
    out = session.run_file(tmp_path / "x.npy", tmp_path / "y.npy")
    assert np.array_equal(np.load(out), golden.run(net, x))
    streamed = list(session.stream(infer.read_images(tmp_path / "x.npy")))
    assert np.array_equal(np.concatenate(streamed), golden.run(net, x))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.npy", "y.npy"]


def test_an_interrupted_file_leaves_the_last_good_one(tmp_path):
    net = zoo.tiny()
    x = np.zeros((40, 8), np.uint8)
    x[39] = 255
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "y.npy").write_text("good")
    with pytest.raises(UserError, match=r"^Images must hold integers"):
        infer.load(net, "cpu", batch=16).run_file(tmp_path / "x.npy", tmp_path / "y.npy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.npy", "y.npy"]
    assert (tmp_path / "y.npy").read_text() == "good"


def test_files_that_hold_no_array(tmp_path):
    (tmp_path / "x.npy").write_text("nothing")
    start = r"^Images must come from an \.npy file, not "
    with pytest.raises(UserError, match=start + r".*x\.npy: no array in NumPy's format$"):
        infer.read_images(tmp_path / "x.npy")
    with pytest.raises(UserError, match=start + r".*z\.npy: No such file or directory$"):
        infer.read_images(tmp_path / "z.npy")


def test_networks_from_files(tmp_path):
    net = zoo.tiny()
    ir.save(net, tmp_path / "network.npz")
    x = images(net, 5, np.random.default_rng(0))
    assert np.array_equal(infer.load(tmp_path / "network.npz", "cpu").run(x), golden.run(net, x))


def test_explain_covers_every_node_once():
    net = residual(np.random.default_rng(0))
    rows = infer.load(net, "cpu").explain()
    assert rows[0]["op"] == "engine" and rows[0]["how"].startswith("numba: ")
    named = [row["node"] for row in rows if row["op"] not in ("engine", "convert")]
    assert named == [node.name for node in net.nodes]
    assert {row["op"]: row["how"] for row in rows}["SumPool"] == "golden model, not packed"


def test_without_numba_it_says_how_slow_it_is(monkeypatch, capsys):
    monkeypatch.setattr("hwbnn.infer.loading.find_spec", lambda name: None)
    assert engine_for("cpu").name == "numpy"
    assert capsys.readouterr().err == ("hwbnn: NumPy without numba, about 0.1 Top/s, some 50 times slower than "
                                       "compiled: pip install 'hwbnn[cpu]'\n")
