"""PyTorch operators: exact, with shapes that PyTorch's compiler can tell, and nothing that ``opcheck`` objects to."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch operators need torch")
pytest.importorskip("numba", reason="on the processor they run on the compiled engine")
from hwbnn import ir  # after the packages that the next line needs
from hwbnn.infer import torch_ops  # likewise


@pytest.mark.parametrize("levels", [ir.BIPOLAR, ir.TERNARY, ir.Levels.unsigned(8)], ids=str)
@pytest.mark.parametrize("weights", [ir.BIPOLAR, ir.TERNARY, ir.Levels.signed(4)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.int16])
def test_linear_is_exact(levels, weights, dtype):
    rng = np.random.default_rng(0)
    w, x = rng.choice(weights.values(), (33, 130)), rng.choice(levels.values(), (2, 5, 130))
    layer = torch_ops.register(w, levels)
    got = torch_ops.packed_linear(torch.from_numpy(x).to(dtype), layer)
    assert got.dtype == torch.int32 and got.shape == (2, 5, 33)
    assert np.array_equal(got.numpy(), x @ w.T)


def test_opcheck():
    rng = np.random.default_rng(0)
    layer = torch_ops.register(rng.choice([-1, 1], (7, 70)), ir.BIPOLAR)
    x = torch.from_numpy(rng.choice([-1.0, 1.0], (3, 70)).astype(np.float32))
    torch.library.opcheck(torch.ops.hwbnn.packed_linear.default, (x, layer, 7))


@pytest.mark.slow
def test_one_graph_under_compile():
    rng = np.random.default_rng(0)
    w = rng.choice([-1, 1], (7, 70))
    layer = torch_ops.register(w, ir.BIPOLAR)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def model(x):
        return torch_ops.packed_linear(torch.where(x >= 0, 1.0, -1.0), layer) + 1

    x = rng.normal(size=(4, 70)).astype(np.float32)
    want = np.where(x >= 0, 1, -1) @ w.T + 1
    assert np.array_equal(model(torch.from_numpy(x)).numpy(), want)


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"^Weights must have shape \(rows, columns\), not \(3,\)$"):
        torch_ops.register([1, 1, 1], ir.BIPOLAR)
    with pytest.raises(ValueError, match=r"^Activations must have at most 256 levels, not 1024$"):
        torch_ops.register([[1]], ir.Levels.unsigned(10))
    layer = torch_ops.register([[1, -1]], ir.BIPOLAR)
    with pytest.raises(ValueError, match=r"^Activations must have 2 columns, not \(4, 3\)$"):
        torch_ops.packed_linear(torch.ones(4, 3), layer)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU and PyTorch built for it")
def test_on_the_device():
    rng = np.random.default_rng(0)
    w, x = rng.choice([-1, 0, 1], (70, 1100)), rng.choice([-1, 0, 1], (300, 1100))
    layer = torch_ops.register(w, ir.TERNARY)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        got = torch_ops.packed_linear(torch.from_numpy(x).cuda().float(), layer)
    stream.synchronize()
    assert got.is_cuda and np.array_equal(got.cpu().numpy(), x @ w.T)
