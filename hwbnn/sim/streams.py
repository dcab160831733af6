"""The streams between the stages of a design: what golden says that each of them carries, and where it is."""

from dataclasses import dataclass

from hwbnn.plan import PipelineStage, Stage, Stream
from hwbnn.rtl import instance_name
from hwbnn.sim.design import Design
from hwbnn.sim.taps import Tap

__all__ = ["StageStream", "stage_streams", "taps"]


@dataclass(frozen=True)
class StageStream:
    """A stream that leaves a stage.

    Parameters
    ----------
    stage : :class:`Stage`
        Where it comes from.
    port : :class:`str`
        The stage's output.
    stream : :class:`Stream`
        Its beats.
    reader : :class:`Stage` or None
        The stage that takes it; None where it leaves the design.
    channels : :class:`int`
        Channels of the tensor that it carries, innermost.
    """

    stage: Stage
    port: str
    stream: Stream
    reader: Stage | None
    channels: int

    @property
    def layer(self) -> str:
        """The network's nodes that the stage computes; the stage's own name where it computes none."""
        return " + ".join(self.stage.nodes) or self.stage.name

    @property
    def name(self) -> str:
        """The stage, with the port where it has several."""
        return self.stage.name if len(self.stage.outputs) == 1 else f"{self.stage.name}.{self.port}"

    @property
    def tap(self) -> Tap:
        """Where it is in the Verilog."""
        return Tap(("core", instance_name(self.stage)), self.port, fifo=isinstance(self.stage, PipelineStage))


def stage_streams(design: Design) -> tuple[StageStream, ...]:
    """Every stream between stages and the one that leaves the last that can be seen, each after those that it needs."""
    plan, network = design.plan, design.network
    readers = {(edge.source, edge.port): plan.stage(edge.target) for edge in plan.edges}
    sources = {edge.target: edge.source for edge in reversed(plan.edges)}  # of the first input
    channels: dict[str, int] = {}
    found = []
    for stage in plan.stages:
        if stage.nodes:
            channels[stage.name] = network.tensors[network.node(stage.nodes[-1]).output].channels
        else:
            source = sources.get(stage.name)
            channels[stage.name] = network.tensors[network.input.name].channels if source is None else channels[source]
        found += [StageStream(stage, port, stream, readers.get((stage.name, port)), channels[stage.name])
                  for port, stream in stage.outputs.items()]
    return tuple(stream for stream in found if stream.name not in design.unseen)


def taps(design: Design) -> tuple[Tap, ...]:
    """Where :func:`stage_streams` are, for :class:`hwbnn.sim.traffic.Traffic`; none in a blind design."""
    return () if design.blind else tuple(stream.tap for stream in stage_streams(design))
