# amaranth: UnusedElaboratable=no

"""Contracts of forks, branch FIFOs, sums, joined and chosen channels, for all inputs and stalls of a bounded run."""

import pytest
from amaranth import Cat, Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from formal import Contract, prove, reach

from hwbnn import ir, plan, rtl
from hwbnn.rtl.codes import payload

pytestmark = pytest.mark.formal

BEAT = plan.Stream(ir.Levels.unsigned(2), 1, 2)
NAMES = {"nodes": ()}


class Diamond(wiring.Component):
    """A fork whose two readers, one of them behind another FIFO than the other, meet again in ``stage``."""

    i: stream.Interface
    o: stream.Interface

    def __init__(self, stage, styles=("distributed", "block")):
        self.stage, self.styles = stage, styles
        super().__init__({"i": In(stream.Signature(payload(BEAT))), "o": Out(stream.Signature(payload(stage.o)))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.meet = meet = rtl.component(self.stage)
        m.submodules.fork = fork = rtl.component(plan.ForkStage(name="fork", i=BEAT, o=BEAT, count=2, **NAMES))
        wiring.connect(m, wiring.flipped(self.i), fork.i)
        for n, style in enumerate(self.styles):
            fifo = rtl.component(plan.FifoStage(name=f"fifo_{n}", i=BEAT, o=BEAT, style=style,
                                                fifo_depth=2 + (style == "block"), **NAMES))
            m.submodules[f"fifo_{n}"] = fifo
            wiring.connect(m, getattr(fork, f"o_{n}"), fifo.i)
            wiring.connect(m, fifo.o, getattr(meet, f"i_{n}"))
        wiring.connect(m, wiring.flipped(self.o), meet.o)
        return m


class Doubled(Contract):
    """What goes through two branches and is added up comes out twice as great."""

    def __init__(self):
        stage = plan.AddStage(name="sum", i=BEAT, others=(BEAT,), o=plan.Stream(ir.Levels.unsigned(3), 1, 2), **NAMES)
        super().__init__(Diamond(stage), i_beats=2, o_beats=2, limit=12)

    def answer(self, inputs, beat):
        return (inputs[beat] << 1)[:3]

    def needs(self, beat):
        return beat + 1


class Twice(Contract):
    """What goes through two branches and is joined comes out once after the other, pixel by pixel."""

    def __init__(self, *, whole):
        o = plan.Stream(BEAT.levels, 2, 2) if whole else plan.Stream(BEAT.levels, 1, 4)
        stage = plan.ConcatStage(name="join", i=BEAT, others=(BEAT,), o=o, channels=(1, 1), **NAMES)
        self.whole = whole
        super().__init__(Diamond(stage), i_beats=2, o_beats=o.beats, limit=12)

    def answer(self, inputs, beat):
        return Cat(inputs[beat], inputs[beat]) if self.whole else inputs[beat // 2]

    def needs(self, beat):
        return beat + 1 if self.whole else beat // 2 + 1


class Same(Contract):
    """A FIFO gives out what it took."""

    def __init__(self, style, depth):
        stage = plan.FifoStage(name="fifo", i=BEAT, o=BEAT, style=style, fifo_depth=depth, **NAMES)
        super().__init__(rtl.component(stage), i_beats=2, o_beats=2, limit=12)

    def answer(self, inputs, beat):
        return inputs[beat]

    def needs(self, beat):
        return beat + 1


class Middle(Contract):
    """The second of three channels."""

    def __init__(self):
        stage = plan.SliceStage(name="part", i=plan.Stream(BEAT.levels, 1, 3), o=plan.Stream(BEAT.levels, 1, 1),
                                channels=3, start=1, stop=2, **NAMES)
        super().__init__(rtl.component(stage), i_beats=3, o_beats=1, limit=12)

    def answer(self, inputs, beat):
        return inputs[1]

    def needs(self, beat):
        return 2


@pytest.mark.parametrize("make, depth", [
    (Doubled, 8), (lambda: Twice(whole=True), 8), (lambda: Twice(whole=False), 8), (Middle, 9),
    (lambda: Same("distributed", 1), 8), (lambda: Same("distributed", 3), 7), (lambda: Same("block", 3), 8),
], ids=["sum", "whole-pixels", "in-turns", "slice", "one-beat", "distributed", "block"])
def test_contract(make, depth, tmp_path):
    prove(make(), depth=depth, directory=tmp_path)


def test_two_frames_pass_a_diamond(tmp_path):
    reach(Doubled(), depth=12, directory=tmp_path)
