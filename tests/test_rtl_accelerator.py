# amaranth: UnusedElaboratable=no

import re
from itertools import cycle

import numpy as np
import pytest
from hardware import GAPS, PACES, STYLES, divisors, folds, inventory, run
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import AxiPort, transfer
from zoo import MLPS, mlp

from hwbnn import golden, ir, pack, plan, rtl

LEVELS = st.sampled_from([ir.BIPOLAR, ir.TERNARY, ir.BINARY, ir.Levels.unsigned(2), ir.Levels.unsigned(4),
                          ir.Levels.signed(3)])
WEIGHTS = st.sampled_from([ir.BIPOLAR, ir.BIPOLAR, ir.TERNARY, ir.Levels.signed(2), ir.Levels.signed(4, narrow=True)])


@st.composite
def networks(draw, classes=None):
    """Fully connected networks of one to three layers, any levels, with or without argmax."""
    sizes = [*draw(st.lists(st.integers(1, 12), min_size=1, max_size=3)), draw(st.integers(2, 12))]
    return mlp(sizes, inputs=draw(LEVELS), weights=draw(WEIGHTS), hidden=draw(LEVELS), falling=draw(st.booleans()),
               classes=draw(st.booleans()) if classes is None else classes, seed=draw(st.integers(0, 2**16)))


@st.composite
def plans(draw):
    """Plans of random networks, folds, memory styles and paces."""
    network = draw(networks())
    chosen = draw(folds(network))
    styles = {}
    for memory in plan.lower(network, chosen).memories:
        if memory.name.endswith(("weights", "thresholds", "offsets", "constants")):
            styles[memory.name] = draw(STYLES)
        elif memory.name.endswith("inputs"):
            styles[memory.name] = draw(st.sampled_from(["block", "distributed"]))
    return plan.lower(network, chosen, styles=styles, pace=draw(PACES))


def images(p, count, seed):
    return np.random.default_rng(seed).choice(p.input.levels.values(), (count, *p.network.input.shape))


def expected(p, q):
    return golden.evaluate(p.network, q)[p.network.outputs[0].tensor]


@settings(max_examples=30)
@given(plans(), st.integers(0, 2**16))
def test_values_and_cycles_without_stalls(p, seed):
    q = images(p, 5, seed)
    values, started, finished = run(p, q)
    assert np.array_equal(values, expected(p, q))
    predicted = plan.schedule(p.stages, len(q))
    assert tuple(finished) == predicted.finished
    assert tuple(started) == predicted.started
    assert p.cycles.first == finished[0] - started[0]


@settings(max_examples=40)
@given(plans(), GAPS, GAPS, st.integers(0, 2**16))
def test_values_and_order_under_stalls(p, i_gaps, o_gaps, seed):
    q = images(p, 4, seed)
    values, _, _ = run(p, q, i_gaps=cycle(i_gaps), o_gaps=cycle(o_gaps))
    assert np.array_equal(values, expected(p, q))


@settings(max_examples=20)
@given(plans())
def test_flip_flops_and_memories_are_those_of_the_rtl(p):
    flip_flops, memories = inventory(rtl.Core(p))
    assert flip_flops.total() == p.flip_flops
    assert memories == sorted((memory.width, memory.depth) for memory in p.memories)
    for stage in p.stages:
        inside = re.compile(rf"top\.{rtl.instance_name(stage)}(\.|$)")
        assert sum(bits for name, bits in flip_flops.items() if inside.match(name)) == stage.flip_flops


@settings(max_examples=80)
@given(plans())
def test_the_slowest_stage_sets_the_interval(p):
    assert p.cycles.interval == max(stage.ii for stage in p.stages)


MLP = {"fc0": plan.Fold(2, 4), "fc1": plan.Fold(1, 3)}


def framed(packets):
    """Send packets of raw beats through a small accelerator; return results, cycles and errors."""
    network = mlp((8, 6, 3), name="tiny", classes=True)
    p = plan.lower(network, MLP)
    core = rtl.Core(p)
    s, m = AxiPort(core, "s_axis"), AxiPort(core, "m_axis")
    beats = [beat for packet in packets for beat in s.join(packet, len(packet))]
    errors = []

    async def count(ctx):
        async for _clk, _rst, value in ctx.tick().sample(core.framing_errors):
            errors.append(value)

    _, out = transfer(core, beats, len(packets), i=s, o=m, patience=60, watch=count)
    return p, rtl.result_values(p, [m.split(payload)[0] for _, payload in out]).ravel().tolist(), errors[-1]


@settings(max_examples=25)
@given(st.lists(st.lists(st.integers(0, 2**16 - 1), min_size=1, max_size=5), min_size=1, max_size=6))
def test_every_packet_is_answered_whatever_its_length(packets):
    p, classes, errors = framed(packets)
    frames = [[*packet, 0, 0][:2] for packet in packets]
    q = pack.unlanes([beat for frame in frames for beat in frame], 4, 4).reshape(-1, 8)
    assert classes == expected(p, q).ravel().tolist()
    assert errors == sum(len(packet) != p.input.beats for packet in packets)


def test_one_beat_frames_resynchronise():
    network = mlp((4, 2), name="one", classes=True, inputs=ir.BIPOLAR)
    p = plan.lower(network, {"fc0": plan.Fold(1, 4)})
    assert p.input.beats == 1
    core = rtl.Core(p)
    s, m = AxiPort(core, "s_axis"), AxiPort(core, "m_axis")
    words = [3, 5 | 1 << 8, 6, 7, 9 | 1 << 8, 10 | 1 << 8]  # the packets are (3, 5), (6, 7, 9) and (10)
    _, out = transfer(core, words, 3, i=s, o=m, patience=40)
    q = pack.levels_of(pack.unlanes([3, 6, 10], 1, 4), ir.BIPOLAR)
    assert [m.split(payload)[0] for _, payload in out] == expected(p, q).ravel().tolist()


def test_verilog_has_the_ports_and_the_names_of_the_nodes():
    p = plan.lower(mlp((8, 6, 3), name="tiny", classes=True), MLP)
    text = rtl.verilog(p, name="tiny_net")
    (header,) = re.findall(r"^module tiny_net\((.*?)\);", text, re.MULTILINE)
    assert set(header.split(", ")) == {
        "aclk", "aresetn", "s_axis_tdata", "s_axis_tvalid", "s_axis_tready", "s_axis_tlast", "m_axis_tdata",
        "m_axis_tvalid", "m_axis_tready", "m_axis_tlast", "framing_errors"}
    for stage in p.stages:
        assert f"\\tiny_net.core.{rtl.instance_name(stage)} " in text
    assert not re.search(r"\\\S*\[\d", text)  # abc9 takes an array's element x[0] for bit 0 of x
    assert ".py" not in text
    assert rtl.verilog(p, name="tiny_net") == text


def test_beats_hold_lanes_from_the_lowest_bit():
    p = plan.lower(mlp((8, 6, 3), name="tiny"), MLP)
    q = np.arange(16).reshape(2, 8)
    assert rtl.stream_words(p, q) == [0x3210, 0x7654, 0xBA98, 0xFEDC]
    assert p.output.levels.bits == 4
    assert rtl.result_values(p, [0xF, 1, 2, 3, 0x14, 5]).tolist() == [[-1, 1, 2], [3, 4, 5]]


def test_beats_of_a_wrong_shape():
    p = plan.lower(mlp((8, 6, 3), name="tiny"), MLP)
    with pytest.raises(ValueError, match=r"^Images must have shape N x 8, not 2 x 7$"):
        rtl.stream_words(p, np.zeros((2, 7)))
    with pytest.raises(ValueError, match=r"^Beats must come in frames of 3, not 4 in all$"):
        rtl.result_values(p, [0, 0, 0, 0])


@pytest.mark.parametrize("name", MLPS)
def test_zoo(name):
    network = MLPS[name]()
    for seed in range(2):
        rng = np.random.default_rng(seed)
        chosen = {node.name: plan.Fold(int(rng.choice(divisors(node.rows))), int(rng.choice(divisors(node.columns))))
                  for node in network.nodes if node.op == "MatMul"}
        p = plan.lower(network, chosen)
        q = images(p, 3, seed)
        assert np.array_equal(run(p, q)[0], expected(p, q))


def test_a_shallower_fifo_is_slower():
    """Depths from the schedule suffice, and one less does not, where more than the least is asked for."""
    network = mlp((16, 16, 16, 4), name="burst", inputs=ir.BIPOLAR)
    chosen = {"fc0": plan.Fold(2, 4), "fc1": plan.Fold(4, 2), "fc2": plan.Fold(1, 2)}
    p = plan.lower(network, chosen)
    tested = 0
    for stage in p.stages:
        if isinstance(stage, plan.PipelineStage) and stage.fifo_depth > stage.least_fifo_depth:
            less = plan.lower(network, chosen, fifo_depths={stage.name: stage.fifo_depth - 1})
            assert less.cycles.interval > p.cycles.interval
            _, _, finished = run(less, images(less, 6, 0))
            assert tuple(finished) == plan.schedule(less.stages, 6).finished
            tested += 1
    assert tested
