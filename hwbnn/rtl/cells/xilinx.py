"""Counting on Xilinx's LUT6_2: two functions of the same five inputs in one LUT6."""

from collections.abc import Callable, Sequence

from amaranth import Const, Instance, Module, Signal, Value

from hwbnn.rtl.cells.plain import Plain, number

__all__ = ["Xilinx"]

_ZERO, _ONE = Const(0, 1), Const(1, 1)


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
    """Two lanes and a bit, or a gated lane and a bit, a LUT6_2; adders are synthesis's, one LUT a bit on CARRY4."""

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
        for group in groups:
            total: Value = _ZERO
            twos = []
            for lane in group:
                total, two = _two(m, (*lane, total), _gated)
                twos.append(two)
            result.append((total, twos))
        return result


def _gated(x_mask: int, x_sign: int, w_mask: int, w_sign: int, total: int) -> int:
    """1 - x·w + total."""
    live = x_mask & w_mask
    return 1 - live + 2 * (live & (x_sign ^ w_sign)) + total
