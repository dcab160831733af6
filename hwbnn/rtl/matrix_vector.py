"""The folded matrix-vector unit."""

from collections.abc import Sequence
from typing import Any

from amaranth import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, memory, wiring

from hwbnn.plan import FusedThresholds, MatrixVectorStage
from hwbnn.rtl.bank import BankReader
from hwbnn.rtl.cells import Cells, cells
from hwbnn.rtl.codes import encode, extended, payload
from hwbnn.rtl.constants import ConstantReader
from hwbnn.rtl.control import BeatControl
from hwbnn.rtl.dot import DotProduct
from hwbnn.rtl.fifo import OutputFifo
from hwbnn.rtl.pipeline import delayed, flags
from hwbnn.rtl.signs import SignThresholds
from hwbnn.rtl.thresholds import threshold_lanes
from hwbnn.rtl.unit import StreamUnit

__all__ = ["MatrixVectorUnit"]


class MatrixVectorUnit(StreamUnit[MatrixVectorStage]):
    """Multiply each vector of a stream by a constant matrix, PE rows and SIMD columns per cycle.

    Where the matrix is grouped, vectors take turns with its parts; where it is depthwise, PEs have inputs of their own.

    A vector takes SF · NF cycles, without a cycle between vectors: in the first of NF passes its SF beats are
    taken from :py:`i` and stored, in the others read back. The datapath has no clock enable; a beat is issued
    only while the output FIFO has credit for the output it belongs to. Latency is ``stage.latency``, II
    ``stage.ii`` cycles per frame. No combinational path between ports but from storage to ``o.payload``.

    Members
    -------
    i : :py:`In(stream.Signature(payload(stage.i)))`
        ``stage.input_lanes`` activation codes.
    o : :py:`Out(stream.Signature(payload(stage.o)))`
        PE codes of output levels or of accumulators.
    load_weights, load_thresholds, load_offsets : :py:`In(load_port(...))`
        Those of ``stage.banks``.
    """

    load_weights: Any  # a port, of those that are loadable only
    load_thresholds: Any  # a port, of those that are loadable only
    load_offsets: Any  # a port, of those that are loadable only

    def elaborate(self, platform):
        m = Module()
        stage = self._stage
        sf, pe = stage.sf, stage.fold.pe
        m.submodules.fifo = fifo = OutputFifo(payload(stage.o), depth=stage.fifo_depth)

        m.submodules.control = control = BeatControl(stage.control)
        m.d.comb += [
            control.valid.eq(self.i.valid),
            control.room.eq(fifo.room),
            control.live.eq(_differs_from_zero(self.i.payload)),
            self.i.ready.eq(control.ready),
            fifo.issue.eq(control.issue & control.last),
        ]
        issue, first, last = control.issue, control.first, control.last

        # Operands, both in registers stage.front cycles after issue.
        x, address = self._inputs(m, control)
        w = self._weights(m, address)

        # Terms and sums run free; flags run beside them. With one beat per row every valid beat ends a row.
        complete = stage.sum_latency + 1 + stage.keeps_sums
        ends = flags(m, issue & last, complete + stage.tail_latency, name="ends")
        valid, starts = ends[stage.sum_latency], ends
        if sf > 1:
            valid = flags(m, issue, stage.sum_latency, name="valid")[-1]
            starts = flags(m, issue & first, stage.sum_latency, name="starts")
        bits = stage.lane.x.bits
        weights = data.View(data.ArrayLayout(stage.fold.simd * stage.lane.w.bits, pe), w[:stage.weight_bits])
        dots = []
        for p in range(pe):
            m.submodules[f"pe_{p}"] = dot = DotProduct(stage.dot)
            own = Cat(x.word_select(k * pe + p, bits) for k in range(stage.fold.simd)) if stage.apart else x
            if stage.taps is not None:
                own = self._chosen(x, w[stage.weight_bits:], 0 if stage.taps_are_shared else p)
            m.d.comb += [dot.x.as_value().eq(own), dot.w.as_value().eq(weights[p])]
            dots.append(dot)
        totals: Any = Signal(data.ArrayLayout(stage.total_bits, pe), name="totals", reset_less=True)
        start = self._start(m, control, starts)
        after = self._added(m, cells(platform), dots, totals, start, starts[stage.sum_latency])
        with m.If(valid):
            m.d.sync += totals.eq(Cat(after))
        if stage.keeps_sums:
            partial, totals = totals, Signal(totals.shape(), name="complete", reset_less=True)
            with m.If(ends[complete - 1]):
                m.d.sync += totals.eq(partial)
        m.d.comb += [fifo.w_en.eq(ends[-1]), fifo.w_data.eq(self._tail(m, totals, ends, complete))]
        wiring.connect(m, wiring.flipped(self.o), fifo.o)
        return m

    def _start(self, m: Module, control: BeatControl, starts: list[Value]) -> list[Value]:
        """Return what each accumulator starts from, in the cycle of the last of ``starts``."""
        stage = self._stage
        thresholds, idle = stage.thresholds, stage.lane.idle_activation
        if isinstance(thresholds, FusedThresholds):
            m.submodules.thresholds = tail = SignThresholds(thresholds, stage.total_bits)
            if stage.loadable:
                wiring.connect(m, wiring.flipped(self.load_thresholds), tail.load)
            m.d.comb += [tail.advance.eq(starts[stage.sum_latency - thresholds.table.latency]),
                         tail.first.eq(starts[stage.sum_latency])]
            return [start.as_signed() for start in tail.starts]
        start: Value = Const(0)
        if stage.skips == "activations" and idle:  # what the beats that were left out would have added
            start = delayed(m, control.left_out, stage.sum_latency, name="left_out") * (idle * stage.fold.simd)
        return [start] * stage.fold.pe

    def _added(self, m: Module, made_of: Cells, dots: Sequence[DotProduct], totals: data.View, start: Sequence[Value],
               first: Value) -> list[Value]:
        """Return what the accumulators hold after the beat whose sums are given out."""
        stage = self._stage
        spares = [dot.spare if stage.dot.has_spare else None for dot in dots]
        if stage.sf > 1:
            width = stage.total_bits
            return [Cat(bits) for bits in made_of.accumulate(m, [
                (list(totals[p]), extended(dot.sum, width), extended(start[p], width), spare)
                for p, (dot, spare) in enumerate(zip(dots, spares, strict=True))], first)]
        if isinstance(stage.thresholds, FusedThresholds):
            width = stage.thresholds.total_bits
            return [Cat(bits[width - stage.total_bits:width]) for bits in made_of.add(m, [
                (extended(start[p], width), extended(dot.sum, width), spare)
                for p, (dot, spare) in enumerate(zip(dots, spares, strict=True))])]
        return [Cat(extended(dot.sum, stage.total_bits)) for dot in dots]

    def _chosen(self, x: Value, taps: Value, p: int) -> Value:
        """Return the inputs that PE number ``p`` of a shift layer chooses among those of all taps."""
        stage = self._stage
        simd, bits = stage.fold.simd, stage.lane.x.bits
        lanes = []
        for k in range(simd):
            inputs = Array(x.word_select(tap * simd + k, bits) for tap in range(stage.tap_count))
            lanes.append(inputs[taps.word_select(p * simd + k, stage.tap_bits)])
        return Cat(lanes)

    def _inputs(self, m: Module, control: BeatControl) -> tuple[Value, Value]:
        """Return the beat's inputs, which the buffer takes in the first pass; and an address.

        The address is that of the weights, ``stage.weight_latency`` cycles before they are used. Where activations
        decide, the number of the beat is stored beside its inputs.
        """
        stage = self._stage
        word, first_pass = self.i.payload.as_value(), control.first_pass
        bits, tagged = len(word), stage.tag_bits > 0
        early = stage.input_latency if tagged or stage.keeps_address else stage.front - stage.weight_latency
        address = delayed(m, control.address, early, name="address") if stage.has_weight_memory else control.address
        if tagged:
            word = Cat(word, control.beat)
        x = Signal(len(word), name="x", reset_less=True)
        if not stage.has_input_memory:
            if stage.period == 1:
                m.d.sync += x.eq(self._still(word, x))
            else:  # a single beat stays where it is for the other passes
                with m.If(control.store):
                    m.d.sync += x.eq(self._still(word, x))
        else:
            attrs: dict[str, Any] = {"ram_style": stage.input_style}
            if stage.reads_all:  # what is written meanwhile is never what is read
                attrs["no_rw_check"] = 1
            m.submodules.inputs = inputs = memory.Memory(shape=len(word), depth=stage.sf, init=[], attrs=attrs)
            write = inputs.write_port()
            block, extra = stage.input_style == "block", stage.pace.output
            read = inputs.read_port(domain="sync" if block else "comb")
            place = delayed(m, control.read, int(stage.reads_all), name="read")
            m.d.comb += [write.addr.eq(control.write), write.data.eq(word), write.en.eq(control.store),
                         read.addr.eq(place)]
            stored = delayed(m, read.data, extra if block else 0, name="stored")
            if not stage.reads_all:
                if block:
                    word, first_pass = (delayed(m, value, 1 + extra, name=name) for value, name in (
                        (word, "bypass"), (first_pass, "first")))
                stored = Mux(first_pass, word, stored)
            m.d.sync += x.eq(self._still(stored, x))
        late = stage.front - stage.weight_latency - early
        if tagged:
            address = delayed(m, (address + x[bits:])[:len(address)], late, name="word")
        if stage.keeps_address:
            wanted, address = address, Signal(range(stage.weight_depth), name="word", reset_less=True)
            with m.If(Cat(mask for mask, _ in self._parts(x)).any()):
                m.d.sync += address.eq(wanted)
            address = delayed(m, address, late - 1, name="word")
        return delayed(m, x[:bits], stage.front - stage.input_latency, name="x"), address

    def _parts(self, word: Value) -> list[tuple[Value, Value]]:
        """Of each activation of a beat what is not 0 where it is not zero, and the sign that does not count then."""
        bits = self._stage.lane.x.bits
        whole = 1 if self._stage.lane.x.is_ternary else bits
        return [(word[start:start + whole], word[start + whole:start + bits]) for start in range(0, len(word), bits)]

    def _still(self, word: Value, held: Value) -> Value:
        """Return the activations of ``word``, where the unit is isolated with the signs of ``held`` in zeros."""
        if not self._stage.isolated or not self._stage.lane.x.is_ternary:
            return word
        return Cat(Cat(mask, Mux(mask, sign, old)) for (mask, sign), (_, old) in
                   zip(self._parts(word), self._parts(held), strict=True))

    def _weights(self, m: Module, address: Value) -> Value:
        """Return the weights of PE rows and SIMD columns at ``address``."""
        stage = self._stage
        m.submodules.weights = reader = BankReader(stage.weight_bank, stage.weight_words)
        if stage.loadable:
            wiring.connect(m, wiring.flipped(self.load_weights), reader.load)
        if stage.has_weight_memory:
            m.d.comb += reader.address.eq(address)
        return reader.data

    def _tail(self, m: Module, totals: data.View, ends: list[Value], complete: int) -> data.View:
        """Return what leaves the unit, ``stage.tail_latency`` cycles after :py:`totals`, ``complete`` after issue."""
        stage = self._stage
        if isinstance(stage.thresholds, FusedThresholds):
            tail: Any = m.submodules.thresholds
            m.d.comb += tail.totals.eq(totals.as_value())
            return tail.codes
        sums = data.View(data.ArrayLayout(range(stage.sums[0], stage.sums[1] + 1), stage.fold.pe), totals.as_value())
        if stage.thresholds is not None:
            m.submodules.thresholds = tail = threshold_lanes(stage.thresholds)
            if stage.loadable:
                wiring.connect(m, wiring.flipped(self.load_thresholds), tail.load)
            m.d.comb += [tail.advance.eq(ends[complete - stage.lead]),
                         tail.numbers.eq(sums)]
            return tail.codes
        table = stage.offset_table
        assert table is not None  # one or the other
        m.submodules.offsets = reader = ConstantReader(table)
        if table.loadable:
            wiring.connect(m, wiring.flipped(self.load_offsets), reader.load)
        m.d.comb += reader.advance.eq(ends[complete - stage.lead])
        offsets = data.View(data.ArrayLayout(stage.offset_span, stage.fold.pe), reader.data)
        numbers = Signal(payload(stage.o), name="numbers", reset_less=True)
        for p in range(stage.fold.pe):
            # scale is 1, 2, -1 or -2: written as a multiplication it would take a DSP block on families that have them
            scale = stage.lane.scale
            total = sums[p] << abs(scale) - 1
            value = offsets[p] + total if scale > 0 else offsets[p] - total
            m.d.sync += numbers[p].eq(encode(value, stage.o.levels))
        return numbers


def _differs_from_zero(payload: data.View) -> Value:
    """Whether any code of a beat stands for another number than 0."""
    return payload.as_value().any()
