"""A multiplier and an offset per channel."""

from typing import Any

from amaranth import Module, Mux, Signal, Value
from amaranth.lib import data, wiring

from hwbnn.plan import AffineStage
from hwbnn.rtl.codes import decode, encode, payload
from hwbnn.rtl.constants import ConstantReader
from hwbnn.rtl.fifo import OutputFifo
from hwbnn.rtl.pipeline import delayed, flags
from hwbnn.rtl.tree import add_planes
from hwbnn.rtl.unit import StreamUnit

__all__ = ["AffineUnit"]


class AffineUnit(StreamUnit[AffineStage]):
    """Replace each number x of channel c by ``multipliers[c] · x + offsets[c]``.

    Beats carry the channels in order, over and over. Registers stand before the product, after it (or within it), and
    after the sum. Latency is ``stage.latency``, II one cycle per beat. No combinational path between ports but from
    storage to ``o.payload``.

    Members
    -------
    i : :py:`In(stream.Signature(payload(stage.i)))`
    o : :py:`Out(stream.Signature(payload(stage.o)))`
    load_constants : :py:`In(load_port(...))`
        Where they are loadable.
    """

    load_constants: Any  # a port, of those that are loadable only

    def elaborate(self, platform):
        m = Module()
        stage, lanes = self._stage, self._stage.i.lanes
        m.submodules.fifo = fifo = OutputFifo(payload(stage.o), depth=stage.fifo_depth)
        m.submodules.constants = reader = ConstantReader(stage.table)
        if stage.table.loadable:
            wiring.connect(m, wiring.flipped(self.load_constants), reader.load)

        issue = Signal()
        valid = flags(m, issue, stage.input_latency + stage.product_latency + 1, name="valid")
        m.d.comb += [
            self.i.ready.eq(fifo.room),
            issue.eq(self.i.valid & fifo.room),
            fifo.issue.eq(issue),
            reader.advance.eq(valid[stage.input_latency - stage.table.latency]),
        ]

        codes = data.View(payload(stage.i), delayed(m, self.i.payload.as_value(), stage.input_latency, name="x"))
        channel = data.StructLayout({"multiplier": stage.multiplier_span, "offset": stage.offset_span})
        rows = data.View(data.ArrayLayout(channel, lanes), reader.data)
        numbers = Signal(payload(stage.o), name="numbers", reset_less=True)
        for lane in range(lanes):
            product = self._product(m, rows[lane].multiplier, decode(codes[lane], stage.i.levels), f"product_{lane}")
            offset = rows[lane].offset
            if not stage.table.is_constant:
                offset = delayed(m, offset, stage.product_latency, name=f"offset_{lane}")
            m.d.sync += numbers[lane].eq(encode(product + offset, stage.o.levels))
        m.d.comb += [fifo.w_en.eq(valid[-1]), fifo.w_data.eq(numbers)]
        wiring.connect(m, wiring.flipped(self.o), fifo.o)
        return m

    def _product(self, m: Module, multiplier: Value, x: Value, name: str) -> Value:
        """Return their product, ``stage.product_latency`` cycles later."""
        stage = self._stage
        if stage.planes is not None:
            terms = [delayed(m, Mux(bit, multiplier, 0), 1, name=f"{name}_term_{n}")
                     for n, bit in enumerate(x[:len(stage.planes.factors)])]
            return add_planes(m, stage.planes, terms, name=name)
        low, high = stage.product_span
        product = Signal(range(low, high + 1), name=name, reset_less=True)
        m.d.sync += product.eq(multiplier * x)
        return product
