"""Counting and adding on iCE40's logic cells: a LUT4 whose inputs 1 and 2 also feed a carry."""

from collections.abc import Sequence
from functools import reduce
from operator import add

from amaranth import Cat, Const, Instance, Module, Mux, Signal, Value

from hwbnn.rtl.cells.plain import Bits, Lane, Plain, number, plain_bits, plus

__all__ = ["Ice40"]

LENGTH = 40  # cells of a chain: five logic tiles
_SUM, _CARRY = 0xC33C, 0xFF00  # of inputs 1, 2, 3: all three added; input 3 alone
_UNLESS = 0x3300  # input 3 and not input 1
_ZERO, _ONE = Const(0, 1), Const(1, 1)


class _Chain:
    """Cells one after the other, in chains of about :data:`LENGTH`.

    No cell has one signal at its inputs 1 and 2: nextpnr may swap them, and then routes to and fro between them without
    end (YosysHQ/nextpnr#1341). So a carry enters where a chain begins, beside a 0 and a 1, of which it is the majority.
    """

    def __init__(self, m: Module):
        self.m, self._carry, self._cells = m, Value.cast(_ZERO), 0
        self._waiting: Signal | None = None

    def _cell(self, x: Value, y: Value, table: int) -> Signal:
        out, carry = Signal(name="o"), Signal(name="co")
        self.m.submodules += Instance("SB_CARRY", i_I0=x, i_I1=y, i_CI=self._carry, o_CO=carry)
        self.m.submodules += Instance("SB_LUT4", p_LUT_INIT=Const(table, 16), i_I0=_ZERO, i_I1=x, i_I2=y,
                                      i_I3=self._carry, o_O=out)
        self._carry, self._cells = carry, self._cells + 1
        return out

    def _link(self, carry: Value):
        """Give out the carry so far, and begin again with ``carry``."""
        if isinstance(carry, Const):  # the majority of it, it and anything
            out = self._cell(carry, carry, _CARRY)
            if self._waiting is not None:
                self.m.d.comb += self._waiting.eq(out)
                self._waiting = None
            return
        self.close()
        self._carry = _ONE
        self._cell(carry, _ZERO, _CARRY)

    def add(self, x: Sequence[Value], y: Sequence[Value], carry: Value | None) -> Bits:
        if self._waiting is not None or carry is not None:
            self._link(_ZERO if carry is None else carry)
        width = max(len(x), len(y))
        x, y = ([*bits, *[_ZERO] * (width - len(bits))] for bits in (x, y))
        out: Bits = [self._cell(a, b, _SUM) for a, b in zip(x, y, strict=True)]
        self._waiting = Signal(name="carry")
        out.append(self._waiting)
        if self._cells >= LENGTH:
            self.close()
        return out

    def above(self, total: Sequence[Value], gap: Sequence[Value]) -> Value:
        """Whether a total is at least a gap, as the carry of its bits and the gap's complement, or of bits above."""
        *rest, sign = total
        self._link(_ONE)
        for k, bit in enumerate(rest):
            self._cell(bit, gap[k] if k < len(gap) else _ONE, _SUM)
        out = self._cell(sign, _ZERO, _UNLESS)
        if self._cells >= LENGTH:
            self.close()
        return out

    def close(self):
        if self._waiting is not None:
            self._link(_ZERO)
        self._carry, self._cells = _ZERO, 0


class Ice40(Plain):
    """Groups of lanes as full adders of LUT4, three lanes in four; above them one cell a bit on chains."""

    def count(self, m, groups):
        return [_ripple(m, list(group)) for group in groups]

    def gate(self, m, groups):
        result = []
        for lanes, beside in groups:
            negative, dead = [], []
            for x_mask, x_sign, w_mask, w_sign in (*lanes, *beside):
                live = x_mask & w_mask
                negative += number(m, live & (x_sign ^ w_sign), 1, "negative")
                dead.append(~live)
            if len(lanes) == 1:
                total, twos = number(m, dead[0], 1, "one")[0], negative[:1]
            else:  # of two lanes, where both are dead neither is negative
                total, = number(m, dead[0] ^ dead[1], 1, "one")
                twos = [*number(m, negative[0] | (dead[1] & ~total), 1, "two"), negative[1]]
            for n in range(len(twos), len(dead)):
                twos += number(m, negative[n] | (total & dead[n]), 1, "two")
                total, = number(m, total ^ dead[n], 1, "one")
            made = number(m, reduce(add, twos[:len(lanes)]), len(lanes).bit_length(), "twos")
            result.append((total, made, twos[len(lanes):]))
        return result

    def add(self, m, sums):
        chain = _Chain(m)
        result = [chain.add(plain_bits(m, x), plain_bits(m, y), carry) for x, y, carry in sums]
        chain.close()
        return result

    def accumulate(self, m, sums, first):
        return [number(m, plus(Cat(term), Mux(first, Cat(start), Cat(total)), carry, beside=_ONE), len(total), "total")
                for total, term, start, carry in sums]

    def above(self, m, pairs):
        chain = _Chain(m)
        return [chain.above(total, gap) for total, gap in pairs]


def _three(m: Module, lanes: Sequence[Lane]) -> Bits:
    """Count up to three lanes: the first two in two LUT4, the third joins in two more."""
    (a, b), *rest = lanes
    if not rest:
        return number(m, a ^ b, 1, "one")
    (c, d), *rest = rest
    half, both = number(m, Cat(a ^ b ^ c ^ d, (a ^ b) & (c ^ d)), 2, "half")
    if not rest:
        return [half, both]
    e, f = rest[0]
    return number(m, Cat(half ^ e ^ f, both | (half & (e ^ f))), 2, "three")


def _ripple(m: Module, lanes: Sequence[Lane]) -> Bits:
    """Count up to seven lanes: two sums of up to three, rippled together with the last lane as carry."""
    if len(lanes) <= 3:
        return _three(m, lanes)
    *lanes, (a, b) = lanes
    x, y = _three(m, lanes[:3]), _three(m, lanes[3:]) if lanes[3:] else [_ZERO]
    y = [*y, *[_ZERO] * (2 - len(y))]
    carry: Value = a ^ b
    out: Bits = []
    for p, q in zip(x, y, strict=True):
        s, carry = number(m, Cat(p ^ q ^ carry, (p & q) | (carry & (p ^ q))), 2, "full")
        out.append(s)
    return [*out, carry]
