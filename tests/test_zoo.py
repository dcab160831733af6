"""The zoo itself: its networks are well-formed, and their thresholds are not degenerate."""

import numpy as np
import pytest
import zoo

from hwbnn import golden, ir


@pytest.mark.parametrize("name", zoo.MLPS)
def test_every_level_occurs(name):
    net = zoo.MLPS[name]()
    rng = np.random.default_rng(1)
    tensors = golden.evaluate(net, rng.choice(net.input.levels.values(), (200, *net.input.shape)))
    for node in net.nodes:
        assert net.tensors[node.output].levels.holds(tensors[node.output])
        if isinstance(node, ir.Threshold):
            seen = np.unique(tensors[node.output])
            assert len(seen) == len(node.levels), f"{node.name} only takes {seen}"
