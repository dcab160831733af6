"""Builds: compile a network into a directory, then simulate, estimate, synthesize and report it."""

from hwbnn.build.compilation import OUTPUTS, compile
from hwbnn.build.estimation import Target, on_target
from hwbnn.build.facade import Build
from hwbnn.build.models import load

__all__ = ["OUTPUTS", "Build", "Target", "compile", "load", "on_target"]
