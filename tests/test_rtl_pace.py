# amaranth: UnusedElaboratable=no

"""Registers and blocks that a clock asks for: what they are, and memories that are split into blocks."""

from dataclasses import replace

import numpy as np
import pytest
from amaranth.sim import Simulator
from hardware import FAST, inventory
from hypothesis import given, settings
from hypothesis import strategies as st

from hwbnn import plan
from hwbnn.plan import RELAXED, Bank, Pace
from hwbnn.rtl.bank import BankReader


@pytest.mark.parametrize("make, error, message", [
    (lambda: Pace(levels=0), ValueError, "Pace levels must be at least 1, not 0"),
    (lambda: Pace(address=-1), ValueError, "Pace address must be at least 0, not -1"),
    (lambda: Pace(output=True), TypeError, "Pace output must be an integer, not True"),
    (lambda: Pace(rows=0), ValueError, "Pace rows must be at least 1, not 0"),
    (lambda: Pace(shapes=((8, 0),)), ValueError, r"Pace shapes must be words and bits of at least 1, not \(8, 0\)"),
    (lambda: Pace.of({"speed": 1}), ValueError, "Pace must be of levels, address, output, shapes, rows, not speed"),
])
def test_a_pace_is_checked(make, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        make()


@pytest.mark.parametrize("pace", [RELAXED, FAST, Pace(rows=1)])
def test_a_pace_is_kept_as_json(pace):
    assert Pace.of(pace.record) == pace
    assert Pace.of({}) == RELAXED


NATIVE = Pace(shapes=((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36)))


@pytest.mark.parametrize("width, depth, written, shape, blocks", [
    (64, 512, False, (512, 36), 2),
    (64, 1024, False, (1024, 18), 4),
    (64, 3136, False, (2048, 9), 15),  # two rows side by side
    (64, 3136, True, (4096, 4), 16),
    (16, 1025, False, (2048, 9), 2),
    (8, 600, False, (2048, 9), 1),
    (10, 2100, True, (4096, 4), 3),
])
def test_blocks_are_the_fewest(width, depth, written, shape, blocks):
    bank = Bank("b", width, depth, "block", written, NATIVE)
    assert (bank.shape, len(bank.memories)) == (shape, blocks)
    assert blocks == min(-(-depth // words) * -(-width // bits) if written else -(-width * -(-depth // words) // bits)
                         for words, bits in NATIVE.shapes if depth <= 2 * words)


@pytest.mark.parametrize("width, depth, shape, blocks", [
    (256, 4096, (4096, 4), 64),  # 57 of (2048, 9)
    (64, 3136, (4096, 4), 16),
    (88, 128, (512, 36), 3),
    (8, 20000, (16384, 1), 16),  # no shape is that deep
])
def test_blocks_as_deep_as_the_memory(width, depth, shape, blocks):
    bank = Bank("b", width, depth, "block", pace=replace(NATIVE, rows=1))
    assert (bank.shape, len(bank.memories)) == (shape, blocks)
    assert bank.rows == (1 if depth <= 16384 else 2)


@settings(max_examples=60)
@given(st.integers(1, 20), st.integers(2, 30), st.booleans(), st.integers(0, 2), st.integers(0, 2), st.booleans(),
       st.integers(1, 2))
def test_banks_of_blocks(width, depth, loadable, address, output, split, high):
    pace = Pace(address=address, output=output, shapes=FAST.shapes if split else (), rows=high)
    bank = Bank("b", width, depth, "block", loadable, pace)
    rng = np.random.default_rng(width * depth)
    before, after = ([int(v) for v in rng.integers(0, 1 << width, depth)] for _ in range(2))
    dut = BankReader(bank, before)
    flip_flops, memories = inventory(dut)
    assert flip_flops.total() == bank.flip_flops
    assert memories == sorted((memory.width, memory.depth) for memory in bank.memories)
    assert {memory.bank for memory in bank.memories} == {"b"}
    seen = []

    async def bench(ctx):
        for words in (before, after) if loadable else (before,):
            if words is after:
                ctx.set(dut.load.enable, 1)
                for n in rng.permutation(depth).tolist():
                    ctx.set(dut.load.address, n)
                    ctx.set(dut.load.data, after[n])
                    await ctx.tick()
                ctx.set(dut.load.enable, 0)
            order = rng.permutation(depth).tolist()
            for n in range(depth + dut.latency):
                ctx.set(dut.address, order[n % depth])
                if n >= dut.latency:
                    seen.append((ctx.get(dut.data), words[order[n - dut.latency]]))
                await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert [got for got, _ in seen] == [want for _, want in seen]
    assert bank.latency == address + output + 2


@settings(max_examples=20)
@given(st.integers(1, 6), st.integers(2, 100), st.sampled_from([RELAXED, FAST]))
def test_constants_in_logic(width, depth, pace):
    bank = Bank("b", width, depth, "logic", False, pace)
    words = [int(v) for v in np.random.default_rng(depth).integers(0, 1 << width, depth)]
    dut = BankReader(bank, words)
    flip_flops, memories = inventory(dut)
    assert flip_flops.total() == bank.flip_flops
    assert memories == sorted((memory.width, memory.depth) for memory in bank.memories)
    assert bank.latency == (2 if pace is FAST and depth > 32 else 1)
    seen = []

    async def bench(ctx):
        for n in range(depth + dut.latency):
            ctx.set(dut.address, n % depth)
            if n >= dut.latency:
                seen.append(ctx.get(dut.data))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen == words


def test_styles_name_banks_though_they_are_split():
    from zoo import tiny
    folds = {"fc0": plan.Fold(2, 2), "fc1": plan.Fold(1, 2)}
    p = plan.lower(tiny(), folds, styles={"fc0.weights": "block"}, pace=FAST)
    assert sorted({memory.bank for memory in p.stage("fc0").memories if memory.style == "block"}) == ["fc0.weights"]
    assert len(p.stage("fc0").weight_bank.memories) == 3
