"""Import equals qonnx's executor: every quantizer, every logit."""

import numpy as np
from zoo_onnx import check_import, digits_mlp, execute, qonnx_execute

from hwbnn import ir
from hwbnn.frontend import load_onnx


def test_digits_mlp_equals_the_executor(tmp_path):
    path = digits_mlp(tmp_path / "digits.onnx")
    x = np.random.default_rng(1).integers(-2, 18, (300, 64)).astype(np.float32)
    net = check_import(path, x)
    assert [node.op for node in net.nodes] == ["MatMul", "Threshold", "MatMul", "Threshold", "MatMul"]
    assert [net.tensors[node.output].levels.is_bipolar for node in net.nodes[1:4:2]] == [True, True]
    assert all(np.all(node.signs == 1) for node in net.nodes[1:4:2])
    few, y = qonnx_execute(path, x[:3]), execute(path, x[:3])
    assert len(few) > 9 and all(np.array_equal(few[tensor], y[tensor]) for tensor in y.keys() - {"x"})
    ir.save(net, tmp_path / "net.npz")
    assert ir.load(tmp_path / "net.npz") == net
    assert load_onnx(path) == net
