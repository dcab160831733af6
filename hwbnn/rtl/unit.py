"""What the hardware of every stage has: its streams, the ports that load its weights, and its latency."""

from typing import Any, Generic, TypeVar, get_args

from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hwbnn.plan import Stage
from hwbnn.rtl.bank import load_ports
from hwbnn.rtl.codes import payload

__all__ = ["StreamUnit"]

S = TypeVar("S", bound=Stage)


class StreamUnit(wiring.Component, Generic[S]):
    """The hardware of one stage; a subclass names in brackets the record it takes.

    Members
    -------
    i, or i_0, i_1, ... : :py:`In(stream.Signature(payload(...)))`
        One for each of ``stage.inputs``.
    o, or o_0, o_1, ... : :py:`Out(stream.Signature(payload(...)))`
        One for each of ``stage.outputs``.
    load_... : :py:`In(load_port(...))`
        One for each of ``stage.banks``: what is loadable.
    """

    i: stream.Interface
    o: stream.Interface
    record: type[Stage]

    def __init_subclass__(cls):
        super().__init_subclass__()
        (cls.record,) = get_args(cls.__orig_bases__[0])  # pyright: ignore  # of every subclass of a generic, PEP 560

    def __init__(self, stage: S):
        self._stage: S = stage
        if not isinstance(stage, self.record):
            kind = self.record.__name__
            raise TypeError(f"{type(self).__name__} stage must be {'an' if kind[0] in 'AEIOU' else 'a'} {kind}, "
                            f"not {stage!r}")
        members: dict[str, Any] = {name: In(stream.Signature(payload(of))) for name, of in stage.inputs.items()}
        members |= {name: Out(stream.Signature(payload(of))) for name, of in stage.outputs.items()}
        super().__init__(members | load_ports(stage))

    @property
    def stage(self) -> S:
        """What it computes."""
        return self._stage

    @property
    def latency(self) -> int:
        """Cycles from the first input transfer to the first output transfer, without stalls."""
        return self._stage.latency
