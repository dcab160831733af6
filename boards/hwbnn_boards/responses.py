"""The answering half of the host link: from requests and results to the bytes of responses."""

from dataclasses import replace

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hwbnn_boards.protocol import Identity, Status
from hwbnn_boards.requests import REQUEST
from hwbnn_boards.stuffing import LAST

__all__ = ["Responder"]

_COUNTERS = ("damaged", "overruns", "framing_errors")  # last fields of Identity, 16 bits each


class Responder(wiring.Component):
    """Answer each request with its sequence number, its status, and what was asked for.

    A response to ``RUN`` ends with the result's last byte, any other with its own, one to ``LOAD`` with its status; the
    next request is taken after it.

    Parameters
    ----------
    identity : :class:`~hwbnn_boards.protocol.Identity`
        What to answer to ``IDENTIFY``; its counters are replaced by the ports of their names.

    Members
    -------
    i : :py:`In(stream.Signature(REQUEST))`
        Checked requests.
    i_result : :py:`In(stream.Signature(LAST))`
        Bytes of results.
    o : :py:`Out(stream.Signature(LAST))`
        Bytes of response bodies.
    damaged, overruns, framing_errors : :py:`In(16)`
        Counters, sent with the identity.
    """

    i: stream.Interface
    i_result: stream.Interface
    o: stream.Interface
    damaged: Signal
    overruns: Signal
    framing_errors: Signal

    def __init__(self, identity: Identity):
        self._identity = replace(identity, **dict.fromkeys(_COUNTERS, 0))
        super().__init__({
            "i": In(stream.Signature(REQUEST)),
            "i_result": In(stream.Signature(LAST)),
            "o": Out(stream.Signature(LAST)),
            **dict.fromkeys(_COUNTERS, In(16)),
        })

    @property
    def identity(self) -> Identity:
        """The answer to ``IDENTIFY``, its counters 0."""
        return self._identity

    def elaborate(self, platform):
        m = Module()

        request = Signal(REQUEST)
        index = Signal(range(Identity.size()))
        o = self.o

        counters = Cat(getattr(self, name) for name in _COUNTERS)
        constant = bytes(self.identity)[:Identity.size() - len(counters) // 8]
        identity = [*(Const(byte, 8) for byte in constant),
                    *(counters[n:n + 8] for n in range(0, len(counters), 8))]

        with m.FSM():
            with m.State("wait"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += request.eq(self.i.payload)
                    m.next = "sequence"
            with m.State("sequence"):
                m.d.comb += [
                    o.valid.eq(1),
                    o.payload.data.eq(request.sequence),
                ]
                with m.If(o.ready):
                    m.next = "status"
            with m.State("status"):
                refused = request.status != Status.OK
                m.d.comb += [
                    o.valid.eq(1),
                    o.payload.data.eq(request.status),
                    o.payload.last.eq(refused | request.load),
                ]
                with m.If(o.ready):
                    with m.If(refused | request.load):
                        m.next = "wait"
                    with m.Elif(request.run):
                        m.next = "result"
                    with m.Else():
                        m.next = "identity"
            with m.State("result"):
                m.d.comb += [
                    o.valid.eq(self.i_result.valid),
                    o.payload.eq(self.i_result.payload),
                    self.i_result.ready.eq(o.ready),
                ]
                with m.If(o.valid & o.ready & o.payload.last):
                    m.next = "wait"
            with m.State("identity"):
                last = index == Identity.size() - 1
                m.d.comb += [
                    o.valid.eq(1),
                    o.payload.last.eq(last),
                ]
                with m.Switch(index):
                    for n, byte in enumerate(identity):
                        with m.Case(n):
                            m.d.comb += o.payload.data.eq(byte)
                with m.If(o.ready):
                    m.d.sync += index.eq(index + 1)
                    with m.If(last):
                        m.d.sync += index.eq(0)
                        m.next = "wait"

        return m
