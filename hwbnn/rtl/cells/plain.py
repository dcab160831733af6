"""What the cells of every family compute, written as synthesis and simulation understand it."""

from collections.abc import Sequence
from functools import reduce
from operator import add

from amaranth import Cat, Const, Module, Mux, Signal, Value

__all__ = [
    "Bit", "Bits", "Cells", "GatedGroup", "GatedLane", "Lane", "Plain", "gated_term", "number", "plain_bits", "plus",
]

Bits = list[Value]  # of a number, least significant first
Lane = tuple[Value, Value]  # activation and weight
Bit = Value | Lane  # a bit, or a lane that makes one
GatedLane = tuple[Value, Value, Value, Value]  # mask and sign of the activation, mask and sign of the weight
GatedGroup = tuple[Sequence[GatedLane], Sequence[GatedLane]]  # lanes, and the one beside them


class Cells:
    """The functions; each takes all its instances at once, so that they can share chains."""

    def count(self, m: Module, groups: Sequence[Sequence[Lane]]) -> list[Bits]:
        """For each group of at most :data:`hwbnn.plan.count.GROUP` lanes, how many of them differ: 1 to 3 bits."""
        raise NotImplementedError(type(self).__name__)  # every class of cells defines it

    def gate(self, m: Module, groups: Sequence[GatedGroup]) -> list[tuple[Value, Bits, Bits]]:
        """For each group of up to three lanes, and none or one beside them: the sum of all 1 - x·w.

        It is a bit, the sum of bits of weight 2 of the lanes, 1 or 2 bits, and that of the lane beside them, if any.
        Zeros must be stored as 0 in activations' signs and as 1 in weights' signs.
        """
        raise NotImplementedError(type(self).__name__)  # every class of cells defines it

    def add(self, m: Module, sums: Sequence[tuple[Sequence[Bit], Sequence[Bit], Value | None]]) -> list[Bits]:
        """For each (x, y, carry): x + y + carry, a bit wider than the wider of the two. A lane stands for its XOR."""
        raise NotImplementedError(type(self).__name__)  # every class of cells defines it

    def full(self, m: Module, x: Value, y: Value, carry: Value) -> Bits:
        """x + y + carry of three bits, in two."""
        raise NotImplementedError(type(self).__name__)  # every class of cells defines it

    def accumulate(self, m: Module, sums: Sequence[tuple[Bits, Bits, Bits, Value | None]], first: Value) -> list[Bits]:
        """For each (total, term, start, carry): (start if first else total) + term + carry, as wide as the total.

        Two's complement; the term is not negative and at most as wide as the total and the start.
        """
        raise NotImplementedError(type(self).__name__)  # every class of cells defines it

    def above(self, m: Module, pairs: Sequence[tuple[Bits, Bits]]) -> list[Value]:
        """For each (total, gap): whether the total, in two's complement, is at least the gap, of which ~gap is given.

        The gap is not negative and narrower than the total.
        """
        raise NotImplementedError(type(self).__name__)  # every class of cells defines it


class Plain(Cells):
    """The behavioural twin, and the form for families without one of their own."""

    def count(self, m, groups):
        return [number(m, reduce(add, [a ^ w for a, w in group]), len(group).bit_length(), "count")
                for group in groups]

    def gate(self, m, groups):
        result = []
        for lanes, beside in groups:
            total, twos = None, []
            for lane in (*lanes, *beside):  # each bit of weight 2 as the families' chains give it
                term = gated_term(*lane)
                total = number(m, term if total is None else term + total, 2, "gated")
                twos.append(total[1])
                total = total[0]
            assert total is not None  # groups are not empty
            result.append((total, number(m, reduce(add, twos[:len(lanes)]), len(lanes).bit_length(), "twos"),
                           twos[len(lanes):]))
        return result

    def add(self, m, sums):
        return [number(m, plus(Cat(plain_bits(m, x)), Cat(plain_bits(m, y)), carry), max(len(x), len(y)) + 1, "sum")
                for x, y, carry in sums]

    def full(self, m, x, y, carry):
        return number(m, Cat(x ^ y ^ carry, (x & y) | (carry & (x ^ y))), 2, "full")

    def accumulate(self, m, sums, first):
        return [number(m, plus(Cat(term), Mux(first, Cat(start), Cat(total)), carry), len(total), "total")
                for total, term, start, carry in sums]

    def above(self, m, pairs):
        return [number(m, ~(Cat(total).as_signed() < Cat(~Cat(gap), Const(0, 1)).as_signed()), 1, "above")[0]
                for total, gap in pairs]


def plus(x: Value, y: Value, carry: Value | None, *, beside: Value | None = None) -> Value:
    """x + y + carry in a single adder: a third operand would make synthesis take two.

    The carry is what a place below carries, where it stands beside itself, or beside ``beside``, which must be 1.
    """
    if carry is None:
        return x + y
    return (Cat(carry, x) + Cat(carry if beside is None else beside, y))[1:]


def gated_term(x_mask: Value, x_sign: Value, w_mask: Value, w_sign: Value) -> Value:
    """1 - x·w in 0..2, for ternary x and w."""
    live = x_mask & w_mask
    return Cat(~live, live & (x_sign ^ w_sign))


def number(m: Module, value: Value, width: int, name: str) -> Bits:
    """The lowest bits of a value, each to be used again."""
    signal = Signal(width, name=name)
    m.d.comb += signal.eq(value)
    return list(signal)


def plain_bits(m: Module, bits: Sequence[Bit]) -> Bits:
    """The same bits, lanes made plain."""
    return [number(m, bit[0] ^ bit[1], 1, "lane")[0] if isinstance(bit, tuple) else bit for bit in bits]
