"""Counting and adding on ECP5's carry chains of CCU2C.

Half a CCU2C computes, of inputs A, B, C, D and the carry: P = INIT(A, B, C, D), G = INIT[3:0](A, B), S = P ^ carry, and
passes on P ? carry : G (Lattice TN1262; Yosys ``ccu2c_sim.vh``). Four uses:

- ``_TWO``: P = A ^ B ^ C ^ D adds the lanes (A, B) and (C, D), or any two bits, with the carry;
- ``_LINK``: D = 1 makes P 0 and G = A ^ B, so S is the carry of the adder before, and lane (A, B) the carry into the
  next: a k-bit adder with carry takes k + 1 halves, and many adders share a chain;
- ``_SAVE``: P = D ? A ^ B : A ^ C, G = A adds A to B or, in the first step, to C: accumulator and start in one;
- ``_NONE`` and ``_LAST``: with D = 1 the carry stays where A, B and C are 0, else it is 1, or not A: bits above those
  of a compare.
"""

from collections.abc import Callable, Sequence

from amaranth import Const, Instance, Module, Signal, Value

from hwbnn.rtl.cells.plain import Bit, Bits, GatedLane, Plain, plain_bits

__all__ = ["Ecp5"]

LENGTH = 16  # CCU2C of a chain, about: longer ones are slow and hard to place
_FEW = 3  # lanes for which a chain, which must begin and end, does not pay


def _table(function: Callable[[int, int, int, int], int]) -> int:
    """The INIT of a function of A, B, C, D."""
    return sum(function(n & 1, n >> 1 & 1, n >> 2 & 1, n >> 3 & 1) << n for n in range(16))


_TWO = _table(lambda a, b, c, d: a ^ b ^ c ^ d)
_LINK = _table(lambda a, b, c, d: 0 if d else a ^ b)
_SAVE = _table(lambda a, b, c, d: a ^ b if d else a ^ c)
_NONE = _table(lambda a, b, c, d: not (a or b or c) if d else 1)
_LAST = _table(lambda a, b, c, d: not (a or b or c) if d else not a)
_GATE = 0x0FF6  # lane of signs A, B and masks C, D: bit 0 of 1 - x·w is C NAND D, its carry G = A ^ B: see :meth:`gate`
_ZERO, _ONE = Const(0, 1), Const(1, 1)


class _Chain:
    """Halves one after the other, in chains of at most :data:`LENGTH` CCU2C."""

    def __init__(self, m: Module):
        self.m = m
        self._halves: list[tuple[int, Sequence[Value], Signal]] = []
        self._waiting: Signal | None = None  # the carry of the last adder

    def half(self, init: int, *inputs: Value) -> Signal:
        s = Signal(name="s")
        self._halves.append((init, (*inputs, *[_ZERO] * (4 - len(inputs))), s))
        return s

    def link(self, bit: Bit | None):
        """Give out the carry so far, and begin again with ``bit`` as the carry."""
        a, b = bit if isinstance(bit, tuple) else (_ZERO if bit is None else bit, _ZERO)
        carry = self.half(_LINK, a, b, _ZERO, _ONE)
        if self._waiting is not None:
            self.m.d.comb += self._waiting.eq(carry)
            self._waiting = None

    def carry(self) -> Signal:
        """The carry out of the adder that ends here."""
        self._waiting = Signal(name="carry")
        return self._waiting

    def rest(self):
        """A place where the chain may be cut: where the half that gives out its carry is the second of a cell."""
        if len(self._halves) >= 2 * LENGTH - 1 and len(self._halves) % 2:
            self.close()

    def close(self):
        if self._waiting is not None:
            self.link(None)
        if len(self._halves) % 2:
            self.half(0)
        carry: Value = _ZERO
        for first, second in zip(self._halves[::2], self._halves[1::2], strict=True):
            ports = {f"i_{name}{n}": value for n, (_, inputs, _) in enumerate((first, second))
                     for name, value in zip("ABCD", inputs, strict=True)}
            out = Signal(name="cout")
            self.m.submodules += Instance("CCU2C", p_INIT0=Const(first[0], 16), p_INIT1=Const(second[0], 16),
                                          p_INJECT1_0="NO", p_INJECT1_1="NO", i_CIN=carry, **ports,
                                          o_S0=first[2], o_S1=second[2], o_COUT=out)
            carry = out
        self._halves = []


class Ecp5(Plain):
    """Three lanes or one adder bit of a pair a CCU2C."""

    def count(self, m, groups):
        if sum(map(len, groups)) <= _FEW:
            return Plain().count(m, groups)
        # Where that is too long, one for pairs of lanes, and one for pairs of their sums.
        chains = [_Chain(m)] * 2 if sum(map(len, groups)) < 2 * LENGTH - 1 else [_Chain(m), _Chain(m)]
        result = [_count(chains, list(group)) for group in groups]
        for chain in chains:
            chain.close()
        return [plain_bits(m, bits) for bits in result]

    def gate(self, m, groups):
        if sum(len(lanes) + len(beside) for lanes, beside in groups) <= _FEW:
            return Plain().gate(m, groups)
        chain, result = _Chain(m), []
        for lanes, beside in groups:
            total, twos = None, []

            def gated(lane: GatedLane, total: Value | None) -> Value:
                x_mask, x_sign, w_mask, w_sign = lane
                chain.link(total)
                return chain.half(_GATE, x_sign, w_sign, x_mask, w_mask)

            *others, last = lanes
            for lane in others:
                total = gated(lane, total)
                twos.append(chain.carry())
            total = gated(last, total)
            made: Bits = []
            if twos:  # the carry of the last lane is added to them at once
                made.append(chain.half(_TWO, twos[0], _ZERO, *twos[1:]))
            made.append(chain.carry())
            carries: Bits = []
            for lane in beside:
                total = gated(lane, total)
                carries.append(chain.carry())
            result.append((total, made, carries))
            chain.rest()
        chain.close()
        return result

    def add(self, m, sums):
        chain = _Chain(m)
        result = [_adder(chain, x, y, carry) for x, y, carry in sums]
        chain.close()
        return [plain_bits(m, bits) for bits in result]

    def accumulate(self, m, sums, first):
        chain, keep = _Chain(m), Signal(name="keep")
        m.d.comb += keep.eq(~first)
        result = []
        for total, term, start, carry in sums:
            chain.link(carry)
            term = [*term, *[_ZERO] * (len(total) - len(term))]
            result.append([chain.half(_SAVE, *bits, keep) for bits in zip(term, total, start, strict=True)])
            chain.rest()
        chain.close()
        return result

    def above(self, m, pairs):
        chain, result = _Chain(m), []
        for total, gap in pairs:
            *rest, sign = total
            chain.link(_ONE)
            for bit, complement in zip(rest, gap, strict=False):  # which is narrower
                chain.half(_TWO, bit, _ZERO, complement)
            rest = rest[len(gap):]
            while len(rest) > 2:
                chain.half(_NONE, *rest[:3], _ONE)
                rest = rest[3:]
            chain.half(_LAST, sign, *rest, *[_ZERO] * (2 - len(rest)), _ONE)
            result.append(chain.carry())
            chain.rest()
        chain.close()
        return result


def _adder(chain: _Chain, xs: Sequence[Bit], ys: Sequence[Bit], carry: Bit | None) -> list[Bit]:
    chain.link(carry)
    out: list[Bit] = []
    for k in range(max(len(xs), len(ys))):
        x, y = xs[k] if k < len(xs) else _ZERO, ys[k] if k < len(ys) else _ZERO
        (a, b), (c, d) = (bit if isinstance(bit, tuple) else (bit, _ZERO) for bit in (x, y))
        out.append(chain.half(_TWO, a, b, c, d))
    out.append(chain.carry())
    chain.rest()
    return out


def _count(chains: Sequence[_Chain], lanes: Sequence[Bit]) -> list[Bit]:
    """Up to 7 lanes: two sums of up to three, added with the last lane as carry."""
    if len(lanes) == 1:
        return list(lanes)
    if len(lanes) <= 3:
        return _adder(chains[0], lanes[:1], lanes[1:2], lanes[2] if len(lanes) == 3 else None)
    *lanes, last = lanes
    return _adder(chains[1], _count(chains, lanes[:3]), _count(chains, lanes[3:]) if lanes[3:] else [], last)
