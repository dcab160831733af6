# amaranth: UnusedElaboratable=no

import numpy as np
import pytest
from amaranth import Module, Signal
from amaranth.sim import Simulator
from hardware import inventory
from hypothesis import given
from hypothesis import strategies as st

from hwbnn import ir, pack, plan
from hwbnn.rtl.codes import decode, encode, encode_level
from hwbnn.rtl.dot import DotProduct
from hwbnn.rtl.tree import add_planes, add_up

LANES = [plan.MismatchLane, plan.ConditionalLane, plan.GatedConditionalLane, plan.GatedLane, plan.StillLane,
         plan.ChoiceLane, plan.MaskLane, plan.PlanesLane, plan.ProductLane, plan.MultiplierLane]
LEVELS = [ir.BIPOLAR, ir.TERNARY, ir.BINARY, ir.Levels.unsigned(3), ir.Levels.signed(3), ir.Levels(-3, 5, 4),
          ir.Levels(0, 6, 3), ir.Levels(2, 2), ir.Levels(-1, 0)]


def run(dut, process):
    sim = Simulator(dut)
    if not isinstance(dut, DotProduct) or dut.latency:
        sim.add_clock(1e-6)
    sim.add_testbench(process)
    sim.run()


@pytest.mark.parametrize("levels", LEVELS, ids=str)
def test_codes_are_those_of_pack(levels):
    m = Module()
    code, number, index = Signal(levels.bits), Signal(8, name="number"), Signal(4, name="index")
    number = Signal(range(levels.low - 1, levels.high + 2))
    decoded, encoded, level = Signal(range(-99, 99)), Signal(levels.bits), Signal(levels.bits)
    m.d.comb += [decoded.eq(decode(code, levels)), encoded.eq(encode(number, levels)),
                 level.eq(encode_level(index, levels))]

    async def process(ctx):
        for n, value in enumerate(levels.values().tolist()):
            expected = int(pack.codes(value, levels))
            ctx.set(code, expected)
            ctx.set(number, value)
            ctx.set(index, n)
            assert ctx.get(decoded) == value
            assert ctx.get(encoded) == expected
            assert ctx.get(level) == expected
        if levels.is_ternary:
            ctx.set(code, int(pack.codes(0, levels, weight=True)))
            assert ctx.get(decoded) == 0
        await ctx.tick()

    m.d.sync += Signal(name="unused").eq(1)
    run(m, process)


def equal_lanes(lane, simd, spare=False):
    """Hold the sum to ``simd`` times each product, of all lanes alike: among them are the least and the greatest."""
    record = plan.Dot(lane, simd, spare=spare)
    dut, wrong = DotProduct(record), []
    pairs = [(x, w) for x in lane.x.values().tolist() for w in lane.w.values().tolist()]

    async def process(ctx):
        for x, w in pairs:
            ctx.set(dut.x.as_value(), pack.lanes(pack.codes(np.full((1, simd), x), lane.x), lane.x.bits)[0])
            weights = pack.codes(np.full((1, simd), w), lane.w, weight=True)
            ctx.set(dut.w.as_value(), pack.lanes(weights, lane.w.bits)[0])
            for _ in range(dut.latency):
                await ctx.tick()
            total, offset = ctx.get(dut.sum) + ctx.get(dut.spare), int(lane.offsets(np.full((1, simd), w))[0])
            if lane.scale * total + offset != simd * x * w:
                wrong.append((x, w, total))

    run(dut, process)
    assert not wrong


@pytest.mark.parametrize("x_levels", LEVELS, ids=str)
@pytest.mark.parametrize("w_levels", LEVELS, ids=str)
def test_every_product_of_every_lane(x_levels, w_levels):
    """A single lane of each kind that fits: scale times term plus offset is the product, exhaustively."""
    for kind in LANES:
        if not kind.fits(x_levels, w_levels):
            continue
        lane = kind(x_levels, w_levels)
        assert DotProduct(plan.Dot(lane, 1)).latency == plan.Dot(lane, 1).latency
        equal_lanes(lane, 1)


@pytest.mark.parametrize("simd", [*range(1, 10), 15, 16, 17, 31, 32, 33])
@pytest.mark.parametrize("x_levels,w_levels", [
    (ir.BIPOLAR, ir.BIPOLAR), (ir.BIPOLAR, ir.TERNARY), (ir.TERNARY, ir.BIPOLAR), (ir.TERNARY, ir.TERNARY)], ids=str)
def test_counts_hold_the_least_and_the_greatest_sum(x_levels, w_levels, simd):
    for kind in (plan.MismatchLane, plan.GatedLane):
        if kind.fits(x_levels, w_levels):
            for spare in (False, True):
                equal_lanes(kind(x_levels, w_levels), simd, spare)


@pytest.mark.parametrize("kind", LANES)
def test_sums_hold_the_least_and_the_greatest(kind):
    for x_levels in LEVELS:
        for w_levels in LEVELS:
            if kind.fits(x_levels, w_levels):
                for simd in (2, 4, 7):
                    equal_lanes(kind(x_levels, w_levels), simd, True)


@given(st.sampled_from([*LEVELS, ir.Levels.unsigned(8)]), st.sampled_from([*LEVELS, ir.Levels.signed(8)]),
       st.integers(1, 40), st.data())
def test_a_dot_product_every_cycle(x_levels, w_levels, simd, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    lane = plan.lane_for(x_levels, w_levels, data.draw(st.sampled_from(plan.datapaths(x_levels, w_levels))))
    record = plan.Dot(lane, simd, plan.Pace(levels=data.draw(st.integers(1, 3))), data.draw(st.booleans()))
    dut = DotProduct(record)
    assert inventory(DotProduct(record))[0].total() == record.flip_flops
    x, w = rng.choice(x_levels.values(), (6, simd)), rng.choice(w_levels.values(), (6, simd))
    x_words = pack.lanes(pack.codes(x, x_levels), x_levels.bits)
    w_words = pack.lanes(pack.codes(w, w_levels, weight=True), w_levels.bits)
    results = []

    async def process(ctx):
        for n in range(6 + dut.latency):
            if n < 6:
                ctx.set(dut.x.as_value(), x_words[n])
                ctx.set(dut.w.as_value(), w_words[n])
            if n >= dut.latency:
                results.append(ctx.get(dut.sum) + ctx.get(dut.spare))
            if dut.latency:
                await ctx.tick()

    run(dut, process)
    assert [lane.scale * s + int(lane.offsets(w[n:n + 1])[0]) for n, s in enumerate(results)] == \
        (x * w).sum(axis=1).tolist()


def test_a_tree_of_the_wrong_number_of_terms():
    with pytest.raises(ValueError, match=r"^Terms must be 3, not 2$"):
        add_up(Module(), plan.Tree(3, 0, 1), [Signal(), Signal()])
    with pytest.raises(ValueError, match=r"^Numbers must be 3, not 2$"):
        add_planes(Module(), plan.Planes((1, 2, 4), 0, 1), [Signal(), Signal()])
