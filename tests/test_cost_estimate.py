"""Estimates of whole accelerators: totals, exactness against the plan, monotony, energy, JSON, calibration."""

import json
import re
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest
from amaranth.back import rtlil
from hypothesis import given
from hypothesis import strategies as st
from zoo import MLPS, mlp, tiny

from hwbnn import cost, ir
from hwbnn.calibrate import Table, luts
from hwbnn.cost import Quantity, Unknown
from hwbnn.cost.constants import distinct_columns, word_bits
from hwbnn.cost.counts import count_luts, gated_luts
from hwbnn.cost.datapath import dot_forms, lane_luts, sum_luts, tree_forms
from hwbnn.cost.energy import CAUSES, PINS_PER_LUT, asic_energy, fpga_energy
from hwbnn.cost.fabric import fabric, selection_luts, still_bits, storage_luts
from hwbnn.cost.forms import forms
from hwbnn.cost.operations import full_adders, operations
from hwbnn.cost.quantity import product
from hwbnn.cost.resources import Use, fit_of, of_stage
from hwbnn.cost.terms import Forms
from hwbnn.errors import UserError
from hwbnn.fold import divisors
from hwbnn.plan import Count, Dot, Fold, GatedCount, MatrixVectorStage, Stage, Stream, Tree, lane_for, lower
from hwbnn.rtl.cells import Family
from hwbnn.rtl.dot import DotProduct

TABLES = Path(__file__).parents[1] / "benchmarks" / "calibration"


def plan_of(net, pe=1, simd=1):
    folds = {node.name: Fold(max(d for d in divisors(node.rows) if d <= pe),
                             max(d for d in divisors(node.columns) if d <= simd))
             for node in net.nodes if isinstance(node, ir.MatMul)}
    return lower(net, folds)


# The closed forms.

@given(st.integers(1, 200))
def test_a_popcount_takes_two_luts_per_full_adder_and_its_chains(count):
    tree = Tree(count, 0, 1)
    adders = count - count.bit_length()  # each takes one bit away, from `count` bits to the count's
    assert full_adders(tree) == adders
    luts = tree_forms(tree).datapath
    assert 2 * adders - count.bit_length() <= luts <= 3.5 * count


@given(st.integers(2, 64), st.integers(1, 6))
def test_a_tree_counts_its_chains(count, bits):
    """Brute force: walk the tree in groups of four and count the sums; where adders share chains, there are fewer."""
    tree, sums, terms = Tree(count, 0, 2**bits - 1), 0, count
    while terms > 1:
        sums += sum(1 for n in range(0, terms, 4) if terms - n > 1)
        terms = -(-terms // 4)
    assert tree_forms(tree).chains <= (2 * count - 2 if tree.is_chained else sums)


@given(st.integers(2, 64), st.integers(4, 9))
def test_adders_on_chains_take_a_lut_for_each_bit_and_carry(count, bits):
    """Brute force: as wide as the wider of what is added."""
    tree, luts, widest = Tree(count, 0, 2**bits - 1), 0, [2**bits - 1] * count
    while len(widest) > 1:
        pairs = [widest[n:n + 2] for n in range(0, len(widest), 2)]
        luts += sum(max(pair).bit_length() + 1 for pair in pairs if len(pair) == 2)
        widest = [sum(pair) for pair in pairs]
    assert tree_forms(tree).datapath == luts


def test_sums_and_lanes():
    assert [sum_luts(k, 3, 5) for k in (1, 2, 3, 4)] == [0, 5, 11, 17]
    bipolar, nibble = ir.BIPOLAR, ir.Levels.unsigned(4)
    assert lane_luts(lane_for(ir.BINARY, nibble)) < lane_luts(lane_for(nibble, ir.TERNARY))
    assert lane_luts(lane_for(nibble, bipolar), constant=True) == 0
    with pytest.raises(TypeError, match=r"^Lanes must be of terms that are added, not MismatchLane$"):
        lane_luts(lane_for(bipolar, bipolar))


@pytest.mark.parametrize("levels", [ir.BIPOLAR, ir.TERNARY], ids=str)
@pytest.mark.parametrize("simd", [8, 15, 16, 33, 64])
def test_counts_on_ecp5_are_the_halves_of_its_carry_cells(levels, simd):
    """But for those that close a chain, and lanes in front of registers, which are look-up tables."""
    dot = Dot(lane_for(levels, levels), simd, spare=True)
    made = len(re.findall(r"cell \\CCU2C ", rtlil.convert(DotProduct(dot), platform=Family("ecp5"))))
    form = dot_forms(dot, family="ecp5")
    lanes = simd - sum(dot.count.groups) if isinstance(dot.count, Count) else 0
    assert 0 <= 2 * made - (form.datapath - lanes) <= 2 * form.chains + 14


@pytest.mark.parametrize("activations, weights", [
    (ir.BIPOLAR, ir.BIPOLAR), (ir.TERNARY, ir.TERNARY), (ir.TERNARY, ir.BIPOLAR), (ir.Levels.unsigned(8), ir.BIPOLAR)],
    ids=str)
@pytest.mark.parametrize("simd", [2, 3, 8, 15, 16, 33, 64])
def test_counts_on_xilinx_are_what_the_cells_are_made_of(activations, weights, simd):
    """A LUT6_2 each, and a look-up table for each XOR of two wires: those of bits with 0 are wires."""
    dot = Dot(lane_for(activations, weights), simd, spare=True)
    text = rtlil.convert(DotProduct(dot), platform=Family("xilinx"))
    xors = re.findall(r"cell \$xor (?:.*\n)*?\s+end\n", text)
    made = len(re.findall(r"cell \\LUT6_2 ", text))
    made += sum(int(re.search(r"Y_WIDTH (\d+)", xor)[1]) for xor in xors if "B 1'0" not in xor and "A 1'0" not in xor)
    assert dot_forms(dot, family="xilinx").datapath == made


def test_counts_take_less_than_trees():
    for family in ("ecp5", "ice40", "xilinx", ""):
        luts = [dot_forms(Dot(lane_for(levels, levels), 64, spare=True), family=family).datapath / 64
                for levels in (ir.BIPOLAR, ir.TERNARY)]
        assert luts[0] < 2.3 and luts[1] < 5.1
    assert count_luts(Count(7), "ecp5") == 7 and count_luts(Count(8, spare=True), "ecp5") == 8
    assert gated_luts(Dot(lane_for(ir.TERNARY, ir.TERNARY), 1), GatedCount(1), "ice40") == 2


@pytest.mark.parametrize("family, luts", [("ice40", (0, 8, 8, 32.32, 148.48)), ("xilinx", (0, 4.8, 8, 8, 34.0))])
def test_roms(family, luts):
    found = [fabric(family).rom(8, depth, counted=False) for depth in (1, 2, 16, 32, 128)]
    assert found == pytest.approx(luts, rel=0.02)


@pytest.mark.parametrize("depth, luts", [
    (4, 8), (8, 76), (16, 100), (20, 110), (24, 128), (32, 141), (48, 326), (64, 418)])
def test_roms_behind_a_counter(depth, luts):
    """LUT6 of 100 random columns behind a counter on Xilinx by Yosys 0.70, without the counter's own."""
    columns = {4: 14, 8: 84}.get(depth, 100)  # that differ
    assert fabric("xilinx").rom(columns, depth) == pytest.approx(luts, rel=0.07)
    assert fabric("xilinx").rom(columns, depth, counted=False) <= columns


@pytest.mark.parametrize("family, counters", [
    ("ice40", {2: 2, 4: 4, 8: 5, 16: 6, 64: 10, 256: 12}), ("ecp5", {2: 1, 4: 3, 8: 4, 16: 5, 64: 9, 256: 12})])
def test_counters(family, counters):
    """Look-up tables of counters alone by Yosys 0.70; a CCU2C is two."""
    for states, found in counters.items():
        assert abs(fabric(family).counter(states).control - found) <= 2
    assert fabric(family).counter(1) == Forms()


def test_counters_and_credits_on_xilinx():
    """LUT6 of counters and of FIFOs alone by Yosys 0.70, the latter within one."""
    counters = {2: 0, 3: 2, 4: 1, 5: 2, 6: 2, 7: 3, 8: 0, 10: 2, 12: 2, 15: 5, 16: 0, 17: 2, 20: 2, 24: 2, 28: 4, 32: 0,
                40: 3, 48: 3, 50: 4, 64: 0, 100: 4, 128: 0, 192: 3, 256: 0, 300: 6, 512: 0}
    fifos = {1: 3, 2: 8, 3: 11, 4: 13, 5: 14, 6: 14, 7: 16, 8: 12, 9: 16, 12: 16, 15: 22, 16: 14, 20: 18, 31: 26,
             32: 18}
    xilinx = fabric("xilinx")
    assert all(xilinx.counter(states).control == found for states, found in counters.items())
    assert max(abs(xilinx.credits(depth).control - found) for depth, found in fifos.items()) <= 1


@pytest.mark.parametrize("depth, luts", [(2, 10), (4, 28), (8, 56), (16, 130), (32, 260), (100, 820)])
def test_storage_of_flip_flops(depth, luts):
    """LUT4 of memories of 8 bits alone on iCE40 by Yosys 0.70."""
    assert storage_luts(8, depth) == pytest.approx(luts, rel=0.12)
    assert selection_luts(1) == storage_luts(8, 1) == 0
    assert [selection_luts(words, "xilinx") for words in (1, 2, 4, 5, 8)] == [0, 1, 1, 2, 3]


def test_chains_differ_between_families():
    assert fabric("ecp5").sum(7) == Forms(datapath=8, chains=1) and fabric("ecp5").sum(4).chains == 0
    assert fabric("ice40").sum(7) == Forms(datapath=7, chains=1)
    assert fabric("ice40").compare(7, constant=True) == Forms(datapath=1, chains=1, carries=7)
    assert fabric("ice40").below(7, 12).carries == 5 and fabric("ice40").below(7, 0) == Forms(datapath=1)
    assert fabric("") == fabric("of no family")


@pytest.mark.parametrize("levels, bits", [(ir.BIPOLAR, 0), (ir.TERNARY, 0), (ir.Levels.unsigned(4), 0),
                                          (ir.Levels(-6, 6, 2), 1), (ir.Levels(-8, 8, 4), 2)], ids=str)
def test_bits_that_never_change(levels, bits):
    assert still_bits(levels) == bits


@given(st.integers(1, 70), st.lists(st.integers(0, 2**70 - 1), min_size=1, max_size=80))
def test_distinct_columns(width, words):
    words = [word % 2**width for word in words]
    columns = {tuple(word >> n & 1 for word in words) for n in range(width)}
    assert distinct_columns(word_bits(words, width)) == sum(len(set(column)) == 2 for column in columns)


def test_an_unknown_stage_is_refused():
    stage = Stage(name="odd", nodes=(), i=Stream(ir.BIPOLAR, 1, 1), o=Stream(ir.BIPOLAR, 1, 1))
    with pytest.raises(TypeError, match=r"^Cost must know the stage, not Stage$"):
        forms(stage)


def test_forms_add_and_repeat():
    one = Forms(1, 2, 3, 4, 5, 6, 7, ((6, 7),))
    assert one + one == one * 2 == Forms(2, 4, 6, 8, 10, 12, 14, ((6, 7), (6, 7)))


# Resources.

@pytest.mark.parametrize("name", MLPS)
@pytest.mark.parametrize("technology", ["ecp5-85", "ice40-up5k"])
def test_flip_flops_memory_bits_and_cycles_are_the_plans_own(name, technology):
    plan = plan_of(MLPS[name](), 2, 4)
    estimate = cost.estimate(plan, technology, 12_000_000)
    assert estimate.resources.flip_flops == Quantity.exact(plan.flip_flops, "FF")
    assert estimate.resources.memory_bits.nominal == sum(memory.bits for memory in plan.memories)
    assert (estimate.timing.first_cycles, estimate.timing.interval_cycles) == (plan.cycles.first,
                                                                               plan.cycles.interval)
    assert estimate.timing.rate.nominal == 12_000_000 / plan.cycles.interval


CALIBRATED = [name for name in cost.names() if cost.technology(name).lut_model.known]


@pytest.mark.parametrize("technology", CALIBRATED)
def test_totals_are_the_sums_of_the_stages(technology):
    estimate = cost.estimate(plan_of(tiny(), 3, 4), technology, 10**7)
    for resource in ("luts", "mapped_luts", "flip_flops", "mapped_flip_flops", "memory_bits", "blocks", "dsp"):
        parts = [getattr(stage.resources, resource) for stage in estimate.stages]
        for end in ("low", "nominal", "high"):
            assert getattr(getattr(estimate.resources, resource), end) == sum(getattr(p, end) for p in parts)
    assert sum(stage.energy_share for stage in estimate.stages) == pytest.approx(1)
    assert [stage.name for stage in estimate.stages] == ["input", *(s.name for s in lower_stages(estimate)), "output"]


def lower_stages(estimate):
    return [stage for stage in estimate.stages if stage.component not in ("FrameInput", "FrameOutput")]


@pytest.mark.parametrize("technology", ["ecp5-85", "ice40-up5k"])
def test_more_lanes_never_take_fewer_luts_or_more_cycles(technology):
    net = mlp((64, 32, 10), inputs=ir.BIPOLAR, classes=True)
    estimates = [cost.estimate(plan_of(net, pe, 8), technology, 10**7) for pe in (1, 2, 4, 8, 16)]
    for slow, fast in pairwise(estimates):
        assert fast.timing.interval_cycles <= slow.timing.interval_cycles
        assert fast.resources.luts.nominal >= slow.resources.luts.nominal


def test_block_memories_are_counted_in_native_shapes():
    net = mlp((512, 128, 10), inputs=ir.BIPOLAR)
    stage = plan_of(net, 4, 16).stage("fc0")
    assert isinstance(stage, MatrixVectorStage) and stage.weight_style == "block"
    tech = cost.technology("ecp5-85")
    assert tech.block_memory.blocks(64, 1024) == 4
    blocks = sum(tech.block_memory.blocks(m.width, m.depth) for m in stage.memories if m.style == "block")
    assert of_stage(stage, tech).blocks.nominal == blocks >= 4


def test_what_does_not_fit_is_said():
    net = mlp((256, 256, 10), inputs=ir.BIPOLAR)
    estimate = cost.estimate(plan_of(net, 64, 256), "ice40-hx1k", 10**7)
    assert estimate.fits == "no"
    assert estimate.exhausted_first.share > 1
    small = cost.estimate(plan_of(tiny()), "ecp5-85", 10**7)
    assert small.fits == "yes" and 0 < small.exhausted_first.share < 0.1


def test_fit_is_uncertain_within_twice_the_interval():
    figure = Quantity(90, 100, 110, "LUT4", "form")
    verdicts = [Use("LUT4", figure, limit).fits for limit in (79, 80, 119, 120)]
    assert verdicts == ["no", "uncertain", "uncertain", "yes"]
    assert Use("LUT4", Unknown("LUT4", "why"), 10).fits == "uncertain"
    assert fit_of([Use("a", figure, 200), Use("b", figure, 100)]) == "uncertain"
    assert fit_of([Use("a", figure, 100), Use("b", figure, 10)]) == "no"
    assert Use("x", Quantity.exact(0, "x"), 0).share == 0 and Use("x", figure, 0).share == float("inf")


def test_memories_without_lut_ram_are_flip_flops():
    stage = plan_of(mlp((32, 16, 4), inputs=ir.BIPOLAR), 4, 4).stage("fc0")
    distributed = sum(m.bits for m in stage.memories if m.style == "distributed")
    tech = cost.technology("ice40-up5k")
    assert of_stage(stage, tech).luts.nominal > distributed * tech.lut_model.registers.value


# Energy.

def test_the_up5k_has_an_absolute_figure_with_its_sources():
    plan = plan_of(tiny(), 2, 4)
    estimate = cost.estimate(plan, "ice40-up5k", 12_000_000)
    label, figure = estimate.headline
    assert label == "Energy per inference, Lattice iCE40UP5K" and isinstance(figure, Quantity)
    assert figure.low < figure.nominal < figure.high and any("ice40_power" in s for s in figure.sources)
    assert set(estimate.energy.causes) == set(CAUSES)
    static, clock = estimate.energy.static, estimate.energy.clock
    assert static.nominal == pytest.approx(104e-6 * plan.cycles.interval / 12e6)
    assert clock.nominal == pytest.approx(52e-12 * plan.cycles.interval)
    assert estimate.power.nominal == pytest.approx(figure.nominal * 12e6 / plan.cycles.interval)
    assert estimate.unknowns == ()


def test_the_measured_multiplier():
    """tinyvision's board: 8x8 multiplier of LUTs, 208 - 28 logic cells more, 996 - 645 uA at 1.219 V and 12 MHz."""
    measured = (996 - 645) * 1e-6 * 1.219 / 12e6
    constants = cost.technology("ice40-up5k").energy
    cells = Quantity.exact(208 - 28, "LC")
    model = product("J", cells, PINS_PER_LUT, constants.activity.figure(), constants.glitch.figure(),
                    constants.sink.figure())
    assert isinstance(model, Quantity) and model.contains(measured)
    assert model.nominal == pytest.approx(measured, rel=0.3)


def test_the_ecp5_is_unknown_and_the_reference_is_labelled():
    estimate = cost.estimate(plan_of(tiny(), 2, 4), "ecp5-85", 25_000_000)
    assert isinstance(estimate.energy.total, Unknown) and isinstance(estimate.power, Unknown)
    label, figure = estimate.headline
    assert label == "Energy per inference, 45 nm ASIC reference (Lattice ECP5 LFE5U-85F: unknown)"
    assert isinstance(figure, Quantity) and any("Horowitz" in s for s in figure.sources)
    assert set(estimate.reference.causes) == {"datapath", "weight memory", "feature memory"}
    assert estimate.share_basis == "45 nm reference" and any("static" in reason for reason in estimate.unknowns)


def test_the_work_does_not_depend_on_the_folding():
    net = mlp((32, 16, 8), inputs=ir.BIPOLAR)
    counts = [operations(plan_of(net, pe, simd).stage("fc0")) for pe, simd in ((1, 1), (2, 4), (8, 8), (16, 32))]
    assert {ops.macs for ops in counts} == {32 * 16}
    # every weight is read once per inference, however wide the words
    bits = [sum(a.memory.width * a.per_frame for a in ops.weight_accesses if a.memory.name.endswith("weights"))
            for ops in counts]
    assert bits == [512, 512, 512, 0]  # fully parallel weights are wires


def test_the_reference_prices_a_fully_parallel_layer_by_hand():
    """8 x 4 bipolar: 32 XNORs, popcounts of 8 bits (8 - 4 full adders), no accumulator, 4 thresholds of 4 bits."""
    plan = plan_of(mlp((8, 4, 2), inputs=ir.BIPOLAR), 4, 8)
    stage = plan.stage("fc0")
    assert operations(stage).bit_operations == 32 + 4 * 4 + 4 * 4
    assert asic_energy(stage).datapath.nominal == pytest.approx(64 * 0.03e-12 / 8)


def test_longer_frames_take_more_static_energy():
    net = mlp((64, 32, 10), classes=True)
    slow, fast = (cost.estimate(plan_of(net, pe, 4), "ice40-up5k", 12_000_000) for pe in (1, 8))
    assert slow.energy.static.nominal > fast.energy.static.nominal


@pytest.mark.parametrize("technology", ["ecp5-85", "ice40-up5k"])
def test_stage_energies_add_up(technology):
    estimate = cost.estimate(plan_of(tiny(), 2, 4), technology, 10**7)
    assert estimate.reference.total.nominal == pytest.approx(
        sum(stage.reference.total.nominal for stage in estimate.stages))
    if isinstance(estimate.energy.total, Quantity):
        inner = sum(stage.energy.total.nominal for stage in estimate.stages)
        outer = estimate.energy.static.nominal + estimate.energy.clock.nominal
        assert estimate.energy.total.nominal == pytest.approx(inner + outer)


def test_a_stage_without_memories_has_none_of_their_energy():
    plan = plan_of(tiny(), 2, 4)
    energy = fpga_energy(plan.stages[0], Quantity.exact(9, "toggle"),
                         cost.technology("ecp5-85"))
    assert energy.weight_memory == energy.feature_memory == Quantity.exact(0, "J")


# The whole.

@pytest.mark.parametrize("technology", ["ecp5-85", "ice40-up5k"])
def test_json_round_trip(technology):
    estimate = cost.estimate(plan_of(tiny(), 2, 4), technology, 10**7)
    text = json.dumps(estimate.to_json(), allow_nan=False)
    assert cost.Estimate.from_json(json.loads(text)) == estimate


def test_an_estimate_of_another_format_is_refused():
    record = cost.estimate(plan_of(tiny(), 2, 4), "ecp5-85", 10**7).to_json() | {"format": 1}
    with pytest.raises(UserError, match=r"^Estimate must have format 4, not 1; make it again with `hwbnn estimate`$"):
        cost.Estimate.from_json(record)


def test_rows_have_the_total_last():
    estimate = cost.estimate(plan_of(tiny(), 2, 4), "ecp5-85", 10**7)
    rows = estimate.rows()
    assert len(rows) == len(estimate.stages) + 1 and rows[-1]["stage"] == "total"
    assert rows[-1]["FF"] == f"{estimate.resources.flip_flops.nominal:,}"
    assert all(set(row) == set(rows[0]) for row in rows)


def test_bad_clock():
    with pytest.raises(UserError, match=r"^Clock must be a whole number of hertz, at least 1, not 0$"):
        cost.estimate(plan_of(tiny()), "ecp5-85", 0)


def test_it_takes_milliseconds():
    plan = plan_of(mlp((1024, 1024, 10), inputs=ir.BIPOLAR, classes=True), 16, 64)
    assert plan.cycles.interval >= 1024  # the schedule is the plan's, and kept
    cost.estimate(plan, "ecp5-85", 10**8)
    start = time.perf_counter()
    cost.estimate(plan, "ecp5-85", 10**8)
    assert time.perf_counter() - start < 0.5  # some 10 ms alone; the margin is for busy machines


# The committed calibration.

@pytest.mark.parametrize("target", ["ecp5-25", "ice40-up5k"])
def test_the_committed_coefficients_are_those_of_the_committed_table(target):
    """And what they say of networks that were left out of the fit is as near as the page of errors says."""
    table, tech = Table.read(TABLES / f"{target}.json"), cost.technology(target)
    for model, mapped in ((tech.lut_model, False), (tech.mapped_lut_model, True)):
        fit = luts(table, tech, mapped=mapped)
        for term, value in zip(fit.terms, fit.coefficients, strict=True):
            assert getattr(model, term).value == pytest.approx(value, rel=0.02, abs=0.02)
        assert sum(value > 0 for value in fit.coefficients) <= 4
        assert median(fit.errors(whole=False)) < 0.05 and median(fit.errors(whole=True)) < 0.1
        assert fit.low >= 0.8 and fit.high <= 1.3


def test_every_calibrated_number_names_its_table():
    for name in CALIBRATED:
        source = cost.technology(name).lut_model.datapath.source
        table = source.split(", ")[1].split(";")[0]
        assert (TABLES.parents[1] / table).exists()
