"""One processing element: SIMD lanes and their sum."""

from amaranth import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwbnn import plan
from hwbnn.rtl.lanes import terms
from hwbnn.rtl.tree import add_planes, add_up

__all__ = ["DotProduct"]


class DotProduct(wiring.Component):
    """Add the terms of one beat, every cycle. Runs free; latency :attr:`latency`, II 1.

    Parameters
    ----------
    dot : :class:`hwbnn.plan.Dot`
        What a term is, and how many there are.

    Members
    -------
    x : :py:`In(ArrayLayout(lane.x.bits, simd))`
        Activation codes.
    w : :py:`In(ArrayLayout(lane.w.bits, simd))`
        Weight codes.
    sum : :py:`Out(range(simd · lane.low, simd · lane.high + 1))`
    """

    x: data.View
    w: data.View
    sum: Signal

    def __init__(self, dot: plan.Dot):
        self._dot = dot
        low, high = dot.sums
        super().__init__({
            "x": In(data.ArrayLayout(dot.lane.x.bits, dot.simd)),
            "w": In(data.ArrayLayout(dot.lane.w.bits, dot.simd)),
            "sum": Out(range(low, high + 1)),
        })

    @property
    def latency(self) -> int:
        """Cycles from operands to their sum."""
        return self._dot.latency

    def elaborate(self, platform):
        m = Module()
        lanes = range(self._dot.simd)
        planes = terms(m, self._dot.lane, [self.x[k] for k in lanes], [self.w[k] for k in lanes])
        names = ["sum"] if len(planes) == 1 else [f"sum_{plane}" for plane in range(len(planes))]
        sums = [add_up(m, self._dot.tree, plane, name=name) for plane, name in zip(planes, names, strict=True)]
        m.d.comb += self.sum.eq(add_planes(m, self._dot.planes, sums))
        return m
