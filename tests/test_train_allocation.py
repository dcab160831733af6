"""Memory that is freed is taken again without the system's help."""

import platform
import subprocess
import sys

import pytest

from hwbnn_train.allocation import keep_freed_memory

GLIBC = platform.libc_ver()[0] == "glibc"
FAULTS = """
import resource, sys
import torch
from hwbnn_train.allocation import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    held = [torch.ones(512, 784) for _ in range(4)]
    del held
step()
step()
before = pages()
for _ in range(50):
    step()
print((pages() - before) / 50)
"""


def test_it_tells_whether_it_can():
    assert keep_freed_memory() == GLIBC


@pytest.mark.skipif(not GLIBC, reason="mallopt is a function of glibc")
def test_pages_are_not_taken_anew():
    found = subprocess.run([sys.executable, "-c", FAULTS, "keep"], capture_output=True, text=True, check=True)
    assert float(found.stdout) < 10  # of the 1,568 that four such tensors fill


def test_elsewhere_nothing_is_done(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
