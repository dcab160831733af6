"""When every beat moves: an exact model of a graph of stages, backpressure and FIFO capacities included.

Each stage is a process over time stamps in place of data (:meth:`Stage.moves`). All waiting is a maximum and all
work a sum, so the processes may run in any order that has the stamps they read; each runs on until it needs a
stamp that is not known yet, and again when its channel has moved on. Cost: one step per beat, whatever the number
of cycles.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import sub

from hwbnn.plan.channel import UNLIMITED, Channel
from hwbnn.plan.graph import Edge, chain
from hwbnn.plan.interface import FrameInputStage, FrameOutputStage
from hwbnn.plan.records import PipelineStage, Stage, ceil_div

__all__ = ["Blocked", "Cycles", "Schedule", "paced", "schedule", "steady"]

_TURNS = range(1, 9)  # frames after which the same may come again
_PATIENCE = 32  # frames before more than one is looked at


@dataclass(frozen=True)
class Cycles:
    """Cycles of a frame, without stalls from outside.

    ``first`` is the cycle of the last output transfer of the first frame less that of its first input transfer
    (a result in the same cycle would be 0). ``interval`` is the cycles between the last output transfers of
    consecutive frames in the steady state; of intervals that take turns, which FIFOs of given depths can cause, the
    greatest.
    """

    first: int
    interval: int


@dataclass(frozen=True)
class Schedule:
    """Time stamps of a run of several frames.

    ``started`` and ``finished`` are the cycles of each frame's first input and last output transfer;
    ``occupied`` is, for each stage, the FIFO depth that would have sufficed for the very same schedule.
    """

    started: tuple[int, ...]
    finished: tuple[int, ...]
    occupied: tuple[int, ...]


class Blocked(RuntimeError):
    """No stage can move: each waits for the next along ``circle``, streams with what is wrong with them."""

    def __init__(self, circle: Sequence[tuple[Edge, str]]):
        self.circle = tuple(circle)
        super().__init__(f"Streams must not wait for each other in a circle: {self.streams}")

    @property
    def streams(self) -> str:
        """The circle in words: which stream is empty, which is full."""
        return ", ".join(f"{edge} ({state})" for edge, state in self.circle)


class _Run:
    """The processes of a graph, the channels between them, and who waits for which."""

    def __init__(self, stages: Sequence[Stage], edges: Sequence[Edge], *, unlimited: bool):
        self.stages = [stage for stage in stages if not isinstance(stage, FrameInputStage | FrameOutputStage)]
        self.source, self.sink = Channel(self.woken), Channel(self.woken)
        self.ends: dict[Channel, list[int | None]] = {self.source: [None, None], self.sink: [None, None]}
        self.edges: dict[Channel, Edge] = {}
        number = {stage.name: n for n, stage in enumerate(self.stages)}
        out: dict[tuple[str, str], Channel] = {}
        into: dict[tuple[str, str], Channel] = {}
        for edge in edges:
            if edge.source in number and edge.target in number:
                channel = Channel(self.woken)
                self.edges[channel] = edge
                out[edge.source, edge.port] = into[edge.target, edge.into] = channel
                self.ends[channel] = [number[edge.source], number[edge.target]]
        self.begun: list[list[int]] = [[] for _ in self.stages]  # first issue of each group
        self.outputs: list[Channel] = []
        self.processes: list[Iterator[Channel | tuple[Channel, ...]]] = []
        if not self.stages:
            self.sink = self.source
        for n, stage in enumerate(self.stages):
            i = [into.get((stage.name, port), self.source) for port in stage.inputs]
            o = [out.get((stage.name, port), self.sink) for port in stage.outputs]
            if self.source in i:
                self.ends[self.source][1] = n
            if self.sink in o:
                self.ends[self.sink][0] = n
            depth = stage.fifo_depth if isinstance(stage, PipelineStage) and not unlimited else UNLIMITED
            self.processes.append(iter(stage.moves(i, o, self.begun[n], depth)))
            self.outputs.append(o[0])
        self.processes.append(self._drain())
        self.ends[self.sink][1] = len(self.stages)
        self.waits: list[tuple[Channel, ...]] = [()] * len(self.processes)
        self.runnable = deque(range(len(self.processes)))

    def _drain(self) -> Iterator[Channel]:
        while True:
            while not self.sink.ready():
                yield self.sink
            self.sink.take(self.sink.visible())

    def woken(self, channel: Channel):
        """Let those go on who waited for ``channel``."""
        for n in self.ends[channel]:
            if n is not None and channel in self.waits[n]:
                self.waits[n] = ()
                self.runnable.append(n)

    def run(self):
        """Go on until every process waits."""
        while self.runnable:
            n = self.runnable.popleft()
            waits = next(self.processes[n])
            self.waits[n] = (waits,) if isinstance(waits, Channel) else waits

    def circle(self) -> list[tuple[Edge, str]]:
        """The streams along which stages wait for each other, from the output on; none if they wait for input."""
        n: int | None = len(self.stages)
        path: list[tuple[int, Channel]] = []
        while n is not None and n not in (stage for stage, _ in path):
            channel = self.waits[n][0]  # nobody can move
            path.append((n, channel))
            source, target = self.ends[channel]
            n = source if target == n else target
        if n is None:
            return []
        first = next(k for k, (stage, _) in enumerate(path) if stage == n)
        return [(self.edges[channel], "empty" if self.ends[channel][1] == stage else "full")
                for stage, channel in path[first:]]


def _occupied(begun: Sequence[int], moved: Sequence[int]) -> int:
    """Most outputs that are under way or waiting when a group begins, that group included."""
    most = freed = 0
    for group, begin in enumerate(begun[:len(moved)]):
        while moved[freed] < begin:
            freed += 1
        most = max(most, group - freed + 1)
    return most


def steady(stages: Sequence[Stage], *, edges: Sequence[Edge] | None = None, limit: int = 4096) -> Cycles:
    """Return the cycles of the first frame, and between frames once they have settled.

    Frames are sent as fast as they are taken until one of these holds: as many frames in a row as a later one may
    depend on were alike in every transfer but for their time, so that all that follow are; frames left at the pace
    of the slowest stage, which none can beat, for longer than any is under way; frames left at the same pace for
    longer than there are stages. Where they are alike in turns only, as every second frame is, the turns are found.

    Raises
    ------
    Blocked
        Stages wait for each other in a circle.
    RuntimeError
        Frames do not settle within ``limit``.
    """
    slowest = max(stage.ii for stage in stages)
    memory = 1 + max(stage.memory for stage in stages)
    for alike, constant, cycles in _settling(stages, edges, limit):
        under_way = ceil_div(cycles.first, slowest) + memory
        if alike >= memory or constant > (under_way if cycles.interval == slowest else
                                          max(under_way, len(stages) + 2)):
            return cycles
    raise RuntimeError(f"Frames from {stages[0].name} to {stages[-1].name} do not settle to a steady interval")


def paced(stages: Sequence[Stage], interval: int, *, edges: Sequence[Edge] | None = None) -> bool:
    """Whether frames soon leave every ``interval`` cycles or faster: a guide to FIFO depths. Raises as above."""
    for alike, constant, cycles in _settling(stages, edges, 64):
        if alike or constant > ceil_div(cycles.first, interval):
            return cycles.interval <= interval
    return False


def _settling(stages: Sequence[Stage], edges: Sequence[Edge] | None, limit: int) -> Iterator[tuple[int, int, Cycles]]:
    """After each frame but the first: for how many in a row all transfers, or the pace, were alike; and the cycles."""
    run = _Run(stages, chain(stages) if edges is None else edges, unlimited=False)
    count = stages[-1].o.beats
    beats = {run.source: stages[0].i.beats, run.sink: count}
    for channel, edge in run.edges.items():
        beats[channel] = next(stage for stage in stages if stage.name == edge.source).outputs[edge.port].beats
    alike, last = dict.fromkeys(_TURNS, 0), dict.fromkeys(_TURNS)
    constant, pace = 0, None
    for frame in range(limit):
        run.source.offered.extend([frame] * beats[run.source])
        run.woken(run.source)
        run.run()
        if len(run.sink.moved) < (frame + 1) * beats[run.sink]:
            if circle := run.circle():
                raise Blocked(circle)
            raise RuntimeError(f"Chain {' -> '.join(s.name for s in run.stages)} blocks after "
                               f"{len(run.sink.moved)} outputs")
        if not frame:
            continue
        for turns in _TURNS if frame > _PATIENCE else (1,):
            shift = _shift(beats, frame, turns)
            alike[turns], last[turns] = (alike[turns] + 1 if shift is not None and shift == last[turns] else 0), shift
        ends = run.sink.moved[count - 1::count]
        before, pace = pace, ends[-1] - ends[-2]
        constant = constant + 1 if pace == before else 0
        most = max(_TURNS, key=lambda turns: (alike[turns], -turns))
        yield alike[most], constant, Cycles(ends[0] - run.source.moved[0],
                                            max(b - a for a, b in pairwise(ends[-1 - most:])))


def _shift(beats: Mapping[Channel, int], frame: int, turns: int) -> int | None:
    """By how many cycles every transfer of a frame is later than ``turns`` frames before; None where they differ."""
    shifts: set[int] = set()
    for channel, count in beats.items():
        before, now = (channel.moved[n * count:(n + 1) * count] for n in (frame - turns, frame))
        if len(now) < count:
            return None
        shifts.update(map(sub, now, before))
        if len(shifts) > 1:
            return None
    return shifts.pop()


def schedule(stages: Sequence[Stage], frames: int, *, edges: Sequence[Edge] | None = None, interval: int = 1,
             unlimited: bool = False) -> Schedule:
    """Run ``frames`` frames through a graph of stages.

    Parameters
    ----------
    stages : sequence of :class:`Stage`
        In topological order; the ends of the accelerator take no time and may be left out.
    frames : :class:`int`
    edges : sequence of :class:`Edge` or None
        How they are connected; None: in a chain.
    interval : :class:`int`
        Frame k is not offered before cycle ``k · interval``; its beats as fast as they are taken.
    unlimited : :class:`bool`
        Suppose FIFOs that never fill.

    Raises
    ------
    Blocked
        Stages wait for each other in a circle.
    RuntimeError
        The stages wait for input that does not come.
    """
    run = _Run(stages, chain(stages) if edges is None else edges, unlimited=unlimited)
    beats_in, beats_out = stages[0].i.beats, stages[-1].o.beats
    for frame in range(frames):
        run.source.offered.extend([frame * interval] * beats_in)
    run.run()
    done = len(run.sink.moved)
    if done < frames * beats_out:
        if circle := run.circle():
            raise Blocked(circle)
        raise RuntimeError(f"Chain {' -> '.join(stage.name for stage in run.stages)} blocks after {done} outputs")
    needed = {stage.name: _occupied(begun, o.moved)
              for stage, begun, o in zip(run.stages, run.begun, run.outputs, strict=True)}
    return Schedule(tuple(run.source.moved[::beats_in][:frames]),
                    tuple(run.sink.moved[beats_out - 1::beats_out]),
                    tuple(needed.get(stage.name, 0) for stage in stages))
