"""When every beat moves: an exact model of a graph of stages, backpressure and FIFO capacities included.

Each stage is a process over time stamps in place of data (:meth:`Stage.moves`). All waiting is a maximum and all
work a sum, so the processes may run in any order that has the stamps they read; each runs on until it needs a
stamp that is not known yet, and again when its channel has moved on. Cost: one step per beat, whatever the number
of cycles.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hwbnn.plan.channel import UNLIMITED, Channel
from hwbnn.plan.graph import Edge, chain
from hwbnn.plan.interface import FrameInputStage, FrameOutputStage
from hwbnn.plan.records import PipelineStage, Stage

__all__ = ["Blocked", "Cycles", "Schedule", "schedule"]


@dataclass(frozen=True)
class Cycles:
    """Cycles of a frame, without stalls from outside.

    ``first`` is the cycle of the last output transfer of the first frame less that of its first input transfer
    (a result in the same cycle would be 0). ``interval`` is the cycles between the last output transfers of
    consecutive frames in the steady state; their mean, rounded up, where they differ in turns, as they may
    where a FIFO is shallower than the schedule asks for.
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
        self.processes: list[Iterator[Channel]] = []
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
        self.waits: list[Channel | None] = [None] * len(self.processes)
        self.runnable = deque(range(len(self.processes)))

    def _drain(self) -> Iterator[Channel]:
        while True:
            while not self.sink.ready():
                yield self.sink
            self.sink.take(self.sink.visible())

    def woken(self, channel: Channel):
        """Let those go on who waited for ``channel``."""
        for n in self.ends[channel]:
            if n is not None and self.waits[n] is channel:
                self.waits[n] = None
                self.runnable.append(n)

    def run(self):
        """Go on until every process waits."""
        while self.runnable:
            n = self.runnable.popleft()
            self.waits[n] = next(self.processes[n])

    def circle(self) -> list[tuple[Edge, str]]:
        """The streams along which stages wait for each other, from the output on; none if they wait for input."""
        n: int | None = len(self.stages)
        path: list[tuple[int, Channel]] = []
        while n is not None and n not in (stage for stage, _ in path):
            channel = self.waits[n]
            assert channel is not None  # nobody can move
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
