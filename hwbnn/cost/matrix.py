"""Closed forms for matrix-vector units: folded, and parallel with constant weights."""

from hwbnn.cost.constants import constants, logic, threshold_forms, varied_columns
from hwbnn.cost.datapath import accumulators, dot_forms
from hwbnn.cost.fabric import fabric, selection_luts
from hwbnn.cost.terms import Forms
from hwbnn.plan import Adder, Bank, EventControl, MatrixVectorStage, ParallelStage, SequenceControl
from hwbnn.plan.records import index_bits

__all__ = ["bank_forms", "matrix_forms", "parallel_forms"]

SELECTION_LUTS = 0.7  # LUT4 per bit and input but the first of a multiplexer


def matrix_forms(stage: MatrixVectorStage, family: str) -> Forms:
    """A folded unit: control, weights, lanes and sums, accumulators, and what turns these into outputs."""
    fab, pe, lane = fabric(family), stage.fold.pe, stage.lane
    constant = not stage.has_weight_memory and not stage.loadable
    inputs = stage.input_lanes * lane.x.bits
    flags = (3 if stage.sf > 1 else 1) * stage.sum_latency + stage.tail_latency
    result = dot_forms(stage.dot, constant=constant, family=family) * pe + accumulators(stage, family)
    result += fab.credits(stage.fifo_depth) + fab.counter(stage.sf) + Forms(
        control=5.0 + 2.0 * (stage.period > 1),
        registers=inputs * (stage.front - stage.input_latency + (not stage.has_input_memory)) + flags
        + stage.keeps_sums * pe * stage.sum_bits
        + stage.keeps_address * (stage.input_latency + 1) * index_bits(stage.weight_depth))
    if stage.weight_depth > stage.sf > 1:
        result += fab.counter(stage.weight_depth)
    if stage.period > 1 and stage.groups > 1:
        result += fab.counter(stage.nf)
    result += _skipping(stage, family)
    if stage.has_input_memory and not stage.reads_all:  # the first pass takes the stream, the others the memory
        result += Forms(datapath=float(inputs))
    if stage.loadable:
        result += bank_forms(stage.weight_bank)
    elif stage.has_weight_memory:
        result += Forms(datapath=SELECTION_LUTS * (stage.tap_count - 1) * stage.chosen_lanes * lane.x.bits)
        result += _weights(stage, family)
    if stage.thresholds is not None:
        return result + threshold_forms(stage.thresholds, family)
    assert stage.offset_table is not None  # where there are no thresholds
    sums = fab.sum(stage.o.levels.bits) * pe
    if family == "xilinx":  # a place to which a constant bit is added is wires into CARRY4
        sums = Forms(datapath=float(varied_columns(stage.offset_table)), chains=sums.chains)
    return result + sums + constants(stage.offset_table, family)


def _weights(stage: MatrixVectorStage, family: str) -> Forms:
    """Constant weights; in logic at a high pace from rows that are read and registered apart."""
    bank = stage.weight_bank
    if bank.style != "logic":
        return Forms(registers=bank.width)
    words, found = bank.shape[0], Forms()
    counted = stage.front == stage.weight_latency and not stage.keeps_address and not stage.tag_bits
    for row in range(bank.rows):
        found += logic(stage.weight_words[row * words:(row + 1) * words], bank.width, family, counted=counted)
    return found + Forms(datapath=bank.width * selection_luts(bank.rows, family))


def _skipping(stage: MatrixVectorStage, family: str) -> Forms:
    """What it takes to leave out beats: the sequence of those that are kept, or the list of those that are live."""
    fab, control, place = fabric(family), stage.control, index_bits(stage.sf)
    if isinstance(control, SequenceControl):
        memory = control.memory
        rom = Forms(rom=fab.rom(memory.width, memory.depth)) if memory.style == "logic" else \
            Forms(registers=memory.width)
        return fab.counter(memory.depth) + rom + Forms(control=2.0 + place)
    if isinstance(control, EventControl):
        inputs = stage.input_lanes * stage.lane.x.bits
        address, short = index_bits(stage.weight_depth), place * bool(stage.lane.idle_activation)
        return Forms(datapath=float(place + address), chains=int(fab.chained(address)),
                     control=inputs / 3 + 4.0 * place, registers=short * stage.sum_latency + place + inputs)
    return Forms()


def bank_forms(bank: Bank) -> Forms:
    """Registers behind a memory that can be written; around SPRAM the address that reading and writing share."""
    forms = Forms(registers=bank.width)
    if bank.style == "spram":
        forms += Forms(control=float(index_bits(bank.depth) + bank.rows),
                       datapath=SELECTION_LUTS * (bank.rows - 1) * bank.width)
    return forms


def parallel_forms(stage: ParallelStage, family: str) -> Forms:
    """Two for a full adder, one for each place of a longer one and one between adders on a chain; delays besides."""
    graph = stage.graph
    full = sum(node.bits == 1 for node in graph.nodes if isinstance(node, Adder))
    longer = graph.adders - full
    adders = Forms(datapath=float(2 * full + graph.adder_bits - full + longer + graph.compared_bits / 3),
                   registers=graph.delays + stage.datapath_latency)
    return adders + fabric(family).credits(stage.fifo_depth)
