"""Between the codes on a stream and numbers: :mod:`hwbnn.pack` in hardware."""

from amaranth import Cat, Const, Mux, Value
from amaranth.lib import data

from hwbnn.ir import Levels
from hwbnn.plan import Stream

__all__ = ["decode", "encode", "encode_level", "extended", "payload", "recoded"]


def payload(stream: Stream) -> data.ArrayLayout:
    """Shape of one beat: an array of codes, lane 0 at the lowest bits."""
    return data.ArrayLayout(stream.levels.bits, stream.lanes)


def decode(code: Value, levels: Levels) -> Value:
    """Return the number that ``code`` stands for."""
    if levels.is_bipolar:
        return Mux(code[0], Const(1, 2), Const(-1, 2)).as_signed()
    if levels.is_ternary:  # mask and sign: (0, 0) is 0, (1, 0) is +1, (1, 1) is -1; a weight's (0, 1) is 0
        return Cat(code[0], code[0] & code[1]).as_signed()
    return code.as_signed() if levels.is_signed else code.as_unsigned()


def encode(number: Value, levels: Levels) -> Value:
    """Return the code of ``number``, which must be one of ``levels``."""
    if levels.is_bipolar:
        return number > 0
    if levels.is_ternary:
        return Cat(number != 0, number < 0)
    return _low_bits(number, levels.bits)


def recoded(code: Value, levels: Levels, target: Levels) -> Value:
    """Return the code in ``target`` of the number that ``code`` stands for in ``levels``, which is in both."""
    return code if levels == target else encode(decode(code, levels), target)


def encode_level(index: Value, levels: Levels) -> Value:
    """Return the code of level number ``index``, counted from the lowest."""
    if levels.is_bipolar:
        return index[0]
    if levels.is_ternary:
        return Cat(index != 1, index == 0)
    return _low_bits(index * levels.step + levels.low, levels.bits)


def extended(number: Value, bits: int) -> list[Value]:
    """The lowest ``bits`` bits of a number, repeated by its sign or zeros where it is narrower."""
    fill = number[-1] if number.shape().signed and len(number) else Const(0, 1)
    return [*number[:bits], *[fill] * (bits - len(number))]


def _low_bits(number: Value, bits: int) -> Value:
    return Cat(extended(number, bits))
