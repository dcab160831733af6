"""Compare what was recorded with golden; where something differs, find out where it begins."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hwbnn.sim.beats import values_of
from hwbnn.sim.design import Design
from hwbnn.sim.locate import blockage, first_difference
from hwbnn.sim.result import Mismatch
from hwbnn.sim.streams import stage_streams, taps
from hwbnn.sim.traffic import Record, Traffic

__all__ = ["Phase", "Verdict", "judge"]

Run = Callable[[Mapping[str, Traffic]], Mapping[str, Record]]


@dataclass(frozen=True)
class Phase:
    """A phase, and the number in the image set of each frame that it sends."""

    name: str
    frames: NDArray[np.int64]
    traffic: Traffic


@dataclass(frozen=True)
class Verdict:
    """Fields of :class:`hwbnn.sim.SimulationResult`."""

    mismatches: int
    first: Mismatch | None
    faults: tuple[str, ...]


def judge(design: Design, q: NDArray[np.int64], phases: Sequence[Phase], records: Mapping[str, Record],
          run: Run) -> Verdict:
    """Compare every output of ``records`` with golden, and every stream that was recorded.

    Parameters
    ----------
    q : int64 array (images, ...)
        The integers of the image set.
    run : callable
        Simulates phases again: the first that went wrong is repeated up to its first wrong frame with every
        stream between stages recorded, unless it was recorded from the start.
    """
    expected = design.expected(q)
    wrong = {phase.name: _wrong(design, records[phase.name], expected[phase.frames]) for phase in phases}
    faults = [f"{fault} ({phase.name} phase)" for phase in phases for fault in records[phase.name].faults]
    images = set().union(*(phase.frames[wrong[phase.name]].tolist() for phase in phases))
    first = None
    for phase in phases:
        record, bad = records[phase.name], wrong[phase.name]
        if not len(bad) and not record.faults and not phase.traffic.taps:
            continue
        if record.faults or (len(bad) and not phase.traffic.taps):
            phase, record = _repeated(design, phase, int(bad[0]) + 1 if len(bad) else phase.traffic.frames, run)
        first = first_difference(design, q[phase.frames], record, phase=phase.name, frames=phase.frames.tolist())
        faults += [] if (waits := blockage(design, record)) is None else [waits]
        if first is None and len(bad):
            first = _of_output(design, phase, records[phase.name], expected, int(bad[0]))
        if first is not None:
            break
    return Verdict(len(images), first, tuple(faults))


def _wrong(design: Design, record: Record, expected: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of frames whose output differs or did not come."""
    count = math.prod(expected.shape[1:])
    seen = values_of(record.beats, design.plan.output, count)
    different = np.any(seen != expected[:len(seen)].reshape(len(seen), count), axis=1)
    return np.concatenate([np.flatnonzero(different), np.arange(len(seen), len(expected))])


def _repeated(design: Design, phase: Phase, count: int, run: Run) -> tuple[Phase, Record]:
    again = Phase(phase.name, phase.frames[:count],
                  replace(phase.traffic, stimulus=phase.traffic.stimulus[:count], taps=taps(design)))
    return again, run({phase.name: again.traffic})[phase.name]


def _of_output(design: Design, phase: Phase, record: Record, expected: NDArray[np.int64], position: int) -> Mismatch:
    """What is known where the repetition did not show it again: the output alone."""
    stream, want = stage_streams(design)[-1], expected[phase.frames[position]]
    common = {"layer": stream.layer, "stage": stream.stage.name, "frame": int(phase.frames[position]), "cycle": None,
              "phase": phase.name}
    if position >= len(record.beats):
        return Mismatch(pixel=0, channel=0, expected=int(want.flat[0]), seen=None, **common)
    seen = values_of(record.beats[position:position + 1], design.plan.output, want.size)[0]
    place = int(np.flatnonzero(seen != want.reshape(-1))[0])
    pixel, channel = divmod(place, want.shape[-1])
    return Mismatch(pixel=pixel, channel=channel, expected=int(want.flat[place]), seen=int(seen[place]), **common)
