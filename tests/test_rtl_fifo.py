# amaranth: UnusedElaboratable=no

from itertools import cycle

import pytest
from amaranth import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from hardware import GAPS, inventory
from hypothesis import given
from hypothesis import strategies as st
from streams import transfer

from hwbnn import ir, plan
from hwbnn.rtl.fifo import OutputFifo


class Delay(wiring.Component):
    """A pipeline of ``cycles`` registers in front of the FIFO, using credits as pipelines do."""

    def __init__(self, cycles, depth):
        self.cycles, self.depth = cycles, depth
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = fifo = OutputFifo(8, depth=self.depth)
        valid, value = self.i.valid & fifo.room, self.i.payload
        m.d.comb += [fifo.issue.eq(valid), self.i.ready.eq(fifo.room)]
        for n in range(self.cycles):
            next_valid, next_value = Signal(name=f"valid_{n}"), Signal(8, name=f"value_{n}")
            m.d.sync += [next_valid.eq(valid), next_value.eq(value)]
            valid, value = next_valid, next_value
        m.d.comb += [fifo.w_en.eq(valid), fifo.w_data.eq(value)]
        wiring.connect(m, wiring.flipped(self.o), fifo.o)
        return m


@given(st.integers(0, 6), st.integers(1, 9), GAPS, GAPS)
def test_nothing_is_lost_or_reordered(cycles, depth, i_gaps, o_gaps):
    words = list(range(1, 40))
    _, out = transfer(Delay(cycles, depth), words, len(words), i_gaps=cycle(i_gaps), o_gaps=cycle(o_gaps), patience=9)
    assert [payload for _, payload in out] == words


@pytest.mark.parametrize("cycles", range(5))
def test_one_word_per_cycle_at_the_least_depth_and_not_below(cycles):
    for depth in (cycles + 1, cycles + 2):  # an output is under way for cycles + 1 cycles
        _, out = transfer(Delay(cycles, depth), range(30), 30)
        assert out[0][0] == cycles + 1
        assert (out[-1][0] - out[0][0] == 29) == (depth == cycles + 2)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 7, 16])
def test_flip_flops_and_storage(depth):
    o = plan.Stream(ir.Levels.unsigned(8), 1, 2)
    stage = plan.JoinStage(name="j", nodes=(), i=plan.Stream(ir.Levels.unsigned(4), 1, 2),
                           o=plan.Stream(ir.Levels.unsigned(4), 2, 1), fifo_depth=depth)
    assert stage.fifo.width == o.bits
    flip_flops, memories = inventory(OutputFifo(8, depth=depth))
    assert flip_flops.total() == stage.fifo_flip_flops
    assert memories == ([(8, depth)] if depth > 1 else [])  # a single entry is a register
    assert stage.memories == ((stage.fifo,) if depth > 1 else ())


@pytest.mark.parametrize("depth, error, message", [
    ("4", TypeError, r"^OutputFifo depth must be an integer, not '4'$"),
    (0, ValueError, r"^OutputFifo depth must be at least 1, not 0$"),
])
def test_bad_depth(depth, error, message):
    with pytest.raises(error, match=message):
        OutputFifo(8, depth=depth)
