"""What the cells of every family compute, written as synthesis and simulation understand it."""

from collections.abc import Sequence
from functools import reduce
from operator import add

from amaranth import Cat, Module, Mux, Signal, Value

__all__ = ["Bits", "Cells", "GatedLane", "Lane", "Plain", "gated_term", "number"]

Bits = list[Value]  # of a number, least significant first
Lane = tuple[Value, Value]  # activation and weight
GatedLane = tuple[Value, Value, Value, Value]  # mask and sign of the activation, mask and sign of the weight


class Cells:
    """The functions; each takes all its instances at once, so that they can share chains."""

    def count(self, m: Module, groups: Sequence[Sequence[Lane]]) -> list[Bits]:
        """For each group of at most :data:`hwbnn.plan.count.GROUP` lanes, how many of them differ: 1 to 3 bits."""
        raise NotImplementedError(type(self).__name__)  # every class of cells defines it

    def gate(self, m: Module, groups: Sequence[Sequence[GatedLane]]) -> list[tuple[Value, Bits]]:
        """For groups of at most :data:`hwbnn.plan.count.QUAD` lanes, the sum of 1 - x·w: a bit, and bits of weight 2.

        Zeros must be stored as 0 in activations' signs and as 1 in weights' signs.
        """
        raise NotImplementedError(type(self).__name__)  # every class of cells defines it

    def add(self, m: Module, sums: Sequence[tuple[Bits, Bits, Value | None]]) -> list[Bits]:
        """For each (x, y, carry): x + y + carry, a bit wider than the wider of the two."""
        raise NotImplementedError(type(self).__name__)  # every class of cells defines it

    def full(self, m: Module, x: Value, y: Value, carry: Value) -> Bits:
        """x + y + carry of three bits, in two."""
        raise NotImplementedError(type(self).__name__)  # every class of cells defines it

    def accumulate(self, m: Module, sums: Sequence[tuple[Bits, Bits, Bits, Value | None]], first: Value) -> list[Bits]:
        """For each (total, term, start, carry): (start if first else total) + term + carry, as wide as the total.

        Two's complement; the term is not negative and at most as wide as the total and the start.
        """
        raise NotImplementedError(type(self).__name__)  # every class of cells defines it


class Plain(Cells):
    """The behavioural twin, and the form for families without one of their own."""

    def count(self, m, groups):
        return [number(m, reduce(add, [a ^ w for a, w in group]), len(group).bit_length(), "count")
                for group in groups]

    def gate(self, m, groups):
        result = []
        for group in groups:
            total, twos = None, []
            for lane in group:  # each bit of weight 2 as the families' chains give it
                term = gated_term(*lane)
                total = number(m, term if total is None else term + total, 2, "gated")
                twos.append(total[1])
                total = total[0]
            assert total is not None  # groups are not empty
            result.append((total, twos))
        return result

    def add(self, m, sums):
        return [number(m, _plus(Cat(x), Cat(y), carry), max(len(x), len(y)) + 1, "sum") for x, y, carry in sums]

    def full(self, m, x, y, carry):
        return number(m, Cat(x ^ y ^ carry, (x & y) | (carry & (x ^ y))), 2, "full")

    def accumulate(self, m, sums, first):
        return [number(m, _plus(Cat(term), Mux(first, Cat(start), Cat(total)), carry), len(total), "total")
                for total, term, start, carry in sums]


def _plus(x: Value, y: Value, carry: Value | None) -> Value:
    """x + y + carry in a single adder: a third operand would make synthesis take two."""
    return x + y if carry is None else (Cat(carry, x) + Cat(carry, y))[1:]


def gated_term(x_mask: Value, x_sign: Value, w_mask: Value, w_sign: Value) -> Value:
    """1 - x·w in 0..2, for ternary x and w."""
    live = x_mask & w_mask
    return Cat(~live, live & (x_sign ^ w_sign))


def number(m: Module, value: Value, width: int, name: str) -> Bits:
    """The lowest bits of a value, each to be used again."""
    signal = Signal(width, name=name)
    m.d.comb += signal.eq(value)
    return list(signal)
