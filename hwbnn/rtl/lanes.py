"""The hardware of lanes whose terms are added: codes become terms (:mod:`hwbnn.plan.lanes` says what they mean).

Terms of few values are counted instead (:mod:`hwbnn.rtl.count`).
"""

from collections.abc import Callable, Sequence

from amaranth import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwbnn import plan
from hwbnn.ir import Levels
from hwbnn.rtl.codes import decode

__all__ = ["Multiplier", "mask_and_bit", "terms", "xor_lanes"]


def terms(m: Module, lane: plan.Lane, x: Sequence[Value], w: Sequence[Value]) -> list[list[Value]]:
    """Return, for each plane of ``lane``, the terms of activation codes ``x`` and weight codes ``w``.

    They stand ``lane.latency`` cycles after the codes; a term is of ``lane.products`` neighbours, the last of fewer.
    """
    made = []
    for n, start in enumerate(range(0, len(x), lane.products)):
        part = slice(start, start + lane.products)
        if isinstance(lane, plan.MultiplierLane):
            made.append([_multiplied(m, lane, x[part], w[part], f"multiplier_{n}")])
        elif isinstance(lane, plan.PlanesLane):
            made.append(_split(lane, x[start], w[start]))
        else:
            made.append([_TERMS[type(lane)](m, lane, x[start], w[start], f"product_{n}")])
    return [list(plane) for plane in zip(*made, strict=True)]


def xor_lanes(lane: plan.Lane, codes: Sequence[tuple[Value, Value]]) -> list[list[tuple[Value, Value]]] | None:
    """Return each term as pairs of bits that differ where a bit of it is 1; None where a term is something else."""
    if type(lane) is not plan.ConditionalLane:
        return None
    return [[(bit, w[0]) for bit in _from_zero(lane, x)] for x, w in codes]


def _from_zero(lane: plan.Lane, x: Value) -> Value:
    """The activation counted from 0: with its sign bit turned where there is one."""
    return (x ^ Const(lane.half, lane.x.bits) if lane.half else x).as_unsigned()


def _conditional(m, lane, x, w, name):
    return _from_zero(lane, x) ^ w[0].replicate(lane.x.bits)


def _gated_conditional(m, lane, x, w, name):
    return (_from_zero(lane, x) ^ w[1].replicate(lane.x.bits)) & w[0].replicate(lane.x.bits)


def mask_and_sign(code: Value, levels: Levels) -> tuple[Value, Value]:
    """Mask and sign of a ternary or bipolar code."""
    return (Const(1, 1), ~code[0]) if levels.is_bipolar else (code[0], code[1])


def mask_and_bit(code: Value, levels: Levels) -> tuple[Value, Value]:
    """The same, but of a bipolar code the bit, which is the sign of its negative."""
    return (Const(1, 1), code[0]) if levels.is_bipolar else (code[0], code[1])


def _still(m, lane, x, w, name):
    (x_mask, x_sign), (w_mask, w_sign) = mask_and_sign(x, lane.x), mask_and_sign(w, lane.w)
    live = x_mask & w_mask
    return Cat(live, live & (x_sign ^ w_sign)).as_signed()


def _choice(m, lane, x, w, name):
    number = decode(w, lane.w)
    if lane.x.is_bipolar:
        return Mux(x[0], number, 0)
    mask, sign = mask_and_sign(x, lane.x)
    return Mux(mask, Mux(sign, 0, number << 1), number)


def _split(lane: plan.PlanesLane, x: Value, w: Value) -> list[Value]:
    u = _from_zero(lane, x)
    if lane.splits_weights:
        return [u & bit.replicate(len(u)) for bit in w]
    return [Mux(bit, decode(w, lane.w), 0) for bit in u]


def _product(m, lane, x, w, name):
    """The sum of one number's multiples: a multiplication sign would take a multiplier where the family has them."""
    x, w = decode(x, lane.x), decode(w, lane.w)
    many, few = (x, w) if len(x) >= len(w) else (w, x)
    parts = [Mux(bit, many, 0) << n for n, bit in enumerate(few)]
    if few.shape().signed:
        parts[-1] = -parts[-1]
    register = Signal(range(lane.low, lane.high + 1), name=name, reset_less=True)
    m.d.sync += register.eq(sum(parts, start=Const(0)))
    return register


class Multiplier(wiring.Component):
    """A product of two signed numbers that synthesis may give to one of the chip's multipliers. Combinational.

    It is a component of its own so that synthesis can be told which products are meant: those of modules whose names
    end in ``multiplier`` and a number.

    Members
    -------
    a, b : :py:`In(signed)`
    product : :py:`Out(signed)`
    """

    a: Signal
    b: Signal
    product: Signal

    def __init__(self, a_bits: int, b_bits: int):
        super().__init__({"a": In(signed(a_bits)), "b": In(signed(b_bits)), "product": Out(signed(a_bits + b_bits))})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.product.eq(self.a * self.b)
        return m


def _multiplied(m: Module, lane: plan.MultiplierLane, x: Sequence[Value], w: Sequence[Value], name: str) -> Value:
    u, w = [_from_zero(lane, one) for one in x], [decode(one, lane.w) for one in w]
    pair = len(u) > 1
    a_bits, b_bits = lane.operands if pair else (lane.x.bits + 1, lane.w.bits + (not lane.w.is_signed))
    m.submodules[name] = unit = Multiplier(a_bits, b_bits)
    if pair:  # (u1 2^s + u0)(w0 2^s + w1); a negative w1 takes 1 from w0
        gap = Const(0, lane.shift - lane.x.bits)
        low = Cat(w[1], _sign(w[1]).replicate(lane.shift - lane.w.bits))
        m.d.comb += [unit.a.eq(Cat(u[0], gap, u[1])), unit.b.eq(Cat(low, (w[0] - _sign(w[1]))[:lane.w.bits + 1]))]
    else:
        m.d.comb += [unit.a.eq(u[0]), unit.b.eq(w[0])]
    shape = range(lane.products * lane.bounds[0], lane.products * lane.bounds[1] + 1)
    term = Signal(shape, name=f"{name}_term", reset_less=True)
    m.d.sync += term.eq(unit.product >> lane.shift if pair else unit.product)
    if lane.products == 1:
        return term
    borrowed, whole = Signal(name=f"{name}_borrowed", reset_less=True), Signal(shape, name=f"{name}_whole",
                                                                               reset_less=True)
    m.d.sync += [borrowed.eq(unit.product[lane.shift - 1] if pair else 0), whole.eq(term + borrowed)]
    return whole


def _sign(number: Value) -> Value:
    return number[-1] if number.shape().signed else Const(0, 1)


_TERMS: dict[type[plan.Lane], Callable[..., Value]] = {
    plan.ConditionalLane: _conditional,
    plan.GatedConditionalLane: _gated_conditional,
    plan.StillLane: _still,
    plan.ChoiceLane: _choice,
    plan.ProductLane: _product,
}
