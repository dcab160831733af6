"""What a bench sends and what it saw: records that every engine and the simulator's process share."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

from hwbnn.sim.registers import Flip
from hwbnn.sim.stalls import pattern
from hwbnn.sim.taps import Tap, Tapped

__all__ = ["RESET_CYCLES", "Record", "Traffic", "framing", "stall_pattern"]

RESET_CYCLES = 4
"""Cycles that a bench holds the design in reset; cycle 0 is the first after them."""

def stall_pattern(traffic: Traffic, side: int) -> Iterator[int]:
    """Whether to pause, cycle by cycle, for ever."""
    return cycle(traffic.pauses(side).tolist())


@dataclass(frozen=True)
class Traffic:
    """One phase of a bench: frames to send, and how.

    Parameters
    ----------
    stimulus : uint8 array (frames, beats, bytes)
        ``s_axis_tdata`` of every beat, least significant byte first.
    beats_out, bytes_out : :class:`int`
        Beats per frame on ``m_axis``, and bytes of ``m_axis_tdata``.
    stalls : :class:`str`
        How both sides pause, one of :data:`hwbnn.sim.stalls.STALLS`.
    reset_after : :class:`int`
        Beats that are sent first, only for a reset to wipe them out; 0: none. Under the worst stalls nothing is taken
        meanwhile, so that the reset finds the design full.
    seed : :class:`int`
        Seed of the pauses.
    pause : :class:`int`
        About the longest pause, in cycles.
    patience : :class:`int`
        Cycles without a transfer on either side after which the design counts as deadlocked.
    taps : :class:`tuple` of :class:`~hwbnn.sim.taps.Tap`
        Streams inside the design to record.
    counted : pair of :class:`int`
        Taps count cycles from the end of as many frames as the first number says to that of as many as the second.
    config : uint8 array (bytes, 2)
        What is sent to ``s_axis_cfg``, a byte each cycle, after the first reset and before any frame: tdata, tlast.
    flips : :class:`tuple` of :class:`~hwbnn.sim.registers.Flip`
        Bits of registers that change by themselves; engines ``compiled``, built for it, and ``cocotb`` on Icarus.
    linger : :class:`int`
        Cycles after the last frame in which more beats than there should be are taken and counted; the same engines.
    """

    stimulus: NDArray[np.uint8]
    beats_out: int
    bytes_out: int
    stalls: str
    seed: int
    pause: int
    patience: int
    reset_after: int = 0
    taps: tuple[Tap, ...] = ()
    counted: tuple[int, int] = (0, 0)
    config: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 2), np.uint8))
    flips: tuple[Flip, ...] = ()
    linger: int = 0

    @property
    def frames(self) -> int:
        return self.stimulus.shape[0]

    @property
    def beats_in(self) -> int:
        """Beats per frame on ``s_axis``."""
        return self.stimulus.shape[1]

    def pauses(self, side: int) -> NDArray[np.uint8]:
        """Cycles in which the producer (side 0) or the consumer (1) pauses, to be repeated."""
        beats = self.beats_out if side else self.beats_in
        return pattern(self.stalls, side, seed=self.seed, pause=self.pause, beats=beats)

    @property
    def taken_before_reset(self) -> bool:
        """Whether the output is taken while the beats before the reset are sent."""
        return self.stalls != "worst"

    def words(self) -> list[int]:
        """``s_axis_tdata`` of every beat, frame after frame, as integers."""
        rows = self.stimulus.reshape(-1, self.stimulus.shape[2])
        return [int.from_bytes(row.tobytes(), "little") for row in rows]

    def save(self, path: os.PathLike):
        scalars = {key: value for key, value in vars(self).items() if key not in ("stimulus", "config")}
        scalars["taps"] = [asdict(tap) for tap in self.taps]
        scalars["flips"] = [asdict(flip) for flip in self.flips]
        np.savez(path, stimulus=self.stimulus, config=self.config, scalars=np.array(json.dumps(scalars)))

    @classmethod
    def load(cls, path: os.PathLike) -> Traffic:
        with np.load(path) as file:
            scalars = json.loads(str(file["scalars"]))
            taps = tuple(Tap(tuple(tap["scope"]), tap["port"], tap["fifo"]) for tap in scalars["taps"])
            flips = tuple(Flip(**{**flip, "scope": tuple(flip["scope"])}) for flip in scalars["flips"])
            return cls(file["stimulus"], config=file["config"],
                       **{**scalars, "taps": taps, "flips": flips, "counted": tuple(scalars["counted"])})


@dataclass(frozen=True)
class Record:
    """What a bench saw in one phase.

    Parameters
    ----------
    beats : uint8 array (frames, beats_out, bytes_out)
        ``m_axis_tdata`` of every beat of each complete frame.
    starts, ends : int64 arrays (frames,)
        Cycle of a frame's first input transfer and of its last output transfer, of each complete frame.
    cycles : :class:`int`
        Cycles simulated.
    faults : :class:`list` of :class:`str`
        Rules of the streams that were broken, a deadlock among them; the first is the one to read.
    taps : :class:`tuple` of :class:`~hwbnn.sim.taps.Tapped`
        As many as the traffic asked for.
    sent : :class:`int`
        Input transfers.
    surplus : :class:`int`
        Output transfers after the last frame, while the bench lingered.
    """

    beats: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    cycles: int
    faults: list[str] = field(default_factory=list)
    taps: tuple[Tapped, ...] = ()
    sent: int = 0
    surplus: int = 0

    @classmethod
    def of(cls, traffic: Traffic, in_cycles: Sequence[int], words: Sequence[int], lasts: Sequence[bool],
           out_cycles: Sequence[int], *, cycles: int, faults: Sequence[str] = (),
           taps: Sequence[Tapped] = (), surplus: int = 0) -> Record:
        """Make a record of raw transfers, checking how they are framed."""
        data = b"".join(word.to_bytes(traffic.bytes_out, "little") for word in words)
        frames = len(words) // traffic.beats_out
        beats = np.frombuffer(data, np.uint8)[:frames * traffic.beats_out * traffic.bytes_out]
        found = framing(traffic, len(in_cycles), lasts, cycles)
        return cls(beats.reshape(frames, traffic.beats_out, traffic.bytes_out),
                   np.array(in_cycles, np.int64)[::traffic.beats_in][:frames],
                   np.array(out_cycles, np.int64)[traffic.beats_out - 1::traffic.beats_out],
                   cycles, [*faults, *found], tuple(taps), len(in_cycles), surplus)

    def save(self, path: os.PathLike):
        taps = [{name: value for name, value in vars(tap).items() if name not in ("cycles", "payloads")}
                for tap in self.taps]
        arrays = {f"{name}{k}": getattr(tap, name)
                  for k, tap in enumerate(self.taps) for name in ("cycles", "payloads")}
        scalars = json.dumps({"cycles": self.cycles, "faults": self.faults, "taps": taps, "sent": self.sent,
                              "surplus": self.surplus})
        np.savez(path, beats=self.beats, starts=self.starts, ends=self.ends, scalars=np.array(scalars), **arrays)

    @classmethod
    def load(cls, path: os.PathLike) -> Record:
        with np.load(path) as file:
            scalars = json.loads(str(file["scalars"]))
            taps = tuple(Tapped(file[f"cycles{k}"], file[f"payloads{k}"], **tap)
                         for k, tap in enumerate(scalars["taps"]))
            return cls(file["beats"], file["starts"], file["ends"], scalars["cycles"], scalars["faults"], taps,
                       scalars["sent"], scalars["surplus"])


def framing(traffic: Traffic, sent: int, lasts: Sequence[bool], cycles: int) -> list[str]:
    """What is wrong with the number of transfers and with ``m_axis_tlast``, in sentences."""
    wanted = traffic.frames * traffic.beats_out
    faults = []
    flags = np.array(lasts, bool)
    due = np.arange(1, len(flags) + 1) % traffic.beats_out == 0
    wrong = np.flatnonzero(flags != due)
    if len(wrong):
        frame, beat = divmod(int(wrong[0]), traffic.beats_out)
        faults.append(f"m_axis_tlast must mark beat {traffic.beats_out - 1} of each frame only, and it is "
                      f"{int(flags[wrong[0]])} in beat {beat} of frame {frame}")
    if len(lasts) < wanted:
        faults.append(f"Design must take and return {traffic.frames} frames, and nothing moved for "
                      f"{traffic.patience} cycles before cycle {cycles}: s_axis took beat "
                      f"{_place(sent, traffic.beats_in)}, m_axis gave beat {_place(len(lasts), traffic.beats_out)}")
    return faults


def _place(count: int, beats: int) -> str:
    if not count:
        return "none"
    frame, beat = divmod(count - 1, beats)
    return f"{beat} of frame {frame} last"
