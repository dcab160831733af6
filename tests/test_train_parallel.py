"""Several processes that keep equal replicas, devices, and steps in bfloat16."""

import dataclasses
import json
import re
import subprocess
import sys
import textwrap

import pytest
import torch

import hwbnn_train
from hwbnn.errors import UserError
from hwbnn_train import parallel
from hwbnn_train.losses import LOSSES
from hwbnn_train.parallel import Draws, Place
from hwbnn_train.recipes import RECIPES
from hwbnn_train.recipes.published import PUBLISHED

# the smallest of each method, on the digits: a transition drawn alike, weights drawn apart, statistics, scales
SCRIPT = """
    import dataclasses, hashlib, json, os, sys
    from pathlib import Path
    import torch
    import hwbnn_train
    from hwbnn_train import training
    from hwbnn_train.recipes import RECIPES

    small = {"hidden": (16,), "data": "digits", "epochs": 2, "batch": 50}
    rank, results = os.environ["RANK"], {}
    for name in sys.argv[2:]:
        recipe = dataclasses.replace(RECIPES[name], **small)
        kept = {}
        fit = training.fit

        def spy(model, *args, **options):
            before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            state = fit(model, *args, **options)
            kept["same"] = all(torch.equal(before[n], t) for n, t in state.model.items())
            kept["model"] = hashlib.sha256(b"".join(t.numpy().tobytes() for t in state.model.values())).hexdigest()
            kept["values"] = sorted(set(model.fc1.weight.flatten().tolist()))[:4]
            return state

        training.fit = spy
        folder = Path(sys.argv[1]) / name
        metrics = hwbnn_train.train(recipe, folder, progress=False, device="cpu")
        training.fit = fit
        results[name] = {**kept, "accuracy": metrics["accuracy"]["test"], "processes": metrics["config"]["processes"]}
    (Path(sys.argv[1]) / f"rank-{rank}.json").write_text(json.dumps(results))
"""


def test_two_processes_keep_equal_replicas(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    names = ("gxnor-mlp", "binaryconnect-stochastic-mlp", "lab-mlp")
    done = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
                           str(script), str(tmp_path), *names], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1))
    assert set(first) == set(names) and first == second
    assert first["gxnor-mlp"]["values"] == [-1, 0, 1]  # discrete states, moved by equal draws
    assert not any(kept["same"] for kept in first.values())
    assert all(kept["accuracy"] > 0.3 and kept["processes"] == 2 for kept in first.values())
    for name in names:
        assert (tmp_path / name / "model.onnx").exists()
        assert [p.name for p in (tmp_path / name / "tensorboard").iterdir()] == ["run-1"]


def test_batch_is_divided_among_the_processes(tmp_path):
    recipe = dataclasses.replace(RECIPES["digits-mlp"], batch=51)
    data = torch.zeros(60, 64), torch.zeros(60, dtype=torch.long)
    with pytest.raises(UserError, match=r"^Recipe batch must be a multiple of the 2 processes, not 51$"):
        hwbnn_train.loop.fit(recipe.model((64,), 10), recipe, data, data, config={}, file=tmp_path / "c.pt",
                             place=Place(torch.device("cpu"), 0, 2))
    parts = [Place(torch.device("cpu"), rank, 3).share(torch.arange(9)).tolist() for rank in range(3)]
    assert parts == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]


def test_draws_are_shared_but_within_own():
    shared, own = [], []
    for rank in (0, 1):
        torch.manual_seed(5)
        draws = Draws(Place(torch.device("cpu"), rank, 2))
        draws.renew()
        seen = []
        for _ in range(2):
            shared.append(float(torch.rand(())))
            with draws.own():
                seen.append(float(torch.rand(())))
        own.append(seen)
    assert shared[:2] == shared[2:] and len(set(shared[:2])) == 2
    assert len({*own[0], *own[1]}) == 4 and own[0] != own[1]


def test_a_single_process_has_one_stream():
    torch.manual_seed(5)
    expected = [float(torch.rand(())) for _ in range(2)]
    torch.manual_seed(5)
    draws = Draws(parallel.ALONE)
    draws.renew()
    first = float(torch.rand(()))
    with draws.own():
        assert [first, float(torch.rand(()))] == expected


# devices

def test_unknown_device(tmp_path):
    with pytest.raises(UserError, match=r"^Device must be one of auto, cpu, cuda, not 'gpu'$"):
        hwbnn_train.train("digits-mlp", tmp_path / "out", device="gpu")
    assert not (tmp_path / "out").exists()


def test_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    message = ("Device cuda must have a GPU that this torch can use, and there is none; use cpu, or install a torch "
               "with CUDA")
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        hwbnn_train.train("digits-mlp", tmp_path / "out", device="cuda")
    with parallel.place("auto") as place:
        assert place == parallel.ALONE


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.mixed and recipe not in PUBLISHED])
def test_steps_in_bfloat16(name):
    """On a CPU here, which has the same types; the products are bfloat16, everything that is kept is float32."""
    recipe = RECIPES[name]
    if not recipe.text:
        recipe = dataclasses.replace(recipe, **({"channels": (4, 4)} if recipe.channels else {"hidden": (16,)}))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        shape = {"digits": (64,), "tinyshakespeare": (30,), "cifar10": (3, 32, 32)}.get(recipe.data, (1, 28, 28))
        model = recipe.model(shape, 10).train()
        x, y = torch.randint(0, 10, (20, *shape)).float(), torch.arange(20) % 10
        y = y[:, None].expand(20, 30) if recipe.text else y
        recipe.advance(model, 0.99)
        with Place(torch.device("cpu"), mixed=True).autocast(recipe.mixed):
            outputs = model(x)
        loss = LOSSES[recipe.loss](outputs.float(), y) + recipe.penalty(model)
        loss.backward()
        recipe.optimizer(model).step()
    assert torch.isfinite(loss) and all(torch.isfinite(t).all() for t in model.state_dict().values())
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}
    assert all(p.grad.any() for name, p in model.named_parameters() if name.endswith("weight"))
