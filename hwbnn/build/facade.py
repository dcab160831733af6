"""A compiled network in its directory, and what can be done with it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwbnn import golden, ir
from hwbnn.build.provenance import noting
from hwbnn.builddir import BuildDirectory, Manifest
from hwbnn.cost import TIERS, Estimate, Measured, estimate
from hwbnn.cost import technology as find_technology
from hwbnn.errors import UserError
from hwbnn.plan import Fold, Pace, Plan, WeightImage, folds_of, lower
from hwbnn.report import write
from hwbnn_boards import Board
from hwbnn_boards import board as find_board
from hwbnn_boards.footprint import footprint

if TYPE_CHECKING:
    from hwbnn.sim import SimulationResult
    from hwbnn.synth import SynthesisResult

__all__ = ["Build"]


class Build:
    """A build directory with its methods; each reads and writes files there and returns its result.

    Parameters
    ----------
    path : path
        Directory that :func:`hwbnn.compile` wrote. Raises :class:`UserError` where it is none.
    """

    def __init__(self, path: str | os.PathLike):
        self.directory = BuildDirectory(path)
        self.manifest: Manifest = self.directory.manifest

    def __repr__(self) -> str:
        return f"Build({str(self.path)!r})"

    @property
    def path(self) -> Path:
        """The directory."""
        return self.directory.path

    @property
    def network(self) -> ir.Network:
        """The network that the hardware computes; it ends in the class number where the output is ``class``."""
        return self.directory.network

    @property
    def board(self) -> Board:
        """The board it was compiled for."""
        return find_board(self.manifest.board).at(self.manifest.clock_hz)

    @property
    def folds(self) -> dict[str, Fold]:
        """PE and SIMD by node name."""
        return folds_of(self.manifest)

    @property
    def plan(self) -> Plan:
        """The hardware, as records."""
        return lower(self.network, self.folds, pace=Pace.of(self.manifest.pace))

    def simulate(self, x: ArrayLike, *, labels: ArrayLike | None = None, images: str = "array",
                 engine: str = "cocotb", simulator: str = "verilator", check: str = "outputs",
                 frames: tuple[int, int] | None = None, stalls: str = "random", reset_after: int | None = None,
                 seed: int = 1, jobs: int = 1, wave: str | os.PathLike | None = None, netlist: str = "rtl",
                 resume: bool = False, weights: str | os.PathLike | None = None,
                 progress: Callable[[int, int], None] | None = None,
                 command: str = "Build.simulate") -> "SimulationResult":
        """Run the emitted Verilog, or a netlist of it, on the images ``x`` and compare every output with golden.

        Parameters
        ----------
        x : array (N, *graph shape)
            In the form the ONNX graph takes.
        labels : int array (N,)
            Where given, accuracies and the confusion matrix go to ``accuracy.json``.
        images : :class:`str`
            What ``x`` is, for provenance, for instance ``digits:test``.
        engine, simulator, check, frames, stalls, reset_after, seed, jobs, wave, netlist, resume, progress
            As for :func:`hwbnn.sim.simulate`; ``compiled`` is the fastest engine.
        weights : path
            What ``hwbnn weights`` wrote for this build: loaded first, and compared with golden of its network. Nothing
            is kept in the directory.
        """
        from hwbnn.sim import simulate  # lazily: needs the extra sim
        labels = None if labels is None else _checked(labels, len(np.asarray(x)))
        options = {"engine": engine, "simulator": simulator, "check": check, "stalls": stalls,
                   "reset_after": reset_after, "seed": seed, "jobs": jobs, "wave": wave, "netlist": netlist,
                   "resume": resume, "progress": progress}
        if weights is not None:
            return simulate(self.directory, x, frames=frames, weights=self.weights(weights), **options)
        if frames is not None or netlist != "rtl":  # what is known of the Verilog on the whole set stays
            return simulate(self.directory, x, frames=frames, **options)
        with noting(self.directory, "simulate", command):
            result = simulate(self.directory, x, **options)
            (self.path / "accuracy.json").unlink(missing_ok=True)  # it is about other images
            if labels is not None and len(result.outputs) == len(labels):
                self._note_accuracy(self._classes(result.outputs), np.asarray(x), labels, images)
        return result

    @property
    def estimated(self) -> Estimate | None:
        """The last estimate in the directory."""
        if not (self.path / "estimate.json").exists():
            return None
        with self.directory.parsing("estimate.json", "hwbnn estimate"):
            return Estimate.from_json(self.directory.read_json("estimate.json", "hwbnn estimate"))

    def estimate(self, *, tier: str = "model", x: ArrayLike | None = None, images: str = "array",
                 progress: Callable[[int, int], None] | None = None, command: str = "Build.estimate") -> Estimate:
        """Predict cycles, resources, frequency and energy, and write ``estimate.json``.

        Parameters
        ----------
        tier : :class:`str`
            ``model``: closed forms, in milliseconds. ``synth``: what :meth:`synth` counted. ``activity``: with the
            toggles of the netlist on the images ``x``, or on those that were measured last.
        x : array (N, *graph shape)
            For the tier ``activity``: images in the form the ONNX graph takes; ``images`` is what they are.
        """
        if tier not in TIERS:
            raise UserError(f"Tier must be one of {', '.join(TIERS)}, not {tier}")
        if x is not None and tier != "activity":
            raise UserError(f"Images must be given for the tier activity only, not for {tier}")
        with noting(self.directory, "estimate", command):
            plan, board = self.plan, self.board
            tech = find_technology(board.technology)
            if tier == "model":
                measured = Measured("model")
            else:
                from hwbnn.build import tiers  # lazily: synth and sim are read there
                measured = tiers.of_synthesis(self.directory, plan, tech) if tier == "synth" else tiers.of_activity(
                    self.directory, plan, tech, x=x, images=images, progress=progress)
            result = estimate(plan, board.technology, self.manifest.clock_hz,
                              beside=footprint(board, plan.input, plan.output), measured=measured)
            self.directory.write_json("estimate.json", {"network": self.manifest.network, **result.to_json()})
        return result

    def synth(self, *, seed: int | None = None, progress: Callable[..., None] | None = None,
              command: str = "Build.synth") -> "SynthesisResult":
        """Synthesize, place and route for the board, into ``synth/``; another ``seed`` places another way."""
        from hwbnn.synth import synthesize  # lazily: needs the extra synth
        with noting(self.directory, "synth", command):
            return synthesize(self.directory, seed=seed, progress=progress)

    def weights(self, path: str | os.PathLike) -> WeightImage:
        """Read weights that :meth:`WeightImage.write`, or ``hwbnn weights``, wrote for this build."""
        return WeightImage.read(path, self.plan)

    def run(self, x: ArrayLike, port: str, *, weights: str | os.PathLike | None = None,
            progress: Callable[[int, int], None] | None = None) -> NDArray[np.int64]:
        """Return the class of each image ``x``, computed by the board behind a serial port.

        Parameters
        ----------
        port : :class:`str`
            Device or URL that pyserial knows, or ``virtual`` for a simulation of the whole board.
        weights : path
            What ``hwbnn weights`` wrote for this build, to be loaded first.
        """
        from hwbnn_boards.serve import run  # lazily: needs the extra synth
        image = None if weights is None else self.weights(weights)
        return self._classes(run(self.directory, x, port, weights=image, progress=progress),
                             None if image is None else image.network)

    def report(self, *, command: str = "Build.report") -> Path:
        """Write ``report.html`` from whatever results there are, and return its path."""
        with noting(self.directory, "report", command):
            pass  # noted first, so that the page tells how it was made
        return write(self.directory)

    def _classes(self, outputs: NDArray[np.int64], network: ir.Network | None = None) -> NDArray[np.int64]:
        """Classes from the integers that the accelerator sends; ``network``: whose weights it was loaded with."""
        network = self.network if network is None else network
        values = golden.decode(network, {network.outputs[0].tensor: outputs}).reshape(len(outputs), -1)
        return (values[:, 0] if self.manifest.output == "class" else values.argmax(axis=1)).astype(np.int64)

    def _note_accuracy(self, hardware: NDArray[np.int64], x: NDArray, labels: NDArray[np.int64], images: str):
        expected = golden.classes(self.network, x)
        count = int(max(labels.max(), hardware.max(), expected.max())) + 1
        confusion = np.zeros((count, count), np.int64)
        np.add.at(confusion, (labels, hardware), 1)
        self.directory.write_json("accuracy.json", {
            "images": images, "count": len(x), "golden": float(np.mean(expected == labels)),
            "hardware": float(np.mean(hardware == labels)), "confusion": confusion.tolist(),
        })


def _checked(labels: ArrayLike, count: int) -> NDArray[np.int64]:
    array = np.asarray(labels)
    if array.shape != (count,) or array.dtype.kind not in "iu" or (array.size and array.min() < 0):
        raise UserError(f"Labels must be {count} class numbers, one per image, not {array.dtype} of shape "
                        f"{array.shape}")
    return array.astype(np.int64)
