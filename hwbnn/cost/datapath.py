"""Closed forms for what adds: lanes, counts, adder trees, planes, accumulators.

- Lanes of bits are counted on the family's own cells: :mod:`hwbnn.cost.counts`.
- A sum of k <= 4 operands of b bits between two registers costs 2 · (k - 2) · b LUT4 in full adders, two per bit
  that they take away, and one per bit of the result in a carry chain. The popcount of N bits comes to about
  2 · (N - ceil(log2(N + 1))); the registers after every second level of a tree add the chains.
- A XOR with a weight in front of an adder costs 0.7 LUT4 per bit, 0.25 where four bits are added at once, and
  nothing where the weight is constant.
"""

from hwbnn.cost.counts import accumulator_luts, adder_luts, count_luts, gated_luts
from hwbnn.cost.fabric import fabric
from hwbnn.cost.terms import Forms
from hwbnn.plan import RELAXED, Count, FusedThresholds, MatrixVectorStage
from hwbnn.plan.count import GatedCount
from hwbnn.plan.dot import Dot
from hwbnn.plan.integer_lanes import MultiplierLane, PlanesLane, ProductLane
from hwbnn.plan.lanes import ChoiceLane, ConditionalLane, GatedConditionalLane, Lane, StillLane
from hwbnn.plan.records import ceil_div, span_bits
from hwbnn.plan.tree import CHAIN_BITS, Tree

__all__ = [
    "CHAIN_BITS", "GROUP", "MULTIPLIER_LUTS", "PRODUCT_LUTS", "accumulators", "dot_forms", "lane_luts", "sum_luts",
    "tree_forms",
]

PRODUCT_LUTS = 1.6  # LUT4 per pair of bits of a lane's product: partial products and their sums
MULTIPLIER_LUTS = 2.1  # the same of a multiplication that would be a hard multiplier where there is one
GROUP = 1 << RELAXED.levels  # operands summed at once, where registers are as far apart
CHAIN_HALVES = 32  # of a chain on ECP5
_FEW = 3  # lanes that are counted without a chain


def sum_luts(operands: int, bits: int, result: int, family: str = "") -> float:
    """Look-up tables that add up to four operands of ``bits`` bits to ``result`` bits."""
    if operands < 2:
        return 0.0
    full = 1.0 if fabric(family).inputs > 4 else 2.0
    return full * (operands - 2) * bits + result


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
            return 0.0 if lane.x.bits >= CHAIN_BITS else 0.7 * lane.x.bits  # adders take both as they are
        case ChoiceLane():
            return 0.7 * lane.w.bits if lane.x.is_bipolar else 1.0 * (lane.w.bits + 1)
        case PlanesLane():
            bits = span_bits(*lane.bounds)
            return len(lane.planes) * (0.25 if bits == 1 else 0.7 * bits)
        case StillLane():
            return 1.25 if lane.x.is_ternary and lane.w.is_ternary else 0.75
    raise TypeError(f"Lanes must be of terms that are added, not {type(lane).__name__}")


def _lanes_luts(dot: Dot, *, constant: bool, family: str) -> float:
    """LUT4 in front of a tree: chains take XORs as they are where they can, but for an odd one, which no adder takes.

    On Xilinx a place of an adder makes what others are in front of it, of which CARRY4 takes one apart, too.
    """
    pairs, single = divmod(dot.simd, 2)
    if family == "xilinx" and type(dot.lane) is ConditionalLane and not dot.tree.is_chained and dot.simd > 1:
        return 0.0  # three bits and their weights are the inputs of a LUT6
    if constant or not dot.tree.is_chained:
        return dot.simd * lane_luts(dot.lane, constant=constant)
    if type(dot.lane) is ConditionalLane:
        return float((dot.simd if fabric(family).raw else single) * dot.lane.x.bits)
    return (pairs + single if family == "xilinx" else dot.simd) * lane_luts(dot.lane)


def tree_forms(tree: Tree, *, constant: bool = False, lanes: bool = False, family: str = "") -> Forms:
    """An adder tree; ``constant``: its one-bit terms are mere inputs; ``lanes``: the bits of its terms are XORs.

    Adders on a family's chains are :func:`~hwbnn.cost.counts.adder_luts`; others are joined between registers.
    """
    luts, chains, sizes = 0.0, 0, [1] * tree.count
    if tree.is_chained and not fabric(family).joined:
        for sums in tree.levels:
            level = sum(adder_luts(tree.bits(a), tree.bits(b), family, lanes=lanes)
                        for a, b in zip(sizes[::2], sizes[1::2], strict=False))
            luts, chains, sizes, lanes = luts + level, chains + ceil_div(level, CHAIN_HALVES), list(sums), False
        return Forms(datapath=luts, chains=chains)
    while len(sizes) > 1:
        together = min(GROUP, 1 << tree.every)
        groups = [sizes[n:n + together] for n in range(0, len(sizes), together)]
        for group in groups:
            bits, result = tree.bits(max(group)), tree.bits(sum(group))
            if bits == 1 and constant:
                luts += result if len(group) > 1 else 0  # a function of up to four inputs per bit
            else:
                luts += sum_luts(len(group), bits, result, family)
                chains += len(group) > 1 and result >= CHAIN_BITS
        sizes = [sum(group) for group in groups]
    return Forms(datapath=luts, chains=chains)


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
    if isinstance(dot.count, Count):
        return Forms(datapath=float(count_luts(dot.count, family)), chains=_count_chains(dot.count))
    if dot.count is not None:
        return Forms(datapath=float(gated_luts(dot, dot.count, family)), chains=_gated_chains(dot.count))
    tree = tree_forms(dot.tree, constant=constant, lanes=type(dot.lane) is ConditionalLane, family=family)
    result = tree * len(dot.lane.planes) + _products(dot)
    result += Forms(datapath=_lanes_luts(dot, constant=constant, family=family))
    for groups in dot.planes.levels:
        for group in groups:
            bits = span_bits(*dot.planes.span(group))
            result += Forms(datapath=float(bits), chains=int(bits >= CHAIN_BITS))
    return result


def _count_chains(count: Count) -> int:
    """Two chains count many groups, one counts few; adders above them besides."""
    lanes = sum(count.groups)
    groups = 0 if lanes <= _FEW else 2 * ceil_div(lanes, 2 * CHAIN_HALVES) if lanes >= CHAIN_HALVES else 1
    return groups + _adder_chains(count)


def _adder_chains(count: Count) -> int:
    """A level of adders has one chain, which is cut where it grows long."""
    return sum(ceil_div(sum(high.bit_length() + 1 for high in sums[::2][:len(sums) // 2]), CHAIN_HALVES)
               for sums in count.levels[:-1])


def _gated_chains(count: GatedCount) -> int:
    gates = ceil_div(9 * len(count.groups), CHAIN_HALVES) if count.lanes > _FEW else 0
    return gates + _count_chains(count.ones) + _adder_chains(count.twos) + count.joins


def accumulators(stage: MatrixVectorStage, family: str) -> Forms:
    """What the sums are added to: the first beat replaces it, the others add; or where each row starts from."""
    bits, adds = stage.total_bits, stage.sf > 1
    if not adds:
        if not isinstance(stage.thresholds, FusedThresholds):
            return Forms()
        bits = stage.thresholds.total_bits
    luts = accumulator_luts(bits, family, adds=adds) * stage.fold.pe
    if fabric(family).paired:  # on chains that several rows share
        return Forms(datapath=luts, chains=ceil_div(int(luts), CHAIN_HALVES))
    return Forms(datapath=luts, chains=stage.fold.pe * fabric(family).chained(bits))
