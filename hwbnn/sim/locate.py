"""Where the hardware first differs from golden: every stream between stages against the network's tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hwbnn import golden
from hwbnn.plan import PipelineStage, Stage
from hwbnn.rtl import instance_name
from hwbnn.sim.beats import values_of, width
from hwbnn.sim.design import Design
from hwbnn.sim.result import Mismatch
from hwbnn.sim.taps import Tap, Tapped
from hwbnn.sim.traffic import Record

__all__ = ["StageStream", "blockage", "first_difference", "stage_streams", "taps"]


_BATCH = 256  # frames whose tensors are in memory at a time


@dataclass(frozen=True)
class StageStream:
    """The stream that leaves a stage, and the tensor of the network that it carries."""

    stage: Stage
    layer: str
    tensor: str

    @property
    def tap(self) -> Tap:
        """Where it is in the Verilog."""
        return Tap(("core", instance_name(self.stage)), fifo=isinstance(self.stage, PipelineStage))


def stage_streams(design: Design) -> tuple[StageStream, ...]:
    """Every stream between stages, from the input to the output.

    A stage that computes no node (a width converter, the ends) carries the tensor it was given; it is named
    after itself.
    """
    tensor, found = design.network.input.name, []
    for stage in design.stages:
        if stage.nodes:
            tensor = design.network.node(stage.nodes[-1]).output
        found.append(StageStream(stage, " + ".join(stage.nodes) or stage.name, tensor))
    return tuple(found)


def taps(design: Design) -> tuple[Tap, ...]:
    """Where :func:`stage_streams` are, for :class:`hwbnn.sim.traffic.Traffic`."""
    return tuple(stream.tap for stream in stage_streams(design))


def first_difference(design: Design, q: NDArray[np.int64], record: Record, *, phase: str,
                     frames: Sequence[int] | None = None) -> Mismatch | None:
    """Compare the tapped streams of ``record`` with golden, upstream first.

    Parameters
    ----------
    q : int64 array (frames, ...)
        The integers that were sent.
    record : :class:`Record`
        With a tap for each of :func:`taps`. Frames that came only in part are compared as far as they go.
    phase : :class:`str`
        Name of the phase, for the report.
    frames : sequence of :class:`int`
        Number in the image set of each frame sent; their positions where left out.
    """
    pairs = list(zip(stage_streams(design), record.taps, strict=True))
    wrong: tuple[int, dict] | None = None  # upstream first, then the earlier frame
    for start in range(0, len(q), _BATCH):
        tensors = golden.evaluate(design.network, q[start:start + _BATCH])
        for k, (stream, tapped) in enumerate(pairs[:len(pairs) if wrong is None else wrong[0]]):
            found = _wrong_value(stream, tapped, tensors[stream.tensor], start)
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
    name = streams[stuck].stage.name
    offering = [streams[k].stage.name for k in range(stuck) if record.taps[k].waiting]
    wanting = [stream.stage.name for stream in streams[stuck + 1:]]
    sides = [f"{', '.join(offering)} for it to take"] if offering else []
    sides += [f"{', '.join(wanting)} for it to give"] if wanting else []
    beats = len(record.taps[stuck].cycles)
    return (f"Stage {name} must go on, and it stopped after {beats} output beats"
            + (f"; these wait: {'; '.join(sides)}" if sides else ""))


def _wrong_value(stream: StageStream, tapped: Tapped, expected: NDArray[np.int64], first: int) -> dict | None:
    """The first value that differs in the frames from number ``first`` on, as fields of :class:`Mismatch`."""
    o, want = stream.stage.o, _transfers(stream, expected)
    begin = first * o.beats
    beats = tapped.payloads[begin:begin + len(want), None, :width(o)]  # the last stage's also holds tlast, above
    seen = values_of(beats, replace(o, beats=1), o.lanes)
    count = len(seen)
    is_value = (np.arange(o.beats * o.lanes) < expected[0].size).reshape(o.beats, o.lanes)
    wrong = np.argwhere((seen != want[:count]) & is_value[np.arange(count) % o.beats])
    if not len(wrong):
        return None
    transfer, lane = (int(n) for n in wrong[0])
    return _place(stream, begin + transfer, lane, expected.shape[-1]) | {
        "expected": int(want[transfer, lane]), "seen": int(seen[transfer, lane]),
        "cycle": int(tapped.cycles[begin + transfer])}


def _missing_value(stream: StageStream, tapped: Tapped, q: NDArray[np.int64], design: Design) -> dict:
    """The first value that a stream never gave, as fields of :class:`Mismatch`."""
    frame, beat = divmod(len(tapped.cycles), stream.stage.o.beats)
    expected = golden.evaluate(design.network, q[frame:frame + 1])[stream.tensor]
    return _place(stream, len(tapped.cycles), 0, expected.shape[-1]) | {
        "expected": int(_transfers(stream, expected)[beat, 0]), "seen": None, "cycle": None}


def _blocked(design: Design, record: Record) -> int | None:
    """The stage that stopped the others: it does not take what is offered, or does not answer."""
    streams = stage_streams(design)
    frames = [len(tapped.cycles) / stream.stage.o.beats for stream, tapped in zip(streams, record.taps, strict=True)]
    ahead = max(frames, default=0)
    short = [k for k, count in enumerate(frames) if count < ahead or record.taps[k].waiting]
    if not short or not record.faults:
        return None
    waiting = [k for k in short if record.taps[k].waiting]
    return min(waiting[-1] + 1, len(streams) - 1) if waiting else short[0]


def _transfers(stream: StageStream, expected: NDArray[np.int64]) -> NDArray[np.int64]:
    """What each transfer of a stream must carry, (transfers, lanes)."""
    o, flat = stream.stage.o, expected.reshape(len(expected), -1)
    padded = np.zeros((len(flat), o.beats * o.lanes), np.int64)
    padded[:, :flat.shape[1]] = flat
    return padded.reshape(-1, o.lanes)


def _place(stream: StageStream, transfer: int, lane: int, channels: int) -> dict:
    frame, beat = divmod(transfer, stream.stage.o.beats)
    pixel, channel = divmod(beat * stream.stage.o.lanes + lane, channels)
    return {"layer": stream.layer, "stage": stream.stage.name, "frame": frame, "pixel": pixel, "channel": channel}
