# amaranth: UnusedElaboratable=no
"""Is it broken? One two-layer network through every derivation, in seconds."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hardware import inventory, run
from zoo_onnx import GraphBuilder, execute

from hwbnn import fold, golden, ir, plan, rtl
from hwbnn.classify import classifier
from hwbnn.cost import estimate
from hwbnn.frontend import load_onnx

CLOCK = 25_000_000


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """8 inputs of 4 bits, 6 bipolar neurons, 3 classes behind a batch norm."""
    rng = np.random.default_rng(0)
    g = GraphBuilder([1, 8])
    h = g.quant("x")
    h = g.add("MatMul", h, g.bipolar(g.constant(rng.normal(size=(8, 6)))))
    h = g.bipolar(g.batchnorm(h, 6, rng))
    h = g.add("MatMul", h, g.bipolar(g.constant(rng.normal(size=(6, 3)))))
    h = g.batchnorm(h, 3, rng, spread=2.0)
    return g.save(tmp_path_factory.mktemp("tiny") / "tiny.onnx", h), h


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 16, (50, 8)).astype(np.float32)


def test_every_derivation_agrees(model, images, tmp_path):
    path, logits = model
    net = load_onnx(path)
    expected = execute(path, images)[logits]
    assert np.array_equal(golden.run(net, images), expected)

    classes = classifier(net)
    assert np.array_equal(golden.classes(classes, images), expected.argmax(axis=1))

    ir.save(classes, tmp_path / "network.npz")
    assert ir.load(tmp_path / "network.npz") == classes

    folds = fold.choose(classes, clock_hz=CLOCK, target_fps=1_000_000)
    hardware = plan.lower(classes, folds)
    assert hardware.cycles.interval <= CLOCK // 1_000_000
    values, started, finished = run(hardware, golden.encode(classes, images))
    assert np.array_equal(values[:, 0], expected.argmax(axis=1))
    assert finished[0] - started[0] == hardware.cycles.first
    assert {b - a for a, b in pairwise(finished[5:])} == {hardware.cycles.interval}

    cost = estimate(hardware, "ecp5-85", CLOCK)
    emitted, _ = inventory(rtl.Core(hardware))
    assert cost.resources.flip_flops.nominal == hardware.flip_flops == emitted.total()
    assert re.search(r"^module accelerator\(", rtl.verilog(hardware), re.MULTILINE)
