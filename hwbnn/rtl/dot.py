"""One processing element: SIMD lanes and their sum."""

from amaranth import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwbnn import plan
from hwbnn.rtl.cells import cells
from hwbnn.rtl.count import count_gated, count_up
from hwbnn.rtl.lanes import mask_and_bit, terms, xor_lanes
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
    sum : :py:`Out(range(dot.sums[0], dot.sums[1] + 1))`
        The sum, without :py:`spare`.
    spare : :py:`Out(1)`
        To be added by whoever takes the sum; 0 unless ``dot.has_spare``.
    """

    x: data.View
    w: data.View
    sum: Signal
    spare: Signal

    def __init__(self, dot: plan.Dot):
        self._dot = dot
        low, high = dot.sums
        super().__init__({
            "x": In(data.ArrayLayout(dot.lane.x.bits, dot.simd)),
            "w": In(data.ArrayLayout(dot.lane.w.bits, dot.simd)),
            "sum": Out(range(low, high + 1)),
            "spare": Out(1),
        })

    @property
    def latency(self) -> int:
        """Cycles from operands to their sum."""
        return self._dot.latency

    def elaborate(self, platform):
        m = Module()
        dot, made_of = self._dot, cells(platform)
        codes = [(self.x[k], self.w[k]) for k in range(dot.simd)]
        match dot.count:
            case plan.Count() as count:
                bits, spare = count_up(m, made_of, count, codes)
            case plan.GatedCount() as count:
                bits, spare = count_gated(m, made_of, count, [
                    (*mask_and_bit(x, dot.lane.x), *mask_and_bit(w, dot.lane.w)) for x, w in codes])
            case _:
                planes = terms(m, dot.lane, [x for x, _ in codes], [w for _, w in codes])
                names = ["sum"] if len(planes) == 1 else [f"sum_{plane}" for plane in range(len(planes))]
                lanes = xor_lanes(dot.lane, codes)
                sums = [add_up(m, dot.tree, plane, lanes=lanes, made_of=made_of, name=name)
                        for plane, name in zip(planes, names, strict=True)]
                m.d.comb += self.sum.eq(add_planes(m, dot.planes, sums))
                return m
        m.d.comb += self.sum.eq(Cat(bits))
        if spare is not None:
            m.d.comb += self.spare.eq(spare)
        return m
