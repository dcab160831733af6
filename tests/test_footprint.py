"""What is reserved for the host link: every measured design lies in the interval, and it is told apart in estimates."""

import pytest
from zoo import tiny

from hwbnn import ir
from hwbnn.cost import Estimate, estimate
from hwbnn.cost.resources import of_stages, uses
from hwbnn.cost.technology import technology
from hwbnn.plan import Fold, Stream, lower
from hwbnn_boards import board
from hwbnn_boards.footprint import footprint

FOLDS = {"fc0": Fold(2, 4), "fc1": Fold(3, 2)}
BYTE = ir.Levels.unsigned(8)

# `python benchmarks/synthesis.py`, without the two lights: (beats, bytes per beat, bytes per
# beat of the result), cells packed, flip-flops, blocks
MEASURED = [
    ("icebreaker", 8, 4, 1, 914, 358, 2), ("icebreaker", 2, 4, 1, 887, 350, 2), ("icebreaker", 1, 98, 1, 1652, 1111, 2),
    ("icebreaker", 784, 1, 2, 940, 360, 5), ("icebreaker", 1024, 3, 4, 1099, 409, 14),
    ("ulx3s-85f", 8, 4, 1, 887, 361, 2), ("ulx3s-85f", 2, 4, 1, 1022, 335, 1), ("ulx3s-85f", 1, 98, 1, 902, 1114, 2),
    ("ulx3s-85f", 784, 1, 2, 961, 363, 2), ("ulx3s-85f", 1024, 3, 4, 1002, 408, 5),
]
LIGHTS = {"icebreaker": (58, 40), "ulx3s-85f": (100, 42)}  # logic cells or LUTs at most, flip-flops


@pytest.mark.parametrize("name, beats, width, sent, luts, flip_flops, blocks", MEASURED)
def test_what_was_measured_is_in_the_interval(name, beats, width, sent, luts, flip_flops, blocks):
    known = footprint(board(name), Stream(BYTE, width, beats), Stream(BYTE, sent, 1))
    more_luts, more_flip_flops = LIGHTS[name]
    assert known.luts.low <= luts + more_luts <= known.luts.high, known.luts
    assert known.flip_flops.contains(flip_flops + more_flip_flops), known.flip_flops
    assert known.blocks.contains(blocks)


def test_the_estimate_of_a_build_has_the_host_link_in_a_row_of_its_own():
    plan, target = lower(tiny(), FOLDS), board("icebreaker")
    beside = footprint(target, plan.input, plan.output)
    with_link, without = (estimate(plan, target.technology, target.clock_hz, beside=more) for more in (beside, None))
    assert with_link.resources == without.resources  # these are the accelerator's
    assert [row["stage"] for row in with_link.rows()][-2:] == ["host link", "total"]
    assert "host link" not in [row["stage"] for row in without.rows()]
    for more, alone in zip(sorted(with_link.uses, key=lambda use: use.resource),
                           sorted(without.uses, key=lambda use: use.resource), strict=True):
        assert more.used == alone.used and more.share >= alone.share
    assert with_link.uses[0].whole.high == without.resources.luts.high + beside.luts.high
    assert Estimate.from_json(with_link.to_json()) == with_link


def test_what_fits_alone_may_not_fit_beside_the_host_link():
    tech = technology("ice40-hx1k")
    plan = lower(tiny(), FOLDS)
    beside = footprint(board("icebreaker"), plan.input, plan.output)
    alone, both = (uses(of_stages(plan.stages, tech), tech, beside=more)[0] for more in (None, beside))
    assert both.whole.low == alone.used.low + beside.luts.low
    assert both.fits != "yes"


def test_the_encoders_block_is_the_one_that_is_built():
    from hwbnn_boards import footprint as module
    from hwbnn_boards.stuffing import _BLOCK
    assert module._BLOCK_BYTES == _BLOCK + 1
