"""Closed forms for look-up tables: what each component of the generator needs on a family's fabric, before calibration.

Terms are kept apart by what they scale with (:class:`~hwbnn.cost.terms.Forms`), so that at most four coefficients per
target calibrate them all. The laws stand beside what they are about: small parts of the fabric in
:mod:`hwbnn.cost.fabric`, sums in :mod:`hwbnn.cost.datapath`, constants and thresholds in :mod:`hwbnn.cost.constants`.
"""

from hwbnn.cost.elementwise import (
    add_forms,
    affine_forms,
    argmax_forms,
    pool_forms,
    threshold_stage_forms,
    top_k_forms,
)
from hwbnn.cost.fabric import fabric
from hwbnn.cost.matrix import matrix_forms, parallel_forms
from hwbnn.cost.movement import (
    concat_forms,
    fifo_forms,
    frame_input_forms,
    join_forms,
    loader_forms,
    pad_forms,
    part_forms,
    slice_forms,
    window_forms,
)
from hwbnn.cost.terms import Forms
from hwbnn.plan import (
    AddStage,
    AffineStage,
    ArgMaxStage,
    ConcatStage,
    FifoStage,
    ForkStage,
    FrameInputStage,
    FrameOutputStage,
    JoinStage,
    LoaderStage,
    MatrixVectorStage,
    PadStage,
    ParallelStage,
    PartStage,
    PoolStage,
    SliceStage,
    Stage,
    ThresholdStage,
    TopKStage,
    WindowStage,
)
<<<<<<< HEAD

__all__ = ["forms"]
=======
from hwbnn.plan.dot import Dot
from hwbnn.plan.interface import ERROR_BITS
from hwbnn.plan.lanes import (
    ChoiceLane,
    ConditionalLane,
    GatedConditionalLane,
    Lane,
    MultiplierLane,
    PlanesLane,
    ProductLane,
    StillLane,
)
from hwbnn.plan.loader import ADDRESS_BYTES, WORDS_BITS
from hwbnn.plan.records import ceil_div, index_bits, span_bits
from hwbnn.plan.tables import SearchedThresholds, Table, Thresholds
from hwbnn.plan.tree import CHAIN_BITS, Tree

__all__ = [
    "PRODUCT_LUTS", "Forms", "distinct_columns", "dot_forms", "forms", "lane_luts", "multiplier_bits", "rom_luts",
    "sum_luts", "tree_forms", "word_bits",
]

PRODUCT_LUTS = 1.6  # LUT4 per pair of bits of a product: partial products and their sums
SELECTION_LUTS = 0.7  # LUT4 per bit and input but the first of a multiplexer
GROUP = 1 << RELAXED.levels  # operands summed at once, where registers are as far apart


@dataclass(frozen=True)
class Forms:
    """Uncalibrated LUT4 of one stage by what they scale with, and what is no LUT but may cost cells.

    Parameters
    ----------
    datapath : sums, lanes, compares, selections.
    control : counters, handshakes, credits.
    rom : constants in logic.
    chains : number of carry chains (each costs cells where it starts and ends).
    registers : flip-flops without a LUT in front of them.
    merged : flip-flops of the emitted RTL that synthesis removes, because their bits are constant or alike.
    multipliers : pairs of operand widths, one per general multiplication.
    asked : operand and result widths of multiplications for which the chip's multipliers were asked.
    """

    datapath: float = 0.0
    control: float = 0.0
    rom: float = 0.0
    chains: int = 0
    registers: int = 0
    merged: int = 0
    multipliers: tuple[tuple[int, int], ...] = ()
    asked: tuple[tuple[int, int, int], ...] = ()

    def __add__(self, other: "Forms") -> "Forms":
        return Forms(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __mul__(self, times: int) -> "Forms":
        return Forms(*(getattr(self, f.name) * times for f in fields(self)))


def sum_luts(operands: int, bits: int, result: int) -> float:
    """LUT4 that add up to four operands of ``bits`` bits to ``result`` bits."""
    if operands < 2:
        return 0.0
    return 2.0 * (operands - 2) * bits + result


def lane_luts(lane: Lane, *, constant: bool = False) -> float:
    """LUT4 in front of the adders that make one term; ``constant`` weights are free but for products."""
    if isinstance(lane, ProductLane | MultiplierLane):
        return 0.0  # registered: counted by itself
    if constant:
        return 0.0
    match lane:
        case GatedConditionalLane():
            return 1.0 * lane.x.bits
        case ConditionalLane():
            return 0.0 if lane.x.bits >= CHAIN_BITS else 0.7 * lane.x.bits
        case ChoiceLane():
            return 0.7 * lane.w.bits if lane.x.is_bipolar else 1.0 * (lane.w.bits + 1)
        case PlanesLane():
            bits = span_bits(*lane.bounds)
            return len(lane.planes) * (0.25 if bits == 1 else 0.7 * bits)
        case StillLane():
            return 1.25 if lane.x.is_ternary and lane.w.is_ternary else 0.75
    raise TypeError(f"Lanes must be of terms that are added, not {type(lane).__name__}")


def tree_forms(tree: Tree, *, constant: bool = False) -> Forms:
    """An adder tree; ``constant``: its one-bit terms are mere inputs.

    Adders on a family's chains take one LUT4 a bit and one for the carry out; others are joined between registers.
    """
    luts, chains, sizes = 0.0, 0, [1] * tree.count
    if tree.is_chained:
        for sums in tree.levels:
            level = sum(tree.bits(max(sizes[n:n + 2])) + 1 for n in range(0, len(sizes) - 1, 2))
            luts, chains, sizes = luts + level, chains + ceil_div(level, CHAIN_HALVES), list(sums)
        return Forms(datapath=luts, chains=chains)
    while len(sizes) > 1:
        together = min(GROUP, 1 << tree.every)
        groups = [sizes[n:n + together] for n in range(0, len(sizes), together)]
        for group in groups:
            bits, result = tree.bits(max(group)), tree.bits(sum(group))
            if bits == 1 and constant:
                luts += result if len(group) > 1 else 0  # a function of up to four inputs per bit
            else:
                luts += sum_luts(len(group), bits, result)
                chains += len(group) > 1 and result >= CHAIN_BITS
        sizes = [sum(group) for group in groups]
    return Forms(datapath=luts, chains=chains)


def rom_luts(width: int, depth: int) -> float:
    """LUT4 of ``depth`` constant words of ``width`` bits that all differ."""
    if depth < 2:
        return 0.0
    return width * (1.0 if depth <= 16 else 0.145 * depth)


def distinct_columns(bits: NDArray) -> int:
    """Number of columns of 0/1 of shape (words, bits) that synthesis keeps apart: not constant, none like another."""
    packed = np.ascontiguousarray(np.packbits(bits.astype(np.uint8), axis=0).T)
    width = 8 if packed.shape[1] <= 8 else packed.shape[1]
    padded = np.zeros((len(packed), width), np.uint8)
    padded[:, :packed.shape[1]] = packed
    keys = padded.view(np.uint64 if width == 8 else f"V{width}")[:, 0]
    first = np.unique(keys, return_index=True)[1]
    return int(np.sum(np.any(bits[:, first] != bits[:1, first], axis=0)))


def word_bits(words: Sequence[int], width: int) -> NDArray[np.uint8]:
    """Integers of ``width`` bits as an array of 0/1 (words, width), least significant first."""
    size = -(-width // 8)
    rows = np.frombuffer(b"".join(word.to_bytes(size, "little") for word in words), np.uint8)
    return np.unpackbits(rows.reshape(len(words), size), axis=1, count=width, bitorder="little")


def _counter(states: int) -> Forms:
    """A counter that wraps: a sum, a compare with its end, an enable."""
    bits = index_bits(states)
    return Forms(control=2.0 * bits, chains=int(bits >= CHAIN_BITS))


def _place(table: Table) -> Forms:
    """Which word is next."""
    place = _counter(table.run)
    if table.borders is not None:  # position in the map, its class, and where the run of that begins
        rows, columns = table.borders.rows, table.borders.columns
        place += _counter(len(rows)) + _counter(len(columns)) + Forms(
            control=float(len(set(rows)) + len(set(columns)) + index_bits(len(table.words))))
    return place


def _table(table: Table) -> Forms:
    if not table.bank.has_memory:
        return Forms(registers=table.bank.flip_flops)
    place = _place(table)
    if table.style != "logic":
        return place + Forms(registers=table.width)
    columns = distinct_columns(word_bits(table.words, table.width))
    return place + Forms(rom=rom_luts(columns, len(table.words)), merged=table.width - columns)


def _thresholds(t: Thresholds) -> Forms:
    compare = span_bits(t.low, t.high + 1)
    if isinstance(t, FusedThresholds):
        return _table(t.table)
    if isinstance(t, SearchedThresholds):
        result = Forms(datapath=float(compare), chains=1, registers=compare) * (t.lanes * t.steps)
        for table in (table for step in range(t.steps) for table in t.tables(step)):
            if not table.is_constant:
                result += Forms(rom=rom_luts(table.width, len(table.words))) if table.style == "logic" else Forms(
                    registers=table.width)
        return result + (_place(t.table) if len(t.table.words) > 1 else Forms())
    lane = Forms(datapath=float(t.count * compare + t.is_mixed), chains=t.count) + tree_forms(t.tree)
    return lane * t.lanes + _table(t.table)


def _fifo(stage: PipelineStage) -> Forms:
    """Pointers, level and credits; the storage is counted with the memories, but for that of a single entry."""
    if stage.fifo_depth == 1:
        return Forms(control=3.0, registers=stage.o.bits)
    index, level = index_bits(stage.fifo_depth), stage.fifo_depth.bit_length()
    return Forms(control=4.0 * (index + level) - 4, chains=2 * (level >= CHAIN_BITS))


def _products(dot: Dot) -> Forms:
    """Products with registers of their own."""
    lane, (pairs, single) = dot.lane, divmod(dot.simd, dot.lane.products)
    if isinstance(lane, ProductLane):
        if lane.x.is_ternary or lane.x.is_bipolar or lane.w.is_ternary or lane.w.is_bipolar:
            bits = span_bits(lane.low, lane.high)  # 0, the number or its negative
            return Forms(datapath=1.6 * bits, chains=int(bits >= CHAIN_BITS)) * dot.simd
        return Forms(datapath=PRODUCT_LUTS * lane.x.bits * lane.w.bits) * dot.simd
    if not isinstance(lane, MultiplierLane):
        return Forms()
    bits = span_bits(*lane.bounds)
    alone = Forms(asked=((lane.x.bits + 1, lane.w.bits + (not lane.w.is_signed), bits),), registers=bits)
    if lane.products == 1:
        return alone * dot.simd
    borrow = float(lane.w.bits + 1 + lane.term_bits) if lane.w.is_signed else 0.0
    pair = Forms(asked=((*lane.operands, lane.product_bits),), datapath=borrow, chains=2 * bool(borrow),
                 registers=lane.term_bits + 1)
    return pair * pairs + alone * single


def dot_forms(dot: Dot, *, constant: bool = False, family: str = "") -> Forms:
    """One processing element: its lanes and their count, or a tree for each plane and the sum of the planes."""
    if dot.count is not None:
        luts = count_luts(dot.count, family) if isinstance(dot.count, Count) else gated_luts(dot, dot.count, family)
        return Forms(datapath=float(luts), chains=-(-luts // CHAIN_HALVES))
    result = tree_forms(dot.tree, constant=constant) * len(dot.lane.planes) + _products(dot)
    result += Forms(datapath=dot.simd * lane_luts(dot.lane, constant=constant))
    for groups in dot.planes.levels:
        for group in groups:
            bits = span_bits(*dot.planes.span(group))
            result += Forms(datapath=float(bits), chains=int(bits >= CHAIN_BITS))
    return result


def _skipping(stage: MatrixVectorStage) -> Forms:
    """What it takes to leave out beats: the sequence of those that are kept, or the list of those that are live."""
    control, place = stage.control, index_bits(stage.sf)
    if isinstance(control, SequenceControl):
        memory = control.memory
        rom = Forms(rom=rom_luts(memory.width, memory.depth)) if memory.style == "logic" else \
            Forms(registers=memory.width)
        return _counter(memory.depth) + rom + Forms(control=2.0 + place)
    if isinstance(control, EventControl):
        inputs = stage.input_lanes * stage.lane.x.bits
        address, short = index_bits(stage.weight_depth), place * bool(stage.lane.idle_activation)
        return Forms(datapath=float(place + address), chains=int(address >= CHAIN_BITS),
                     control=inputs / 3 + 4.0 * place, registers=short * stage.sum_latency + place + inputs)
    return Forms()


def _matrix_vector(stage: MatrixVectorStage, family: str) -> Forms:
    pe, lane = stage.fold.pe, stage.lane
    constant = not stage.has_weight_memory and not stage.loadable
    element = dot_forms(stage.dot, constant=constant, family=family)
    if stage.sf > 1:  # the first beat replaces the accumulator, the others add
        element += Forms(datapath=accumulator_luts(stage.total_bits, family, adds=True),
                         chains=int(stage.total_bits >= CHAIN_BITS))
    elif isinstance(stage.thresholds, FusedThresholds):
        bits = stage.thresholds.total_bits
        element += Forms(datapath=accumulator_luts(bits, family, adds=False), chains=int(bits >= CHAIN_BITS))
    inputs = stage.input_lanes * lane.x.bits
    flags = (3 if stage.sf > 1 else 1) * stage.sum_latency + stage.tail_latency
    result = element * pe + _fifo(stage) + _counter(stage.sf) + Forms(
        control=4.0 + (2.0 if stage.period > 1 else 0.0),
        registers=inputs * (stage.front - stage.input_latency + (not stage.has_input_memory)) + flags)
    if stage.weight_depth > stage.sf > 1:
        result += _counter(stage.weight_depth)
    if stage.period > 1 and stage.groups > 1:
        result += _counter(stage.nf)
    result += _skipping(stage)
    result += Forms(registers=stage.keeps_sums * pe * stage.sum_bits
                    + stage.keeps_address * (stage.input_latency + 1) * index_bits(stage.weight_depth))
    if stage.has_input_memory:  # the first pass takes the stream, the others the memory
        result += Forms(datapath=float(inputs))
    if stage.loadable:
        result += _loadable(stage.weight_bank)
    elif stage.has_weight_memory:
        width, depth = stage.weight_bank.width, stage.weight_depth
        result += Forms(datapath=SELECTION_LUTS * (stage.tap_count - 1) * stage.chosen_lanes * lane.x.bits)
        result += Forms(rom=rom_luts(width, depth)) if stage.weight_style == "logic" else Forms(registers=width)
    if stage.thresholds is not None:
        return result + _thresholds(stage.thresholds)
    assert stage.offset_table is not None  # where there are no thresholds
    out = stage.o.levels.bits
    return result + Forms(datapath=float(out), chains=int(out >= CHAIN_BITS)) * pe + _table(stage.offset_table)


def _parallel(stage: ParallelStage) -> Forms:
    """Two for a full adder, one for each place of a longer one and one between adders on a chain; delays besides."""
    graph = stage.graph
    full = sum(node.bits == 1 for node in graph.nodes if isinstance(node, Adder))
    longer = graph.adders - full
    adders = Forms(datapath=float(2 * full + graph.adder_bits - full + longer + graph.compared_bits / 3),
                   registers=graph.delays + stage.datapath_latency)
    return adders + _fifo(stage)


def _loadable(bank: Bank) -> Forms:
    """Registers behind the memory; around SPRAM the address that reading and writing share, and rows of blocks."""
    forms = Forms(registers=bank.width)
    if bank.style == "spram":
        forms += Forms(control=float(index_bits(bank.depth) + bank.rows), datapath=0.7 * (bank.rows - 1) * bank.width)
    return forms


def _loader(stage: LoaderStage) -> Forms:
    """The word shifts, the address counts or shifts; each bank is compared with its number and its depth."""
    address = 8 * ADDRESS_BYTES
    banks = Forms(control=2.0 + address / 4) * len(stage.targets)
    return banks + Forms(control=2.0 * address + WORDS_BITS + 1.5 * ERROR_BITS + 12, chains=3,
                         registers=8 * stage.word_bytes + 8)


def multiplier_bits(stage: AffineStage) -> int:
    """Width of the multipliers of an affine stage."""
    return max(1, span_bits(stage.multiplier_span.start, stage.multiplier_span.stop - 1))


def _affine(stage: AffineStage) -> Forms:
    out = stage.o.levels.bits
    lane = Forms(datapath=float(out), chains=int(out >= CHAIN_BITS), registers=stage.i.levels.bits)
    if stage.planes is None:
        lane += Forms(multipliers=((stage.i.levels.bits, multiplier_bits(stage)),))
    else:  # adders, and gates before them
        lane += Forms(datapath=float(sum(span_bits(*stage.planes.span(group)) for groups in stage.planes.levels
                                         for group in groups) + stage.i.levels.bits * multiplier_bits(stage) / 2))
    return lane * stage.i.lanes + _table(stage.table) + _fifo(stage)


def _argmax(stage: ArgMaxStage) -> Forms:
    compares = stage.i.lanes - 1 + (stage.group_beats > 1)
    compare = Forms(datapath=2.3 * stage.value_bits + index_bits(stage.channels), chains=1)
    return compare * compares + _counter(stage.group_beats) + _fifo(stage) + Forms(registers=stage.i.bits)


def _top_k(stage: TopKStage) -> Forms:
    """Each entry compares with what comes, and takes that, the entry before it, or nothing new."""
    bits = stage.value_bits + index_bits(stage.channels)
    entry = Forms(datapath=1.3 * stage.value_bits + bits + 2, chains=1)
    return entry * stage.k + _counter(stage.channels) + _fifo(stage) + Forms(registers=stage.i.bits)


def _branch_fifo(stage: FifoStage) -> Forms:
    """Pointers, level and the flag that there is room; in block memory a second level and the output's flag."""
    index, level = index_bits(stage.words), stage.fifo_depth.bit_length()
    block = Forms(control=2.0 * level + 3, chains=int(level >= CHAIN_BITS)) if stage.style == "block" else Forms()
    return Forms(control=4.0 * index + 2.0 * level, chains=int(level >= CHAIN_BITS)) + block


def _concat(stage: ConcatStage) -> Forms:
    """Side by side is wires but for the handshake; in turns there is a multiplexer."""
    streams = len(stage.inputs)
    if stage.is_parallel:
        return _fifo(stage) + Forms(control=float(streams))
    return _fifo(stage) + _counter(sum(stage.turns)) + Forms(datapath=0.7 * (streams - 1) * stage.o.bits,
                                                             control=2.0 * streams)


def _window(stage: WindowStage) -> Forms:
    """Counters of the loops, two addresses, two numbers of beats, and the constants by which they step."""
    result, address = Forms(), index_bits(stage.depth)
    for loop in stage.loops:
        result += _counter(loop.count)
    levels = len(stage.loops)
    lead, held = (span_bits(of.start, stage.depth) for of in (stage.lead_range, stage.held_range))
    step = span_bits(min(*stage.steps, 0), max(stage.steps))
    if stage.wraps:
        result += Forms(control=2.0 * address + 2.5 * (lead + held), chains=4)
    else:
        result += _counter(stage.depth) + Forms(control=3.0 * address + 2.5 * (lead + held), chains=5)
        result += Forms(control=0.5 * levels * address)
    if stage.pace.levels == 1:  # the flags compare with constants
        result += Forms(control=0.5 * levels * step)
    return result + _fifo(stage)


def _pad(stage: PadStage) -> Forms:
    counters = _counter(stage.padded_height) + _counter(stage.padded_width) + _counter(stage.channel_beats)
    compares = 2.0 * (index_bits(stage.padded_height) + index_bits(stage.padded_width))
    return counters + Forms(datapath=float(stage.o.bits), control=compares + 3.0) + _fifo(stage)


def _pool(stage: PoolStage) -> Forms:
    bits = stage.value_bits
    if stage.kind == "sum":
        lane = Forms(datapath=2.0 * bits, chains=int(bits >= CHAIN_BITS))
    elif stage.i.levels.is_bipolar:
        lane = Forms(datapath=1.0)
    else:
        lane = Forms(datapath=2.0 * bits, chains=int(bits >= CHAIN_BITS))
    signs = _counter(stage.channel_groups) + Forms(rom=rom_luts(stage.i.lanes, stage.channel_groups)) \
        if stage.is_mixed else Forms()
    return lane * stage.i.lanes + _counter(stage.taps) + Forms(control=2.0) + signs + _fifo(stage)
>>>>>>> cc466f4 (Closed forms of joins, windows and adders on chains)


def forms(stage: Stage, family: str = "") -> Forms:
    """Return the uncalibrated closed form of one stage on a family, by Yosys' name; on any of LUT4 without one.

    Raises ``TypeError`` for a stage it does not know.
    """
    match stage:
        case MatrixVectorStage():
            return matrix_forms(stage, family)
        case ParallelStage():
            return parallel_forms(stage, family)
        case ThresholdStage():
            return threshold_stage_forms(stage, family)
        case AffineStage():
            return affine_forms(stage, family)
        case ArgMaxStage():
            return argmax_forms(stage, family)
        case TopKStage():
            return top_k_forms(stage, family)
        case WindowStage():
            return window_forms(stage, family)
        case PadStage():
            return pad_forms(stage, family)
        case PoolStage():
            return pool_forms(stage, family)
        case JoinStage():
            return join_forms(stage, family)
        case PartStage():
            return part_forms(stage, family)
        case ForkStage():
            return Forms(control=4.0 * stage.count)
        case FifoStage():
            return fifo_forms(stage, family)
        case AddStage():
            return add_forms(stage, family)
        case ConcatStage():
            return concat_forms(stage, family)
        case SliceStage():
            return slice_forms(stage, family)
        case LoaderStage():
            return loader_forms(stage)
        case FrameInputStage():
            return frame_input_forms(stage, family)
        case FrameOutputStage():
            return fabric(family).counter(stage.o.beats)
    raise TypeError(f"Cost must know the stage, not {type(stage).__name__}")
