# amaranth: UnusedElaboratable=no

"""Networks whose hardware is told by their structure: every derivation agrees."""

import numpy as np
import pytest
import zoo
from hypothesis import given, settings
from hypothesis import strategies as st
from infer_cases import images
from maps import foldings
from test_infer import assert_exact
from test_rtl_maps import holds

from hwbnn import cost, ir, plan
from hwbnn.plan.matrices import Matrix
from hwbnn.report.graph import network_graph
from hwbnn.sim import simulate


def few(net):
    """A folding of every layer in which no layer takes long."""
    matrices = {node.name: matrix for node in net.nodes if (matrix := Matrix.of(node)) is not None}
    return {name: plan.Fold(max(1, matrix.rows // 2), matrix.columns) for name, matrix in matrices.items()}


@pytest.mark.parametrize("name", zoo.FORMS)
def test_inference(name):
    net = zoo.FORMS[name]()
    assert_exact(net, images(net, 40, np.random.default_rng(0)), batch=16)


@pytest.mark.parametrize("name", zoo.FORMS)
def test_hardware_in_any_folding(name):
    net = zoo.FORMS[name]()

    @settings(max_examples=3)
    @given(foldings(net), st.integers(0, 99))
    def check(folds, seed):
        holds(net, folds, (0, 2, 1), (1, 0, 3), frames=2, seed=seed)

    holds(net, few(net))
    check()


@pytest.mark.parametrize("name", zoo.FORMS)
def test_estimates_and_drawings(name):
    net = zoo.FORMS[name]()
    p = plan.lower(net, few(net))
    for technology in ("ecp5-85", "ice40-up5k"):
        assert cost.estimate(p, technology, 10**7).resources.flip_flops.nominal == p.flip_flops
    drawing = network_graph(net, p)
    assert all(node.name in drawing for node in net.nodes if not isinstance(node, ir.Threshold))


@pytest.mark.cocotb
@pytest.mark.slow
@pytest.mark.parametrize("engine", ["compiled", "cocotb"])
def test_engines(engine, tmp_path):
    from builds import build

    net = zoo.FORMS["ranks" if engine == "cocotb" else "shifts"]()
    result = simulate(build(tmp_path, net, few(net)), np.asarray(images(net, 6, np.random.default_rng(1)), float),
                      engine=engine, check="layers")
    assert result.problems() == []
