"""How stages are connected: a directed graph without cycles, of which a chain is the simplest."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from hwbnn.plan.records import Stage

__all__ = ["Edge", "chain", "check"]


@dataclass(frozen=True)
class Edge:
    """A stream from the port ``port`` of stage ``source`` to the port ``into`` of stage ``target``."""

    source: str
    target: str
    port: str = "o"
    into: str = "i"

    def __str__(self) -> str:
        return f"{self.source}.{self.port} -> {self.target}.{self.into}"


def chain(stages: Sequence[Stage]) -> tuple[Edge, ...]:
    """The edges of stages that follow each other."""
    return tuple(Edge(a.name, b.name) for a, b in pairwise(stages))


def check(stages: Sequence[Stage], edges: Sequence[Edge]):
    """Raise ``ValueError`` unless ``edges`` connect every port between stages once, forwards, to an equal stream.

    The first stage's ``i`` and the last one's ``o`` lead outside.
    """
    place = {stage.name: n for n, stage in enumerate(stages)}
    if len(place) < len(stages):
        name = Counter(stage.name for stage in stages).most_common(1)[0][0]
        raise ValueError(f"Stage names must be unique, and {name} is not")
    sources = {(s.name, port): stream for s in stages[:-1] for port, stream in s.outputs.items()}
    targets = {(s.name, port): stream for s in stages[1:] for port, stream in s.inputs.items()}
    for edge in edges:
        o, i = sources.get((edge.source, edge.port)), targets.get((edge.target, edge.into))
        if o is None or i is None or place[edge.source] >= place[edge.target]:
            raise ValueError(f"Edge must lead from a stage's output to a later stage's input, not {edge}")
        if o != i:
            raise ValueError(f"Edge {edge} must join equal streams, not {o} and {i}")
    for what, ports, ends in (("Output", sources, Counter((e.source, e.port) for e in edges)),
                              ("Input", targets, Counter((e.target, e.into) for e in edges))):
        for name, port in ports:
            if ends[name, port] != 1:
                raise ValueError(f"{what} {name}.{port} must be connected once, not {ends[name, port]} times")
