"""What a folding can be asked for, what is answered, and the file that carries it from one compile to the next."""

import json
import re

import pytest
from zoo import mlp, tiny

from hwbnn import fold, ir
from hwbnn.cost.resources import fit_of
from hwbnn.errors import UserError
from hwbnn.plan import Fold


def solved(net, **goal):
    return fold.solve(net, fold.Goal.of(**goal), clock_hz=10**6, technology="ecp5-25")


def test_a_folding_is_saved_and_read_again(tmp_path):
    folding = solved(tiny(), target_fps=50_000)
    record = fold.record(tiny(), folding)
    assert record["network"] == ir.digest(tiny()) and record["goal"] == "the cheapest that reaches 50,000 frames/s"
    assert set(record["reasons"]) == {"fc0", "fc1"}
    (tmp_path / "fold.json").write_text(json.dumps(record))
    assert fold.read(tiny(), tmp_path / "fold.json") == folding.folds
    message = (r"^Folding file .*fold\.json must be of the network other with these weights and this output, and it "
               r"is of another; to use it all the same, remove its entry network$")
    with pytest.raises(UserError, match=message):
        fold.read(mlp((8, 6, 3), name="other", classes=True, seed=1), tmp_path / "fold.json")
    del record["network"]
    (tmp_path / "fold.json").write_text(json.dumps(record))
    assert fold.read(mlp((8, 6, 3), classes=True, seed=1), tmp_path / "fold.json") == folding.folds


@pytest.mark.parametrize("goal, reason", [
    ({"target_fps": 50_000}, r"^cheapest of \d+ foldings that take at most 20 cycles$"),
    ({"max_latency": "60us"}, r"^of the cheapest folding whose frame takes at most 60 cycles$"),
    ({"fit": True}, r"^cheapest of 1 foldings that take at most .* cycles, the fewest that fit Lattice ECP5.*25F(;|$)"),
    ({"max_luts": 1500}, r"^cheapest of \d+ foldings .* cycles, the fewest that fit 1,500 look-up tables(;|$)"),
    ({"folds": {"fc0": (1, 8), "fc1": Fold(1, 6)}}, r"^given; at most 166,666 frames/s at 1 MHz$"),
])
def test_every_goal_is_met_with_a_reason(goal, reason):
    folding = solved(tiny(), **goal)
    assert folding.plan.folds == folding.folds and fit_of(folding.uses) == "yes"
    assert re.search(reason, folding.choices[0].reason), folding.choices[0].reason


def test_a_folding_that_is_too_large():
    net = mlp((32, 32, 4), inputs=ir.BIPOLAR)
    message = (r"^Network mlp with this folding must fit Lattice iCE40HX1K, and it takes at least [\d,]+ LC, [\d,]+ "
               r"more than the 1,280 there are; the fastest that fits makes [\d,]+ frames/s \(--fit: fc0=\d+x\d+ "
               r"fc1=\d+x\d+\)$")
    with pytest.raises(UserError, match=message):
        fold.solve(net, fold.Goal.of(folds={"fc0": (32, 32), "fc1": (4, 32)}), clock_hz=10**6,
                   technology="ice40-hx1k")


def test_a_chip_for_which_no_folding_is_small_enough():
    net = mlp((512, 512, 10))
    with pytest.raises(UserError, match=r"^Network mlp with this folding must fit .*; no folding fits$"):
        fold.solve(net, fold.Goal.of(folds={"fc0": (64, 64), "fc1": (10, 64)}), clock_hz=10**6,
                   technology="ice40-hx1k")


@pytest.mark.parametrize("goal, message", [
    ({}, "and none was given"),
    ({"fit": True, "target_fps": 9}, "not by --target-fps and --fit at once"),
    ({"max_luts": 9, "folds": {}, "max_latency": 3},
     "not by --max-luts and --max-latency and --fold at once"),
])
def test_one_goal_must_be_given(goal, message):
    with pytest.raises(UserError, match=r"^Folding must be asked for in one way, by --target-fps, --max-luts, "
                                        rf"--max-latency, --fit, --folds or --fold, {message}$"):
        fold.Goal.of(**goal)


@pytest.mark.parametrize("goal, message", [
    ({"max_luts": 0}, "Look-up tables must be a whole number of at least 1, not 0"),
    ({"max_luts": 2.5}, "Look-up tables must be a whole number of at least 1, not 2.5"),
    ({"max_latency": "soon"}, "Latency must be cycles such as 120 or a time such as 50us (s, ms, us, ns), not soon"),
    ({"max_latency": "1.5"}, "Latency must be cycles such as 120 or a time such as 50us (s, ms, us, ns), not 1.5"),
    ({"max_latency": 0}, "Latency must be cycles such as 120 or a time such as 50us (s, ms, us, ns), not 0"),
    ({"max_latency": "3 h"}, "Latency must be cycles such as 120 or a time such as 50us (s, ms, us, ns), not 3 h"),
    ({"target_fps": -1.0}, "Target rate must be a positive number of frames per second, not -1.0"),
])
def test_bad_goals(goal, message):
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        fold.Goal.of(**goal)


@pytest.mark.parametrize("text, cycles", [(7, 7), ("120", 120), ("50us", 1250), ("50 µs", 1250), ("0.001ms", 25),
                                          ("100ns", 2), ("1.5s", 37_500_000)])
def test_latencies(text, cycles):
    assert fold.latency_cycles(25_000_000, text) == cycles
