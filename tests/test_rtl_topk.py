# amaranth: UnusedElaboratable=no

"""The k greatest channels in order."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from amaranth import Cat, Const, Mux
from formal import Contract, prove
from hardware import GAPS, inventory
from hypothesis import given, settings
from hypothesis import strategies as st
from test_rtl_formal import number
from test_rtl_units import check

from hwbnn import golden, ir, plan, rtl
from hwbnn.rtl.topk import TopKUnit

LEVELS = st.sampled_from([ir.BIPOLAR, ir.TERNARY, ir.BINARY, ir.Levels.signed(5), ir.Levels(-9, 7, 4)])


def ranking(channels, k, levels, pixels=1):
    node = ir.TopK("n", ("x",), ("y",), k)
    shape = (channels,) if pixels == 1 else (pixels, 1, channels)
    net = ir.Network("n", ir.Input("x", shape, shape, levels), [node], [ir.Output("o", "y", (*shape[:-1], k))])
    return node, next(stage for stage in plan.lower(net, {}).stages if stage.name == "n")


@settings(max_examples=25)
@given(st.data(), LEVELS, st.integers(2, 8), st.integers(1, 3), GAPS, GAPS, st.integers(0, 999))
def test_numbers_cycles_and_registers(data, levels, channels, pixels, i_gaps, o_gaps, seed):
    node, stage = ranking(channels, data.draw(st.integers(2, channels)), levels, pixels)
    x = np.random.default_rng(seed).choice(levels.values(), (3, pixels, channels))
    y = golden.apply(node, x)
    check(stage, x, y)
    check(stage, x, y, i_gaps, o_gaps)
    flip_flops, memories = inventory(rtl.component(stage))
    assert flip_flops.total() == stage.flip_flops
    assert memories == sorted((memory.width, memory.depth) for memory in stage.memories)


@pytest.mark.parametrize("k", [2, 4])
def test_every_vector(k):
    node, stage = ranking(4, k, ir.TERNARY)
    x = np.array(list(product([-1, 0, 1], repeat=4)))
    check(stage, x, golden.apply(node, x))


class Ranked(Contract):
    """Each number names a channel that as many others beat as stand before it; of equals the lower is the better."""

    def __init__(self, channels, k, levels):
        _, self.stage = ranking(channels, k, levels)
        super().__init__(rtl.component(self.stage), i_beats=channels, o_beats=1, limit=16)

    def answer(self, inputs, beat):
        x, bits = [number(code, self.stage.i.levels) for code in inputs], self.stage.o.levels.bits
        ranks = [sum(((other > own) if m > n else (other >= own) for m, other in enumerate(x) if m != n),
                     start=Const(0)) for n, own in enumerate(x)]
        places = []
        for place in range(self.stage.k):
            chosen = Const(0, bits)
            for n, rank in enumerate(ranks):
                chosen = Mux(rank == place, Const(n, bits), chosen)
            places.append(chosen[:bits])
        return Cat(places)


@pytest.mark.formal
@pytest.mark.parametrize("channels, k", [(3, 2), (3, 3)])
def test_contract(channels, k, tmp_path):
    prove(Ranked(channels, k, ir.Levels.signed(2)), depth=12, directory=tmp_path)


@pytest.mark.parametrize("change, message", [
    ({"i": plan.Stream(ir.BIPOLAR, 2, 2)}, r"^n must take one lane, not 2$"),
    ({"o": plan.Stream(ir.Levels(0, 3), 1, 1)}, r"^n must give out 2\.\.4 lanes, not 1$"),
    ({"o": plan.Stream(ir.Levels(0, 3), 5, 1)}, r"^n must give out 2\.\.4 lanes, not 5$"),
])
def test_bad_parameters(change, message):
    with pytest.raises(ValueError, match=message):
        replace(ranking(4, 2, ir.BIPOLAR)[1], **change)


def test_it_wants_its_own_record():
    with pytest.raises(TypeError, match=r"^TopKUnit stage must be a TopKStage, not 8$"):
        TopKUnit(8)
