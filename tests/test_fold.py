"""Foldings: the cheapest that meets a rate against exhaustive search, the fastest that fits, and what users write."""

import json
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zoo import mlp, tiny

from hwbnn import fold, ir
from hwbnn.cost import technology
from hwbnn.cost.quantity import Quantity
from hwbnn.cost.resources import fit_of, of_stages, stage_cost, uses
from hwbnn.errors import UserError
from hwbnn.fold.rows import BLOCKS, LUTS, no_limits
from hwbnn.fold.search import Search
from hwbnn.plan import Fold, UnitOptions, lower
from hwbnn.plan.lower import unsized
from hwbnn_boards import board
from hwbnn_boards.footprint import footprint


def matrices(net):
    return [node for node in net.nodes if isinstance(node, ir.MatMul)]


def every_folding(net):
    """All foldings of a small network."""
    layers = matrices(net)
    choices = [[Fold(m.rows, m.columns, UnitOptions("parallel")),
                *(Fold(pe, simd) for pe in fold.divisors(m.rows) for simd in fold.divisors(m.columns))] for m in layers]
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
    found = fold.choose(net, clock_hz=10**6, target_fps=10**6)
    assert {name: (one.pe, one.simd) for name, one in found.items()} == {"fc0": (6, 8), "fc1": (4, 6)}


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


def resources(luts: float = 0, blocks: int = 0):
    """Something beside the accelerator that takes that much."""
    none = of_stages([], technology("ice40-up5k"))
    return replace(none, luts=Quantity.exact(luts, "LC"), blocks=Quantity.exact(blocks, "SB_RAM40_4K"))


def fits(net, folds, tech, beside=None, max_luts=None):
    used = of_stages(lower(net, folds).stages, tech)
    return fit_of(uses(used, tech, beside=beside)) == "yes" and (max_luts is None or used.luts.high <= max_luts)


@settings(max_examples=15)
@given(problems(), st.sampled_from([("ice40-hx1k", 1280), ("ecp5-25", 24288)]), st.data())
def test_the_fastest_is_the_fastest_of_all(problem, chip, data):
    """Within a number of look-up tables, and beside something else."""
    net, tech = problem[0], technology(chip[0])
    least, most = (sum(row.high for row in [of_stages(lower(net, folds).stages, tech).luts])
                   for folds in (min(every_folding(net), key=lambda f: cost(net, f, tech)),
                                 {m.name: Fold(m.rows, m.columns) for m in matrices(net)}))
    limit = data.draw(st.integers(int(least), max(int(most), int(least))))
    able = [folds for folds in every_folding(net) if fits(net, folds, tech, max_luts=limit)]
    if not able:
        with pytest.raises(UserError, match=r"^Network mlp must fit "):
            fold.fit(net, technology=chip[0], max_luts=limit)
        return
    chosen = fold.fit(net, technology=chip[0], max_luts=limit)
    assert fits(net, chosen, tech, max_luts=limit)
    fastest = min(interval(net, folds) for folds in able)
    assert interval(net, chosen) == fastest
    assert cost(net, chosen, tech) == pytest.approx(
        min(cost(net, folds, tech) for folds in able if interval(net, folds) == fastest))


@settings(max_examples=20)
@given(problems(), st.data())
def test_the_cheapest_in_time_is_the_cheapest_of_all(problem, data):
    net, _, name = problem
    tech = None if name is None else technology(name)
    taken = {tuple(folds.items()): lower(net, folds).cycles.first + 1 for folds in every_folding(net)}
    allowed = data.draw(st.integers(min(taken.values()) - 1, max(taken.values())))
    able = [dict(folds) for folds, cycles in taken.items() if cycles <= allowed]
    if not able:
        with pytest.raises(UserError, match=rf"^Latency must be at least the {allowed + 1} cycles \(.* µs at 1 MHz\) "
                                            rf"of the quickest folding, not {allowed}$"):
            fold.within_latency(net, clock_hz=10**6, max_latency=allowed, technology=name)
        return
    chosen = fold.within_latency(net, clock_hz=10**6, max_latency=allowed, technology=name)
    assert taken[tuple(chosen.items())] <= allowed
    assert cost(net, chosen, tech) == pytest.approx(min(cost(net, folds, tech) for folds in able))


def test_what_is_reserved_is_kept():
    net, tech = mlp((24, 16, 10), classes=True), technology("ice40-up5k")
    free = fold.fit(net, technology="ice40-up5k", beside=lambda image, result: resources())
    kept = fold.fit(net, technology="ice40-up5k", beside=lambda image, result: resources(luts=3000))
    assert interval(net, kept) > interval(net, free)
    assert fits(net, kept, tech, resources(luts=3000)) and not fits(net, free, tech, resources(luts=3000))


@pytest.mark.parametrize("beside, told", [
    ({"luts": 5250}, r"has 5,280 LC, and its smallest folding may take 5,\d+ with the host link, \d+ too many"),
    ({"blocks": 31}, r"has 30 SB_RAM40_4K, and its smallest folding may take 31 with the host link, 1 too many"),
])
def test_a_chip_that_is_too_small(beside, told):
    with pytest.raises(UserError, match=rf"^Network mlp must fit Lattice iCE40UP5K, which {told}$"):
        fold.fit(mlp((24, 16, 10)), technology="ice40-up5k", beside=lambda image, result: resources(**beside))


def test_too_few_look_up_tables():
    with pytest.raises(UserError, match=r"^Network tiny must fit the limit of 20 LC, and its smallest folding may take "
                                        r"[\d,]+, [\d,]+ too many$"):
        fold.fit(tiny(), technology="ice40-up5k", max_luts=20)


def test_resources_that_are_short_together():
    """Few look-up tables and few memories: each alone can be met, by different foldings."""
    net, tech = mlp((24, 16, 10), classes=True), technology("ice40-up5k")
    search = Search(net, tech)
    least = {column: search.best(column=column)[1] for column in (LUTS, BLOCKS)}
    assert least[LUTS][LUTS] <= least[BLOCKS][LUTS] and least[BLOCKS][BLOCKS] <= least[LUTS][BLOCKS]
    limits = no_limits()
    limits[LUTS], limits[BLOCKS] = least[LUTS][LUTS] + 40, least[BLOCKS][BLOCKS]
    found = search.best(limits=limits)
    able = [folds for folds in every_folding(net) if np.all(search.used(unsized(net, folds)) <= limits)]
    assert (found is None) == (not able)
    if found is not None:
        assert found[1][0] == pytest.approx(min(cost(net, folds, tech) for folds in able))


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
    ({"fc0": {"pe": 1}, "fc1": {}}, r"^Folding of fc0 must have pe and simd, not \{'pe': 1\}$"),
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
    (tmp_path / "new.json").write_text(json.dumps({"format": 2, "folds": folds}))
    with pytest.raises(UserError, match=r"^Folding file .*new\.json must have format 1, not 2$"):
        fold.read(tiny(), tmp_path / "new.json")


def test_latency_where_it_is_not_modelled(monkeypatch):
    monkeypatch.setattr(Search, "is_timed", False)
    for allowed in (25, 40, 90):
        folds = fold.within_latency(tiny(), clock_hz=10**6, max_latency=allowed)
        assert lower(tiny(), folds).cycles.first < allowed
    with pytest.raises(UserError, match=r"^Latency must be at least the \d+ cycles .* of the quickest folding, not 2$"):
        fold.within_latency(tiny(), clock_hz=10**6, max_latency=2)


def test_what_stands_beside_may_depend_on_both_streams():
    """Rows of the search add up to what the whole plan takes, the host link's part included."""
    net = mlp((24, 16, 10))
    search = Search(net, technology("ice40-up5k"), beside=partial(footprint, board("icebreaker")))
    folds, row = search.best(500)
    assert np.array_equal(row[1:-1], search.used(unsized(net, folds))[1:-1])


def residual() -> ir.Network:
    """Three layers, the second of which is by-passed."""
    rng = np.random.default_rng(0)

    def product(name, x, y, rows):
        return ir.MatMul(name, (x,), (y,), rng.choice([-1, 1], (rows, 8)), ir.BIPOLAR)

    def threshold(name, x, y):
        return ir.Threshold(name, (x,), (y,), rng.integers(-3, 4, (8, 1)), ir.BIPOLAR)

    nodes = (product("fc0", "x", "a", 8), threshold("t0", "a", "h"), product("fc1", "h", "b", 8),
             ir.Add("add", ("b", "h"), ("s",)), threshold("t1", "s", "k"), product("fc2", "k", "y", 4))
    return ir.Network("residual", ir.Input("x", (8,), (8,), ir.BIPOLAR), nodes, (ir.Output("y", "y", (4,)),))


def test_a_network_with_branches_meets_what_is_asked_for():
    net, tech = residual(), technology("ice40-up5k")
    folds = fold.choose(net, clock_hz=10**6, target_fps=60_000, technology="ice40-up5k")
    assert lower(net, folds).cycles.interval <= 16
    folds = fold.within_latency(net, clock_hz=10**6, max_latency=40)
    assert lower(net, folds).cycles.first < 40
    assert not Search(net, tech, timed=True).is_timed
    tight = int(of_stages(lower(net, fold.fit(net, technology="ice40-up5k")).stages, tech).luts.high) * 2 // 3
    folds = fold.fit(net, technology="ice40-up5k", max_luts=tight)
    assert fits(net, folds, tech, max_luts=tight)


def maps() -> ir.Network:
    """A convolution, a maximum, and a matrix over what is left."""
    rng = np.random.default_rng(1)
    nodes = (ir.Conv("conv", ("x",), ("a",), rng.choice([-1, 1], (2, 2, 2, 2)), ir.BIPOLAR),
             ir.Threshold("act", ("a",), ("h",), rng.integers(-3, 4, (2, 1)), ir.BIPOLAR),
             ir.MaxPool("pool", ("h",), ("p",), (2, 2), (2, 2)), ir.Reshape("flat", ("p",), ("f",), (8,)),
             ir.MatMul("fc", ("f",), ("y",), rng.choice([-1, 1], (2, 8)), ir.BIPOLAR))
    return ir.Network("maps", ir.Input("x", (5, 5, 2), (5, 5, 2), ir.BIPOLAR), nodes, (ir.Output("y", "y", (2,)),))


def test_convolutions_are_folded():
    """The cheapest and the fastest of all foldings of both layers."""
    net, tech = maps(), technology("ice40-up5k")
    conv, fc = fold.layers.layers(net)
    every = [{"conv": a, "fc": b} for a in fold.layers.foldings(conv) for b in fold.layers.foldings(fc)]
    for cycles in (300, 70):
        chosen = fold.choose(net, clock_hz=10**6, target_fps=10**6 / cycles, technology="ice40-up5k")
        assert lower(net, chosen).cycles.interval <= cycles
        assert cost(net, chosen, tech) == pytest.approx(
            min(cost(net, folds, tech) for folds in every if interval(net, folds) <= cycles))
    most = of_stages(lower(net, chosen).stages, tech).luts.high
    fastest = fold.fit(net, technology="ice40-up5k", max_luts=int(most))
    assert interval(net, fastest) == min(interval(net, folds) for folds in every
                                         if fits(net, folds, tech, max_luts=most))
    folds = fold.within_latency(net, clock_hz=10**6, max_latency=150)
    assert lower(net, folds).cycles.first < 150


def test_options_are_read_from_words_by_layer():
    net = mlp((8, 6, 4, 2))
    made = fold.option_words(net, {"zeros": ["fc0=none", "all=static"], "loadable": ["fc0"], "datapath": []})
    assert made == {"fc0": UnitOptions(zeros="none", loadable=True), "fc1": UnitOptions(zeros="static"),
                    "fc2": UnitOptions(zeros="static")}


@pytest.mark.parametrize("asked, message", [
    ({"zeros": ["fc9=none"]}, "Option --zeros must name a layer among fc0, fc1 or all, not fc9; did you mean fc0?"),
    ({"zeros": ["fc0=none", "fc0=static"]}, "Option --zeros of fc0 must be given once, and it is given twice"),
    ({"weights": ["fc0=sand"]}, "Option weights must be one of auto, block, distributed, logic, spram, not sand"),
    ({"datapath": ["fc0"]}, "Option datapath must be one of auto, lanes, planes, multipliers, not true"),
])
def test_words_that_are_no_options_are_refused(asked, message):
    with pytest.raises(UserError) as caught:
        fold.option_words(mlp((8, 6, 4)), asked)
    assert str(caught.value).startswith(message[:60])


def test_options_go_with_every_folding_of_a_search_and_before_a_file():
    net = mlp((8, 6, 4))
    options = {"fc1": UnitOptions(weights="logic")}
    goal = fold.Goal.of(target_fps=10_000)
    chosen = fold.solve(net, goal, clock_hz=10**6, technology="ecp5-25", options=options).folds
    assert [one.options for one in chosen.values()] == [UnitOptions(), UnitOptions(weights="logic")]
    given_ = fold.Goal.of(folds={"fc0": {"pe": 2, "simd": 4}, "fc1": {"pe": 1, "simd": 2, "weights": "block"}})
    chosen = fold.solve(net, given_, clock_hz=10**6, technology="ecp5-25", options=options).folds
    assert chosen["fc1"] == Fold(1, 2, UnitOptions(weights="logic"))


def test_look_up_tables_alone_are_minimized():
    """Block memory takes what it can, within the chip; what a user asks for stays."""
    net, goal = mlp((96, 64, 32)), fold.Goal.of(target_fps=10_000)
    tech = technology("ecp5-25")
    share, luts = (fold.solve(net, goal, clock_hz=10**6, technology="ecp5-25", minimize=of) for of in fold.MINIMIZE)
    first, second = (of_stages(one.plan.parts, tech) for one in (share, luts))
    assert second.luts.nominal < first.luts.nominal
    assert first.blocks.nominal < second.blocks.nominal <= tech.block_memory.count.value
    assert {one.options.storage for one in luts.folds.values()} == {"block"}
    asked = fold.solve(net, goal, clock_hz=10**6, technology="ecp5-25", minimize="luts",
                       options={"fc0": UnitOptions(weights="logic")})
    assert asked.folds["fc0"].options == UnitOptions(weights="logic", storage="block")
    given_ = fold.solve(net, fold.Goal.of(folds={"fc0": (2, 8), "fc1": (1, 8)}), clock_hz=10**6, technology="ecp5-25",
                        minimize="luts")
    assert {one.options for one in given_.folds.values()} == {UnitOptions(weights="block", storage="block")}
