"""Closed forms for stages that move values: windows, padding, FIFOs, forks, other widths, and a frame's two ends."""

from collections.abc import Sequence

from hwbnn.cost.fabric import fabric
from hwbnn.cost.terms import Forms
from hwbnn.plan import (
    ConcatStage,
    FifoStage,
    FrameInputStage,
    JoinStage,
    LoaderStage,
    PadStage,
    PartStage,
    SliceStage,
    WindowStage,
)
from hwbnn.plan.interface import ERROR_BITS
from hwbnn.plan.loader import ADDRESS_BYTES, WORDS_BITS
from hwbnn.plan.records import index_bits, span_bits

__all__ = [
    "concat_forms", "fifo_forms", "frame_input_forms", "join_forms", "loader_forms", "pad_forms", "part_forms",
    "slice_forms", "window_forms",
]

SELECTION_LUTS = 0.7  # LUT4 per bit and input but the first of a multiplexer


def window_forms(stage: WindowStage, family: str) -> Forms:
    """Counters of the loops, two addresses, two numbers of beats; a compare for each constant that these step by.

    At an easy pace the flags are made of the sums; addresses that wrap by themselves take a counter and a difference.
    """
    fab, result, depth = fabric(family), Forms(), stage.depth
    for loop in stage.loops:
        result += fab.counter(loop.count)
    ends = Forms(control=2.0) if stage.holds else fab.credits(stage.fifo_depth)
    address = index_bits(depth)
    lead, held = (span_bits(of.start, depth) for of in (stage.lead_range, stage.held_range))
    limits = {(lead, step + more) for step in stage.steps for more in (0, 1)}
    limits |= {(held, depth - 1 + jump + more) for jump in stage.jumps for more in (0, 1)}
    if stage.pace.levels > 1:
        result += Forms(control=lead / 3) + fab.below(held, depth)
    else:
        for bits, limit in limits:
            result += fab.below(bits, limit)
    if fab.inputs > 4 and not stage.wraps:
        chosen = Forms(control=_chosen_luts(stage, lead, held, address))
        return result + chosen + fab.counter(depth) + ends
    sums = fab.sum(lead + 1) + fab.sum(held + 1)
    sums += fab.sum(address) * 2 if stage.wraps else fab.counter(depth) + fab.sum(address + 1) * 2
    steps = len(stage.loops) * (address * (not stage.wraps) + span_bits(min(*stage.steps, 0), max(stage.steps))) / 2
    return (result + sums + Forms(control=steps)).as_control() + ends


def _chosen_luts(stage: WindowStage, lead: int, held: int, address: int) -> float:
    """LUT6 of a window's sums, which take in the choice of what they step by: wires where no case sets a bit.

    Two addresses and the choice among them; for each loop a flag at its end; and the handshakes.
    """
    ahead = [step % stage.depth for step in stage.steps]
    behind = [step - stage.depth for step in ahead]
    sums = (_varied((0, *stage.steps), lead + 1) + _varied((0, *stage.jumps), held + 1)
            + _varied(ahead, address) + _varied(behind, address + 1))
    return float(sums + address + sum(1 if loop.count <= 2 else 3 for loop in stage.loops) + 2)


def _varied(values: Sequence[int], bits: int) -> int:
    """Bits in which integers differ, in two's complement."""
    return sum(len({value >> n & 1 for value in values}) > 1 for n in range(bits))


def pad_forms(stage: PadStage, family: str) -> Forms:
    fab = fabric(family)
    counters = fab.counter(stage.padded_height) + fab.counter(stage.padded_width) + fab.counter(stage.channel_beats)
    compares = 1.5 * (index_bits(stage.padded_height) + index_bits(stage.padded_width))
    return counters + Forms(datapath=float(stage.o.bits), control=compares) + fab.credits(stage.fifo_depth)


def fifo_forms(stage: FifoStage, family: str) -> Forms:
    """Pointers, level and the flag that there is room; in block memory a second level and the output's flag."""
    fab, index, level = fabric(family), index_bits(stage.words), stage.fifo_depth.bit_length()
    chained = int(fab.chained(level))
    block = Forms(control=2.0 * level + 3, chains=chained) if stage.style == "block" else Forms()
    return Forms(control=4.0 * index + 2.0 * level, chains=chained) + block


def concat_forms(stage: ConcatStage, family: str) -> Forms:
    """Side by side is wires but for the handshake; in turns there is a multiplexer."""
    fab, streams = fabric(family), len(stage.inputs)
    if stage.is_parallel:
        return fab.credits(stage.fifo_depth) + Forms(control=float(streams))
    return fab.credits(stage.fifo_depth) + fab.counter(sum(stage.turns)) + Forms(
        datapath=SELECTION_LUTS * (streams - 1) * stage.o.bits, control=2.0 * streams)


def slice_forms(stage: SliceStage, family: str) -> Forms:
    fab = fabric(family)
    return fab.counter(len(stage.turns)) + fab.credits(stage.fifo_depth) + Forms(control=2.0 * (len(stage.turns) > 1))


def join_forms(stage: JoinStage, family: str) -> Forms:
    fab = fabric(family)
    words = stage.ratio - 1 + stage.ratio * (stage.fifo_depth == 1)
    return fab.counter(stage.ratio) + fab.credits(stage.fifo_depth) + Forms(registers=words * stage.i.bits)


def part_forms(stage: PartStage, family: str) -> Forms:
    chosen = SELECTION_LUTS * (stage.ratio - 1) * stage.o.bits
    return fabric(family).counter(stage.ratio) + Forms(datapath=chosen, control=2.0)


def loader_forms(stage: LoaderStage) -> Forms:
    """The word shifts, the address counts or shifts; each bank is compared with its number and its depth."""
    address = 8 * ADDRESS_BYTES
    banks = Forms(control=2.0 + address / 4) * len(stage.targets)
    return banks + Forms(control=2.0 * address + WORDS_BITS + 1.5 * ERROR_BITS + 12, chains=3,
                         registers=8 * stage.word_bytes + 8)


def frame_input_forms(stage: FrameInputStage, family: str) -> Forms:
    return fabric(family).counter(stage.i.beats) + Forms(datapath=float(stage.i.bits), control=30.0, chains=1)
