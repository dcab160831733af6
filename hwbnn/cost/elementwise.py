"""Closed forms for stages that work on each value: products and offsets, sums, pooling, comparisons."""

from hwbnn.cost.constants import constants, threshold_forms
from hwbnn.cost.fabric import fabric, still_bits
from hwbnn.cost.terms import Forms
from hwbnn.plan import AddStage, AffineStage, ArgMaxStage, PoolStage, ThresholdStage, TopKStage
from hwbnn.plan.records import index_bits, span_bits

__all__ = [
    "add_forms", "affine_forms", "argmax_forms", "multiplier_bits", "pool_forms", "threshold_stage_forms",
    "top_k_forms",
]


def multiplier_bits(stage: AffineStage) -> int:
    """Width of the multipliers of an affine stage."""
    return max(1, span_bits(stage.multiplier_span.start, stage.multiplier_span.stop - 1))


def affine_forms(stage: AffineStage, family: str) -> Forms:
    """A product, or the multiplier's multiples by the bits of x in registers that reset; and a sum."""
    fab, bits = fabric(family), multiplier_bits(stage)
    lane = fab.sum(stage.o.levels.bits) + Forms(registers=stage.i.levels.bits * stage.input_latency)
    if stage.planes is None:
        lane += Forms(multipliers=((stage.i.levels.bits, bits),))
    else:
        lane += Forms(registers=len(stage.planes.factors) * bits)
        for groups in stage.planes.levels:
            for group in groups:
                lane += fab.sum(span_bits(*stage.planes.span(group)))
    if not stage.table.is_constant:  # offsets wait for the product
        offset = span_bits(stage.offset_span.start, stage.offset_span.stop - 1)
        lane += Forms(registers=stage.product_latency * offset)
    return lane * stage.i.lanes + constants(stage.table, family) + fab.credits(stage.fifo_depth)


def argmax_forms(stage: ArgMaxStage, family: str) -> Forms:
    """Winners of pairs, what passes alone, and the best so far, which takes the winner as it is."""
    fab, bits, index = fabric(family), stage.value_bits, index_bits(stage.channels)
    waiting, left = stage.level_latency - 1, stage.i.lanes
    pair = fab.compare(bits) + Forms(datapath=bits + index / 2, registers=2 * bits * waiting)
    result = pair * (stage.i.lanes - 1) + fab.credits(stage.fifo_depth)
    while left > 1:  # an odd one passes
        result += Forms(registers=left % 2 * bits * stage.level_latency)
        left = (left + 1) // 2
    if stage.group_beats > 1:
        result += fab.compare(bits) + fab.counter(stage.group_beats) + Forms(
            datapath=2.0 * index, control=8.0, registers=bits)
    if stage.split:  # a half of it waits for the other; what is stored inverted is turned around twice
        turned = (2 - fab.lone) * bits if stage.i.lanes == 1 else 8
        result += Forms(datapath=turned + bits / 3, registers=stage.split + index, chains=1)
    return result


def top_k_forms(stage: TopKStage, family: str) -> Forms:
    """Each entry compares with what comes, and takes that, the entry before it, or nothing new."""
    fab = fabric(family)
    bits = stage.value_bits + index_bits(stage.channels)
    entry = Forms(datapath=1.3 * stage.value_bits + bits + 2, chains=1)
    return entry * stage.k + fab.counter(stage.channels) + fab.credits(stage.fifo_depth) + Forms(registers=stage.i.bits)


def threshold_stage_forms(stage: ThresholdStage, family: str) -> Forms:
    return (threshold_forms(stage.thresholds, family) + fabric(family).credits(stage.fifo_depth)
            + Forms(registers=stage.input_latency * stage.i.bits))


def add_forms(stage: AddStage, family: str) -> Forms:
    """Narrow values are a look-up table a bit of their sum, but where that is a chain, which takes no sign and mask."""
    fab, out = fabric(family), stage.o.levels
    inputs = [stream.levels for stream in stage.inputs.values()]
    bits = out.bits - still_bits(out)
    if fab.raw and fab.chained(bits):
        lane = fab.sum(out.bits) + Forms(datapath=float(sum(levels.is_ternary for levels in inputs)))
    elif sum(levels.bits for levels in inputs) <= fab.inputs:
        lane = Forms(datapath=float(bits))
    else:
        lane = fab.sum(out.bits)
    return lane * stage.o.lanes + fab.credits(stage.fifo_depth)


def pool_forms(stage: PoolStage, family: str) -> Forms:
    fab, bits = fabric(family), stage.value_bits
    lane = Forms(datapath=1.0) if stage.i.levels.is_bipolar and stage.kind != "sum" else Forms(
        datapath=2.0 * bits, chains=int(fab.chained(bits)))
    signs = fab.counter(stage.channel_groups) + Forms(rom=fab.rom(stage.i.lanes, stage.channel_groups)) \
        if stage.is_mixed else Forms()
    return lane * stage.i.lanes + fab.counter(stage.taps) + Forms(control=2.0) + signs + fab.credits(stage.fifo_depth)
