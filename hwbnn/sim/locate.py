"""Where the hardware first differs from golden, and which stage stopped."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hwbnn import golden
from hwbnn.plan import carried
from hwbnn.sim.beats import values_of, width
from hwbnn.sim.design import Design
from hwbnn.sim.result import Mismatch
from hwbnn.sim.streams import StageStream, stage_streams
from hwbnn.sim.taps import Tapped
from hwbnn.sim.traffic import Record

__all__ = ["blockage", "first_difference"]

_BATCH = 256  # frames whose tensors are in memory at a time


def first_difference(design: Design, q: NDArray[np.int64], record: Record, *, phase: str,
                     frames: Sequence[int] | None = None) -> Mismatch | None:
    """Compare the tapped streams of ``record`` with golden, upstream first.

    Parameters
    ----------
    q : int64 array (frames, ...)
        The integers that were sent.
    record : :class:`Record`
        With a tap for each of :func:`hwbnn.sim.streams.taps`. Frames that came only in part are compared as far as they
        go.
    phase : :class:`str`
        Name of the phase, for the report.
    frames : sequence of :class:`int`
        Number in the image set of each frame sent; their positions where left out.
    """
    pairs = list(zip(stage_streams(design), record.taps, strict=True))
    wrong: tuple[int, dict] | None = None  # upstream first, then the earlier frame
    for start in range(0, len(q), _BATCH):
        values = carried(design.plan, golden.evaluate(design.network, q[start:start + _BATCH]))
        for k, (stream, tapped) in enumerate(pairs[:len(pairs) if wrong is None else wrong[0]]):
            found = _wrong_value(stream, tapped, values[stream.stage.name], start)
            if found is not None:
                wrong = k, found
                break
    found = None if wrong is None else wrong[1]
    if found is None and (stuck := _blocked(design, record)) is not None:
        stream, tapped = pairs[stuck]
        found = _missing_value(stream, tapped, q, design)
    if found is None:
        return None
    number = found["frame"] if frames is None else frames[found["frame"]]
    return Mismatch(**{**found, "frame": number}, phase=phase)


def blockage(design: Design, record: Record) -> str | None:
    """Say who waits for whom, where the streams of ``record`` came to a stop before their end."""
    stuck = _blocked(design, record)
    if stuck is None:
        return None
    streams = stage_streams(design)
    stage = streams[stuck].stage
    offering = [stream.name for stream, tapped in zip(streams, record.taps, strict=True)
                if tapped.waiting and stream.stage is not stage]
    wanting = [stream.name for stream, tapped in zip(streams[stuck + 1:], record.taps[stuck + 1:], strict=True)
               if not tapped.waiting and stream.stage is not stage]
    sides = [f"{', '.join(offering)} for something to take"] if offering else []
    sides += [f"{', '.join(wanting)} for something to come"] if wanting else []
    return (f"Stage {stage.name} must go on, and it stopped after {len(record.taps[stuck].cycles)} output beats"
            + (f"; these wait: {'; '.join(sides)}" if sides else ""))


def _wrong_value(stream: StageStream, tapped: Tapped, expected: NDArray[np.int64], first: int) -> dict | None:
    """The first value that differs in the frames from number ``first`` on, as fields of :class:`Mismatch`."""
    o, want = stream.stream, _transfers(stream, expected)
    begin = first * o.beats
    beats = tapped.payloads[begin:begin + len(want), None, :width(o)]  # the last stage's also holds tlast, above
    seen = values_of(beats, replace(o, beats=1), o.lanes)
    count = len(seen)
    is_value = (np.arange(o.beats * o.lanes) < expected.shape[1]).reshape(o.beats, o.lanes)
    wrong = np.argwhere((seen != want[:count]) & is_value[np.arange(count) % o.beats])
    if not len(wrong):
        return None
    transfer, lane = (int(n) for n in wrong[0])
    return _place(stream, begin + transfer, lane) | {
        "expected": int(want[transfer, lane]), "seen": int(seen[transfer, lane]),
        "cycle": int(tapped.cycles[begin + transfer])}


def _missing_value(stream: StageStream, tapped: Tapped, q: NDArray[np.int64], design: Design) -> dict:
    """The first value that a stream never gave, as fields of :class:`Mismatch`."""
    frame, beat = divmod(len(tapped.cycles), stream.stream.beats)
    tensors = golden.evaluate(design.network, q[frame:frame + 1])
    want = _transfers(stream, carried(design.plan, tensors)[stream.stage.name])
    return _place(stream, len(tapped.cycles), 0) | {"expected": int(want[beat, 0]), "seen": None, "cycle": None}


def _blocked(design: Design, record: Record) -> int | None:
    """The stage that stopped the others: it does not take what is offered, or does not answer."""
    if not record.faults:
        return None
    streams = stage_streams(design)
    waiting = [stream for stream, tapped in zip(streams, record.taps, strict=True) if tapped.waiting]
    if waiting and waiting[-1].reader is not None:
        reader = next((k for k, stream in enumerate(streams) if stream.stage is waiting[-1].reader), None)
        if reader is not None:  # else its stream cannot be seen
            return reader
    frames = [len(tapped.cycles) / stream.stream.beats for stream, tapped in zip(streams, record.taps, strict=True)]
    return next((k for k, count in enumerate(frames) if count < max(frames)), None)


def _transfers(stream: StageStream, expected: NDArray[np.int64]) -> NDArray[np.int64]:
    """What each transfer of a stream must carry, (transfers, lanes)."""
    o = stream.stream
    padded = np.zeros((len(expected), o.beats * o.lanes), np.int64)
    padded[:, :expected.shape[1]] = expected
    return padded.reshape(-1, o.lanes)


def _place(stream: StageStream, transfer: int, lane: int) -> dict:
    o = stream.stream
    frame, beat = divmod(transfer, o.beats)
    pixel, channel = divmod(beat * o.lanes + lane, stream.channels)
    return {"layer": stream.layer, "stage": stream.stage.name, "frame": frame, "pixel": pixel, "channel": channel}
