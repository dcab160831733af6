"""Compare what was recorded with golden; where something differs, find out where it begins."""

import math
from collections.abc import Callable, Mapping
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
    """A phase, or a part of one, and the number in the image set of each frame that it sends."""

    name: str
    frames: NDArray[np.int64]
    traffic: Traffic
    part: bool = False

    def __str__(self) -> str:
        return f"{self.name}, from frame {self.frames[0]} on," if self.part else self.name


@dataclass(frozen=True)
class Verdict:
    """How a phase compares with golden.

    Parameters
    ----------
    images : :class:`tuple` of :class:`int`
        Numbers of the images that differ or are missing.
    first : :class:`Mismatch` or None
        Where it begins.
    faults : :class:`tuple` of :class:`str`
        Rules of the streams that were broken.
    waits : :class:`tuple` of :class:`str`
        Where it stopped: who waits for whom.
    """

    images: tuple[int, ...]
    first: Mismatch | None = None
    faults: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()


def judge(design: Design, q: NDArray[np.int64], phase: Phase, record: Record, run: Run, *, layers: bool,
          locate: bool = True) -> Verdict:
    """Compare every output of ``record`` with golden.

    Parameters
    ----------
    q : int64 array (images, ...)
        The integers of the image set.
    run : callable
        Simulates phases again: one that went wrong is repeated up to its first wrong frame with every stream
        between stages recorded, unless it was recorded from the start.
    layers : :class:`bool`
        Whether to compare every stream that was recorded, too.
    locate : :class:`bool`
        Whether to find out where it begins to differ.
    """
    expected = design.expected(q[phase.frames])
    bad = _wrong(design, record, expected)
    faults = tuple(f"{fault} ({phase} phase)" for fault in record.faults)
    images = tuple(np.unique(phase.frames[bad]).tolist())
    if not locate or not (len(bad) or record.faults or layers):
        return Verdict(images, faults=faults)
    if design.blind:
        first = _of_output(design, phase, record, expected, int(bad[0])) if len(bad) else None
        return Verdict(images, first, faults)
    seen, again = record, phase
    if record.faults or (len(bad) and not phase.traffic.taps):
        again, seen = _repeated(design, phase, int(bad[0]) + 1 if len(bad) else phase.traffic.frames, run)
    first = first_difference(design, q[again.frames], seen, phase=phase.name, frames=again.frames.tolist())
    if first is None and len(bad):
        first = _of_output(design, phase, record, expected, int(bad[0]))
    waits = blockage(design, seen)
    return Verdict(images, first, faults, () if waits is None else (waits,))


def _wrong(design: Design, record: Record, expected: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of frames whose output differs or did not come."""
    count = math.prod(expected.shape[1:])
    seen = values_of(record.beats, design.plan.output, count)
    different = np.any(seen != expected[:len(seen)].reshape(len(seen), count), axis=1)
    return np.concatenate([np.flatnonzero(different), np.arange(len(seen), len(expected))])


def _repeated(design: Design, phase: Phase, count: int, run: Run) -> tuple[Phase, Record]:
    again = replace(phase, frames=phase.frames[:count],
                    traffic=replace(phase.traffic, stimulus=phase.traffic.stimulus[:count], taps=taps(design)))
    return again, run({phase.name: again.traffic})[phase.name]


def _of_output(design: Design, phase: Phase, record: Record, expected: NDArray[np.int64], position: int) -> Mismatch:
    """What is known where the repetition did not show it again: the output alone."""
    stream, want = stage_streams(replace(design, unseen=frozenset()))[-1], expected[position]
    common = {"layer": stream.layer, "stage": stream.stage.name, "frame": int(phase.frames[position]), "cycle": None,
              "phase": phase.name}
    if position >= len(record.beats):
        return Mismatch(pixel=0, channel=0, expected=int(want.flat[0]), seen=None, **common)
    seen = values_of(record.beats[position:position + 1], design.plan.output, want.size)[0]
    place = int(np.flatnonzero(seen != want.reshape(-1))[0])
    pixel, channel = divmod(place, want.shape[-1])
    return Mismatch(pixel=pixel, channel=channel, expected=int(want.flat[place]), seen=int(seen[place]), **common)
