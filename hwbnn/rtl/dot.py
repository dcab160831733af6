"""One processing element: SIMD lanes and their sum."""

from amaranth import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwbnn.plan import Lane, Tree
from hwbnn.rtl.lanes import term
from hwbnn.rtl.tree import add_up

__all__ = ["DotProduct"]


class DotProduct(wiring.Component):
    """Add the terms of one beat, every cycle. Runs free; latency :attr:`latency`, II 1.

    Parameters
    ----------
    lane : :class:`Lane`
        What a term is.
    simd : :class:`int`
        Number of lanes.

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

    def __init__(self, lane: Lane, simd: int):
        self._lane = lane
        self._tree = Tree(simd, lane.low, lane.high)
        super().__init__({
            "x": In(data.ArrayLayout(lane.x.bits, simd)),
            "w": In(data.ArrayLayout(lane.w.bits, simd)),
            "sum": Out(range(simd * lane.low, simd * lane.high + 1)),
        })

    @property
    def latency(self) -> int:
        """Cycles from operands to their sum."""
        return self._lane.latency + self._tree.latency

    def elaborate(self, platform):
        m = Module()
        terms = [term(m, self._lane, self.x[k], self.w[k], name=f"product_{k}")
                 for k in range(self._tree.count)]
        m.d.comb += self.sum.eq(add_up(m, self._tree, terms))
        return m
