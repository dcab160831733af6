"""When every beat moves: an exact model of a chain of stages, backpressure and FIFO capacities included.

Each stage is a process over time stamps in place of data. A channel between two stages holds, for each of
its beats, when it was first offered and when it was transferred. All waiting is a maximum and all work a sum,
so the processes may run in any order that has the stamps they read. Cost: one step per beat, whatever the
number of cycles.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hwbnn.plan.interface import FrameInputStage, FrameOutputStage
from hwbnn.plan.records import PipelineStage, Stage
from hwbnn.plan.width_converter import PartStage

__all__ = ["Cycles", "Schedule", "schedule"]

UNLIMITED = 2**62  # a FIFO that never fills


@dataclass(frozen=True)
class Cycles:
    """Cycles of a frame, without stalls from outside.

    ``first`` is the cycle of the last output transfer of the first frame less that of its first input transfer
    (a result in the same cycle would be 0). ``interval`` is the cycles between the last output transfers of
    consecutive frames in the steady state.
    """

    first: int
    interval: int


class Channel:
    """The beats between two stages: when each was offered, and when it was transferred."""

    def __init__(self):
        self.offered: list[int] = []
        self.moved: list[int] = []

    def offer(self, cycle: int):
        self.offered.append(cycle)

    def ready(self) -> bool:
        """Whether the next beat's offer is known."""
        return len(self.moved) < len(self.offered)

    def visible(self) -> int:
        """When the next beat is seen at the head."""
        j = len(self.moved)
        return max(self.offered[j], self.moved[-1] + 1) if j else self.offered[0]

    def take(self, cycle: int):
        self.moved.append(cycle)


@dataclass(frozen=True)
class Schedule:
    """Time stamps of a run of several frames.

    ``started`` and ``finished`` are the cycles of each frame's first input and last output transfer;
    ``occupied`` is, for each stage, the FIFO depth that would have sufficed for the very same schedule.
    """

    started: tuple[int, ...]
    finished: tuple[int, ...]
    occupied: tuple[int, ...]


def _pipeline(stage: PipelineStage, i: Channel, o: Channel, depth: int, started: list[int]) -> Iterator[None]:
    group, now = 0, -1
    while True:
        earliest = now + 1
        if group >= depth:
            while len(o.moved) <= group - depth:
                yield
            earliest = max(earliest, o.moved[group - depth] + 1)
        if group % stage.period == 0:
            for beat in range(stage.group_beats):
                while not i.ready():
                    yield
                now = max(earliest, i.visible())
                i.take(now)
                if beat == 0:
                    started.append(now)
                earliest = now + 1
        else:
            started.append(earliest)
            now = earliest + stage.group_beats - 1
        o.offer(now + stage.delay)
        group += 1


def _part(stage: PartStage, i: Channel, o: Channel) -> Iterator[None]:
    now = -1
    while True:
        while not i.ready():
            yield
        seen = i.visible()
        for _ in range(stage.ratio):
            o.offer(max(seen, now + 1))
            while len(o.moved) < len(o.offered):
                yield
            now = o.moved[-1]
        i.take(now)


def _occupied(begun: Sequence[int], moved: Sequence[int]) -> int:
    """Most outputs that are under way or waiting when a group begins, that group included."""
    most = freed = 0
    for group, begin in enumerate(begun[:len(moved)]):
        while moved[freed] < begin:
            freed += 1
        most = max(most, group - freed + 1)
    return most


def schedule(stages: Sequence[Stage], frames: int, *, interval: int = 1, unlimited: bool = False) -> Schedule:
    """Run ``frames`` frames through a chain of stages.

    Parameters
    ----------
    stages : sequence of :class:`Stage`
        In order; the ends of the accelerator take no time and may be left out.
    frames : :class:`int`
    interval : :class:`int`
        Frame k is not offered before cycle ``k · interval``; its beats as fast as they are taken.
    unlimited : :class:`bool`
        Suppose FIFOs that never fill.

    Raises
    ------
    RuntimeError
        The chain blocks: no stage can move.
    """
    inner = [stage for stage in stages if not isinstance(stage, FrameInputStage | FrameOutputStage)]
    channels = [Channel() for _ in range(len(inner) + 1)]
    begun: list[list[int]] = [[] for _ in inner]  # first issue of each group
    processes: list[Iterator[None]] = []
    for n, stage in enumerate(inner):
        i, o = channels[n:n + 2]
        if isinstance(stage, PipelineStage):
            depth = UNLIMITED if unlimited else stage.fifo_depth
            processes.append(_pipeline(stage, i, o, depth, begun[n]))
        elif isinstance(stage, PartStage):
            processes.append(_part(stage, i, o))
        else:
            raise TypeError(f"Stage must have a schedule, and {type(stage).__name__} has none")

    source, sink = channels[0], channels[-1]
    beats_in, beats_out = stages[0].i.beats, stages[-1].o.beats
    for frame in range(frames):
        source.offered.extend([frame * interval] * beats_in)
    done = 0
    while done < frames * beats_out:
        before = sum(len(channel.offered) + len(channel.moved) for channel in channels)
        for process in processes:
            next(process)
        while sink.ready() and done < frames * beats_out:
            sink.take(sink.visible())
            done += 1
        if before == sum(len(channel.offered) + len(channel.moved) for channel in channels):
            raise RuntimeError(f"Chain {' -> '.join(stage.name for stage in inner)} blocks after {done} outputs")
    needed = iter([_occupied(times, o.moved) for times, o in zip(begun, channels[1:], strict=True)])
    occupied = tuple(next(needed) if stage in inner else 0 for stage in stages)
    return Schedule(tuple(source.moved[::beats_in][:frames]),
                    tuple(sink.moved[beats_out - 1::beats_out]), occupied)
