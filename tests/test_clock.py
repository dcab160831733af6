"""A clock that is asked for: the pace it needs, the PLL that makes it, and the path that keeps it from being faster."""

import copy
from dataclasses import asdict, replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from amaranth import ClockDomain, Module
from amaranth.sim import Simulator
from zoo import tiny

import hwbnn
from hwbnn import golden
from hwbnn.cost import names, pace, technology
from hwbnn.cost.pace import CLOCKS
from hwbnn.errors import UserError
from hwbnn.plan import RELAXED, Fold, Pace, lower
from hwbnn.rtl import result_values, stream_words, verilog
from hwbnn.synth.absorb import absorb
from hwbnn.synth.critical import CriticalPath, critical_path
from hwbnn_boards import board
from hwbnn_boards.crossing import CrossedCore
from hwbnn_boards.pll import pll

FOLDS = {"fc0": Fold(2, 4), "fc1": Fold(3, 2)}


# The pace


@pytest.mark.parametrize("name", names())
def test_a_slow_clock_takes_the_smallest_hardware(name):
    tech = technology(name)
    assert pace(tech, 1_000_000) == RELAXED
    if name in CLOCKS:
        relaxed, fast = (1_000_000 * limit.value for limit in (CLOCKS[name].relaxed, CLOCKS[name].fast))
        assert pace(tech, relaxed) == RELAXED
        assert pace(tech, relaxed + 1) == pace(tech, fast)
        assert pace(tech, fast).levels == 1 and pace(tech, fast).shapes == tech.block_memory.shapes.value
        assert pace(tech, fast).output == (tech.family == "ecp5")
        assert pace(tech, fast, deep=True) == replace(pace(tech, fast), rows=1)
    assert pace(tech, 1_000_000, deep=True) == Pace(shapes=tech.block_memory.shapes.value, rows=1)


@pytest.mark.parametrize("clock_hz, told", [(999_999, "0.999999"), (200_000_001, "200"), (10**9, "1000")])
def test_a_clock_out_of_range(clock_hz, told):
    with pytest.raises(UserError, match=rf"^Clock must be 1 to 200 MHz on Lattice ECP5 LFE5U-85F, not {told} MHz$"):
        pace(technology("ecp5-85"), clock_hz)


# The loop


@pytest.mark.parametrize("family, reference, hz", [
    ("ecp5", 25_000_000, 150_000_000), ("ecp5", 25_000_000, 131_250_000), ("ice40", 12_000_000, 48_000_000),
    ("ice40", 12_000_000, 54_750_000), ("ice40", 100_000_000, 125_000_000)])
def test_a_loop_makes_what_it_says(family, reference, hz):
    s = pll(family, reference, hz).settings
    if family == "ecp5":
        made, vco = Fraction(reference * s["CLKFB_DIV"], s["CLKI_DIV"]), hz * s["CLKOP_DIV"]
        assert 400_000_000 <= vco <= 800_000_000
    else:
        vco = Fraction(reference * (s["DIVF"] + 1), s["DIVR"] + 1)
        made = vco / 2**s["DIVQ"]
        assert 533_000_000 <= vco <= 1_066_000_000
    assert made == hz


def test_a_board_at_another_clock():
    usual = board("ulx3s-85f")
    fast = usual.at(150_000_000)
    assert fast.clock_hz == 150_000_000 and fast.pll.reference_hz == usual.clock_hz
    assert fast.at(usual.clock_hz) == usual and usual.at(usual.clock_hz) == usual
    assert fast.at(100_000_000) == usual.at(100_000_000)
    with pytest.raises(UserError, match=r"^Clock must be one that the board's PLL makes of 12 MHz, such as 54\.75 MHz, "
                                        r"not 55 MHz$"):
        board("icebreaker").at(55_000_000)


# The build


def test_a_build_remembers_its_clock(tmp_path):
    build = hwbnn.compile(tiny(), tmp_path / "b", board="ulx3s-85f", folds=FOLDS, clock_hz=150_000_000)
    registers = pace(technology("ecp5-85"), 150_000_000)
    assert build.manifest.clock_hz == 150_000_000 and build.board.clock_hz == 150_000_000
    assert build.manifest.pace == registers.record
    assert build.plan.pace == registers
    assert build.directory.verilog.read_text() == verilog(lower(build.network, FOLDS, pace=registers),
                                                          family="ecp5")
    assert build.plan.cycles.first > lower(build.network, FOLDS).cycles.first
    assert build.plan.cycles.interval == lower(build.network, FOLDS).cycles.interval


def test_a_rate_at_a_clock(tmp_path):
    slow = hwbnn.compile(tiny(), tmp_path / "slow", board="ulx3s-85f", target_fps=10_000_000)
    fast = hwbnn.compile(tiny(), tmp_path / "fast", board="ulx3s-85f", target_fps=10_000_000, clock_hz=150_000_000)
    assert slow.plan.cycles.interval <= 2 and fast.plan.cycles.interval <= 15
    assert fast.plan.lanes < slow.plan.lanes


# The slowest path


def path(*cells, kind="posedge clk"):
    steps = [{"type": "routing", "delay": 1.5, "from": {"cell": a}, "to": {"cell": b}}
             for a, b in pairwise(cells)]
    return {"from": kind, "to": kind, "path": [{"type": "clk-to-q", "delay": 0.5, "from": {"cell": cells[0]},
                                                 "to": {"cell": cells[0]}}, *steps]}


@pytest.mark.parametrize("cells, told", [
    (("linked.accelerator.fc0.pe_1.sum_0_2_TRELLIS_FF_Q_2", "$nextpnr_CCU2C_1$CCU2_COMB0",
      "linked.accelerator.fc0.totals_LUT4_Z_3_A_CCU2C_S0"),
     "fc0: adder tree level 0 of PE 1 -> accumulator (3.5 ns, 86% of it wires)"),
    (("core.fc0.weights.rom_0_0.0.0", "core.fc0.weights.block_0_0_0_TRELLIS_FF_Q"),
     "fc0: weights (2.0 ns, 75% of it wires)"),
    (("core.fc1.control.word_SB_DFFE_Q_DFFLC", "core.fc0.fifo.room_SB_LUT4_O_LC"),
     "fc1: control -> fc0: output FIFO (2.0 ns, 75% of it wires)"),
    (("linked.link.responder.index_TRELLIS_FF_Q_2", "linked.link.encoder.block.0.0"),
     "host link: responder -> encoder.block.0 (2.0 ns, 75% of it wires)"),
    (("activity_left_SB_DFF_Q_DFFLC", "activity_left_SB_DFF_Q_1_DFFLC"), "activity_left (2.0 ns, 75% of it wires)"),
    (("core.rank.unheard_SB_DFF_Q", "core.rank.product_0_1_2_SB_DFF_Q"),
     "rank: unheard -> product (2.0 ns, 75% of it wires)"),
])
def test_the_slowest_path_names_layers(cells, told):
    quick = path("core.fc1.x_TRELLIS_FF_Q", kind="posedge clk")
    outside = {**path(*cells, *cells, *cells), "to": "<async>"}
    found = critical_path({"critical_paths": [quick, path(*cells), outside]}, lower(tiny(), FOLDS))
    assert str(found) == told
    assert CriticalPath.of(asdict(found)) == found


def test_no_path():
    assert critical_path({"critical_paths": []}, lower(tiny(), FOLDS)) is None


# Registers that memories take in

FF = {"type": "TRELLIS_FF", "parameters": {"CEMUX": "1 ", "CLKMUX": "CLK", "GSR": "DISABLED", "LSRMUX": "LSR",
                                           "REGSET": "RESET"},
      "port_directions": {"CLK": "input", "DI": "input", "LSR": "input", "Q": "output"}}
WIDTH = {18: f"{18:032b}", 36: f"{36:032b}"}


def design(width=18, **flip_flop):
    """A DP16KD whose two outputs of port A, or of both ports, go to flip-flops, and these to a port."""
    ports = ("DOA0", "DOB1") if width == 36 else ("DOA0", "DOA1")
    clock = "CLKB" if width == 36 else "CLKA"
    memory = {"type": "DP16KD", "parameters": {"DATA_WIDTH_A": WIDTH[width], "DATA_WIDTH_B": WIDTH[width],
                                               "REGMODE_A": "NOREG", "REGMODE_B": "NOREG"},
              "port_directions": {clock: "input", "ADA0": "input", **dict.fromkeys((*ports, "DOA7"), "output")},
              "connections": {clock: [2], "ADA0": [3], ports[0]: [10], ports[1]: [11], "DOA7": [12]}}
    registers = {f"ff{n}": {**copy.deepcopy(FF), "connections": {"CLK": [2], "DI": [10 + n], "LSR": ["0"],
                                                                 "Q": [20 + n]}} for n in range(2)}
    first = registers["ff0"]
    for key, value in flip_flop.items():
        where = first["parameters"] if key in first["parameters"] else first["connections"]
        where[key] = value
        first["port_directions"].setdefault(key, "input")
    return {"modules": {"top": {"ports": {"o": {"direction": "output", "bits": [20, 21]}},
                                "cells": {"memory": memory, **registers}}}}


@pytest.mark.parametrize("width, outputs, mode", [(18, ("DOA0", "DOA1"), {"REGMODE_A": "OUTREG", "REGMODE_B": "NOREG"}),
                                                  (36, ("DOA0", "DOB1"), dict.fromkeys(("REGMODE_A", "REGMODE_B"),
                                                                                       "OUTREG"))])
def test_registers_behind_a_memory_become_its_own(width, outputs, mode):
    changed = design(width)
    assert absorb(changed) == 2
    cells = changed["modules"]["top"]["cells"]
    assert list(cells) == ["memory"]
    wires, parameters = cells["memory"]["connections"], cells["memory"]["parameters"]
    assert [wires[name] for name in outputs] == [[20], [21]]
    assert {name: parameters[name] for name in mode} == mode
    assert wires["OCEA"] == ["1"] and (width == 18 or wires["OCEB"] == ["1"])


@pytest.mark.parametrize("different", [
    {"CLK": [5]}, {"CE": [6]}, {"LSR": [7]}, {"REGSET": "SET"}, {"CLKMUX": "INV"}, {"DI": [11]}])
def test_other_registers_stay(different):
    before = design(**different)
    changed = copy.deepcopy(before)
    assert absorb(changed) == 0 and changed == before


def test_outputs_that_something_else_reads_stay():
    changed = design()
    changed["modules"]["top"]["ports"]["o"]["bits"].append(11)
    assert absorb(changed) == 0


def test_a_clock_is_no_word(tmp_path):
    with pytest.raises(UserError, match=r"^Clock must be 1 to 70 MHz on Lattice iCE40UP5K, not 0\.5 MHz$"):
        hwbnn.compile(tiny(), tmp_path / "b", board="icebreaker", folds=FOLDS, clock_hz=500_000)
    assert not (tmp_path / "b").exists()




# The crossing between the link's clock and the accelerator's


@pytest.mark.parametrize("period", [0.31e-6, 3.7e-6])
def test_an_accelerator_in_its_own_clock_domain(period):
    plan = lower(tiny(), FOLDS)
    dut = CrossedCore(plan, "pll")
    q = np.random.default_rng(5).choice(plan.input.levels.values(), (4, *plan.network.input.shape))
    words, found = stream_words(plan, q), []

    async def send(ctx):
        for n, word in enumerate(words):
            ctx.set(dut.s_axis_tdata, word)
            ctx.set(dut.s_axis_tlast, n % plan.input.beats == plan.input.beats - 1)
            ctx.set(dut.s_axis_tvalid, 1)
            await ctx.tick().until(dut.s_axis_tready)
        ctx.set(dut.s_axis_tvalid, 0)

    async def receive(ctx):
        ctx.set(dut.m_axis_tready, 1)
        while len(found) < len(q) * plan.output.beats:
            data, last = await ctx.tick().sample(dut.m_axis_tdata, dut.m_axis_tlast).until(dut.m_axis_tvalid)
            assert last == (len(found) % plan.output.beats == plan.output.beats - 1)
            found.append(data)

    m = Module()
    m.submodules.dut = dut
    m.domains.pll = ClockDomain()
    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_clock(period, domain="pll")
    simulator.add_testbench(send)
    simulator.add_testbench(receive)
    simulator.run()
    want = golden.evaluate(plan.network, q)[plan.network.outputs[0].tensor]
    assert np.array_equal(result_values(plan, found), want)


def test_a_placed_netlist_with_a_loop_is_not_simulated(tmp_path):
    build = hwbnn.compile(tiny(), tmp_path / "b", board="ulx3s-85f", folds=FOLDS, clock_hz=150_000_000)
    x = np.zeros((1, *build.network.input.graph_shape), int)
    with pytest.raises(UserError, match=r"^Netlist must be rtl or synth where a PLL makes the clock, not placed: "
                                        r"there is no model of it$"):
        build.simulate(x, netlist="placed", simulator="icarus")


def test_the_clock_with_the_least_room_decides():
    link = path("linked.link.encoder.a", "linked.link.encoder.b", "linked.link.encoder.c", kind="posedge slow")
    report = {"critical_paths": [link, path("core.fc1.x_0", "core.fc1.totals_0", kind="posedge fast")],
              "fmax": {"slow": {"achieved": 280.0, "constraint": 25}, "fast": {"achieved": 500.0, "constraint": 400}}}
    assert critical_path(report, lower(tiny(), FOLDS)).steps == (("fc1", "input word"), ("fc1", "accumulator"))
