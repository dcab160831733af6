"""Profiles, options and fixtures for the whole suite."""

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from commands import FOLDS, call
from hypothesis import HealthCheck, settings
from zoo import tiny

from hwbnn import ir

# A shell that starts a job in the background has it ignore interrupts; the tests of interrupts need them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Machines are shared and noisy: no deadline per example. `ci` draws the same examples on every run.
settings.register_profile("dev", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("dev"), derandomize=True)
settings.register_profile("thorough", parent=settings.get_profile("dev"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def digits_model(tmp_path_factory):
    """The demo's model, trained on real digits in a few seconds: path of ``model.onnx``."""
    from hwbnn_train import train  # here: torch is slow to import, and few tests need it
    folder = tmp_path_factory.mktemp("digits")
    train("digits-mlp", folder, progress=False)
    return folder / "model.onnx"


@pytest.fixture
def model(tmp_path) -> Path:
    """A small network's file."""
    path = tmp_path / "tiny.npz"
    ir.save(tiny(), path)
    return path


@pytest.fixture
def images(tmp_path) -> Path:
    """A file of twenty images for that network."""
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(1).integers(0, 16, (20, 8)))
    return path


@pytest.fixture(scope="session")
def compiled(tmp_path_factory) -> Path:
    """A build that no test changes."""
    folder = tmp_path_factory.mktemp("compiled")
    ir.save(tiny(), folder / "tiny.npz")
    call("compile", folder / "tiny.npz", "--board", "ulx3s-85f", *FOLDS, "-o", folder / "build")
    return folder / "build"


@pytest.fixture
def build(tmp_path, compiled) -> Path:
    """A build of the test's own."""
    return Path(shutil.copytree(compiled, tmp_path / "build"))


@pytest.fixture
def seeded():
    """PyTorch on one thread with seed 0 for the length of a test, where it is asked for by ``usefixtures``."""
    import torch  # here: slow to import, and few tests need it
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def rng(request):
    """Random numbers that depend on the name of the test alone."""
    return np.random.default_rng(sum(map(ord, request.node.name)))


# Seconds each, and their components have quicker tests beside them: `make test` runs them, `make test-fast` does not.
SLOW_FILES = {"test_frontend_random.py", "test_hostlink.py", "test_infer_cuda.py", "test_infer_published.py",
              "test_rtl_graph.py", "test_rtl_maps.py", "test_rtl_units.py", "test_train_methods.py"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark whole files as slow, before marks are selected by."""
    for item in items:
        if item.path.name in SLOW_FILES:
            item.add_marker(pytest.mark.slow)
