"""Where the hardware first differs from golden: every stream between stages against the network's tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hwbnn import golden
from hwbnn.plan import Stage
from hwbnn.rtl import instance_name
from hwbnn.sim.beats import values_of, width
from hwbnn.sim.design import Design
from hwbnn.sim.result import Mismatch
from hwbnn.sim.traffic import Record, Tapped

__all__ = ["StageStream", "first_difference", "stage_streams", "taps"]


@dataclass(frozen=True)
class StageStream:
    """The stream that leaves a stage, and the tensor of the network that it carries."""

    stage: Stage
    layer: str
    tensor: str

    @property
    def path(self) -> tuple[str, ...]:
        """Instances below the top module, and port without ``__valid``."""
        return "core", instance_name(self.stage), "o"


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


def taps(design: Design) -> tuple[tuple[str, ...], ...]:
    """Hierarchical names of :func:`stage_streams`, for :class:`hwbnn.sim.traffic.Traffic`."""
    return tuple(stream.path for stream in stage_streams(design))


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
    tensors = golden.evaluate(design.network, q)
    pairs = list(zip(stage_streams(design), record.taps, strict=True))
    found = next((d for stream, tapped in pairs if (d := _wrong_value(stream, tapped, tensors[stream.tensor]))), None)
    if found is None and (blocked := _blocked(pairs, len(q))) is not None:
        stream, tapped = blocked
        found = _missing_value(stream, tapped, tensors[stream.tensor])
    if found is None:
        return None
    number = found["frame"] if frames is None else frames[found["frame"]]
    return Mismatch(**{**found, "frame": number}, phase=phase)


def _wrong_value(stream: StageStream, tapped: Tapped, expected: NDArray[np.int64]) -> dict | None:
    """The first value of a stream that differs, as fields of :class:`Mismatch`."""
    o, want = stream.stage.o, _transfers(stream, expected)
    count = min(len(tapped.payloads), len(want))
    mask = (1 << o.bits) - 1  # the last stage's payload also holds tlast, above
    data = b"".join((payload & mask).to_bytes(width(o), "little") for payload in tapped.payloads[:count])
    seen = values_of(np.frombuffer(data, np.uint8).reshape(count, 1, width(o)), replace(o, beats=1), o.lanes)
    is_value = (np.arange(o.beats * o.lanes) < expected[0].size).reshape(o.beats, o.lanes)
    wrong = np.argwhere((seen != want[:count]) & is_value[np.arange(count) % o.beats])
    if not len(wrong):
        return None
    transfer, lane = (int(n) for n in wrong[0])
    return _place(stream, transfer, lane, expected.shape[-1]) | {
        "expected": int(want[transfer, lane]), "seen": int(seen[transfer, lane]),
        "cycle": int(tapped.cycles[transfer])}


def _missing_value(stream: StageStream, tapped: Tapped, expected: NDArray[np.int64]) -> dict:
    """The first value that a stream never gave, as fields of :class:`Mismatch`."""
    transfer = len(tapped.payloads)
    return _place(stream, transfer, 0, expected.shape[-1]) | {
        "expected": int(_transfers(stream, expected)[transfer, 0]), "seen": None, "cycle": None}


def _blocked(pairs: list[tuple[StageStream, Tapped]], frames: int) -> tuple[StageStream, Tapped] | None:
    """The stream of the stage that stopped the others: it does not take what is offered, or does not answer."""
    short = [k for k, (stream, tapped) in enumerate(pairs) if len(tapped.payloads) < frames * stream.stage.o.beats]
    if not short:
        return None
    waiting = [k for k in short if pairs[k][1].waiting]
    return pairs[min(waiting[-1] + 1, len(pairs) - 1) if waiting else short[0]]


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
