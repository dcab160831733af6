"""One stream for several readers."""

from amaranth import Cat, Module, Signal

from hwbnn.plan import ForkStage
from hwbnn.rtl.unit import StreamUnit

__all__ = ["Fork"]


class Fork(StreamUnit[ForkStage]):
    """Offer each beat to every reader; each takes its copy when it likes, and waits for the others with the next.

    Latency is 0, II one cycle per beat. Combinational paths lead from :py:`i` to each output and from each
    output's ready to ``i.ready``, never from one output to another.

    Members
    -------
    i : :py:`In(stream.Signature(payload(stage.i)))`
    o_0, o_1, ... : :py:`Out(stream.Signature(payload(stage.i)))`
        As many as ``stage.count``.
    """

    def elaborate(self, platform):
        m = Module()
        count = self._stage.count
        done, has = Signal(count), Signal(count)  # who took this beat earlier, and who has it after this cycle
        outputs = [getattr(self, name) for name in self._stage.outputs]
        for n, o in enumerate(outputs):
            m.d.comb += [
                o.payload.eq(self.i.payload),
                o.valid.eq(self.i.valid & ~done[n]),
                has[n].eq(done[n] | o.ready),
            ]
        m.d.comb += self.i.ready.eq(has.all())
        with m.If(self.i.valid):
            m.d.sync += done.eq(Cat(bit & ~has.all() for bit in has))
        return m
