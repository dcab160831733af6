"""What makes the products: chosen by the cost model, said with its reason, refused where it cannot be."""

import json
import re

import pytest
from zoo import UINT4, mlp

from hwbnn import fold, ir
from hwbnn.cost import technology
from hwbnn.cost.datapath import dot_forms
from hwbnn.cost.resources import multiplications, of_stage, stage_cost
from hwbnn.errors import UserError
from hwbnn.fold.datapaths import variants
from hwbnn.plan import Dot, Fold, UnitOptions, lane_for, lower
from hwbnn.plan.lower import unsized
from hwbnn.synth.families import FAMILIES

NIBBLES = mlp((8, 6, 4), inputs=UINT4, weights=ir.Levels.signed(4), hidden=UINT4, seed=6)
EACH = ("lanes", "planes", "multipliers")


def given(pe=1, simd=1, **options):
    return fold.Goal.of(folds={name: {"pe": pe, "simd": simd, **options} for name in ("fc0", "fc1")})


def solved(goal, chip, net=NIBBLES, **options):
    return fold.solve(net, goal, clock_hz=10**6, technology=chip, options=options)


@pytest.mark.parametrize("chip, names", [("ecp5-25", EACH), ("ice40-up5k", EACH), ("ice40-hx8k", EACH[:2])])
def test_the_cheapest_datapath_of_a_given_folding_is_chosen(chip, names):
    tech, found = technology(chip), solved(given(2, 2), chip)
    for name in ("fc0", "fc1"):
        def cost(datapath, name=name):
            folds = {**found.folds, name: Fold(2, 2, UnitOptions(datapath=datapath))}
            return stage_cost(next(s for s in unsized(NIBBLES, folds) if s.name == name), tech)
        assert found.folds[name].options.datapath == min(names, key=cost)
    assert found.plan.folds == found.folds


@pytest.mark.parametrize("goal", [fold.Goal.of(target_fps=10_000), fold.Goal.of(max_luts=2000)], ids=str)
def test_a_search_decides_and_its_file_says_so(goal, tmp_path):
    found = solved(goal, "ecp5-25")
    assert all(one.options.datapath in (*EACH, "parallel") for one in found.folds.values())
    (tmp_path / "fold.json").write_text(json.dumps(fold.record(NIBBLES, found)))
    assert fold.read(NIBBLES, tmp_path / "fold.json") == found.folds
    for row in found.choices:
        assert f"; {row.fold.options.datapath} " in row.reason
        assert ", the cheapest that there is room for (" in row.reason


def test_where_there_is_no_choice_nothing_is_said():
    net = mlp((8, 6, 4), inputs=UINT4)
    found = solved(given(2, 2), "ecp5-25", net)
    assert found.folds == {"fc0": Fold(2, 2), "fc1": Fold(2, 2)}
    assert ";" not in found.choices[1].reason.split("given;")[1]


def test_what_a_user_asks_for_stays():
    for datapath in EACH:
        found = solved(given(2, 2), "ecp5-25", fc0=UnitOptions(datapath=datapath))
        assert found.folds["fc0"].options.datapath == datapath
        assert f"; {datapath} " in found.choices[0].reason and ", as asked (" in found.choices[0].reason


def test_multipliers_are_not_used_up():
    """The UP5K has 8: one layer takes 6, and the other has to do without the 4 that it would take."""
    goal = fold.Goal.of(folds={"fc0": (6, 2), "fc1": (4, 2)})
    found = solved(goal, "ice40-up5k")
    taken = [of_stage(found.plan.stage(name), technology("ice40-up5k")).dsp.nominal for name in ("fc0", "fc1")]
    assert taken == [6, 0]


@pytest.mark.parametrize("net, chip, datapath, message", [
    (NIBBLES, "ice40-hx8k", "multipliers",
     r"^fc0: Datapath multipliers must be asked of a chip that has multipliers, and Lattice iCE40HX8K has none$"),
    (mlp((8, 6, 4), inputs=ir.BIPOLAR), "ecp5-25", "planes",
     r"^fc0: Datapath planes must have k-bit integers times k-bit integers, not bipolar times bipolar$"),
    (mlp((8, 6, 4), inputs=UINT4), "ecp5-25", "multipliers",
     r"^fc0: Datapath multipliers must have k-bit .* integers, of 2 bits and more, not 0..15 times bipolar$"),
])
@pytest.mark.parametrize("goal", [given(2, 2), fold.Goal.of(target_fps=1000)], ids=str)
def test_what_cannot_be_is_refused(net, chip, datapath, message, goal):
    with pytest.raises(UserError, match=message):
        solved(goal, chip, net, fc0=UnitOptions(datapath=datapath))


def test_without_a_chip_multipliers_are_no_choice():
    node = NIBBLES.nodes[0]
    assert [one.datapath for one in variants(NIBBLES, node, None)] == ["lanes", "planes", "parallel"]
    assert variants(NIBBLES, node, None, UnitOptions(datapath="multipliers"))[0].datapath == "multipliers"


@pytest.mark.parametrize("x, w, simd, ecp5, up5k", [
    (4, 4, 6, 3, 3),    # two products each
    (4, 4, 7, 4, 3),    # the last alone is 8 bits wide: too narrow on the UP5K
    (8, 8, 3, 3, 3),
    (8, 2, 3, 3, 0),    # 10 bits
])
def test_multipliers_are_counted_as_synthesis_maps_them(x, w, simd, ecp5, up5k):
    form = dot_forms(Dot(lane_for(ir.Levels.unsigned(x), ir.Levels.signed(w), "multipliers"), simd))
    assert multiplications(form, technology("ecp5-85"))[0] == ecp5
    hard, soft = multiplications(form, technology("ice40-up5k"))
    assert (hard, len(soft)) == (up5k, ecp5 - up5k)
    assert multiplications(form, technology("ice40-hx8k"))[0] == 0


def test_ice40_is_told_which_products_are_meant():
    lanes, asked = (lower(NIBBLES, {name: Fold(1, 2, UnitOptions(datapath=datapath)) for name in ("fc0", "fc1")})
                    for datapath in ("lanes", "multipliers"))
    ice40, ecp5 = FAMILIES["ice40"], FAMILIES["ecp5"]
    assert ice40.options(lanes, "-abc9") == "-abc9" and ice40.prepared(lanes) == ice40.before_synthesis
    assert ice40.options(asked, "") == "-dsp" and "t:$mul @asked %d" in ice40.prepared(asked)
    assert ecp5.options(asked, "-nowidelut") == "-nowidelut" and ecp5.prepared(asked) == ecp5.before_synthesis


@pytest.mark.synth
@pytest.mark.slow
@pytest.mark.parametrize("chip", ["ecp5-85", "ice40-up5k"])
def test_yosys_uses_as_many_multipliers_as_predicted(chip, tmp_path):
    """A layer that asks for them beside one that does not, and beside multiplications per class."""
    from hwbnn import rtl
    from hwbnn.classify import classifier
    from hwbnn.synth.netlists import SYNTHESIZED
    from hwbnn.synth.stages import count
    from hwbnn.synth.tools import Tools

    tech, net = technology(chip), classifier(NIBBLES)
    plan = lower(net, {"fc0": Fold(2, 4, UnitOptions(datapath="multipliers")), "fc1": Fold(1, 3)})
    (tmp_path / "plan.v").write_text(rtl.verilog(plan))
    counted = count(Tools(tmp_path, print), tmp_path / "plan.v", plan, family=tech.family,
                    options=" ".join(tech.synthesis.split()[1:]), luts_per_memory=6)
    for stage in plan.stages:
        assert counted[stage.name].dsp == of_stage(stage, tech).dsp.nominal, stage.name
    assert not re.search(r"\.[CD]\(16'hx", (tmp_path / SYNTHESIZED).read_text()), "a sum without its second number"
