"""Networks of Brevitas equal qonnx's executor on images that they did not see."""

import numpy as np
import pytest

pytest.importorskip("brevitas", reason="the zoo of Brevitas needs brevitas (development group)")
pytestmark = [
    pytest.mark.slow,
    # Brevitas and torch's exporter warn about their own future; nothing here can mend that
    *(pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("UserWarning", "DeprecationWarning", "FutureWarning")),
]

# scales that are powers of two: sums in float32 are exact, and logits are equal bit by bit
EXACT = {"tfc-1w1a", "tfc-1w2a", "tfc-2w2a", "lfc-1w1a", "cnv-1w1a", "cnv-1w2a", "cnv-2w2a", "separable"}
NAMES = ("tfc-1w1a", "tfc-1w2a", "tfc-2w2a", "lfc-1w1a", "cnv-1w1a", "cnv-1w2a", "cnv-2w2a", "residual",
         "residual-unequal", "separable", "signal", "channels-4bit", "channels-8bit", "ternary")


@pytest.mark.parametrize("name", NAMES)
def test_import_equals_the_executor(name, tmp_path):
    from zoo_brevitas import export  # imports brevitas, which warns on import
    from zoo_onnx import check_import, qonnx_execute

    from hwbnn import golden
    from hwbnn.frontend import import_onnx

    path, x, y = export(name, tmp_path / f"{name}.onnx")
    x, y = (x[:36], y[:36]) if name.startswith("cnv") else (x, y)
    net = check_import(path, x, exact=name in EXACT, quantizers=len(import_onnx(path).quantizers))
    output = net.outputs[0].name
    few = qonnx_execute(path, x[:2])[output]
    assert np.abs(golden.run(net, x[:2]) - few).max() <= 2.0**-21 * np.abs(few).max()
    assert golden.run(net, x).shape == (len(x), 10)
    if not name.startswith("cnv"):
        assert np.mean(golden.classes(net, x) == y) > 0.35  # it has learnt something
