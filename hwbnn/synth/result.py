"""What a synthesis found, as records that are kept in ``synth/result.json``."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hwbnn.builddir import BuildDirectory
from hwbnn.errors import UserError
from hwbnn.synth.critical import CriticalPath
from hwbnn.synth.reports import Cells, Use

__all__ = ["FILE", "SynthesisResult"]

FILE = "synth/result.json"
_FORMAT = 1


@dataclass(frozen=True)
class SynthesisResult:
    """One build, synthesized, placed and routed.

    Two things are counted. ``accelerator`` and ``stages`` are the emitted Verilog alone, after Yosys, with the
    boundaries between stages kept so that each has its own cells; they add up. ``design`` is the whole design for the
    board, host link included, after Yosys, and ``placed`` is the same after nextpnr, which adds LUTs that only pass a
    signal on.

    Parameters
    ----------
    board, technology : :class:`str`
        Where it goes.
    network : :class:`str`
        Digest of the network that was synthesized.
    seed : :class:`int`
        Of the placement.
    clock_hz : :class:`int`
        What the design must reach.
    fmax_hz : :class:`float`
        What it reaches, by nextpnr's timing of the routed design.
    accelerator : :class:`Cells`
        The emitted Verilog alone.
    stages : mapping
        Stage of the plan to its :class:`Cells`.
    design : :class:`Cells`
        The whole design.
    placed : mapping
        ``lut``, ``ff``, ``block_memory``, ``dsp``, ... to :class:`Use` of the device.
    bitstream : :class:`~pathlib.Path` or None
        File to load, absolute; None where the clock is not reached.
    versions : mapping
        Tool or package to version.
    seconds : mapping
        Step to wall-clock seconds; ``total`` is the whole run, in which steps overlap.
    critical : :class:`CriticalPath` or None
        What the slowest path passes.
    """

    board: str
    technology: str
    network: str
    seed: int
    clock_hz: int
    fmax_hz: float
    accelerator: Cells
    stages: Mapping[str, Cells]
    design: Cells
    placed: Mapping[str, Use]
    bitstream: Path | None
    bitstream_sha256: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    critical: CriticalPath | None = None

    @property
    def met(self) -> bool:
        """Whether the clock is reached."""
        return self.fmax_hz >= self.clock_hz

    def to_json(self, directory: BuildDirectory) -> dict[str, Any]:
        """Return what ``synth/result.json`` holds; paths are relative to the build directory."""
        record = asdict(self)
        bitstream = None if self.bitstream is None else str(self.bitstream.relative_to(directory.path.resolve()))
        return {"format": _FORMAT, **record, "met": self.met, "bitstream": bitstream}

    @classmethod
    def read(cls, directory: BuildDirectory) -> "SynthesisResult":
        """Read the last result of a build directory.

        Raises
        ------
        UserError
            Where there is none, or it belongs to another network or bitstream.
        """
        record = directory.read_json(FILE, "hwbnn synth")
        again = f"make it again with `hwbnn synth {directory.path}`"
        if record.get("format") != _FORMAT:
            raise UserError(f"File {directory / FILE} must have format {_FORMAT}, not {record.get('format')}; {again}")
        with directory.parsing(FILE, "hwbnn synth"):
            if record["network"] != directory.manifest.network:
                raise UserError(f"File {directory / FILE} must belong to the network of this build, and does not; "
                                f"{again}")
            path = None if record["bitstream"] is None else directory.path.resolve() / record["bitstream"]
            if path is not None and (not path.exists() or sha256(path) != record["bitstream_sha256"]):
                raise UserError(f"Bitstream {path} must be the one that {FILE} describes, and it is not; {again}")
            names = set(cls.__dataclass_fields__)
            return cls(**{
                **{name: value for name, value in record.items() if name in names},
                "accelerator": Cells(**record["accelerator"]),
                "stages": {name: Cells(**counts) for name, counts in record["stages"].items()},
                "design": Cells(**record["design"]),
                "placed": {name: Use(**amount) for name, amount in record["placed"].items()},
                "bitstream": path,
                "critical": CriticalPath.of(record["critical"]) if record.get("critical") else None,
            })


def sha256(path: Path) -> str:
    """Return the hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
