# amaranth: UnusedElaboratable=no

"""Shift layers: convolutions of which each kernel has one tap."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from amaranth import Cat, Const
from formal import Contract, prove
from hardware import run
from maps import chain, shifted
from test_rtl_formal import number
from test_rtl_maps import holds

from hwbnn import golden, ir, plan, rtl
from hwbnn.plan.matrices import Matrix


def layer(*, rows=4, kernel=(3, 3), channels=4, shape=(3, 3), padding=1, x=ir.BIPOLAR, shared=False, seed=0, stride=1,
          dilation=1, w=ir.BIPOLAR):
    rng = np.random.default_rng(seed)
    weights = shifted(rng, rng.choice(w.values(), (rows, *kernel, channels)), shared=shared)
    node = ir.Conv("conv", ("x",), ("y",), weights, ir.Levels(-4, 4), (stride, stride), (padding,) * 4,
                   (dilation, dilation))
    return chain([node], (*shape, channels), x)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("x", [ir.BIPOLAR, ir.Levels.signed(2)], ids=str)
@pytest.mark.parametrize("pe, simd", [(1, 1), (2, 1), (1, 4), (4, 2), (4, 4)])
def test_values_cycles_registers_and_memories(x, shared, pe, simd):
    holds(layer(x=x, shared=shared), {"conv": plan.Fold(pe, simd)}, (0, 2), (1, 0), frames=1)


@pytest.mark.parametrize("options", [{"stride": 2}, {"dilation": 2, "shape": (5, 5)}, {"padding": 0}, {"rows": 6},
                                     {"kernel": (1, 2), "padding": 0}, {"w": ir.TERNARY}, {"w": ir.Levels.signed(3)}])
def test_windows_of_every_kind(options):
    holds(layer(**options, seed=2), {"conv": plan.Fold(2, 2)}, frames=1)


def test_every_map_of_two_pixels():
    net = layer(rows=2, channels=1, kernel=(1, 2), padding=0, shape=(1, 3))
    q = np.array(list(product([-1, 1], repeat=3))).reshape(8, 1, 3, 1)
    p = plan.lower(net, {"conv": plan.Fold(1, 1)})
    assert np.array_equal(run(p, q)[0], golden.evaluate(net, q)["y"])


def test_it_takes_a_ninth_of_the_cycles():
    """Of the same layer with all taps, in as many lanes: where rows take turns more often than a window has taps."""
    net = layer(rows=16, padding=0, shape=(4, 4))
    dense = layer(rows=16, padding=0, shape=(4, 4))
    dense = chain([replace(dense.nodes[0], weights=np.ones((16, 3, 3, 4), int))], (4, 4, 4), ir.BIPOLAR)
    fast, slow = (plan.lower(one, {"conv": plan.Fold(1, 4)}) for one in (net, dense))
    assert slow.stage("conv").ii == 9 * fast.stage("conv").ii == 9 * 16 * 4
    assert (fast.cycles.interval, slow.cycles.interval) == (64, 576)


def test_the_memory_holds_a_tap_for_each_weight_or_one_for_all_rows():
    def width(**options):
        (memory,) = plan.lower(layer(**options), {"conv": plan.Fold(2, 2)}).stage("conv").weight_bank.memories
        return memory.width

    assert width() == 4 * (1 + 4) and width(shared=True) == 4 * 1 + 2 * 4
    assert width(w=ir.TERNARY) == 4 * (2 + 4)


def test_unfolded_taps_are_wires():
    stage = plan.lower(layer(), {"conv": plan.Fold(4, 4)}).stage("conv")
    assert not stage.has_weight_memory and stage.input_lanes == 36


@pytest.mark.parametrize("weights, taps", [
    ([[[1, 0], [0, -1]]], [[0, 1]]), ([[[0, 0], [0, 3]]], [[0, 1]]), ([[[1, 1], [0, -1]]], None),
    ([[[1, -1]]], None),
])
def test_what_is_a_shift_layer(weights, taps):
    """Kernels (rows, taps, channels): one weight or none in each, and several taps."""
    kernel = np.array(weights)[:, None]
    found = Matrix.of(ir.Conv("c", ("x",), ("y",), kernel, ir.Levels(-4, 4)))
    assert (found.taps is None) == (taps is None)
    if taps is not None:
        assert found.taps.tolist() == taps and found.columns == kernel.shape[3]
        rebuilt = np.zeros_like(kernel)
        for row, channel in np.ndindex(found.taps.shape):
            rebuilt[row, 0, found.taps[row, channel], channel] = found.weights[row, channel]
        assert np.array_equal(rebuilt, kernel)


@pytest.mark.parametrize("change", [{"tap_count": 2}, {"taps": np.zeros((4, 2), int)}])
def test_bad_taps(change):
    stage = plan.lower(layer(), {"conv": plan.Fold(2, 2)}).stage("conv")
    with pytest.raises(ValueError, match=r"^conv taps must be below \d and one for each weight, in a unit that is not "
                                         r"depthwise$"):
        replace(stage, **change)


class Chosen(Contract):
    """Every output is the sum of the inputs that its taps name, times their weights."""

    def __init__(self, network, fold):
        self.node = network.nodes[0]
        self.stage = plan.lower(network, {"conv": fold}).stage("conv")
        super().__init__(rtl.component(self.stage), i_beats=self.stage.sf, o_beats=self.stage.nf, limit=20)

    def answer(self, inputs, beat):
        stage, codes = self.stage, []
        for row in range(beat * stage.fold.pe, (beat + 1) * stage.fold.pe):
            y = Const(0)
            for (ky, kx, channel), w in np.ndenumerate(self.node.weights[row]):
                word, lane = divmod(channel, stage.fold.simd)
                place = (ky * self.node.kernel[1] + kx) * stage.fold.simd + lane
                y = y + int(w) * number(inputs[word].word_select(place, stage.i.levels.bits), stage.i.levels)
            codes.append(Cat(y, y[-1].replicate(stage.o.levels.bits))[:stage.o.levels.bits])
        return Cat(codes)


@pytest.mark.formal
@pytest.mark.parametrize("pe, simd", [(1, 1), (2, 2)])
def test_contract(pe, simd, tmp_path):
    network = layer(rows=2, channels=2, kernel=(1, 3), padding=0, shape=(1, 3), seed=3)
    prove(Chosen(network, plan.Fold(pe, simd)), depth=11, directory=tmp_path)
