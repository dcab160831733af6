"""The build directory: the unit that commands hand to each other, written so that an interrupt loses nothing."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from hwbnn import ir
from hwbnn.errors import UserError

__all__ = ["FORMAT", "BuildDirectory", "Manifest", "write_atomic"]

FORMAT = 1


def write_atomic(path: str | os.PathLike, content: str | bytes) -> Path:
    """Write ``content`` to ``path``, replacing the file only once all of it is on disk."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    return path


@dataclass(frozen=True)
class Manifest:
    """What ``build.json`` says: everything that made the Verilog, and what with.

    Parameters
    ----------
    board : :class:`str`
        Board name, as :mod:`hwbnn_boards` knows it.
    clock_hz : :class:`int`
        Frequency of the accelerator's clock.
    pace : mapping
        Where registers stand for it (:class:`hwbnn.plan.Pace`).
    target_fps : :class:`float` or None
        Frames per second that the folding was chosen for; None where the folding was given.
    output : :class:`str`
        ``class`` or ``logits``: what the accelerator sends.
    folds : mapping
        Node name to ``{"pe": n, "simd": n}``, with the unit's options where any were asked for.
    network : :class:`str`
        Digest of ``network.npz`` (:func:`hwbnn.ir.digest`).
    rtl : :class:`str`
        SHA-256 of ``rtl/accelerator.v``; empty where it is not known.
    behavioural : :class:`str`
        SHA-256 of ``rtl/behavioural.v``; empty where there is none, since ``rtl/accelerator.v`` is so itself.
    source : :class:`str`
        The file that the network was read from.
    seed : :class:`int`
        Seed of every random choice of the tools (placement).
    versions : mapping
        Package name to version.
    command : :class:`str`
        The command that made the directory.
    """

    board: str
    clock_hz: int
    target_fps: float | None
    output: str
    folds: Mapping[str, Mapping[str, Any]]
    network: str
    rtl: str = ""
    behavioural: str = ""
    source: str = ""
    seed: int = 1
    versions: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    pace: Mapping[str, Any] = field(default_factory=dict)
    format: int = FORMAT


class BuildDirectory:
    """Files of one build, by name. Every write is atomic; ``build.json`` is written last by ``compile``."""

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"BuildDirectory({str(self.path)!r})"

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def manifest(self) -> Manifest:
        """``build.json``. Raises :class:`UserError` where there is none or it is another format's."""
        file = self.path / "build.json"
        if not file.exists():
            raise UserError(f"Build directory must be complete, and {self.path} has no build.json; "
                            f"make it with `hwbnn compile MODEL -o {self.path}`")
        content = self.read_json("build.json", "hwbnn compile")
        if content.get("format") != FORMAT:
            raise UserError(f"Build directory {self.path} must have format {FORMAT}, not {content.get('format')}; "
                            f"make it again with `hwbnn compile`")
        with self.parsing("build.json", "hwbnn compile MODEL -o"):
            missing = [f.name for f in fields(Manifest) if f.name not in content]
            if missing:
                raise UserError(f"Build file {file} must have the entry {missing[0]!r}; "
                                "make it again with `hwbnn compile`")
            folds = {name: {**fold, "pe": int(fold["pe"]), "simd": int(fold["simd"])}
                     for name, fold in content["folds"].items()}
            return Manifest(**{**{f.name: content[f.name] for f in fields(Manifest)}, "folds": folds})

    @property
    def network(self) -> ir.Network:
        """``network.npz``, checked against the manifest's digest."""
        manifest = self.manifest
        network = ir.load(self.require("network.npz", "hwbnn compile"))
        if ir.digest(network) != manifest.network:
            raise UserError(f"Network in {self.path} must be the one that was compiled, and it was changed; "
                            f"make it again with `hwbnn compile`")
        return network

    @property
    def verilog(self) -> Path:
        """``rtl/accelerator.v``, what is synthesized, checked against the manifest's digest."""
        return self._unchanged("rtl/accelerator.v", self.manifest.rtl)

    @property
    def behavioural(self) -> Path:
        """What is simulated: the same without cells of the chip's family, which any simulator reads, and fast.

        It is ``rtl/behavioural.v``, or ``rtl/accelerator.v`` where that is behavioural; both are checked.
        """
        file, known = self.verilog, self.manifest.behavioural
        return self._unchanged("rtl/behavioural.v", known) if known else file

    def _unchanged(self, name: str, known: str) -> Path:
        """The file ``name``; an interrupted compile may mix files, so a ``known`` digest must be its own."""
        file = self.require(name, "hwbnn compile MODEL -o")
        if known and sha256(file.read_bytes()).hexdigest() != known:
            raise UserError(f"Verilog in {self.path} must be the one that was compiled, and it was changed; "
                            f"make it again with `hwbnn compile MODEL -o {self.path}`")
        return file

    def require(self, name: str, made_by: str) -> Path:
        """Return the path of ``name``, or say which command makes it."""
        file = self.path / name
        if not file.exists():
            raise UserError(f"File {file} must exist; make it with `{made_by} {self.path}`")
        return file

    def read_json(self, name: str, made_by: str) -> dict[str, Any]:
        """Read a JSON file of this directory that ``made_by`` writes."""
        file = self.require(name, made_by)
        try:
            content = json.loads(file.read_text())
        except (json.JSONDecodeError, UnicodeDecodeError):
            content = None
        if not isinstance(content, dict):
            raise UserError(f"File {file} must be a JSON object, and it is damaged; make it again with `{made_by}`")
        return content

    @contextmanager
    def parsing(self, name: str, made_by: str) -> Iterator[None]:
        """Blame the file ``name`` where the block finds entries missing or of another kind."""
        try:
            yield
        except UserError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            raise UserError(f"File {self.path / name} must be what `{made_by}` writes, and it is damaged; "
                            f"make it again with `{made_by} {self.path}`") from None

    @property
    def commands(self) -> dict[str, dict[str, Any]]:
        """``commands.json``: command, time and duration by step; empty where there is none that can be read."""
        try:
            known = json.loads((self.path / "commands.json").read_text())
        except (OSError, ValueError):  # only provenance: a damaged file is no reason to stop
            return {}
        entries = {"command", "seconds", "finished"}
        good = isinstance(known, dict) and all(isinstance(step, dict) and entries <= set(step)
                                               for step in known.values())
        return known if good else {}

    def write_json(self, name: str, content: Mapping[str, Any] | Manifest) -> Path:
        """Write a JSON file of this directory."""
        record = asdict(content) if isinstance(content, Manifest) else dict(content)
        return write_atomic(self.path / name, json.dumps(record, indent=2) + "\n")
