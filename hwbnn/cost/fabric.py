"""What small parts take on the fabric of a family: sums, compares, counters, constants, storage, credits.

Each law is read off the part alone, of many sizes, as Yosys 0.70 maps it. A sum becomes a carry chain from so many
bits on; shorter ones are plain look-up tables. On ECP5 a chain is made of pairs of bits. On iCE40 the look-up table of
a logic cell serves the sum of its carry only, so a compare, of which nothing but the last carry is used, takes a cell
a bit beside the look-up tables, and one more to turn a bit around where it compares with what is no constant.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hwbnn.cost.terms import Forms
from hwbnn.ir import Levels
from hwbnn.plan.records import index_bits

__all__ = ["Fabric", "fabric", "selection_luts", "still_bits", "storage_luts"]


@dataclass(frozen=True)
class Fabric:
    """The look-up tables and carry chains of a family.

    Parameters
    ----------
    inputs : :class:`int`
        Of a look-up table.
    shortest : :class:`int`
        Bits of the shortest sum on a carry chain.
    paired : :class:`bool`
        Whether carries come in pairs of bits.
    lone : :class:`bool`
        Whether a carry without a sum takes a cell.
    raw : :class:`bool`
        Whether a chain adds what comes to it: decoding and XORs in front of it take look-up tables of their own.
    joined : :class:`bool`
        Whether adders of a tree are left to synthesis, which joins those between registers, for want of cells of ours.
    credit : pair of :class:`float`
        Look-up tables of four inputs of a FIFO's counts: per bit of them, and besides.
    cascades : :class:`bool`
        Whether hard multipliers add up by themselves what several of them make of one product.
    """

    inputs: int = 4
    shortest: int = 3
    paired: bool = False
    lone: bool = False
    raw: bool = False
    joined: bool = False
    credit: tuple[float, float] = (4.0, 1.0)
    cascades: bool = False

    def chained(self, bits: int) -> bool:
        """Whether a sum of ``bits`` is a carry chain."""
        return bits >= self.shortest

    def whole(self, bits: int) -> int:
        """Places that a chain of ``bits`` takes."""
        return bits + bits % 2 if self.paired else bits

    def sum(self, bits: int) -> Forms:
        """A sum of two numbers, or a number and a constant, to ``bits`` bits."""
        if not self.chained(bits):
            return Forms(datapath=1.5 * bits)
        return Forms(datapath=float(self.whole(bits)), chains=1)

    def compare(self, bits: int, *, constant: bool = False) -> Forms:
        """Whether one number of ``bits`` bits is less than another, or than a constant."""
        if not self.chained(bits):
            return Forms(datapath=1.0 if constant else float(bits))
        if self.lone:
            return Forms(datapath=1.0 if constant else bits + 1.0, chains=1, carries=bits)
        if self.inputs > 4:  # two bits of each in a look-up table
            return Forms(datapath=1.0 if constant else bits / 2, chains=1)
        return Forms(datapath=float(self.whole(bits)), chains=1)

    def below(self, bits: int, limit: int) -> Forms:
        """Whether a number of ``bits`` bits is less than a constant: zeros at the end of that are left out."""
        zeros = (limit & -limit).bit_length() - 1 if limit else bits
        return self.compare(max(1, bits - zeros), constant=True)

    def counter(self, states: int) -> Forms:
        """A counter that wraps: a sum, a compare with its end, an enable."""
        bits = index_bits(states)
        chained = self.chained(bits)
        if self.inputs > 4:
            return Forms(control=_wrap_luts(states), chains=int(chained))
        if self.paired:
            return Forms(control=self.whole(bits) + 0.6 * bits + 1 if chained else bits + float(bits > 1),
                         chains=int(chained))
        return Forms(control=1.5 * bits + bool(bits), chains=int(chained))

    def rom(self, width: int, depth: int, *, counted: bool = True) -> float:
        """Look-up tables of ``depth`` constant words of ``width`` bits that all differ.

        ``counted``: the address is a counter itself, whose chain the mapper of Xilinx' makes some of them from.
        """
        if depth < 2:
            return 0.0
        if self.inputs > 4:
            return width * _rom_luts(depth, counted=counted)
        if depth <= 16:
            return 1.0 * width
        return width * (1 + 0.19 * (depth - 16) if depth <= 32 else 0.145 * depth)

    def credits(self, depth: int) -> Forms:
        """A FIFO's indices, level and credits; the storage is counted with the memories."""
        if depth == 1:  # which is a register
            return Forms(control=3.0)
        index, level = index_bits(depth), depth.bit_length()
        if self.inputs > 4:  # two counters, two levels and two flags
            counts = Forms(control=2.0 * level + 4 + 2 * (level > 5), chains=2 * self.chained(level))
            return self.counter(depth) * 2 + counts
        each, more = self.credit
        return Forms(control=each * (index + level) + more, chains=4 * self.chained(level))


FABRICS: Mapping[str, Fabric] = MappingProxyType({
    "ecp5": Fabric(shortest=5, paired=True, credit=(4.0, -1.0)),
    "nexus": Fabric(shortest=5, paired=True, raw=True, joined=True, credit=(4.0, -1.0)),
    "ice40": Fabric(lone=True, raw=True),
    "gowin": Fabric(raw=True, joined=True, credit=(6.0, -5.0)),
    "xilinx": Fabric(inputs=6, cascades=True),
})


def fabric(family: str) -> Fabric:
    """The fabric of a family by Yosys' name; of look-up tables with four inputs where the family is not known."""
    return FABRICS.get(family, Fabric())


def _wrap_luts(states: int) -> float:
    """LUT6 of a counter: its chain takes none, a bit that wrapping clears one, a compare that these share one."""
    bits, turned = index_bits(states), states.bit_count()
    if turned == 1:
        return float(bits == 2)  # too short for a chain
    return float(turned + ((turned > 2 and bits > 3) or bits > 5) + (bits > 8))


def _rom_luts(depth: int, *, counted: bool) -> float:
    """LUT6 a column of so many words: of few, some are an address bit, or another's flip-flop with a reset."""
    if depth <= 8:
        return 0.6 if depth <= 4 else 0.9
    if counted and 16 < depth <= 64:
        return 1 + 0.025 * (depth - 16) if depth <= 32 else 0.0675 * depth
    return 1.0 if depth <= 64 else 0.6 + 0.0285 * depth


def selection_luts(words: int, family: str = "") -> float:
    """Look-up tables a bit that choose one of ``words``."""
    if fabric(family).inputs > 4:  # one takes the place of three words more
        return float(-(-(words - 1) // 3))
    return words - 1.0 if words < 7 else 0.9 * (words - 1)


def storage_luts(width: int, rows: int, family: str = "") -> float:
    """Look-up tables around ``rows`` of ``width`` bits, flip-flops or memories: which is read, which is written."""
    return width * selection_luts(rows, family) + rows if rows > 1 else 0.0


def still_bits(levels: Levels) -> int:
    """Bits of a code that never change, since all levels are a power of two apart."""
    if levels.is_bipolar or levels.is_ternary:
        return 0
    return (levels.step & -levels.step).bit_length() - 1
