# amaranth: UnusedElaboratable=no

"""Loadable layers: banks that are written at run time, the loader, and whole accelerators that change their weights."""

from itertools import cycle

import numpy as np
import pytest
from amaranth import Signal
from amaranth.hdl import Assert, Assume, ClockDomain, Cover, Elaboratable, Module
from amaranth.sim import Simulator
from formal import prove, reach
from hardware import GAPS, divisors, inventory, run
from hypothesis import given, settings
from hypothesis import strategies as st
from zoo import mlp

from hwbnn import golden, ir, plan, rtl
from hwbnn.errors import UserError
from hwbnn.plan.bank import SPRAM_WORDS, Bank
from hwbnn.plan.loader import LoaderStage, contents, packets, word_bytes
from hwbnn.rtl.bank import BankReader
from hwbnn.rtl.loader import Loader
from hwbnn.rtl.spram import Spram

BYTE = plan.Stream(ir.Levels.unsigned(8), 1, 1)
STYLES = ("block", "distributed", "spram")
KINDS = {
    "bipolar": {}, "classes": {"classes": False, "inputs": ir.BIPOLAR},
    "ternary": {"weights": ir.TERNARY, "hidden": ir.TERNARY, "inputs": ir.TERNARY},
    "k-bit": {"weights": ir.Levels.signed(4), "hidden": ir.Levels.unsigned(2), "falling": True},
}


def loader_stage(*banks):
    return LoaderStage(name="loader", nodes=(), i=BYTE, o=BYTE,
                       targets={(f"s{n}", "weights"): bank for n, bank in enumerate(banks)})


@pytest.mark.parametrize("make, message", [
    (lambda: Bank("b", 4, 8, "spram"), "Bank b must be loadable to be of style spram, which cannot be initialised"),
    (lambda: Bank("b", 4, 8, "logic", True),
     "Bank b style must be block, distributed or spram where it is loadable, not logic"),
    (lambda: BankReader(Bank("b", 4, 8, "logic"), [1, 2]), "Bank b must have 8 words, not 2"),
    (lambda: loader_stage(*[Bank("b", 1, 2, "block", True)] * 257),
     "Loader must have at most 256 banks to write, not 257"),
    (lambda: loader_stage(Bank("b", 1, 2**24 + 1, "block", True)),
     "Bank b must have at most 16777216 words to be loadable, not 16777217"),
    (lambda: packets(loader_stage(Bank("b", 17, 2, "block", True)), [bytes(6)], limit=6),
     "Limit must be at least the 7 bytes of a packet with one word of b, not 6"),
])
def test_bad_parameters(make, message):
    with pytest.raises(ValueError, match=rf"^{message}$"):
        make()


def test_a_loader_wants_its_own_record():
    with pytest.raises(TypeError, match=r"^Loader stage must be a LoaderStage, not 8$"):
        Loader(8)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("width, depth", [(1, 1), (5, 1), (1, 2), (3, 5), (17, 4), (16, 9)])
def test_banks_read_what_was_written(style, width, depth):
    rng = np.random.default_rng(width * depth)
    bank = Bank("b", width, depth, style, True)
    before, after = ([int(v) for v in rng.integers(0, 1 << width, depth)] for _ in range(2))
    dut = BankReader(bank, before)
    flip_flops, memories = inventory(dut)
    assert flip_flops.total() == bank.flip_flops
    assert memories == sorted((memory.width, memory.depth) for memory in bank.memories)
    seen = []

    async def bench(ctx):
        async def read():
            for n in range(depth + bank.latency):
                ctx.set(dut.address, n % depth)
                if n >= bank.latency:
                    seen.append(ctx.get(dut.data))
                await ctx.tick()
        await read()
        ctx.set(dut.load.enable, 1)
        for n in rng.permutation(depth).tolist():
            ctx.set(dut.load.address, n)
            ctx.set(dut.load.data, after[n])
            await ctx.tick()
        ctx.set(dut.load.enable, 0)
        await read()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen[depth:] == after
    assert (style == "spram" and depth > 1) or seen[:depth] == before


def test_a_deep_bank_is_rows_of_spram():
    bank = Bank("b", 18, SPRAM_WORDS + 2, "spram", True)
    assert (bank.columns, bank.rows, bank.latency, bank.flip_flops) == (2, 2, 2, 19)
    dut = BankReader(bank, [0] * bank.depth)
    words = {0: 5, SPRAM_WORDS - 1: 0x2A5A5, SPRAM_WORDS: 0x3FFFF, SPRAM_WORDS + 1: 0x10001}
    seen = {}

    async def bench(ctx):
        for address, word in words.items():
            ctx.set(dut.load.address, address)
            ctx.set(dut.load.data, word)
            ctx.set(dut.load.enable, 1)
            await ctx.tick()
        ctx.set(dut.load.enable, 0)
        for address in words:
            ctx.set(dut.address, address)
            await ctx.tick().repeat(2)
            seen[address] = ctx.get(dut.data)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen == words
    assert inventory(dut)[1] == [(16, SPRAM_WORDS)] * 4


BANKS = (Bank("a", 1, 3, "block", True), Bank("b", 8, 2, "block", True), Bank("c", 19, 4, "block", True))


@st.composite
def traffic(draw):
    """Packets, most of them good, and the gaps between their bytes."""
    made = []
    for _ in range(draw(st.integers(1, 6))):
        number = draw(st.sampled_from([0, 1, 2, 2, 3, 255]))
        size = draw(st.sampled_from([0, 1, 2, 3, 3, 6, 9, 12]))
        address = draw(st.sampled_from([0, 0, 1, 3, 255]))
        whole = bytes([number]) + address.to_bytes(3, "little") + draw(st.binary(min_size=size, max_size=size))
        made.append(whole[:draw(st.integers(1, 4))] if draw(st.integers(0, 9)) == 0 else whole)
    return made


def written(sent):
    """What the packets write, and how many of them are faulty."""
    words, errors = [], 0
    for packet in sent:
        number, address, content = packet[0], int.from_bytes(packet[1:4], "little"), packet[4:]
        if len(packet) < 5 or number >= len(BANKS):
            errors += 1
            continue
        size = word_bytes(BANKS[number])
        values = [int.from_bytes(content[n:n + size], "little") & ((1 << BANKS[number].width) - 1)
                  for n in range(0, len(content) - size + 1, size)]
        inside = [(number, address + n, value) for n, value in enumerate(values) if address + n < BANKS[number].depth]
        words += inside
        errors += len(inside) < len(values) or len(content) % size != 0
    return words, errors


@settings(max_examples=40)
@given(traffic(), GAPS)
def test_the_loader_writes_what_packets_say_and_counts_faulty_ones(sent, gaps):
    stage = loader_stage(*BANKS)
    dut = Loader(stage)
    assert inventory(dut)[0].total() == stage.flip_flops
    seen, counts = [], []

    async def watch(ctx):
        ports = [getattr(dut, f"load_{n}") for n in range(len(BANKS))]
        while True:
            for n, port in enumerate(ports):
                if ctx.get(port.enable):
                    seen.append((n, ctx.get(port.address), ctx.get(port.data)))
            await ctx.tick()

    async def send(ctx):
        pauses = cycle(gaps)
        for packet in sent:
            for n, byte in enumerate(packet):
                for _ in range(next(pauses)):
                    await ctx.tick()
                ctx.set(dut.i.payload.data, byte)
                ctx.set(dut.i.payload.last, n == len(packet) - 1)
                ctx.set(dut.i.valid, 1)
                await ctx.tick()
                ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat(2)
        counts.append((ctx.get(dut.words), ctx.get(dut.errors)))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(watch, background=True)
    simulator.add_testbench(send)
    simulator.run()
    words, errors = written(sent)
    assert seen == words
    assert counts == [(len(words), errors)]


@st.composite
def loadable(draw, style=None):
    """Plans of two networks that differ in what is loadable only, and images."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    sizes = [*draw(st.lists(st.integers(1, 8), min_size=1, max_size=2)), draw(st.integers(2, 6))]
    seed = draw(st.integers(0, 999))
    pair = [mlp(sizes, seed=seed + n, **KINDS[kind]) for n in range(2)]
    layers = [node for node in pair[0].nodes if isinstance(node, ir.MatMul)]
    folds = {node.name: plan.Fold(draw(st.sampled_from(divisors(node.rows))), draw(st.sampled_from(
        divisors(node.columns))), plan.UnitOptions(weights=style or draw(st.sampled_from(("auto", *STYLES[:2]))),
                                                   loadable=True)) for node in layers}
    first, second = (plan.lower(network, folds) for network in pair)
    x = np.random.default_rng(seed).choice(first.input.levels.values(), (4, sizes[0]))
    return first, second, x


def answers(p, x):
    return golden.evaluate(p.network, x)[p.network.outputs[0].tensor]


@settings(max_examples=20)
@given(loadable())
def test_other_weights_in_exact_cycles(case):
    first, second, x = case
    packed = packets(first.loader, contents(second.stages), limit=200)
    values, started, finished = run(first, x, packed)
    assert np.array_equal(values, answers(second, x))
    predicted = plan.schedule(first.stages, len(x))
    later = started[0] - predicted.started[0]
    assert tuple(cycle - later for cycle in finished) == predicted.finished
    flip_flops, memories = inventory(rtl.Core(first))
    assert flip_flops.total() == first.flip_flops
    assert memories == sorted((memory.width, memory.depth) for memory in first.memories)


@settings(max_examples=20)
@given(loadable(), GAPS, GAPS)
def test_the_weights_that_were_compiled_are_there_at_power_up(case, i_gaps, o_gaps):
    first, _, x = case
    assert np.array_equal(run(first, x, i_gaps=cycle(i_gaps), o_gaps=cycle(o_gaps))[0], answers(first, x))


@settings(max_examples=3, deadline=None)
@given(loadable("spram"), GAPS, GAPS)
def test_weights_in_spram(case, i_gaps, o_gaps):
    first, second, x = case
    packed = packets(first.loader, contents(second.stages), limit=200)
    assert np.array_equal(run(first, x, packed, i_gaps=cycle(i_gaps), o_gaps=cycle(o_gaps))[0], answers(second, x))


@pytest.mark.parametrize("options, message", [
    ({"weights": "spram"},
     "Weights of fc0 must be loadable to stand in SPRAM, which cannot be initialised; add --loadable fc0"),
    ({"weights": "logic", "loadable": True},
     "Weights of fc0 must be block, distributed or spram where they are loadable, not logic"),
])
def test_impossible_memories_are_refused(options, message):
    with pytest.raises(UserError, match=rf"^{message}$"):
        plan.lower(mlp((4, 2)), {"fc0": plan.Fold(1, 2, plan.UnitOptions(**options))})


class Kept(Elaboratable):
    """What was written to the word that the solver follows last is what is read there, whatever else is written."""

    def __init__(self, dut):
        self.dut = dut
        self.sync = ClockDomain("sync")
        self.word = Signal.like(dut.address)

    @property
    def ports(self):
        load = self.dut.load
        ports = [self.sync.clk, self.word, self.dut.address, load.address, load.data, load.enable]
        return [port for port in ports if len(port)]  # the solver's traces know no address of a single word

    def elaborate(self, platform):
        m = Module()
        m.domains += self.sync
        m.submodules.dut = dut = self.dut
        m.d.comb += self.sync.rst.eq(0)
        started, word, known = Signal(), Signal.like(self.word), Signal()
        value = Signal.like(dut.load.data)
        m.d.sync += [started.eq(1), word.eq(self.word)]
        m.d.comb += Assume(self.word < dut.bank.depth)
        with m.If(started):
            m.d.comb += Assume(word == self.word)
        with m.If(dut.load.enable & (dut.load.address == self.word)):
            m.d.sync += [known.eq(1), value.eq(dut.load.data)]
        quiet = Signal(range(dut.latency + 3))  # cycles since the last write in which the word was addressed
        with m.If(dut.load.enable | (dut.address != self.word)):
            m.d.sync += quiet.eq(0)
        with m.Elif(quiet < dut.latency + 1):
            m.d.sync += quiet.eq(quiet + 1)
        with m.If(known & (quiet >= dut.latency) & (quiet > 0)):
            m.d.comb += [Assert(dut.data == value), Cover(value != 0)]
        return m


@pytest.mark.formal
@pytest.mark.parametrize("style, depth", [("block", 3), ("distributed", 4), ("spram", 3), ("spram", 9),
                                          ("block", 1)])
def test_what_was_loaded_is_read(style, depth, tmp_path, monkeypatch):
    for module in ("plan.bank", "rtl.bank", "rtl.spram"):  # the solver does not end on blocks of 16,384 words
        monkeypatch.setattr(f"hwbnn.{module}.SPRAM_WORDS", 4)

    def spec():
        return Kept(BankReader(Bank("b", 3, depth, style, True), [5] * depth))
    prove(spec(), depth=8, directory=tmp_path)
    reach(spec(), depth=8, directory=tmp_path)


def test_the_twin_of_spram_keeps_quiet_about_what_it_read_before():
    dut = Spram()
    assert inventory(dut) == ({}, [(16, SPRAM_WORDS)])


def test_the_verilog_initialises_no_spram():
    p = plan.lower(mlp((4, 2)), {"fc0": plan.Fold(1, 2, plan.UnitOptions(weights="spram", loadable=True))})
    text = rtl.verilog(p)
    assert text.count('ram_style = "huge"') == 1
    assert "ram[16383]" not in text
