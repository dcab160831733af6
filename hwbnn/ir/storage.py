"""Networks in files: one compressed NumPy archive with a JSON header."""

import hashlib
import json
import os
import tempfile
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from hwbnn.errors import UserError
from hwbnn.ir.levels import Levels
from hwbnn.ir.network import Input, Network, Output
from hwbnn.ir.node import Node
from hwbnn.ir.nodes import OPERATIONS

__all__ = ["VERSION", "digest", "load", "save"]

VERSION = 1


def save(network: Network, path: str | os.PathLike) -> None:
    """Write ``network`` to ``path`` (``.npz``), replacing it only once the whole file is written."""
    header, arrays = _pack(network)
    path = Path(path)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as file:
        try:
            arrays["header"] = np.array(json.dumps(header))
            np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]  # no array is allow_pickle
            file.close()
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def load(path: str | os.PathLike) -> Network:
    """Read a network that :func:`save` wrote. Raises :class:`UserError` for any other file."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            header = json.loads(str(archive["header"]))
            arrays = {name: archive[name] for name in archive.files if name != "header"}
    except FileNotFoundError:
        raise UserError(f"Network file must exist, and {path} does not") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        raise UserError(f"Network file must be one that hwbnn wrote, and {path} is not or is truncated") from None
    version = header.get("version")
    if version != VERSION:
        mend = "update hwbnn to read it" if isinstance(version, int) and version > VERSION else "compile it again"
        raise UserError(f"Network file {path} must have version {VERSION}, not {version}; {mend}")
    return _unpack(header, arrays)


def digest(network: Network) -> str:
    """Hex SHA-256 of everything that :func:`save` stores; equal networks have equal digests."""
    header, arrays = _pack(network)
    total = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(arrays):
        total.update(f"{name}{arrays[name].dtype.str}{arrays[name].shape}".encode())
        total.update(np.ascontiguousarray(arrays[name]).tobytes())
    return total.hexdigest()


def _pack(network: Network) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    arrays: dict[str, np.ndarray] = {}

    def record(obj, prefix: str) -> dict[str, Any]:
        entry: dict[str, Any] = {"op": obj.op} if isinstance(obj, Node) else {}
        for f in fields(obj):
            value = getattr(obj, f.name)
            if isinstance(value, np.ndarray):
                key = f"{prefix}/{f.name}"
                arrays[key] = _narrow(value)
                value = {"array": key}
            elif isinstance(value, Levels):
                value = {"levels": [value.low, value.high, value.step]}
            entry[f.name] = value
        return entry

    header = {
        "version": VERSION,
        "name": network.name,
        "input": record(network.input, "input"),
        "nodes": [record(node, f"nodes/{k}") for k, node in enumerate(network.nodes)],
        "outputs": [record(output, f"outputs/{k}") for k, output in enumerate(network.outputs)],
        "metadata": dict(network.metadata),
    }
    return header, arrays


def _narrow(array: np.ndarray) -> np.ndarray:
    """Store integers in the smallest type that holds them; the records widen them again."""
    if array.dtype.kind != "i" or not array.size:
        return array
    low, high = array.min(), array.max()
    for dtype in (np.int8, np.int16, np.int32):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return array.astype(dtype)
    return array


def _unpack(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Network:
    def field(value):
        if isinstance(value, dict):
            return arrays[value["array"]] if "array" in value else Levels(*value["levels"])
        return tuple(value) if isinstance(value, list) else value

    def build(cls, entry):
        return cls(**{name: field(value) for name, value in entry.items() if name != "op"})

    return Network(
        header["name"],
        build(Input, header["input"]),
        tuple(build(OPERATIONS[entry["op"]], entry) for entry in header["nodes"]),
        tuple(build(Output, entry) for entry in header["outputs"]),
        header["metadata"],
    )
