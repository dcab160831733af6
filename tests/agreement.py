"""Hold everything that a trained network becomes to each other: torch, qonnx, golden, and hardware in simulation."""

import numpy as np
from hardware import run

from hwbnn import golden, plan
from hwbnn.frontend import load_onnx
from hwbnn.plan.matrices import Matrix
from hwbnn_train import compare, execute, export, settle

__all__ = ["agree"]


def agree(folder, model, x, *, simulated=0):
    """Hold torch, qonnx's executor and golden to each other on all images ``x``, and the hardware to golden on some."""
    settle(model.eval())
    proto = export(model, x.shape[1:])
    assert compare(model, proto, x).difference <= 1e-4
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    net = load_onnx(folder / "model.onnx")
    logits = execute(proto, x)
    assert np.allclose(golden.run(net, x), logits, rtol=1e-5, atol=1e-5)
    assert np.array_equal(golden.run(net, x).argmax(axis=1), logits.argmax(axis=1))
    if simulated:
        q = golden.encode(net, x[:simulated])
        folds = {node.name: plan.Fold(1, matrix.columns) for node in net.nodes if (matrix := Matrix.of(node))}
        values, _, _ = run(plan.lower(net, folds), q)
        assert np.array_equal(values, golden.evaluate(net, q)[net.outputs[0].tensor])
