import numpy as np
import pytest

from hwbnn import ir, plan


def stream(beats, lanes=1, levels=ir.BIPOLAR):
    return plan.Stream(levels, lanes, beats)


def window(**fields):
    return plan.WindowStage(**{"name": "w", "nodes": (), "i": stream(4), "o": stream(4), "outer": (plan.Loop(4, 1),),
                               "inner": (), **fields})


def pad(**fields):
    return plan.PadStage(**{"name": "p", "nodes": (), "i": stream(4), "o": stream(6), "height": 2, "width": 2,
                            "padding": (0, 1, 0, 0), "values": np.array([-1]), **fields})


def pool(**fields):
    return plan.PoolStage(**{"name": "m", "nodes": (), "i": stream(4), "o": stream(2), "kind": "max", "taps": 2,
                             "signs": np.array([1]), **fields})


@pytest.mark.parametrize("make, message", [
    (lambda: plan.Loop(0, 1), r"^Loop must have a count of at least 1 and a stride of at least 0, not 0 and 1$"),
    (lambda: window(o=stream(2, 2)), r"^w must keep levels and lanes, not turn Stream\(.*\) into Stream\(.*\)$"),
    (lambda: window(o=stream(3)), r"^w loops must give out 3 beats, not 4$"),
    (lambda: window(start=1), r"^w windows must lie within 4 beats, not reach 5$"),
    (lambda: window(outer=(plan.Loop(2, 1), plan.Loop(2, 2))), r"^w windows must move forward only, not by -1$"),
    (lambda: pad(padding=(0, 0, 0, 0)), r"^p padding must be at least 0 and not 0 everywhere, not \(0, 0, 0, 0\)$"),
    (lambda: pad(o=stream(3, 2)), r"^p must keep lanes that divide 1 channels, not turn 1 into 2$"),
    (lambda: pad(o=stream(7)), r"^p must turn 4 beats into 6, not 4 into 7$"),
    (lambda: pad(values=np.array([0])), r"^p values must be bipolar, not \[0\]$"),
    (lambda: pool(kind="mean"), r"^m kind must be max or sum, not mean$"),
    (lambda: pool(taps=1), r"^m taps must be at least 2, not 1$"),
    (lambda: pool(o=stream(1, 2)), r"^m must keep lanes that divide 1 channels, not turn 1 into 2$"),
    (lambda: pool(o=stream(3)), r"^m must turn 2 beats into one, not 4 into 3$"),
])
def test_bad_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_stage_tells_what_it_makes_of_values():
    values = np.array([[1, 2, 3, 4]])
    sliding = window(i=stream(4, levels=ir.Levels(0, 9)), o=stream(6, levels=ir.Levels(0, 9)),
                     outer=(plan.Loop(3, 1),), inner=(plan.Loop(2, 1),))
    assert sliding.rearranged(values).tolist() == [[1, 2, 2, 3, 3, 4]]
    assert pad(i=stream(4, levels=ir.Levels(-1, 9)), o=stream(6, levels=ir.Levels(-1, 9))).rearranged(
        values).tolist() == [[-1, 1, 2, -1, 3, 4]]
