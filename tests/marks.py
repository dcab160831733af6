"""Marks of tests that need what a machine may lack."""

import shutil

import pytest

__all__ = ["ICARUS"]

ICARUS = pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
