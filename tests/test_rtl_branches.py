# amaranth: UnusedElaboratable=no

"""Forks, branch FIFOs, sums, joined and chosen channels, each alone: any stalls, exact cycles, exact registers."""

from itertools import cycle, product

import numpy as np
import pytest
from hardware import GAPS, divisors, inventory
from hypothesis import example, given, settings
from hypothesis import strategies as st
from streams import exchange

from hwbnn import golden, ir, pack, plan, rtl
from hwbnn.plan.channel import UNLIMITED, Channel
from hwbnn.rtl.add import Add
from hwbnn.rtl.concat import Concat, Slice
from hwbnn.rtl.fork import Fork
from hwbnn.rtl.queue import BranchFifo

LEVELS = st.sampled_from([ir.BIPOLAR, ir.TERNARY, ir.BINARY, ir.Levels.unsigned(3), ir.Levels.signed(5),
                          ir.Levels(-9, 7, 4)])
STALLS = st.lists(GAPS, min_size=5, max_size=5)
NONE = [[0]] * 5


def words(values, stream):
    return pack.lanes(pack.codes(values, stream.levels).reshape(-1, stream.lanes), stream.levels.bits)


def values(transfers, stream):
    return pack.levels_of(pack.unlanes([w for _, w in transfers], stream.levels.bits, stream.lanes), stream.levels)


def predicted(stage, frames):
    """When beats move on every port of a stage alone, offered and taken as fast as it lets them."""
    into, out = ([Channel() for _ in ports] for ports in (stage.inputs, stage.outputs))
    for channel, stream in zip(into, stage.inputs.values(), strict=True):
        channel.offered = [0] * (frames * stream.beats)
    depth = stage.fifo_depth if isinstance(stage, plan.PipelineStage) else UNLIMITED
    process = stage.moves(into, out, [], depth)
    while any(len(c.moved) < frames * s.beats for c, s in zip(out, stage.outputs.values(), strict=True)):
        next(process)
        for channel in out:
            while channel.ready():
                channel.take(channel.visible())
    return into, out


def check(stage, xs, ys, gaps=NONE):
    """Frames ``xs`` on the inputs become ``ys`` on the outputs; without gaps in exactly the cycles of the schedule."""
    dut = rtl.component(stage)
    puts = [(getattr(dut, port), words(x, stream), cycle(gap))
            for (port, stream), x, gap in zip(stage.inputs.items(), xs, gaps, strict=False)]
    gets = [(getattr(dut, port), len(y) * stream.beats, cycle(gap))
            for (port, stream), y, gap in zip(stage.outputs.items(), ys, reversed(gaps), strict=False)]
    seen = exchange(dut, puts, gets, timeout=5_000)
    for transfers, stream, y in zip(seen[len(puts):], stage.outputs.values(), ys, strict=True):
        assert np.array_equal(values(transfers, stream).reshape(y.shape), y)
    if gaps is NONE:
        into, out = predicted(stage, len(xs[0]))
        assert [[c for c, _ in transfers] for transfers in seen[len(puts):]] == [c.moved for c in out]
        for transfers, channel in zip(seen, into, strict=False):
            assert [c for c, _ in transfers][:len(channel.moved)] == channel.moved
        assert out[0].moved[0] - into[0].moved[0] == stage.latency
        flip_flops, memories = inventory(rtl.component(stage))
        assert flip_flops.total() == stage.flip_flops
        assert memories == sorted((memory.width, memory.depth) for memory in stage.memories)


def frames(rng, stream, count=3):
    return rng.choice(stream.levels.values(), (count, stream.beats * stream.lanes))


@settings(max_examples=12)
@given(st.integers(2, 4), LEVELS, st.integers(1, 3), STALLS, st.integers(0, 99))
def test_fork(count, levels, lanes, gaps, seed):
    stream = plan.Stream(levels, lanes, 4)
    stage = plan.ForkStage(name="fork", nodes=(), i=stream, o=stream, count=count)
    x = frames(np.random.default_rng(seed), stream)
    check(stage, [x], [x] * count)
    check(stage, [x], [x] * count, gaps)


def test_a_reader_of_a_fork_is_one_beat_ahead_and_no_more():
    stream = plan.Stream(ir.Levels.unsigned(4), 1, 4)
    stage = plan.ForkStage(name="fork", nodes=(), i=stream, o=stream, count=2)
    dut = rtl.component(stage)
    into, fast, slow = exchange(dut, [(dut.i, range(4), ())], [(dut.o_0, 4, ()), (dut.o_1, 4, cycle([3]))])
    assert [p for _, p in fast] == [p for _, p in slow] == list(range(4))
    assert [c for c, _ in into] == [c for c, _ in slow]
    assert [c for c, _ in fast] == [0, *(c + 1 for c, _ in slow[:-1])]


@settings(max_examples=25)
@given(st.sampled_from(["distributed", "block"]), st.integers(1, 9), LEVELS, STALLS, st.integers(0, 99))
@example("block", 3, ir.BIPOLAR, NONE, 0)
@example("distributed", 1, ir.BIPOLAR, NONE, 0)
def test_branch_fifo(style, depth, levels, gaps, seed):
    stream = plan.Stream(levels, 2, 7)
    depth = max(depth, 3) if style == "block" else depth
    stage = plan.FifoStage(name="fifo", nodes=(), i=stream, o=stream, style=style, fifo_depth=depth)
    x = frames(np.random.default_rng(seed), stream)
    check(stage, [x], [x])
    check(stage, [x], [x], gaps)


@pytest.mark.parametrize("style, depth", [("distributed", 1), ("distributed", 4), ("block", 3), ("block", 6)])
def test_branch_fifo_holds_exactly_its_depth(style, depth):
    stream = plan.Stream(ir.Levels.unsigned(4), 1, 12)
    stage = plan.FifoStage(name="fifo", nodes=(), i=stream, o=stream, style=style, fifo_depth=depth)
    dut = rtl.component(stage)
    into, _ = exchange(dut, [(dut.i, range(12), ())], [(dut.o, 12, [30])])
    assert sum(c < 30 for c, _ in into) == depth
    if depth >= stage.least_fifo_depth:
        _, out = exchange(dut := rtl.component(stage), [(dut.i, range(12), ())], [(dut.o, 12, ())])
        assert [c for c, _ in out] == list(range(stage.latency, stage.latency + 12))


@settings(max_examples=25)
@given(LEVELS, LEVELS, st.integers(1, 3), STALLS, st.integers(0, 99))
def test_add(a, b, lanes, gaps, seed):
    node = ir.Add("sum", ("a", "b"), ("y",))
    y = node.infer(ir.Tensor((lanes * 4,), a), ir.Tensor((lanes * 4,), b)).levels
    stage = plan.AddStage(name="sum", nodes=("sum",), i=plan.Stream(a, lanes, 4), others=(plan.Stream(b, lanes, 4),),
                          o=plan.Stream(y, lanes, 4))
    rng = np.random.default_rng(seed)
    xs = [frames(rng, stream) for stream in stage.inputs.values()]
    check(stage, xs, [golden.apply(node, *xs)])
    check(stage, xs, [golden.apply(node, *xs)], gaps)


@pytest.mark.parametrize("a, b", [*product([ir.BIPOLAR, ir.TERNARY, ir.BINARY, ir.Levels.signed(2)], repeat=2)])
def test_add_on_every_pair(a, b):
    node = ir.Add("sum", ("a", "b"), ("y",))
    y = node.infer(ir.Tensor((1,), a), ir.Tensor((1,), b)).levels
    stage = plan.AddStage(name="sum", nodes=("sum",), i=plan.Stream(a, 1, 1), others=(plan.Stream(b, 1, 1),),
                          o=plan.Stream(y, 1, 1))
    xs = [np.array(x)[:, None] for x in zip(*product(a.values(), b.values()), strict=True)]
    check(stage, xs, [golden.apply(node, *xs)])


@st.composite
def concatenations(draw):
    """A concatenation of two or three streams, beat after beat or whole pixels side by side."""
    levels = draw(st.lists(LEVELS, min_size=2, max_size=3))
    pixels, whole = draw(st.integers(1, 3)), draw(st.booleans())
    if whole:
        channels = [draw(st.integers(1, 4)) for _ in levels]
        lanes = channels
    else:
        lanes = [draw(st.integers(1, 3))] * len(levels)
        channels = [lanes[0] * draw(st.integers(1, 3)) for _ in levels]
    first, *others = (plan.Stream(level, size, pixels * c // size)
                      for level, size, c in zip(levels, lanes, channels, strict=True))
    node = ir.Concat("join", tuple("abc"[:len(levels)]), ("y",))
    y = node.infer(*(ir.Tensor((pixels, 1, c), level) for level, c in zip(levels, channels, strict=True))).levels
    width = sum(channels) if whole else lanes[0]
    stage = plan.ConcatStage(name="join", nodes=("join",), i=first, others=tuple(others), channels=tuple(channels),
                             o=plan.Stream(y, width, pixels * sum(channels) // width))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    xs = [frames(rng, stream).reshape(3, pixels, 1, c)
          for stream, c in zip(stage.inputs.values(), channels, strict=True)]
    return node, stage, xs


@settings(max_examples=25)
@given(concatenations(), STALLS)
def test_concat(case, gaps):
    node, stage, xs = case
    check(stage, xs, [golden.apply(node, *xs)])
    check(stage, xs, [golden.apply(node, *xs)], gaps)


@st.composite
def slices(draw):
    """Any slice of whole beats, or of whole pixels."""
    pixels, levels, whole = draw(st.integers(1, 3)), draw(LEVELS), draw(st.booleans())
    channels = draw(st.integers(1, 8))
    lanes = channels if whole else draw(st.sampled_from(divisors(channels)))
    unit = 1 if whole else lanes
    start, stop = sorted(draw(st.lists(st.integers(0, channels // unit), min_size=2, max_size=2, unique=True)))
    node = ir.Slice("part", ("x",), ("y",), start * unit, stop * unit)
    kept = (stop - start) * unit
    out = kept if whole else lanes
    stage = plan.SliceStage(name="part", nodes=("part",), i=plan.Stream(levels, lanes, pixels * channels // lanes),
                            o=plan.Stream(levels, out, pixels * kept // out), channels=channels, start=node.start,
                            stop=node.stop)
    x = frames(np.random.default_rng(draw(st.integers(0, 99))), stage.i).reshape(3, pixels, 1, channels)
    return node, stage, x


@settings(max_examples=25)
@given(slices(), STALLS)
def test_slice(case, gaps):
    node, stage, x = case
    check(stage, [x], [golden.apply(node, x)])
    check(stage, [x], [golden.apply(node, x)], gaps)


S = plan.Stream(ir.BINARY, 2, 4)
NAMES = {"name": "s", "nodes": ()}


@pytest.mark.parametrize("make, message", [
    (lambda: plan.ForkStage(**NAMES, i=S, o=S, count=1), r"^s count must be at least 2, not 1$"),
    (lambda: plan.ForkStage(**NAMES, i=S, o=plan.Stream(ir.BINARY, 1, 8), count=2),
     r"^s must give out what it takes, not turn Stream\(.*\) into Stream\(.*\)$"),
    (lambda: plan.FifoStage(**NAMES, i=S, o=plan.Stream(ir.BINARY, 1, 8)),
     r"^s must give out what it takes, not turn Stream\(.*\) into Stream\(.*\)$"),
    (lambda: plan.FifoStage(**NAMES, i=S, o=S, style="logic"), r"^s style must be block or distributed, not logic$"),
    (lambda: plan.FifoStage(**NAMES, i=S, o=S, style="block", fifo_depth=2),
     r"^s fifo_depth must be at least 3 in block memory, not 2$"),
    (lambda: plan.AddStage(**NAMES, i=S, o=S, others=()), r"^s must add 2 streams, not 1$"),
    (lambda: plan.AddStage(**NAMES, i=S, o=S, others=(plan.Stream(ir.BINARY, 1, 8),)),
     r"^s must have equal lanes and beats, not 2 x 4, 1 x 8, 2 x 4$"),
    (lambda: plan.ConcatStage(**NAMES, i=S, o=S, others=(), channels=(2,)),
     r"^s must join at least 2 streams, not 1 with channels \(2,\)$"),
    (lambda: plan.ConcatStage(**NAMES, i=S, o=S, others=(plan.Stream(ir.BINARY, 1, 4),), channels=(2, 1)),
     r"^s must have equal lanes that divide channels \(2, 1\), or whole pixels, not lanes 2, 1, 2$"),
    (lambda: plan.ConcatStage(**NAMES, i=S, o=S, others=(S,), channels=(2, 4)),
     r"^s must have as many pixels in each stream, not \[1, 2, 4\]$"),
    (lambda: plan.SliceStage(**NAMES, i=S, o=S, channels=4, start=2, stop=6),
     r"^s must lie within 4 channels, not 2:6$"),
    (lambda: plan.SliceStage(**NAMES, i=S, o=S, channels=4, start=1, stop=3),
     r"^s must keep whole beats of 2 lanes, or have whole pixels, not keep 1:3 of 4$"),
    (lambda: plan.SliceStage(**NAMES, i=S, o=S, channels=4, start=0, stop=2),
     r"^s must keep levels and pixels, not turn Stream\(.*\) into Stream\(.*\)$"),
])
def test_bad_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("unit, record", [
    (Fork, "a ForkStage"), (BranchFifo, "a FifoStage"), (Add, "an AddStage"), (Concat, "a ConcatStage"),
    (Slice, "a SliceStage"),
])
def test_units_want_their_own_record(unit, record):
    with pytest.raises(TypeError, match=rf"^{unit.__name__} stage must be {record}, not 8$"):
        unit(8)
