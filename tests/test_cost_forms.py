"""Closed forms of look-up tables, against counts by hand and by cells."""

import re

import pytest
from amaranth.back import rtlil
from hypothesis import given
from hypothesis import strategies as st

from hwbnn import ir
from hwbnn.cost.constants import distinct_columns, word_bits
from hwbnn.cost.counts import count_luts, gated_luts
from hwbnn.cost.datapath import dot_forms, lane_luts, sum_luts, tree_forms
from hwbnn.cost.fabric import fabric, selection_luts, still_bits, storage_luts
from hwbnn.cost.forms import forms
from hwbnn.cost.operations import full_adders
from hwbnn.cost.terms import Forms
from hwbnn.plan import Count, Dot, GatedCount, Stage, Stream, Tree, lane_for
from hwbnn.rtl.cells import Family
from hwbnn.rtl.dot import DotProduct

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
