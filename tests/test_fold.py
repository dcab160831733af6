"""Foldings: the cheapest that meets a rate against exhaustive search, the fastest that fits, and what users write."""

import json
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zoo import mlp, tiny

from hwbnn import fold, ir
from hwbnn.cost import technology
from hwbnn.cost.resources import fit_of, of_stages, stage_cost, uses
from hwbnn.errors import UserError
from hwbnn.plan import Fold, lower
from hwbnn.plan.lower import unsized


def matrices(net):
    return [node for node in net.nodes if isinstance(node, ir.MatMul)]


def every_folding(net):
    """All foldings of a small network."""
    layers = matrices(net)
    choices = [[Fold(pe, simd) for pe in fold.divisors(m.rows) for simd in fold.divisors(m.columns)] for m in layers]
    for folds in product(*choices):
        yield {m.name: f for m, f in zip(layers, folds, strict=True)}


def cost(net, folds, tech):
    return sum(stage_cost(stage, tech) for stage in unsized(net, folds))


def interval(net, folds):
    return max(stage.ii for stage in unsized(net, folds))


@pytest.mark.parametrize("value", [1, 2, 7, 12, 36, 64, 97])
def test_divisors(value):
    assert fold.divisors(value) == [n for n in range(1, value + 1) if value % n == 0]


@st.composite
def problems(draw):
    sizes = draw(st.lists(st.sampled_from([2, 3, 4, 6]), min_size=2, max_size=3))
    sizes[-1] = max(sizes[-1], 2)
    inputs = draw(st.sampled_from([ir.BIPOLAR, ir.TERNARY, ir.Levels.unsigned(4)]))
    net = mlp(sizes, inputs=inputs, classes=draw(st.booleans()), seed=draw(st.integers(0, 9)))
    return net, draw(st.integers(1, 40)), draw(st.sampled_from([None, "ecp5-25", "ice40-up5k"]))


@settings(max_examples=25)
@given(problems())
def test_the_cheapest_folding_is_the_cheapest_of_all(problem):
    net, cycles, name = problem
    tech = None if name is None else technology(name)
    able = [folds for folds in every_folding(net) if interval(net, folds) <= cycles]
    if not able:
        with pytest.raises(UserError, match=r"^Target rate must be at most "):
            fold.choose(net, clock_hz=1000 * cycles, target_fps=1000, technology=name)
        return
    chosen = fold.choose(net, clock_hz=1000 * cycles, target_fps=1000, technology=name)
    assert cost(net, chosen, tech) == pytest.approx(min(cost(net, folds, tech) for folds in able))
    assert lower(net, chosen).cycles.interval <= cycles


def test_a_higher_rate_never_costs_less():
    net = mlp((24, 16, 12, 4), classes=True)
    costs = [cost(net, fold.choose(net, clock_hz=10**6, target_fps=10**6 / cycles), None)
             for cycles in (4, 8, 16, 32, 64, 128, 400)]
    assert costs == sorted(costs, reverse=True)


def test_the_budget_is_exact():
    assert fold.budget(25_000_000, 100_000) == 250
    assert fold.budget(10, 3.0) == 3
    assert fold.budget(3, 3.0000001) == 0
    assert fold.budget(10**9, 0.1) == 9_999_999_999  # 0.1 as a double is a little more than a tenth


def test_an_unreachable_rate_states_the_best():
    net = mlp((8, 6, 4), inputs=ir.BIPOLAR)
    with pytest.raises(UserError, match=r"^Target rate must be at most 1,000,000 frames/s at 1 MHz, where every layer "
                                        r"is fully parallel, not 1,000,001$"):
        fold.choose(net, clock_hz=10**6, target_fps=1_000_001)
    assert fold.choose(net, clock_hz=10**6, target_fps=10**6) == {"fc0": Fold(6, 8), "fc1": Fold(4, 6)}


def test_the_rate_that_the_message_states_can_be_had():
    net = tiny()
    with pytest.raises(UserError) as raised:
        fold.choose(net, clock_hz=7_000_000, target_fps=1e12)
    rate = int(str(raised.value).split("at most ")[1].split()[0].replace(",", ""))
    folds = fold.choose(net, clock_hz=7_000_000, target_fps=rate)
    assert 7_000_000 / lower(net, folds).cycles.interval >= rate


@pytest.mark.parametrize("clock, rate, message", [
    (10**6, 0, r"^Target rate must be a positive number of frames per second, not 0$"),
    (10**6, float("nan"), r"^Target rate must be a positive number of frames per second, not nan$"),
    (10**6, "fast", r"^Target rate must be a positive number of frames per second, not 'fast'$"),
    (0, 10, r"^Clock must be a whole number of hertz, at least 1, not 0$"),
])
def test_bad_rates(clock, rate, message):
    with pytest.raises(UserError, match=message):
        fold.choose(tiny(), clock_hz=clock, target_fps=rate)


def test_a_network_without_matrices_is_refused():
    net = ir.Network("empty", ir.Input("x", (4,), (4,), ir.BIPOLAR), (ir.TopK("t", ("x",), ("y",)),),
                     (ir.Output("y", "y", (1,)),))
    with pytest.raises(UserError, match=r"^Network empty must have a matrix product to fold, and it has none$"):
        fold.choose(net, clock_hz=10**6, target_fps=10)


@pytest.mark.parametrize("name", ["ice40-up5k", "ecp5-25"])
def test_the_fastest_that_fits(name):
    net, tech = mlp((24, 16, 10), classes=True), technology(name)
    folds = fold.fit(net, technology=name)
    assert fit_of(uses(of_stages(unsized(net, folds), tech), tech)) == "yes"
    fastest = interval(net, folds)
    faster = [n for n in fold._Search(net, tech).intervals if n < fastest]
    if faster:  # the next faster one, at its cheapest, does not fit for certain
        folds = fold._Search(net, tech).cheapest(faster[-1])
        assert fit_of(uses(of_stages(unsized(net, folds), tech), tech)) != "yes"


def test_what_is_reserved_is_kept():
    net = mlp((24, 16, 10), classes=True)
    free, kept = (fold.fit(net, technology="ice40-up5k", reserve_luts=reserve) for reserve in (0, 3500))
    assert interval(net, kept) > interval(net, free)
    with pytest.raises(UserError, match=r"^Network mlp must fit Lattice iCE40UP5K, and its cheapest folding takes "
                                        r".* LC of 30$"):
        fold.fit(net, technology="ice40-up5k", reserve_luts=5250)


def test_explain():
    net = tiny()
    folds = {"fc0": Fold(2, 4), "fc1": Fold(3, 1)}
    first, second = fold.explain(net, folds, clock_hz=10**6, target_fps=10**6 / 12)
    assert (first.layer, first.rows, first.columns, first.fold, first.cycles) == ("fc0", 6, 8, Fold(2, 4), 6)
    able = sum(48 // (pe * simd) <= 12 for pe in (1, 2, 3, 6) for simd in (1, 2, 4, 8))
    assert first.reason == f"cheapest of {able} foldings that take at most 12 cycles"
    assert second.cycles == 6
    given, _ = fold.explain(net, folds, clock_hz=10**6)
    assert given.reason == "given; at most 166,666 frames/s at 1 MHz"


def test_parse():
    record = {"fc1": {"pe": 3, "simd": 2}, "fc0": {"pe": 6, "simd": 8}}
    assert fold.parse(tiny(), record) == {"fc0": Fold(6, 8), "fc1": Fold(3, 2)}


@pytest.mark.parametrize("record, message", [
    ([], r'^Folding must be an object such as \{"fc0": \{"pe": 1, "simd": 1\}\}, not list$'),
    ({"fc2": {}}, r"^Folding must name layers among fc0, fc1, not fc2; did you mean fc1\?$"),
    ({"zzz": {}}, r"^Folding must name layers among fc0, fc1, not zzz$"),
    ({"fc0": {"pe": 1, "simd": 1}}, r"^Folding must be given for every layer, and fc1 has none$"),
    ({"fc0": {"pe": 1}, "fc1": {}}, r"^Folding of fc0 must have exactly pe and simd, not \{'pe': 1\}$"),
    ({"fc0": {"pe": 4, "simd": 1}, "fc1": {"pe": 1, "simd": 1}},
     r"^Folding of fc0: pe must divide its 6 rows \(1, 2, 3, 6\), not 4$"),
    ({"fc0": {"pe": 1, "simd": 1}, "fc1": {"pe": 1, "simd": 0}},
     r"^Folding of fc1: simd must divide its 6 columns \(1, 2, 3, 6\), not 0$"),
    ({"fc0": {"pe": 1, "simd": 1}, "fc1": {"pe": True, "simd": 1}},
     r"^Folding of fc1: pe must divide its 3 rows \(1, 3\), not True$"),
])
def test_bad_foldings(record, message):
    with pytest.raises(UserError, match=message):
        fold.parse(tiny(), record)


def test_read(tmp_path):
    folds = {"fc0": {"pe": 6, "simd": 8}, "fc1": {"pe": 3, "simd": 2}}
    for name, content in (("fold.json", folds), ("build.json", {"format": 1, "folds": folds})):
        (tmp_path / name).write_text(json.dumps(content))
        assert fold.read(tiny(), tmp_path / name) == {"fc0": Fold(6, 8), "fc1": Fold(3, 2)}
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(UserError, match=r"^Folding file .*bad\.json must be JSON, and it is not$"):
        fold.read(tiny(), tmp_path / "bad.json")
    with pytest.raises(UserError, match=r"^Folding file .*none\.json must be readable: No such file or directory$"):
        fold.read(tiny(), tmp_path / "none.json")
