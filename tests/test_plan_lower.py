import numpy as np
import pytest
from hardware import folds
from hypothesis import given, settings
from hypothesis import strategies as st
from zoo import mlp

from hwbnn import ir, plan
from hwbnn.errors import UserError

NET = mlp((8, 6, 3), name="net", classes=True)
FOLDS = {"fc0": plan.Fold(2, 4), "fc1": plan.Fold(1, 3)}


def network(*nodes, shape=(4,), outputs=None):
    output = outputs or [ir.Output("o", nodes[-1].output, (1,) if isinstance(nodes[-1], ir.TopK) else shape)]
    return ir.Network("n", ir.Input("x", shape, shape, ir.BIPOLAR), nodes, output)


class Odd(ir.Node):
    """An operation that there is no hardware for."""

    def infer(self, x):
        return x


TWO = [ir.Affine("a", ("x",), ("y",), [1], [2]), ir.Affine("b", ("x",), ("z",), [1], [3])]


@pytest.mark.parametrize("make, message", [
    (lambda: plan.lower(NET, {"fc0": plan.Fold(2, 4)}),
     r"^Folds must be given for every MatMul and Conv, and fc1 has none$"),
    (lambda: plan.lower(NET, {**FOLDS, "fc": plan.Fold(1, 1)}), r"^Folds must be given for fc0, fc1, not fc$"),
    (lambda: plan.lower(NET, {**FOLDS, "fc0": plan.Fold(4, 4)}),
     r"^fc0: PE must divide the 6 rows of the matrix, not be 4$"),
    (lambda: plan.lower(NET, {**FOLDS, "fc0": plan.Fold(2, 3)}),
     r"^fc0: SIMD must divide the 8 columns of the matrix, not be 3$"),
    (lambda: plan.lower(NET, FOLDS, styles={"fc0.fifo": "block"}),
     r"^Memory fc0\.fifo style must be distributed, not block$"),
    (lambda: plan.lower(NET, FOLDS, styles={"fc0.weights": "core"}),
     r"^Memory fc0\.weights style must be one of block, distributed, logic, spram, not core$"),
    (lambda: plan.lower(NET, FOLDS, styles={"w": "block"}),
     r"^Memory must be one of class\.fifo, fc0\.fifo, .*, not w$"),
    (lambda: plan.lower(NET, FOLDS, fifo_depths={"fc": 2}),
     r"^FIFO depths must be given for fc0, .*class, not fc$"),
    (lambda: plan.lower(network(Odd("s", ("x",), ("y",))), {}),
     r"^Node s must be MatMul, Threshold, Affine, .* or \w+, not Odd$"),
    (lambda: plan.lower(network(*TWO), {}), r"^Node a must lead to the output o, and nothing reads y$"),
    (lambda: plan.lower(network(TWO[0], ir.Affine("b", ("y",), ("z",), [1], [0]),
                                outputs=[ir.Output("o", "y", (4,))]), {}),
     r"^Node b must lead to the output o, and nothing reads z$"),
    (lambda: plan.lower(network(TWO[0], outputs=[ir.Output("o", "y", (4,)), ir.Output("p", "x", (4,))]), {}),
     r"^Network n must have one output, not 2$"),
])
def test_bad_requests(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_stage_by_name():
    p = plan.lower(NET, FOLDS)
    assert p.stage("fc0").nodes == ("fc0", "act0")
    with pytest.raises(ValueError, match=r"^Stage must be one of input, fc0, .*, output, not fc9$"):
        p.stage("fc9")


@st.composite
def folded(draw):
    net = mlp(draw(st.lists(st.integers(1, 30), min_size=2, max_size=4)), seed=draw(st.integers(0, 99)))
    return net, draw(folds(net))


@settings(max_examples=100)
@given(folded())
def test_the_chain_joins_up_and_covers_every_node_once(case):
    net, chosen = case
    p = plan.lower(net, chosen)
    assert [name for stage in p.stages for name in stage.nodes] == [node.name for node in net.nodes]
    for before, after in zip(p.stages, p.stages[1:], strict=False):
        assert before.o == after.i
    assert p.lanes == sum(fold.pe * fold.simd for fold in chosen.values())
    assert p.input.lanes == chosen["fc0"].simd
    assert len({stage.name for stage in p.stages}) == len(p.stages)
    for stage in p.stages:
        if isinstance(stage, plan.MatrixVectorStage):
            assert stage.ii == (stage.rows // stage.fold.pe) * (stage.columns // stage.fold.simd)


def test_fifos_are_no_deeper_than_a_frame_and_a_pipeline():
    net = mlp((64, 64, 64, 10), name="digits", classes=True)
    p = plan.lower(net, {"fc0": plan.Fold(8, 16), "fc1": plan.Fold(4, 16), "fc2": plan.Fold(2, 8)})
    for stage in p.stages:
        if isinstance(stage, plan.PipelineStage):
            assert stage.least_fifo_depth <= stage.fifo_depth <= stage.o.beats + stage.least_fifo_depth
    assert p.cycles.interval == 64


def test_weights_of_a_parallel_layer_are_wires():
    net = mlp((8, 4), name="parallel", inputs=ir.BIPOLAR)
    p = plan.lower(net, {"fc0": plan.Fold(4, 8)})
    assert [memory.name for memory in p.memories] == ["fc0.fifo"]
    assert p.cycles.interval == 1


def test_a_chain_that_cannot_move_is_reported():
    narrow, wide = plan.Stream(ir.BIPOLAR, 1, 2), plan.Stream(ir.BIPOLAR, 2, 1)
    join = plan.JoinStage(name="join", nodes=(), i=narrow, o=wide)
    lone = plan.Stream(ir.BIPOLAR, 1, 1)
    frames = plan.FrameInputStage(name="input", nodes=(), i=lone, o=lone)  # one beat where join wants two
    with pytest.raises(RuntimeError, match=r"^Chain join blocks after 1 outputs$"):
        plan.schedule([frames, join], 3)


def test_a_stage_without_a_schedule_is_refused():
    stage = plan.Stage(name="s", nodes=(), i=plan.Stream(ir.BIPOLAR, 1, 1), o=plan.Stream(ir.BIPOLAR, 1, 1))
    with pytest.raises(TypeError, match=r"^Stage must have a schedule, and Stage has none$"):
        plan.schedule([stage], 1)


def test_thresholds_use_integers_beyond_float_precision():
    big = 2**60 + 1
    node = ir.Threshold("t", ("x",), ("y",), [[big]], ir.BIPOLAR)
    folded_ = plan.Thresholds.of(node, 1, low=-5, high=5, scale=-2, offsets=np.array([7]), lanes=1, name="t")
    assert folded_.constants.tolist() == [[-5]] and folded_.inverts.tolist() == [1]
