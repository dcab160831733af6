# amaranth: UnusedElaboratable=no

"""Convolutions, pooling and values that move: whole accelerators against golden, exact in cycles and registers."""

from itertools import cycle, product

import numpy as np
import pytest
from hardware import GAPS, PACES, inventory, run
from hypothesis import given, settings
from hypothesis import strategies as st
from maps import LEVELS, chain, convolutions, foldings, movers, poolings, thresholded

from hwbnn import golden, ir, plan, rtl
from hwbnn.errors import UserError
from hwbnn.plan import maps, storage
from hwbnn.rtl.pad import Pad
from hwbnn.rtl.pool import Pool
from hwbnn.rtl.window import WindowUnit


def holds(network, folds, i_gaps=(0,), o_gaps=(0,), *, styles=None, frames=2, seed=0, pace=plan.RELAXED):
    """The accelerator is right, and as fast and as large as its plan says."""
    p = plan.lower(network, folds, styles=styles or {}, pace=pace)
    q = np.random.default_rng(seed).choice(p.input.levels.values(), (frames, *network.input.shape))
    want = golden.evaluate(network, q)[network.outputs[0].tensor]
    values, started, finished = run(p, q)
    assert np.array_equal(values, want)
    predicted = p.schedule(frames)
    assert tuple(started) == predicted.started and tuple(finished) == predicted.finished
    assert p.cycles.first == finished[0] - started[0]
    assert p.cycles.interval == max(stage.ii for stage in p.stages)
    flip_flops, memories = inventory(rtl.Core(p))
    assert flip_flops.total() == p.flip_flops
    assert memories == sorted((memory.width, memory.depth) for memory in p.memories)
    if (*i_gaps, *o_gaps) != (0, 0):
        values, _, _ = run(p, q, i_gaps=cycle(i_gaps), o_gaps=cycle(o_gaps))
        assert np.array_equal(values, want)


@settings(max_examples=12)
@given(st.data(), convolutions(), GAPS, GAPS)
def test_convolutions(data, network, i_gaps, o_gaps):
    holds(network, data.draw(foldings(network)), i_gaps, o_gaps, pace=data.draw(PACES))


@settings(max_examples=8)
@given(poolings(), GAPS, GAPS)
def test_pooling(network, i_gaps, o_gaps):
    holds(network, {}, i_gaps, o_gaps)


@settings(max_examples=8)
@given(movers(), GAPS, GAPS)
def test_values_that_move(network, i_gaps, o_gaps):
    holds(network, {}, i_gaps, o_gaps)


@settings(max_examples=3)
@given(st.data(), LEVELS, st.booleans(), st.booleans())
def test_chains(data, levels, before, padded):
    """Convolution, thresholds and pooling in either order, a second convolution, a map made a vector, classes."""
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    shape, p = (4, 4, 2), int(padded)
    conv = ir.Conv("conv", ("x",), ("a",), rng.choice([-1, 1], (4, 3, 3, 2)), ir.BIPOLAR, padding=(p, p, p, p))
    act = data.draw(thresholded(conv, ir.Tensor(shape, levels)))
    pool = ir.MaxPool("pool", ("a" if before else act.output,), ("p",), (2, 2), (2, 2), signs=rng.choice([-1, 1], 4))
    act = ir.Threshold("act", ("p" if before else "a",), ("b",), act.thresholds, act.levels, act.signs)
    nodes = [conv, pool, act] if before else [conv, act, ir.MaxPool("pool", ("b",), ("p",), (2, 2), (2, 2))]
    pixels = 4 if padded else 1
    tensor = nodes[-1].output
    nodes += [ir.Conv("point", (tensor,), ("c",), rng.choice([-1, 1], (2, 1, 1, 4)), ir.BIPOLAR),
              ir.Reshape("flat", ("c",), ("f",), (2 * pixels,)),
              ir.MatMul("fc", ("f",), ("l",), rng.choice([-1, 1], (3, 2 * pixels)), ir.BIPOLAR),
              ir.TopK("class", ("l",), ("k",), 1)]
    network = chain(nodes, shape, levels)
    holds(network, data.draw(foldings(network)), (1, 0), (0, 2))


@pytest.mark.parametrize("pe, simd", [(1, 1), (2, 2)])
def test_a_padded_window_on_every_map(pe, simd):
    weights = [[[[1], [-1]], [[1], [1]]], [[[-1], [-1]], [[1], [-1]]]]
    network = chain([ir.Conv("conv", ("x",), ("y",), weights, ir.BIPOLAR, padding=(1, 0, 0, 1))], (2, 2, 1), ir.BIPOLAR)
    p = plan.lower(network, {"conv": plan.Fold(pe, simd)})
    q = np.array(list(product([-1, 1], repeat=4))).reshape(-1, 2, 2, 1)
    assert np.array_equal(run(p, q)[0], golden.evaluate(network, q)["y"])


@pytest.mark.parametrize("kind, signs", [("max", 1), ("max", -1), ("sum", 1)])
def test_pooling_of_every_window(kind, signs):
    node = ir.MaxPool("pool", ("x",), ("y",), (2, 1), (2, 1), signs=[signs]) if kind == "max" \
        else ir.SumPool("pool", ("x",), ("y",), (2, 1), (2, 1))
    for levels in (ir.BIPOLAR, ir.TERNARY, ir.Levels.signed(3)):
        network = chain([node], (2, 1, 1), levels)
        q = np.array(list(product(levels.values(), repeat=2))).reshape(-1, 2, 1, 1)
        assert np.array_equal(run(plan.lower(network, {}), q)[0], golden.evaluate(network, q)["y"])


def test_memories_of_either_style():
    rng = np.random.default_rng(0)
    weights = rng.choice([-1, 1], (4, 2, 2, 2))
    network = chain([ir.Conv("conv", ("x",), ("y",), weights, ir.BIPOLAR, padding=(1, 1, 1, 1)),
                     ir.Threshold("act", ("y",), ("z",), np.sort(rng.integers(-4, 5, (4, 1)), axis=1), ir.BIPOLAR)],
                    (3, 3, 2), ir.BIPOLAR)
    for buffer, other in (("block", "block"), ("distributed", "logic")):
        holds(network, {"conv": plan.Fold(2, 2)},
              styles={"conv.window.buffer": buffer, "conv.weights": other, "conv.thresholds": other})


def test_storage_in_block_memory(monkeypatch):
    """Windows give out of their memories, and inputs are replayed: of several pixels, of a vector, of a map."""
    monkeypatch.setattr(maps, "_REPLAYED", 8)
    monkeypatch.setattr(storage, "_WORDS", 1)
    monkeypatch.setattr(storage, "_LEAST", 1)
    rng = np.random.default_rng(0)
    conv = ir.Conv("conv", ("x",), ("a",), rng.choice([-1, 1], (4, 3, 3, 4)), ir.BIPOLAR)
    act = ir.Threshold("act", ("a",), ("b",), rng.integers(-4, 5, (4, 1)), ir.BIPOLAR)
    pool = ir.MaxPool("pool", ("b",), ("p",), (2, 2), (2, 2))
    flat = ir.Reshape("flat", ("p",), ("f",), (16,))
    fc = ir.MatMul("fc", ("f",), ("l",), rng.choice([-1, 1], (6, 16)), ir.BIPOLAR)
    network = chain([conv, act, pool, flat, fc], (6, 6, 4), ir.BIPOLAR)
    options = plan.UnitOptions(weights="block", storage="block")
    folds = {"conv": plan.Fold(2, 4, options), "fc": plan.Fold(2, 8, options)}
    made = {stage.name: stage for stage in plan.lower(network, folds).stages}
    assert {"conv.window", "conv.replay", "pool.window", "fc.replay"} <= set(made)
    assert all(memory.style == "block" for stage in made.values() for memory in stage.memories
               if not memory.name.endswith("fifo"))
    for gaps in ((0,), (1, 0), (0, 0, 3)):
        holds(network, folds, gaps, gaps[::-1], frames=3)
    pace = plan.Pace(levels=1, address=1, output=1)
    holds(network, folds, (1, 0), (0, 2), pace=pace)
    with pytest.raises(UserError, match=r"^fc\.replay fifo_depth must be 1, since its memory holds the beat that is "
                                        r"offered, not 2$"):
        plan.lower(network, folds, fifo_depths={"fc.replay": 2})


@pytest.mark.parametrize("stride", [(3, 1), (2, 3)])
def test_strides_beyond_the_kernel(stride):
    """The window moves past beats that have not come yet."""
    network = chain([ir.Conv("conv", ("x",), ("y",), np.ones((2, 1, 1, 2), int), ir.BIPOLAR, stride)], (5, 4, 2),
                    ir.BIPOLAR)
    holds(network, {"conv": plan.Fold(1, 1)}, (3, 2), (0, 2))


@pytest.mark.parametrize("kernel", [1, 3])
def test_windows_that_change_nothing_need_no_unit(kernel):
    node = ir.Conv("conv", ("x",), ("y",), np.ones((2, kernel, kernel, 4), int), ir.BIPOLAR)
    p = plan.lower(chain([node], (3, 3, 4), ir.BIPOLAR), {"conv": plan.Fold(1, 4)})
    assert [stage.name for stage in p.stages] == ["input", "conv", "output"]


def test_lanes_that_channels_allow_only():
    """Six columns of four channels: beats of two lanes, joined by three."""
    network = chain([ir.Conv("conv", ("x",), ("y",), np.ones((1, 3, 1, 4), int), ir.BIPOLAR)], (4, 1, 4), ir.BIPOLAR)
    holds(network, {"conv": plan.Fold(1, 6)})


@pytest.mark.parametrize("unit, record", [(WindowUnit, "WindowStage"), (Pad, "PadStage"), (Pool, "PoolStage")])
def test_units_want_their_own_record(unit, record):
    with pytest.raises(TypeError, match=rf"^{unit.__name__} stage must be an? {record}, not 8$"):
        unit(8)
