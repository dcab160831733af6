"""The hardware of each lane: two codes become a term (:mod:`hwbnn.plan.lanes` says what it means)."""

from collections.abc import Callable

from amaranth import Cat, Const, Module, Mux, Signal, Value

from hwbnn import plan
from hwbnn.ir import Levels
from hwbnn.rtl.codes import decode

__all__ = ["term"]


def term(m: Module, lane: plan.Lane, x: Value, w: Value, *, name: str) -> Value:
    """Return the term of activation code ``x`` and weight code ``w``, ``lane.latency`` cycles later."""
    return _TERMS[type(lane)](m, lane, x, w, name)


def _mismatch(m, lane, x, w, name):
    return x ^ w


def _conditional(m, lane, x, w, name):
    b = lane.x.bits
    offset = x ^ Const(1 << (b - 1), b) if lane.x.is_signed else x
    return offset ^ (~w[0]).replicate(b)


def _planes(code: Value, levels: Levels) -> tuple[Value, Value]:
    """Mask and sign of a ternary or bipolar code."""
    return (Const(1, 1), ~code[0]) if levels.is_bipolar else (code[0], code[1])


def _gated(m, lane, x, w, name):
    (x_mask, x_sign), (w_mask, w_sign) = _planes(x, lane.x), _planes(w, lane.w)
    live = x_mask & w_mask
    return Cat(~live, live & (x_sign ^ w_sign))


def _product(m, lane, x, w, name):
    register = Signal(range(lane.low, lane.high + 1), name=name, reset_less=True)
    if lane.w.is_ternary or lane.w.is_bipolar:
        product = _signed_choice(w, lane.w, decode(x, lane.x))
    elif lane.x.is_ternary or lane.x.is_bipolar:
        product = _signed_choice(x, lane.x, decode(w, lane.w))
    else:
        product = decode(x, lane.x) * decode(w, lane.w)
    m.d.sync += register.eq(product)
    return register


def _signed_choice(code: Value, levels: Levels, number: Value) -> Value:
    """``number``, 0 or ``-number``, as the ternary or bipolar ``code`` says."""
    mask, sign = _planes(code, levels)
    return Mux(mask, Mux(sign, -number, number), 0)


_TERMS: dict[type[plan.Lane], Callable[..., Value]] = {
    plan.MismatchLane: _mismatch,
    plan.ConditionalLane: _conditional,
    plan.GatedLane: _gated,
    plan.ProductLane: _product,
}
