"""hwbnn: binarized, ternary and low-bit networks on FPGAs, from a trained model to a bitstream.

>>> import hwbnn
>>> net = hwbnn.load("runs/digits/model.onnx")
>>> build = hwbnn.compile(net, "build/digits", board="ulx3s-85f", target_fps=100_000)
>>> build.simulate(x); build.estimate(); build.synth(); build.report()

Names are loaded when they are first used, so that importing the package is quick and needs no extra.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hwbnn.version import __version__

if TYPE_CHECKING:
    from hwbnn import golden, ir
    from hwbnn.build import Build, compile, load
    from hwbnn.errors import UserError

__all__ = ["Build", "UserError", "__version__", "compile", "golden", "ir", "load"]

_HOME = {"Build": "hwbnn.build", "compile": "hwbnn.build", "load": "hwbnn.build", "UserError": "hwbnn.errors"}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in __all__:
        return import_module(f"hwbnn.{name}")
    raise AttributeError(f"module 'hwbnn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
