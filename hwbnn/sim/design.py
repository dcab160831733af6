"""What is simulated: the behavioural Verilog of a build directory, its plan, and what golden says about images."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hwbnn import golden, ir
from hwbnn.builddir import BuildDirectory
from hwbnn.errors import UserError
from hwbnn.plan import Plan, Stage, WeightImage, depends_on_data, on_images, plan_of
from hwbnn.plan.loader import HEADER_BYTES, packets
from hwbnn.sim.beats import beats_of, width
from hwbnn.sim.result import Measured, measured
from hwbnn.sim.traffic import Traffic
from hwbnn.version import __version__

__all__ = ["TOPLEVEL", "Design"]

TOPLEVEL = "accelerator"


@dataclass(frozen=True)
class Design:
    """An accelerator to simulate.

    Parameters
    ----------
    network : :class:`ir.Network`
        What it computes.
    plan : :class:`Plan`
        How it is built.
    verilog : :class:`~pathlib.Path`
        The emitted file in its behavioural form, or a netlist, with top module :data:`TOPLEVEL`.
    sealed : :class:`bool`
        Whether cycles cannot be seen, but values alone: behind a serial line.
    blind : :class:`bool`
        Whether no stream between stages can be seen.
    weights : :class:`WeightImage`
        What is loaded first, where layers are loadable: another network's weights, or the build's own.
    unseen : frozenset of :class:`str`
        Streams, as :attr:`hwbnn.sim.streams.StageStream.name` has them, that cannot be seen: synthesis has merged or
        dissolved them.
    """

    network: ir.Network
    plan: Plan
    verilog: Path
    sealed: bool = False
    blind: bool = False
    weights: WeightImage | None = None
    unseen: frozenset[str] = frozenset()

    @classmethod
    def of(cls, directory: BuildDirectory, weights: WeightImage | None = None) -> "Design":
        """Read a build directory.

        Raises :class:`UserError` where something is missing, with the command for it, or where another version made it.
        """
        made_by = directory.manifest.versions.get("hwbnn", __version__)
        if made_by != __version__:  # what the plan says may not be what the Verilog does
            raise UserError(f"Build directory {directory.path} must be made by this version of hwbnn, {__version__}, "
                            f"not {made_by}; make it again with `hwbnn compile`")
        plan = plan_of(directory)
        if plan.loader is not None and weights is None:
            weights = WeightImage.of(directory)
        network = directory.network if weights is None else weights.network
        return cls(network, plan, directory.behavioural, weights=weights)

    @cached_property
    def config(self) -> NDArray[np.uint8]:
        """What loads the weights: ``tdata`` and ``tlast`` of every byte of the configuration stream."""
        loader = self.plan.loader
        if loader is None or self.weights is None:
            return np.zeros((0, 2), np.uint8)
        limit = HEADER_BYTES + max(map(len, self.weights.banks))
        return np.array([(byte, n == len(packet) - 1) for packet in packets(loader, self.weights.banks, limit=limit)
                         for n, byte in enumerate(packet)], np.uint8)

    @property
    def predicted(self) -> Measured:
        """From the plan, which has the worst case where cycles depend on the images."""
        cycles = self.plan.cycles
        return Measured(cycles.first, cycles.interval)

    def predicted_for(self, q: NDArray[np.int64]) -> Measured:
        """Cycles of a run of the integers ``q`` without stalls; :attr:`predicted` where these do not depend on them."""
        if not depends_on_data(self.plan):
            return self.predicted
        run = on_images(self.plan, q).schedule(len(q))
        return measured(run.started, run.finished)

    @property
    def patience(self) -> int:
        """Cycles without any transfer after which the hardware is deadlocked."""
        return 4 * (self.predicted.first + self.predicted.interval) + 8 * self.pause

    @property
    def pause(self) -> int:
        """Longest pause under stalls: long enough to fill the hardware up, and to run it dry."""
        return self.predicted.first + 2 * self.predicted.interval + 50

    @property
    def steady_frames(self) -> int:
        """Frames to measure the steady state: to settle, to count, and to keep the input busy until then."""
        return 1 if self.sealed else 2 * self._settling + 8

    @property
    def counted(self) -> tuple[int, int]:
        """The frames of :attr:`steady_frames` at whose ends counting begins and stops."""
        return (0, 0) if self.sealed else (self._settling, self._settling + 8)

    @property
    def _settling(self) -> int:
        return 2 * -(-self.predicted.first // self.predicted.interval) + 4

    def encode(self, x: ArrayLike) -> NDArray[np.int64]:
        """The integers that enter the network; raises :class:`UserError` for images of another form, or none."""
        q = golden.encode(self.network, x)
        if not len(q):
            raise UserError("Images must be at least one, not an empty set")
        return q

    def expected(self, q: NDArray[np.int64], *, batch: int = 256) -> NDArray[np.int64]:
        """Golden's integers of the output for the input integers ``q``."""
        tensor = self.network.outputs[0].tensor
        return np.concatenate([golden.evaluate(self.network, q[n:n + batch])[tensor]
                               for n in range(0, len(q), batch)])

    def traffic(self, q: NDArray[np.int64], *, stalls: str = "none", seed: int = 1, reset_after: int = 0) -> Traffic:
        """Frames ``q`` as beats of ``s_axis``."""
        return Traffic(beats_of(q, self.plan.input), self.plan.output.beats, width(self.plan.output), stalls=stalls,
                       seed=seed, pause=self.pause, patience=self.patience, reset_after=reset_after, config=self.config)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages in the order in which frames pass them."""
        return tuple(self.plan.stages)
