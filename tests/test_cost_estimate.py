"""Estimates of whole accelerators: totals, exactness against the plan, monotony, energy, JSON, calibration."""

import json
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest
from builds import plan_of
from zoo import MLPS, mlp, tiny

from hwbnn import cost, ir
from hwbnn.calibrate import Table, luts
from hwbnn.cost import Quantity, Unknown
from hwbnn.cost.resources import Use, fit_of, of_stage
from hwbnn.errors import UserError
from hwbnn.plan import MatrixVectorStage

TABLES = Path(__file__).parents[1] / "benchmarks" / "calibration"


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
