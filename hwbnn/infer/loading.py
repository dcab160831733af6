"""Open a network for inference on the device that is wanted, or on the best there is."""

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from hwbnn import ir
from hwbnn.errors import UserError
from hwbnn.infer.engine import Engine
from hwbnn.infer.host import HostEngine
from hwbnn.infer.plain import NumpyEngine
from hwbnn.infer.session import Session

__all__ = ["DEVICES", "engine_for", "host_engine", "load"]

DEVICES = ("auto", "cpu", "cuda")


def load(network: ir.Network | str | os.PathLike, device: str = "auto", *, threads: int | None = None,
         batch: int | None = None) -> Session:
    """Return a session that runs ``network``.

    Parameters
    ----------
    network : :class:`hwbnn.ir.Network` or path
        An ``.onnx`` file (extra ``onnx``), an ``.npz`` file, or a build directory.
    device : :class:`str`
        ``cuda``, ``cpu``, or ``auto``: CUDA where it works, else the processor, saying so on standard error.
    threads, batch
        As :class:`Session` takes them.

    Raises
    ------
    UserError
        One line: no such file, no driver, no GPU, too old a GPU, unknown device.
    """
    if device not in DEVICES:
        raise UserError(f"Device must be one of {', '.join(DEVICES)}, not {device}")
    net = network if isinstance(network, ir.Network) else _read(Path(network))
    return Session(net, engine_for(device), threads=threads, batch=batch)


def _read(path: Path) -> ir.Network:
    if path.is_dir():
        from hwbnn.builddir import BuildDirectory  # not needed by those who pass a network

        return BuildDirectory(path).network
    if path.suffix == ".onnx":
        if find_spec("onnx") is None:
            raise UserError(f"Reading {path} must have the onnx package, which is missing: pip install 'hwbnn[onnx]'")
        return import_module("hwbnn.frontend").load_onnx(path)  # the importer brings onnx and qonnx with it
    return ir.load(path)


def engine_for(device: str) -> Engine:
    """The engine for ``device``; a line on standard error where a wish or a package is not to be had."""
    if device in ("auto", "cuda"):
        try:
            return _cuda()
        except UserError as error:
            if device == "cuda":
                raise
            print(f"hwbnn: using the processor, since {error}", file=sys.stderr)
    return host_engine()


def _cuda() -> Engine:
    for package in ("cuda.core", "cuda.bindings"):
        if not _installed(package):
            raise UserError(f"CUDA must have the package {package.replace('.', '-')}, which is missing: "
                            "pip install 'hwbnn[cuda]'")
    driver = import_module("hwbnn.infer.cuda.driver").open_device()  # asks NVIDIA's driver; not for those without
    return import_module("hwbnn.infer.cuda.engine").CudaEngine(driver, host_engine())


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # its parent is missing
        return False


def host_engine() -> HostEngine:
    """The compiled engine, or NumPy's with a line on standard error that says what it costs."""
    if find_spec("numba") is not None:
        return import_module("hwbnn.infer.cpu").NumbaEngine()  # compiles; not imported with the package
    engine = NumpyEngine()
    print(f"hwbnn: {engine.speed}", file=sys.stderr)
    return engine
