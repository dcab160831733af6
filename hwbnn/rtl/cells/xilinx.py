"""Counting on Xilinx's LUT6_2: two functions of the same five inputs in one LUT6; adding on CARRY4."""

from collections.abc import Callable, Sequence
from itertools import zip_longest

from amaranth import Cat, Const, Instance, Module, Signal, Value

from hwbnn.rtl.cells.plain import Bit, Bits, Plain, number, plain_bits

__all__ = ["Xilinx"]

_ZERO, _ONE = Const(0, 1), Const(1, 1)
_PLACES = 4  # of a CARRY4
_RIPPLED = 2  # places of adders that need none


def _two(m: Module, inputs: Sequence[Value], function: Callable[..., int]) -> tuple[Signal, Signal]:
    """Bits 0 and 1 of a function of up to five bits, in one LUT."""
    inputs = [*inputs, *[_ZERO] * (5 - len(inputs))]
    rows = [function(*(n >> k & 1 for k in range(5))) for n in range(32)]
    table = sum((row >> 1 & 1) << n | (row & 1) << (32 + n) for n, row in enumerate(rows))
    low, high = Signal(name="o6"), Signal(name="o5")
    ports = {f"i_I{k}": value for k, value in enumerate(inputs)}
    m.submodules += Instance("LUT6_2", p_INIT=Const(table, 64), **ports, i_I5=_ONE, o_O6=low, o_O5=high)
    return low, high


class Xilinx(Plain):
    """Two lanes and a bit, a gated lane and a bit, or a full adder a LUT6_2; longer adders one LUT a bit on CARRY4."""

    def count(self, m, groups):
        result = []
        for group in groups:
            lanes = list(group)
            total: Value = _ZERO
            if len(lanes) % 2:
                a, b = lanes.pop()
                total, = number(m, a ^ b, 1, "lane")
            twos: list[Value] = []
            for (a, b), (c, d) in zip(lanes[::2], lanes[1::2], strict=True):
                total, two = _two(m, (a, b, c, d, total), lambda a, b, c, d, s: (a ^ b) + (c ^ d) + s)
                twos.append(two)
            if len(twos) > 1:
                twos = list(_two(m, twos, lambda a, b, c, d, e: a + b + c))
            result.append([total, *twos])
        return result

    def gate(self, m, groups):
        result = []
        for lanes, beside in groups:
            total: Value = _ZERO
            twos: Bits = []
            for lane in (*lanes, *beside):
                total, two = _two(m, (*lane, total), _gated)
                twos.append(two)
            made = twos[:len(lanes)]
            if len(made) > 1:
                made = list(_two(m, made, lambda a, b, c, d, e: a + b + c))
            result.append((total, made, twos[len(lanes):]))
        return result

    def full(self, m, x, y, carry):
        return list(_two(m, (x, y, carry), lambda a, b, c, d, e: a + b + c))

    def add(self, m, sums):
        return [_ripple(m, x, y, carry) if max(len(x), len(y)) <= _RIPPLED else _carried(m, x, y, carry)
                for x, y, carry in sums]

    def above(self, m, pairs):
        return [_above(m, total, gap) for total, gap in pairs]


def _ripple(m: Module, x: Sequence[Bit], y: Sequence[Bit], carry: Value | None) -> Bits:
    """Full adders one after the other, where CARRY4 would stay empty."""
    out: Bits = []
    carry = _ZERO if carry is None else carry
    for a, b in zip_longest(plain_bits(m, x), plain_bits(m, y), fillvalue=_ZERO):
        one, carry = _two(m, (a, b, carry), lambda a, b, c, d, e: a + b + c)
        out.append(one)
    return [*out, carry]


def _carried(m: Module, x: Sequence[Bit], y: Sequence[Bit], carry: Value | None) -> Bits:
    """A carry chain: each place passes the carry on where its bits differ, and gives one of them where not."""
    return _chained(m, [_place(m, a, b) for a, b in zip_longest(x, y, fillvalue=_ZERO)], carry)


def _chained(m: Module, places: Sequence[tuple[Value, Value]], carry: Value | None) -> Bits:
    """The sums of places, each of whether it passes the carry on and what it gives if not, and the last carry."""
    out: Bits = []
    above: Value = _ZERO
    for start in range(0, len(places), _PLACES):
        group = [*places[start:start + _PLACES]]
        group += [(_ZERO, _ZERO)] * (_PLACES - len(group))
        sums, carries = Signal(_PLACES, name="sum"), Signal(_PLACES, name="carries")
        first = {"i_CI": above, "i_CYINIT": _ZERO} if start else {
            "i_CI": _ZERO, "i_CYINIT": _ZERO if carry is None else carry}
        m.submodules += Instance("CARRY4", **first, i_S=Cat(passes for passes, _ in group),
                                 i_DI=Cat(given for _, given in group), o_O=sums, o_CO=carries)
        out.extend(sums)
        above = carries[-1]
        end = carries[(len(places) - 1) % _PLACES]
    return [*out[:len(places)], end]


def _above(m: Module, total: Bits, gap: Bits) -> Value:
    """Whether a total is at least a gap, whose complement is given: two bits a LUT6_2, then bits above and the sign."""
    *rest, sign = total
    places: list[tuple[Value, Value]] = []
    while gap:
        bits, complements = [*rest[:2], _ZERO][:2], [*gap[:2], _ONE][:2]
        places.append(_two(m, (*bits, *complements), _compared))
        rest, gap = rest[2:], gap[2:]
    while len(rest) > 4:
        places.append((_two(m, rest[:5], lambda *bits: int(not any(bits)))[0], _ONE))
        rest = rest[5:]
    places.append(_two(m, (sign, *rest), lambda *bits: (not any(bits)) | (not bits[0]) << 1))
    return _chained(m, places, _ONE)[-1]


def _compared(a: int, b: int, not_a: int, not_b: int, _: int) -> int:
    """Whether b a is equal to the number of which not_b not_a is the complement; and whether it is greater."""
    return ((a ^ not_a) & (b ^ not_b)) | (b if b == not_b else a) << 1


def _place(m: Module, a: Bit, b: Bit) -> tuple[Value, Value]:
    """Whether two bits differ, and one of them; of lanes in one LUT."""
    if not isinstance(a, tuple) and not isinstance(b, tuple):
        return a ^ b, a
    (a, w), (b, v) = (bit if isinstance(bit, tuple) else (bit, _ZERO) for bit in (a, b))
    return _two(m, (a, w, b, v), lambda a, w, b, v, s: (a ^ w ^ b ^ v) + 2 * (a ^ w))


def _gated(x_mask: int, x_sign: int, w_mask: int, w_sign: int, total: int) -> int:
    """1 - x·w + total."""
    live = x_mask & w_mask
    return 1 - live + 2 * (live & (x_sign ^ w_sign)) + total
