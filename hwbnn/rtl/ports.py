"""The streams of a component, as the record of its stage names them."""

from amaranth.lib import stream
from amaranth.lib.wiring import In, Member, Out

from hwbnn.plan import Stage
from hwbnn.rtl.codes import payload

__all__ = ["ports"]


def ports(stage: Stage) -> dict[str, Member]:
    """The members of a component: a stream for each port of ``stage``."""
    return {**{name: In(stream.Signature(payload(of))) for name, of in stage.inputs.items()},
            **{name: Out(stream.Signature(payload(of))) for name, of in stage.outputs.items()}}
