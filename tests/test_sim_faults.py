"""Fault injection: which bit does what, exact where all are tried, seeded, resumable."""

import json

import numpy as np
import pytest
import zoo
from builds import images
from commands import FOLDS as WORDS
from commands import call, refused

from hwbnn import golden, ir
from hwbnn.errors import UserError
from hwbnn.sim.chosen import memory_bits, of_registers, with_flipped
from hwbnn.sim.faults import bits_of, campaign, flipped
from hwbnn.sim.trials import interval, proportion

NET = zoo.tiny()
X = images(NET, 40)


@pytest.mark.parametrize(("name", "target"), [
    (name, target) for name in sorted(zoo.MLPS)
    for target, kind in (("weights", ir.MatMul), ("thresholds", ir.Threshold))
    if any(isinstance(node, kind) for node in zoo.MLPS[name]().nodes)])
def test_a_flip_changes_one_value_and_twice_none(name, target):
    net = zoo.MLPS[name]()
    total = sum(bits_of(net, target).values())
    for place in np.random.default_rng(0).choice(total, min(total, 12), replace=False).tolist():
        changed = flipped(net, target, [place])
        moved = [np.sum(getattr(a, target) != getattr(b, target))
                 for a, b in zip(net.nodes, changed.nodes, strict=True) if hasattr(a, target)]
        if target == "weights":
            assert sum(moved) <= 1, "the sign of a ternary zero has no meaning"
            if not any(node.weight_levels.is_ternary for node in net.nodes if isinstance(node, ir.MatMul)):
                back = flipped(changed, target, [place])
                assert np.array_equal(back.node("fc0").weights, net.node("fc0").weights)
        else:
            assert sum(bool(count) for count in moved) <= 1


def test_bipolar_weight_is_negated_and_threshold_moves_by_a_power_of_two():
    changed = flipped(NET, "weights", [4 * 8 + 1])
    weights, right = changed.node("fc0").weights, NET.node("fc0").weights
    assert weights[4, 1] == -right[4, 1] and np.sum(weights != right) == 1
    levels = NET.tensors[NET.node("act0").input].levels
    bits = len(levels).bit_length()
    moved = flipped(NET, "thresholds", [3 * bits + 2]).node("act0").thresholds - NET.node("act0").thresholds
    assert abs(moved[3, 0]) in (4 * levels.step - levels.step + 1, 4 * levels.step) and np.sum(moved != 0) == 1


def test_single_flips_are_all_tried_where_there_are_no_more():
    total = sum(bits_of(NET, "weights").values())
    found = campaign(NET, X, flips=[1], trials=total)
    right = golden.classes(NET, X)
    shares = [np.mean(golden.classes(flipped(NET, "weights", [place]), X) == right) for place in range(total)]
    point, = found.points
    assert point.trials == total and point.worst == min(shares)
    assert point.same == pytest.approx((np.mean(shares),) * 3)
    lost = {layer.layer: layer.same[0] for layer in found.layers}
    assert found.most_sensitive == min(lost, key=lost.get)


def test_campaign_is_seeded_and_more_flips_do_more_harm():
    labels = golden.classes(NET, X)
    one, again, other = (campaign(NET, X, labels, flips=[1, 20], trials=6, seed=seed) for seed in (1, 1, 2))
    assert one == again and one != other
    assert one.points[1].same[0] < one.points[0].same[0] and one.faultless == 1.0
    assert all(point.accuracy == point.same for point in one.points), "the labels are the faultless classes"


def test_interrupted_campaign_goes_on(tmp_path):
    kept = tmp_path / "kept.json"
    options = {"flips": [1, 4], "trials": 4, "kept": kept}

    def interrupt(done, total):
        if done == 6:
            raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        campaign(NET, X, **options, progress=interrupt)
    assert sum(map(len, json.loads(kept.read_text())["done"].values())) == 6
    with pytest.raises(UserError, match=r"^Campaign must be resumed as it was begun, with the same build, images and "
                                        r"options; run it without --resume to begin anew$"):
        campaign(NET, X, **{**options, "trials": 5}, resume=True)
    told = []
    found = campaign(NET, X, **options, resume=True, progress=lambda *now: told.append(now))
    assert told[0][0] == 7 and not kept.exists()
    assert found == campaign(NET, X, flips=[1, 4], trials=4)


def test_intervals():
    """Student's t at 95 %: 2.776 for 5 values, 2.262 for 10 (tables)."""
    for count, quantile in ((2, 12.706), (3, 4.303), (5, 2.776), (10, 2.262), (31, 2.042)):
        values = np.linspace(0.4, 0.6, count).tolist()
        mean, low, high = interval(values)
        half = min(quantile * np.std(values, ddof=1) / np.sqrt(count), 0.5)
        assert (mean, low, high) == pytest.approx((0.5, 0.5 - half, 0.5 + half), abs=2e-3)
    assert interval([0.7]) == (0.7, 0.0, 1.0) and interval([0.5, 0.7], whole=True) == pytest.approx((0.6, 0.6, 0.6))
    assert interval([1.0] * 10) == pytest.approx((1.0, 1 - 0.2775, 1.0), abs=1e-4), "all alike: others may be unlike"


def test_proportions():
    """Wilson's interval at 95 % (Brown, Cai and DasGupta, 2001)."""
    assert proportion(0, 10) == pytest.approx((0, 0, 0.2775), abs=1e-4)
    assert proportion(5, 10) == pytest.approx((0.5, 0.2366, 0.7634), abs=1e-4)
    assert proportion(10, 10) == pytest.approx((1, 0.7225, 1), abs=1e-4)


def test_named_bits():
    names = ["fc0.weights[4,1].0", "act0.thresholds[3,0].2"]
    assert not of_registers(names) and of_registers(["fc0.fifo.level.1@250"])
    changed = with_flipped(NET, memory_bits(NET, names))
    bits = len(NET.tensors[NET.node("act0").input].levels).bit_length()
    expected = flipped(flipped(NET, "weights", [4 * 8 + 1]), "thresholds", [3 * bits + 2])
    for one, other in zip(changed.nodes, expected.nodes, strict=True):
        for what in ("weights", "thresholds"):
            assert np.array_equal(getattr(one, what, 0), getattr(other, what, 0))


@pytest.mark.parametrize(("names", "message"), [
    (["fc0.weights"], (r"Bit must be NODE\.weights\[ROW,COLUMN\]\.BIT, NODE\.thresholds\[CHANNEL,NUMBER\]\.BIT or "
                       r"REGISTER\.BIT@CYCLE, not fc0\.weights")),
    (["fc0.weights[0,0].0"] * 2, r"Bit fc0\.weights\[0,0\]\.0 must be given once, not 2 times"),
    (["fc0.weights[0,0].0", "fc0.x.0@1"], ("Bits must be of registers alone or of weights and thresholds alone, not of "
                                           "both")),
    (["fc9.weights[0,0].0"], r"Bit \S+ must be of a node with weights, one of fc0, fc1, not fc9"),
    (["fc0.weights[0,8].0"], r"Bit \S+ must have an index within the 6 x 8 weights, not 0,8"),
    (["fc0.weights[0].0"], r"Bit \S+ must have an index within the 6 x 8 weights, not 0"),
    (["fc0.weights[0,0].1"], r"Bit \S+ must be one of the 1 of each of these weights, counted from 0, not 1"),
])
def test_named_bits_that_are_none(names, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        memory_bits(NET, [] if of_registers(names) else names)


@pytest.mark.parametrize(("options", "message"), [
    ({"target": "biases"}, "Target must be weights or thresholds, not biases"),
    ({"flips": [0, 1]}, "Flips must be numbers of bits from 1 to the 66 that the weights have, not 0, 1"),
    ({"flips": [67]}, "Flips must be numbers of bits from 1 to the 66 that the weights have, not 67"),
    ({"trials": 0}, "Trials must be at least 1, not 0"),
    ({"seed": -1}, "Seed must be an integer of at least 0, not -1"),
    ({"resume": True}, "Campaign must have been interrupted to be resumed, and none was; run it without --resume"),
])
def test_bad_options(options, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        campaign(NET, X, **options)


def test_command_line(tmp_path):
    ir.save(NET, tmp_path / "tiny.npz")
    np.save(tmp_path / "x.npy", X)
    build = tmp_path / "b"
    call("compile", tmp_path / "tiny.npz", "--board", "ulx3s-85f", *WORDS, "-o", build)
    words = ("faults", build, "--images", tmp_path / "x.npy", "--trials", 3)
    text = call(*words, "--flips", "1,8")
    record = json.loads((build / "faults/weights.json").read_text())
    assert record["most_sensitive"] in text and [point["flips"] for point in record["points"]] == [1, 8]
    assert json.loads(call(*words, "--rates", "0.1", "--target", "thresholds", "--json"))["target"] == "thresholds"
    assert refused(*words, "--flips", "1,x") == "Flips must be numbers with commas between them, not 1,x"
    assert refused(*words, "--target", "biases") == "Target must be one of weights, thresholds, registers, not biases"
    assert refused(*words, "--jobs", 2) == "Jobs must be 1 for weights, not 2"
    assert refused("faults", build) == "Images must be given with --images, such as digits:test"
    named = json.loads(call(*words, "--bit", "fc1.weights[1,2].0", "--json"))
    compiled = ir.load(build / "network.npz")
    faulty = with_flipped(compiled, memory_bits(compiled, ["fc1.weights[1,2].0"]))
    assert named["changed_classes"] == np.sum(golden.classes(faulty, X) != golden.classes(compiled, X)) > 0
    assert "another class" in call(*words, "--bit", "fc1.weights[1,2].0")
    call("report", build)
    page = (build / "report.html").read_text()
    assert "Flipped bits" in page and 'data-plot="plot-faults-weights"' in page
