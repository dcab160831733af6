"""Energy: absolute where it was measured, and labelled where it was not."""


import pytest
from builds import plan_of
from zoo import mlp, tiny

from hwbnn import cost, ir
from hwbnn.cost import Quantity, Unknown
from hwbnn.cost.energy import CAUSES, PINS_PER_LUT, asic_energy, fpga_energy
from hwbnn.cost.operations import operations
from hwbnn.cost.quantity import product

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
