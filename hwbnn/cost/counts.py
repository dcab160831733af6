"""Closed forms for lanes that are counted on a family's own cells, in LUT4, as :mod:`hwbnn.rtl.cells` makes them.

On ECP5 a half of a CCU2C is one: an adder of k bits takes k + 1 halves, since its carry goes in and the last one's
comes out between them. On iCE40 an adder takes as many logic cells, but groups of lanes are full adders of LUT4.
On Xilinx a LUT6_2 takes two lanes, a gated lane, or a place of an adder whose bits both need one: a place above the
narrower number is wires into CARRY4. Families without cells of their own are taken to come to what iCE40 does.
"""

from hwbnn.plan import Count, Dot, GatedCount

__all__ = ["above_luts", "accumulator_luts", "adder_luts", "count_luts", "gated_luts"]

_RIPPLED = 2  # places of Xilinx's adders that need no chain


def _three(lanes: int, each: int) -> int:
    """Full adders of LUT4 for up to three lanes; ``each`` is 1 where two inputs make a lane."""
    return (0, each, 2, 2 + 2 * each)[lanes]


def _group(lanes: int, family: str, *, plain: bool) -> int:
    if family == "ecp5":
        return (0, not plain, 2, 2, 5, 5, 7, 7)[lanes]
    if family == "xilinx":
        pairs, single = divmod(lanes, 2)
        return pairs + (pairs > 1) + single * (not plain)
    each = 0 if plain else 1
    if lanes <= 3:
        return _three(lanes, each)
    return _three(3, each) + _three(lanes - 4, each) + 4


def count_luts(count: Count, family: str, *, plain: bool = False) -> int:
    """LUT4 of a count of lanes of two bits, or of ``plain`` bits."""
    total = sum(_group(lanes, family, plain=plain) for lanes in count.groups)
    total += 0 if plain else count.lanes - sum(count.groups)  # carries are made in front of their registers
    return total + _adders_luts(count, family)


def adder_luts(x: int, y: int, family: str, *, lanes: bool = False) -> int:
    """LUT4 of the sum of numbers of ``x`` and ``y`` bits, and a carry; ``lanes``: each bit is a XOR of two."""
    if family == "xilinx":
        return max(x, y) if lanes or max(x, y) <= _RIPPLED else min(x, y)
    return max(x, y) + 1


def _adders_luts(count: Count, family: str) -> int:
    """LUT4 of the adders above the groups."""
    return sum(adder_luts(a.bit_length(), b.bit_length(), family)
               for sums in count.levels[:-1] for a, b in zip(sums[::2], sums[1::2], strict=False))


def _gate(lanes: int, beside: int, family: str, *, ternary: bool) -> int:
    """LUT4 of a group of gated lanes; ``ternary``: both operands are, else one of them has no mask."""
    if family == "ecp5":
        return 2 * (lanes + beside) + (lanes > 1)
    if family == "xilinx":
        return lanes + beside + (lanes > 1)
    return ((0, 2, 6, 9) if ternary else (0, 1, 5, 7))[lanes] + (3 if ternary else 2) * beside


def gated_luts(dot: Dot, count: GatedCount, family: str) -> int:
    """LUT4 of the sum of gated terms."""
    ternary = dot.lane.x.is_ternary and dot.lane.w.is_ternary
    total = sum(_gate(lanes, beside, family, ternary=ternary) for lanes, beside in count.groups)
    total += count_luts(count.ones, family, plain=True) + _adders_luts(count.twos, family)
    if not count.joins:
        return total
    return total + adder_luts(count.twos.high.bit_length(), count.ones.high.bit_length() - 1, family)


def above_luts(total: int, gap: int, family: str) -> float:
    """LUT4 of whether an accumulator of ``total`` bits is at least a gap: a carry of which the sum is not needed."""
    if family == "ecp5":
        return 2.0 + gap + max(0, total - gap - 2) // 3
    if family == "xilinx":  # two bits each
        pairs = (gap + 1) // 2
        return 1.0 + pairs + max(0, total - 1 - 2 * pairs) // 5
    return 1.0 if family == "ice40" else 1.0 * total


def accumulator_luts(bits: int, family: str, *, adds: bool) -> float:
    """LUT4 of an accumulator of ``bits`` bits, which ``adds`` or takes its start and a single beat."""
    if family == "ecp5":
        return bits + 1.0
    if family == "xilinx":  # the choice is part of the sum
        return 1.0 * bits
    return 2.0 * bits if adds else 1.0 * bits
