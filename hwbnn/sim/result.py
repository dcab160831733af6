"""What a simulation found, as records that are kept in ``sim/result.json``."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Measured", "Mismatch", "Profile", "SimulationResult", "StageProfile", "measured"]


@dataclass(frozen=True)
class Measured:
    """Cycles of the first frame and between frames, without stalls; counted as :class:`hwbnn.plan.Cycles` says."""

    first: int
    interval: int


def measured(starts: ArrayLike, ends: ArrayLike) -> Measured:
    """Return what the cycles of each frame's first input and last output tell.

    The interval is that of the second half of the frames, the greatest should they differ.
    """
    starts, ends = np.asarray(starts), np.asarray(ends)
    intervals = np.diff(ends)
    return Measured(int(ends[0] - starts[0]), int(intervals[len(intervals) // 2:].max()))


@dataclass(frozen=True)
class Mismatch:
    """The first value that is not golden's: in the first layer that differs, its first frame.

    Parameters
    ----------
    layer : :class:`str`
        Names of the network's nodes that the stage computes, or of the stage where it computes none.
    stage : :class:`str`
        Name of the stage, as in the Verilog's hierarchy.
    frame, pixel, channel : :class:`int`
        Image in the set; position in the layer's tensor, row by row; channel.
    expected, seen : :class:`int` or None
        Golden's value and the hardware's; None where the value never came.
    cycle : :class:`int` or None
        Cycle of the transfer that carried it, counted from the end of the reset.
    phase : :class:`str`
        ``steady`` (without stalls) or ``stalled``.
    """

    layer: str
    stage: str
    frame: int
    pixel: int
    channel: int
    expected: int | None
    seen: int | None
    cycle: int | None
    phase: str

    def __str__(self) -> str:
        place = f"frame {self.frame}, pixel {self.pixel}, channel {self.channel}"
        seen = "nothing" if self.seen is None else self.seen
        when = "" if self.cycle is None else f" in cycle {self.cycle}"
        return (f"Layer {self.layer} (stage {self.stage}) must give {self.expected} at {place}, not {seen}"
                f"{when} of the {self.phase} phase")


@dataclass(frozen=True)
class StageProfile:
    """A stage and the stream that leaves it, over the cycles that were counted.

    Parameters
    ----------
    stage, layer : :class:`str`
        As in :class:`Mismatch`; the stage with its output port where it has several.
    transferred, stalled, starved, idle : :class:`int`
        Cycles of the output stream: with a transfer; offered and not taken; wanted and not offered; neither.
    utilisation : :class:`float`
        Share of the cycles in which the stage worked: the cycles that its outputs take at its own pace.
    occupancy : :class:`int` or None
        The most entries its output FIFO held at any time; None where it has none or the engine cannot see it.
    fifo_depth : :class:`int` or None
        Entries of that FIFO.
    passes : :class:`tuple` of pairs
        For the first frames: cycle of the first transfer into the stage and of the last out of it.
    """

    stage: str
    layer: str
    transferred: int
    stalled: int
    starved: int
    idle: int
    utilisation: float
    occupancy: int | None
    fifo_depth: int | None
    passes: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Profile:
    """Every stage over ``frames`` frames of the steady state without stalls, which took ``cycles`` cycles.

    ``bottleneck`` is the stage that works the greatest share of the cycles: the stream into it is stalled, the
    one out of it starved.
    """

    frames: int
    cycles: int
    stages: tuple[StageProfile, ...]
    bottleneck: str

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Profile":
        """Read what :func:`dataclasses.asdict` made of a profile."""
        stages = (StageProfile(**{**stage, "passes": tuple(tuple(one) for one in stage["passes"])})
                  for stage in record["stages"])
        return cls(record["frames"], record["cycles"], tuple(stages), record["bottleneck"])


@dataclass(frozen=True)
class SimulationResult:
    """Outcome of running the emitted Verilog on a set of images.

    Parameters
    ----------
    check : :class:`str`
        What was compared with golden: ``outputs`` or ``layers``.
    netlist : :class:`str`
        What ran: the emitted Verilog, ``rtl``, or one of :data:`hwbnn.sim.NETLISTS`.
    unseen : :class:`tuple` of :class:`str`
        Streams between stages that were to be compared and are not in the netlist any more.
    frames : :class:`int`
        Images in the set.
    mismatches : :class:`int`
        Images whose output differs from golden's, or is missing, in any phase.
    first_mismatch : :class:`Mismatch` or None
        The first layer, frame and channel that differ.
    faults : :class:`tuple` of :class:`str`
        Rules of the streams that were broken, deadlocks included.
    measured : :class:`Measured` or None
        None where fewer than two frames came through, and for a placed design, whose serial line hides it.
    predicted : :class:`Measured`
        From the plan, and from the images where cycles depend on them.
    profile : :class:`Profile` or None
        Where the cycles go; None where no streams were recorded or a phase did not come to its end.
    stalls : :class:`str`
        How both sides paused, one of :data:`hwbnn.sim.STALLS`.
    reset_after : :class:`int`
        Beats that were sent before it all, for a reset to wipe them out.
    outputs : int64 array (frames received, *output shape)
        The hardware's integers.
    classes : int64 array (frames received,)
        The greatest output's channel, or the output itself where it is a class number.
    cycles : :class:`int`
        Cycles simulated in all phases.
    seconds, build_seconds : :class:`float`
        Wall-clock time of the simulation, and of building the simulator (0 where it was there).
    """

    engine: str
    simulator: str
    versions: Mapping[str, str]
    check: str
    frames: int
    mismatches: int
    first_mismatch: Mismatch | None
    faults: tuple[str, ...]
    measured: Measured | None
    predicted: Measured
    profile: Profile | None
    stalls: str
    reset_after: int
    seed: int
    cycles: int
    seconds: float
    build_seconds: float
    network: str
    outputs: NDArray[np.int64] = field(repr=False)
    classes: NDArray[np.int64] = field(repr=False)
    netlist: str = "rtl"
    unseen: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether every value compared is golden's and no rule of the streams was broken."""
        return self.mismatches == 0 and self.first_mismatch is None and not self.faults

    @property
    def cycles_as_predicted(self) -> bool:
        """Whether latency and interval are exactly the plan's, where they can be seen."""
        return self.netlist == "placed" or self.measured == self.predicted

    @property
    def ok(self) -> bool:
        """Whether the hardware does what golden and the plan say, in value and in time."""
        return self.exact and self.cycles_as_predicted

    def problems(self) -> list[str]:
        """What is wrong, one sentence each; empty where :attr:`ok`."""
        found = list(self.faults)
        if self.mismatches:
            found.append(f"Outputs must equal golden's, and {self.mismatches} of {self.frames} frames differ")
        if self.first_mismatch is not None:
            found.append(str(self.first_mismatch))
        if self.measured is not None:
            for what in ("first", "interval"):
                predicted, measured = getattr(self.predicted, what), getattr(self.measured, what)
                if measured != predicted:
                    place = "of the first frame" if what == "first" else "between frames"
                    found.append(f"Cycles {place} must be {predicted} as predicted, not {measured}")
        return found

    def to_json(self) -> dict[str, Any]:
        """Everything but the outputs' integers, for ``sim/result.json``."""
        content = asdict(self) | {"ok": self.ok, "problems": self.problems(), "classes": self.classes.tolist()}
        del content["outputs"]
        return content
