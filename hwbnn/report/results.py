"""Everything that a build directory knows, read for the report; what is missing is None."""

from dataclasses import dataclass
from typing import Any

from hwbnn import ir
from hwbnn.builddir import BuildDirectory, Manifest
from hwbnn.cost import Estimate
from hwbnn.plan import Plan, plan_of
from hwbnn.sim.faults import MEMORIES
from hwbnn.synth import SynthesisResult
from hwbnn_boards import Board, board

__all__ = ["Results"]


@dataclass(frozen=True)
class Results:
    """The records of a build directory.

    Parameters
    ----------
    path : :class:`str`
        The directory.
    training, accuracy, simulation : JSON records or None
        ``training.json``, ``accuracy.json``, ``sim/result.json``.
    estimate : :class:`Estimate` or None
    synthesis : :class:`SynthesisResult` or None
    commands : mapping
        ``commands.json``: by step what was run, when and how long.
    faults : JSON records
        ``faults/*.json``, one per target that was hit.
    """

    path: str
    manifest: Manifest
    network: ir.Network
    plan: Plan
    board: Board
    training: dict[str, Any] | None
    accuracy: dict[str, Any] | None
    simulation: dict[str, Any] | None
    estimate: Estimate | None
    synthesis: SynthesisResult | None
    commands: dict[str, dict[str, Any]]
    faults: tuple[dict[str, Any], ...] = ()

    @classmethod
    def read(cls, directory: BuildDirectory) -> "Results":
        """Read ``directory``. Raises :class:`UserError` where there is no complete build, or a file is damaged."""
        manifest, network = directory.manifest, directory.network

        def optional(name: str, made_by: str) -> dict[str, Any] | None:
            if not (directory / name).exists():
                return None
            record = directory.read_json(name, made_by)
            return record if record.get("network", manifest.network) == manifest.network else None

        record, estimate = optional("estimate.json", "hwbnn estimate"), None
        if record is not None:
            with directory.parsing("estimate.json", "hwbnn estimate"):
                estimate = Estimate.from_json(record)
        return cls(
            path=str(directory.path), manifest=manifest, network=network, plan=plan_of(directory),
            board=board(manifest.board).at(manifest.clock_hz), training=optional("training.json", "hwbnn compile"),
            accuracy=optional("accuracy.json", "hwbnn simulate"),
            simulation=optional("sim/result.json", "hwbnn simulate"),
            estimate=estimate,
            synthesis=SynthesisResult.read(directory) if (directory / "synth/result.json").exists() else None,
            commands=directory.commands,
            faults=tuple(record for target in (*MEMORIES, "registers")
                         if (record := optional(f"faults/{target}.json", "hwbnn faults")) is not None))
