"""What an interrupted simulation has done already: parts of its images with their outcome, kept one by one."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwbnn.builddir import BuildDirectory, write_atomic
from hwbnn.errors import UserError
from hwbnn.sim.result import Mismatch
from hwbnn.sim.verdict import Verdict

__all__ = ["Outcome", "Partial"]

_FOLDER = "sim/partial"


@dataclass(frozen=True)
class Outcome:
    """What became of a part of the images.

    Parameters
    ----------
    beats : uint8 array (frames received, beats, bytes)
        The output.
    verdict : :class:`Verdict`
        How it compares.
    cycles : :class:`int`
        Cycles simulated.
    seconds : :class:`float`
        Wall-clock time.
    """

    beats: NDArray[np.uint8]
    verdict: Verdict
    cycles: int
    seconds: float


class Partial:
    """The parts of one simulation in ``sim/partial``; each is there as a whole or not at all.

    Parameters
    ----------
    made_of : mapping
        Everything that decides the outcome, by a name that a user understands.
    """

    def __init__(self, directory: BuildDirectory, made_of: Mapping[str, Any]):
        self.path = directory / _FOLDER
        self.made_of = json.loads(json.dumps(made_of))

    def begin(self):
        """Forget an earlier simulation, and note what this one is made of."""
        self.clear()
        write_atomic(self.path / "made_of.json", json.dumps(self.made_of, indent=2) + "\n")

    def resume(self) -> dict[int, Outcome]:
        """Return the parts that are there, by number. Raises :class:`UserError` where they are of something else."""
        try:
            known = json.loads((self.path / "made_of.json").read_text())
        except (OSError, ValueError):
            raise UserError("Simulation must have been interrupted to be resumed, and none was; "
                            "run it without --resume") from None
        for name, value in self.made_of.items():
            if known.get(name) != value:
                same = "the same" if _is_digest(value) else f"{known.get(name)}, not {value}"
                raise UserError(f"Simulation must be resumed as it was begun, and its {name} must be {same}; "
                                "run it without --resume to begin anew")
        return {int(file.stem): _load(file.read_bytes()) for file in sorted(self.path.glob("*.npz"))}

    def keep(self, number: int, outcome: Outcome):
        """Keep a part."""
        file = BytesIO()
        told = {"verdict": asdict(outcome.verdict), "cycles": outcome.cycles, "seconds": outcome.seconds}
        np.savez(file, beats=outcome.beats, told=np.array(json.dumps(told)))
        write_atomic(self.path / f"{number}.npz", file.getvalue())

    def clear(self):
        """Remove what is there."""
        shutil.rmtree(self.path, ignore_errors=True)


def _load(content: bytes) -> Outcome:
    with np.load(BytesIO(content)) as file:
        told = json.loads(str(file["told"]))
        verdict = told["verdict"]
        first = None if verdict["first"] is None else Mismatch(**verdict["first"])
        verdict = Verdict(tuple(verdict["images"]), first, tuple(verdict["faults"]), tuple(verdict["waits"]))
        return Outcome(file["beats"], verdict, told["cycles"], told["seconds"])


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == hashlib.sha256().digest_size * 2
