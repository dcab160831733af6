"""Weights to load into an accelerator that was built for others: what may differ, and the file that holds them."""

import hashlib
import os
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from hwbnn import ir
from hwbnn.builddir import BuildDirectory, write_atomic
from hwbnn.classify import classifier
from hwbnn.errors import UserError
from hwbnn.plan.elementwise import AffineStage
from hwbnn.plan.loader import contents, loaded_banks
from hwbnn.plan.lower import Plan, unsized
from hwbnn.plan.records import Stage
from hwbnn.plan.stored import plan_of
from hwbnn.plan.tables import Thresholds

__all__ = ["WeightImage"]

_MAGIC = b"hwbnn-w1"
_FREE = {ir.MatMul: ("weights",), ir.Conv: ("weights",), ir.Threshold: ("thresholds", "signs"),
         ir.Affine: ("multipliers", "offsets")}  # what may be loaded of each


@dataclass(frozen=True, eq=False)
class WeightImage:
    """The contents of every loadable bank of one build, made of a network with the structure of the build's own.

    Parameters
    ----------
    fingerprint : :class:`bytes`
        Of the build: eight bytes.
    network : :class:`ir.Network`
        Whose weights they are.
    banks : tuple of :class:`bytes`
        As :func:`hwbnn.plan.loader.contents` makes them.
    """

    fingerprint: bytes
    network: ir.Network
    banks: tuple[bytes, ...]

    @classmethod
    def of(cls, directory: BuildDirectory, network: ir.Network | None = None) -> "WeightImage":
        """Return what gives a build the weights of ``network``, or its own ones.

        Raises
        ------
        UserError
            The build has no loadable layers, or something else than what is loadable differs; the message names it.
        """
        plan = plan_of(directory)
        if plan.loader is None:
            raise UserError(f"Build {directory.path} must have loadable layers, and it has none; "
                            "compile it with --loadable all")
        if network is None:
            return cls(fingerprint(plan), plan.network, tuple(contents(plan.stages)))
        if directory.manifest.output == "class":
            network = classifier(network)
        return cls(fingerprint(plan), network, tuple(contents(_stages(plan, network))))

    def write(self, path: str | os.PathLike) -> Path:
        """Write the file of docs/folding.md."""
        with tempfile.TemporaryDirectory() as folder:
            ir.save(self.network, Path(folder, "network.npz"))
            network = Path(folder, "network.npz").read_bytes()
        body = _MAGIC + self.fingerprint + len(self.banks).to_bytes(4, "little") + b"".join(
            len(bank).to_bytes(4, "little") + bank for bank in self.banks)
        return write_atomic(path, body + zlib.crc32(body).to_bytes(4, "little") + network)

    @classmethod
    def read(cls, path: str | os.PathLike, plan: Plan) -> "WeightImage":
        """Read what :meth:`write` wrote; :class:`UserError` where it is damaged or of another build than ``plan``'s."""
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise UserError(f"Weights file {path} must be readable: {error.strerror}") from None
        if not content.startswith(_MAGIC):
            raise UserError(f"Weights file {path} must be one that `hwbnn weights` wrote, and it is not")
        place, banks = len(_MAGIC) + 12, []
        for _ in range(int.from_bytes(content[place - 4:place], "little")):
            size = int.from_bytes(content[place:place + 4], "little")
            banks.append(content[place + 4:place + 4 + size])
            place += 4 + size
            if place > len(content):
                break
        if content[place:place + 4] != zlib.crc32(content[:place]).to_bytes(4, "little"):
            raise UserError(f"Weights file {path} must be whole, and it is damaged; make it again with `hwbnn weights`")
        if content[len(_MAGIC):len(_MAGIC) + 8] != fingerprint(plan):
            raise UserError(f"Weights file {path} must be made for this build, and it is for another; make it again "
                            "with `hwbnn weights MODEL --for BUILD`")
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "network.npz").write_bytes(content[place + 4:])
            return cls(fingerprint(plan), ir.load(Path(folder, "network.npz")), tuple(banks))


def fingerprint(plan: Plan) -> bytes:
    """Return eight bytes that differ where the network of a build or its loadable banks differ."""
    banks = [loaded.bank for loaded in loaded_banks(plan.stages).values()]
    return hashlib.sha256(f"{ir.digest(plan.network)} {banks}".encode()).digest()[:8]


def _stages(plan: Plan, network: ir.Network) -> Sequence[Stage]:
    """The stages of ``plan`` with the weights of ``network``, which must differ in nothing else."""
    _check_nodes(plan, network)
    try:
        rooms = {stage.name: stage.spans for stage in plan.stages if isinstance(stage, AffineStage) and stage.spans}
        stages = unsized(network, plan.folds, rooms=rooms)
    except ValueError as error:  # no room for a constant
        raise UserError(f"Network {network.name} must fit the build: {error}") from None
    there = {stage.name: stage for stage in plan.stages}
    for stage in stages:
        mine, theirs = (getattr(one, "thresholds", None) for one in (there[stage.name], stage))
        if isinstance(mine, Thresholds) and isinstance(theirs, Thresholds) and (
                mine.is_mixed != theirs.is_mixed or (not mine.is_mixed and mine.inverts[0] != theirs.inverts[0])):
            raise UserError(f"Network {network.name} must have thresholds that rise and fall where those of "
                            f"{plan.network.name} do, and those of {stage.name} do not")
    for place, loaded in loaded_banks(stages).items():
        bank = loaded_banks(plan.stages)[place].bank
        if loaded.bank != bank:
            raise UserError(f"Network {network.name} must fill {bank.depth} words of {bank.width} bits in {bank.name}, "
                            f"not {loaded.bank.depth} of {loaded.bank.width}")
    return stages


def _check_nodes(plan: Plan, network: ir.Network) -> None:
    own = plan.network
    loadable = {node for name, port in loaded_banks(plan.stages) for node in plan.stage(name).nodes}
    told = f"Network {network.name} must differ from {own.name} of the build in loadable weights only"
    for name in ("shape", "graph_shape", "axes", "levels"):
        if getattr(own.input, name) != getattr(network.input, name):
            raise UserError(f"{told}, and its input has another {name}: {getattr(network.input, name)} in place of "
                            f"{getattr(own.input, name)}")
    for here, there in zip(own.nodes, network.nodes, strict=False):
        if (here.op, here.name) != (there.op, there.name):
            raise UserError(f"{told}, and it has {there.op} {there.name} in place of {here.op} {here.name}")
        free = _FREE.get(type(here), ()) if here.name in loadable else ()
        for field in fields(here):
            a, b = getattr(here, field.name), getattr(there, field.name)
            if field.name in free:
                a, b = (_form(here, field.name, value) for value in (a, b))
            if not np.array_equal(a, b):
                raise UserError(f"{told}, and {here.name} has other {field.name}" + (
                    f": {b} in place of {a}" if field.name in free or np.ndim(a) < 2 else ""))
    if len(own.nodes) != len(network.nodes):
        raise UserError(f"{told}, and it has {len(network.nodes)} nodes in place of {len(own.nodes)}")
    if [output.tensor for output in own.outputs] != [output.tensor for output in network.outputs]:
        raise UserError(f"{told}, and it has another output")


def _form(node: ir.Node, name: str, value: np.ndarray) -> tuple[int, ...]:
    """What must not differ of an array that may: its shape, or the number of thresholds per channel."""
    if isinstance(node, ir.MatMul | ir.Conv):
        return value.shape
    return value.shape[1:] if name == "thresholds" else ()
